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

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pipeline.ablation.controls import Control
from pipeline.build_config import ConfigError, build, override, read_table, set_key
from pipeline.config import Run, parse, resolved
from pipeline.storage import digest
from train.config import Train

PRESETS = Path(__file__).resolve().parents[2] / "configs" / "presets"
BASE, CONTROL, CONFIRM = "base", "control", "confirm"
ARM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # a directory
RESERVED = re.compile(rf"{BASE}|{CONTROL}|{CONFIRM}|corner-.*|draw-\d+")
PROXYS = ("train", "mixture.tokens", "mixture.sequence_length", "mixture.validation_tokens")

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


KEYS = ("name", "base", "set", "seeds", "control", "proxy", "arms", "design", "evaluate")


def load_ablation(path: str, changes: list[str] | None = None) -> Ablation:
    """Reads the TOML file; `changes` are `dotted.key=value` overrides of it. Raises ConfigError
    with every mistake that was found."""
    table = read_table(path)
    if isinstance(table.get("design"), str):  # design = "simplex", with its defaults
        table["design"] = {"kind": table["design"]}
    for change in changes or []:
        override(table, change)
    return parse_ablation(table, Path(path).parent, Path(path).stem)


def parse_ablation(
    table: dict[str, Any], folder: Path = Path(), name: str = "ablation"
) -> Ablation:
    """From a TOML table; `folder` is where the base's path starts. Raises ConfigError."""
    mistakes = [
        f"{key}: an ablation has no such key. Known: {', '.join(KEYS)}."
        for key in table
        if key not in KEYS
    ]
    proxy = _proxy(table.get("proxy"), mistakes)
    seeds = _seeds(table.get("seeds", 3), mistakes)
    given: dict[str, Any] = {"control": None, "design": None, "evaluate": Evaluate()}
    for key, kind in (("control", Control), ("design", Design), ("evaluate", Evaluate)):
        if key in table:
            given[key] = build(kind, table[key], key, mistakes)
    base = _base(table.get("base"), table.get("set", {}), folder, mistakes)
    if mistakes or proxy is None or base is None:
        raise ConfigError(mistakes)
    runs = {BASE: _run(BASE, base, proxy, mistakes)}
    arms = table.get("arms", {})
    if not isinstance(arms, dict):
        raise ConfigError([*mistakes, f"arms: {arms!r} is not a table of [arms.NAME] sections"])
    for arm, change in arms.items():
        if changed := _changed(arm, base, change, mistakes):
            runs[arm] = _run(f"arms.{arm}", changed, proxy, mistakes)
    if mistakes:
        raise ConfigError(mistakes)
    found = {n: run for n, run in runs.items() if run}
    mistakes += _equal_arms(found) + _base_mistakes(found[BASE], given["design"])
    evaluate = given["evaluate"]
    mistakes += _evaluation_mistakes(evaluate, found[BASE])
    if len(found) == 1 and not given["control"] and not given["design"]:
        mistakes.append("arms: none; add an [arms.NAME] with what it changes, or a [design]")
    if mistakes:
        raise ConfigError(mistakes)
    made = {
        n: Arm(
            name=n,
            role="base" if n == BASE else "arm",
            run=run,
            seeds=seeds,
            own_tokenizer=run.tokenizer != found[BASE].tokenizer,
        )
        for n, run in found.items()
    }
    if given["control"]:
        run = replace(found[BASE], name=CONTROL)
        made[CONTROL] = Arm(
            name=CONTROL, role="control", run=run, seeds=seeds, control=given["control"]
        )
    return Ablation(
        name=str(table.get("name", name)),
        arms=made,
        proxy=proxy,
        seeds=seeds,
        evaluate=evaluate,
        design=given["design"],
    )


def with_weights(base: Run, name: str, weights: Mapping[str, float]) -> Run:
    """The base with another mixture."""
    assert base.mixture
    return replace(base, name=name, mixture=replace(base.mixture, weights=dict(weights)))


def same_documents(a: Run, b: Run) -> bool:
    """Whether two runs have the same documents: they differ in nothing but what comes after."""
    after: dict[str, Any] = {"name": "", "tokenizer": None, "mixture": None, "train": None}
    return replace(a, **after) == replace(b, **after)


def _proxy(table: object, mistakes: list[str]) -> Proxy | None:
    if not isinstance(table, dict):
        mistakes.append("proxy: missing; add [proxy] with preset and tokens")
        return None
    rest = dict(table)
    mine = {k: rest.pop(k) for k in ("tokens", "sequence_length", "validation_tokens") if k in rest}
    mistakes += [
        f"proxy.{key}: follows from {of}; leave it out"
        for key, of in (("steps", "tokens"), ("seed", "seeds"))
        if rest.pop(key, None) is not None
    ]
    tokens = mine.get("tokens")
    a_step = rest.get("batch_rows", Train.batch_rows) * mine.get(
        "sequence_length", Proxy.sequence_length
    )
    if not isinstance(tokens, int) or not isinstance(a_step, int) or tokens < a_step:
        mistakes.append(
            f"proxy.tokens: {tokens!r} is less than a step of {a_step} tokens "
            "(batch_rows x sequence_length)"
        )
        return None
    train = build(Train, rest | {"steps": tokens // a_step}, "proxy", mistakes)
    return build(Proxy, mine, "proxy", mistakes, given={"train": train}) if train else None


def _seeds(value: object, mistakes: list[str]) -> tuple[int, ...]:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return tuple(range(value))
    numbers = isinstance(value, list) and all(type(seed) is int and seed >= 0 for seed in value)
    if isinstance(value, list) and value and numbers and len(set(value)) == len(value):
        return tuple(value)
    mistakes.append(f"seeds: {value!r} is neither a number from 1 up nor a list of different seeds")
    return ()


def _base(
    value: object, changes: object, folder: Path, mistakes: list[str]
) -> dict[str, Any] | None:
    if isinstance(value, str):
        try:
            table = read_table(folder / value)
        except ConfigError as error:
            mistakes += [f"base: {line}" for line in error.mistakes]
            return None
    elif isinstance(value, dict):
        table = copy.deepcopy(value)
    else:
        mistakes.append(f"base: {value!r} is neither the path of a run's TOML file nor a run")
        return None
    return _with_changes("set", table, changes, mistakes)


def _changed(
    arm: str, base: dict[str, Any], change: object, mistakes: list[str]
) -> dict[str, Any] | None:
    """The base's table with the changes of an arm."""
    place = f"arms.{arm}"
    if not ARM_NAME.fullmatch(arm) or RESERVED.fullmatch(arm):
        mistakes.append(f"{place}: no name for an arm; use another of letters, digits, '-' and '_'")
        return None
    if not isinstance(change, dict) or not change or set(change) - {"set", "presets"}:
        mistakes.append(f'{place}: {change!r} is not of the form {{ set = {{ "KEY" = VALUE }} }}')
        return None
    table = copy.deepcopy(base)
    presets = change.get("presets", {})
    for source, name in presets.items() if isinstance(presets, dict) else [("", presets)]:
        where = f"{place}.presets.{source}"
        if source not in table.get("sources", {}) or not isinstance(name, str):
            mistakes.append(f"{where}: not of the form {{ SOURCE = PRESET }}")
            continue
        try:
            preset = read_table(name if name.endswith(".toml") else PRESETS / f"{name}.toml")
        except ConfigError as error:
            mistakes += [f"{where}: {line}" for line in error.mistakes]
            continue
        sources = preset.get("sources", {})
        if source not in sources and len(sources) != 1:
            there = ", ".join(sources)
            mistakes.append(f"{where}: {name} has no source {source!r}; it has {there}")
            continue
        chosen = sources[source] if source in sources else next(iter(sources.values()))
        table["sources"][source]["steps"] = chosen.get("steps", [])
        table.setdefault("models", {}).update(preset.get("models", {}))
    return _with_changes(f"{place}.set", table, change.get("set", {}), mistakes)


def _with_changes(
    place: str, table: dict[str, Any], changes: object, mistakes: list[str]
) -> dict[str, Any] | None:
    if not isinstance(changes, dict):
        mistakes.append(f'{place}: {changes!r} is not a table {{ "DOTTED.KEY" = VALUE }}')
        return None
    for key, value in changes.items():
        if key == "name" or any(key == of or key.startswith(f"{of}.") for of in PROXYS):
            mistakes.append(f"{place}: {key} is the same for all arms; change [proxy]")
            continue
        try:
            set_key(table, key, copy.deepcopy(value), f"{place}: {key}")
        except ConfigError as error:
            mistakes += error.mistakes
    return table


def _run(place: str, table: dict[str, Any], proxy: Proxy, mistakes: list[str]) -> Run | None:
    """The run of an arm: the proxy's budget in the place of its own, and no training of its own."""
    table = {key: value for key, value in table.items() if key != "train"}
    mixture = table.get("mixture")
    if not isinstance(mixture, dict):
        mistakes.append(f"{place}: no [mixture] section, which an ablation needs")
        return None
    mine = {"tokens": proxy.budget, "sequence_length": proxy.sequence_length}
    table["mixture"] = mixture | mine | {"validation_tokens": 0}
    table["name"] = place.removeprefix("arms.")
    try:
        return parse(table)
    except ConfigError as error:
        mistakes += [f"{place}: {line}" for line in error.mistakes]
        return None


def _equal_arms(runs: dict[str, Run]) -> list[str]:
    """Arms that are an earlier one, once every default is written out."""
    first: dict[str, str] = {}
    mistakes = []
    for name, run in runs.items():
        of = first.setdefault(digest(resolved(replace(run, name=""))), name)
        if of != name:
            equal = "the base" if of == BASE else f"arms.{of}"
            mistakes.append(f"arms.{name}: equal to {equal}; change something, or leave it out")
    return mistakes


def _base_mistakes(base: Run, design: Design | None) -> list[str]:
    if design and base.mixture and len(base.mixture.weights) < 2:
        return ["design: the base's mixture has no weights of 2 or more sources to vary"]
    return []


def _evaluation_mistakes(evaluate: Evaluate, base: Run) -> list[str]:
    mistakes = []
    for key in ("texts", "tasks"):
        for name in getattr(evaluate, key):
            place = f"evaluate.{key}.{name}"
            if not ARM_NAME.fullmatch(name):
                mistakes.append(f"{place}: no name; use letters, digits, '-' and '_'")
            if name in base.sources or (key == "tasks" and name in evaluate.texts):
                mistakes.append(f"{place}: a source or a text has this name; use another")
    mistakes += [
        f"evaluate.texts.{name}: empty; name a file" for name, p in evaluate.texts.items() if not p
    ]
    return mistakes
