"""An ablation as a TOML file: a base run, and what each arm changes of it.

    name = "demo"
    base = "../demo.toml"                 # beside this file; or a run: [base.sources.web]
    set = { root = "demo-out/inputs" }    # changes of the base, for all arms
    seeds = 3
    control = { kind = "shuffled" }       # an arm that has to come out worse
    [proxy]                               # one model and one budget for all arms
    preset = "tiny"
    tokens = 500_000
    [arms.more-code]
    set = { "mixture.weights" = { web = 0.3, code = 0.7 } }
    [arms.stricter]
    set = { "sources.web.steps[gopher_quality].min_words" = 100 }
    [arms.c4]
    presets = { web = "c4" }              # configs/presets/c4.toml's steps for sources.web

An arm is the base with its changes; everything is checked as that run would be. The tokenizer of
all arms is the base's (which its mixture's weights choose the sample for), but for arms that change
the [tokenizer] section: else every change of a weight would change every token.

`[design]` adds mixtures: the corners of the simplex and draws around the base's weights, for a law
of the loss as a function of the weights (train/mixture_law.py).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pipeline.ablation.controls import Control
from pipeline.config import Run
from train.config import Train

BASE, CONTROL, CONFIRM = "base", "control", "confirm"
ARM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # a directory

Role = Literal["base", "arm", "control", "corner", "draw", "confirm"]


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """The model that stands for the large one, and its budget. Its other keys are those of [train],
    but for steps and seed, which follow from tokens and seeds."""

    tokens: int
    """Read in each trial: steps x batch_rows x sequence_length, rounded down to whole steps."""
    train: Train
    sequence_length: int = 512
    validation_tokens: int = 50_000
    """Held out of each source of the base, by duplicate cluster, and left out of every arm. A
    source with less than twice that is not measured."""

    def __post_init__(self) -> None:
        for name, least in (("sequence_length", 2), ("validation_tokens", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: {getattr(self, name)} is below {least}")

    @property
    def budget(self) -> int:
        """Tokens of whole steps."""
        return self.train.steps * self.train.batch_rows * self.sequence_length


@dataclass(frozen=True, kw_only=True)
class Task:
    """Multiple-choice questions in JSON lines (pipeline/ablation/questions.py)."""

    path: str
    shots: int = 0
    """The first rows of the file are examples before every question."""

    def __post_init__(self) -> None:
        if self.shots < 0:
            raise ValueError(f"shots: {self.shots} is below 0")


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """What the models are measured on besides each source's held-out documents."""

    texts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By name: .jsonl or .parquet with a column text, .txt, or patterns of them."""
    tasks: dict[str, Task] = field(default_factory=dict)
    min_matched_ngrams: int = 1
    """Documents that share as many runs of 13 words with these texts and tasks are left out of
    every arm's training."""

    def __post_init__(self) -> None:
        if self.min_matched_ngrams < 1:
            raise ValueError(f"min_matched_ngrams: {self.min_matched_ngrams} is below 1")


@dataclass(frozen=True, kw_only=True)
class Design:
    """Further arms that differ from the base in their weights alone, and the law fitted to all such
    arms."""

    kind: Literal["simplex"] = "simplex"
    draws: int = 8
    """Dirichlet draws around the base's weights, besides a corner for each source; those that the
    epoch caps do not allow are moved to the nearest mixture that they do."""
    spread: float = 1.0
    """Concentration of the draws: 1 covers the simplex where the base is even, 10 stays near it."""
    seeds: int = 1
    """Trials of each corner and draw: the first of the ablation's seeds."""
    seed: int = 0
    """Of the draws. More draws keep those that were there."""
    target: tuple[str, ...] = ()
    """The law is of the mean of these measures; if empty, bits_per_byte of the named texts, or of
    the held-out documents of every source where there are none."""
    confirm: bool = False
    """The mixture that the better law proposes is run as an arm of its own."""

    def __post_init__(self) -> None:
        for name, least in (("draws", 0), ("seeds", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: {getattr(self, name)} is below {least}")
        if not self.spread > 0:
            raise ValueError(f"spread: {self.spread} is not above 0")


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A run to train on. `own_tokenizer`: it changes the [tokenizer] section."""

    name: str
    role: Role
    run: Run
    seeds: tuple[int, ...]
    control: Control | None = None
    own_tokenizer: bool = False


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """A base, its arms, and how they are compared."""

    name: str
    arms: dict[str, Arm]
    """The base first; the control last, if there is one. Those of the design come later."""
    proxy: Proxy
    seeds: tuple[int, ...]
    evaluate: Evaluate
    design: Design | None = None

    @property
    def base(self) -> Arm:
        return self.arms[BASE]


def with_weights(base: Run, name: str, weights: Mapping[str, float]) -> Run:
    """The base with another mixture."""
    assert base.mixture
    return replace(base, name=name, mixture=replace(base.mixture, weights=dict(weights)))


def same_documents(a: Run, b: Run) -> bool:
    """Whether two runs have the same documents: they differ in nothing but what comes after."""
    after: dict[str, Any] = {"name": "", "tokenizer": None, "mixture": None, "train": None}
    return replace(a, **after) == replace(b, **after)
