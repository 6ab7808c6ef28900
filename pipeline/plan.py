"""`corpusmill plan --flops`: the model and the tokens for a budget of operations, whether the
corpus has the tokens, hours and memory.

Arithmetic on the manifest of a finished run: it takes no time, and is as good as the law
(`train/scaling.py`), a stated utilisation and a rule for shapes (`train/footprint.py`).
"""

import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np

from pipeline.config import Run
from pipeline.ledger import read_manifest
from pipeline.mixture import BUCKETS, Mixture, epochs_cap, plan_mixture
from train.config import Model, parameter_count
from train.footprint import activation_bytes, shape_of, state_bytes
from train.scaling import LAWS, Optimum, compute_optimal, effective_tokens

DEVICES = (1, 8, 64, 512)


class SourcePlan(NamedTuple):
    """What one group of the mixture has to give."""

    group: str
    weight: float
    needed: int
    available: int
    epochs: float
    allowed: float

    @property
    def enough(self) -> bool:
        return self.epochs <= self.allowed * (1 + 1e-9)


class TrainingPlan(NamedTuple):
    flops: float
    law: str
    optimum: Optimum
    shape: Model
    gpu_hours: float
    mfu: float  # share of the peak, at which these are
    gpu_tflops: float  # peak
    sources: list[SourcePlan]  # none where no finished run is known
    most_tokens: float | None  # that the corpus gives at these weights and caps
    repeated_loss: float | None  # the law's, at what the repeated tokens are worth

    def enough(self) -> bool:
        """Whether the corpus has the tokens, within the epochs allowed."""
        return self.most_tokens is not None and self.most_tokens * 1.000001 >= self.optimum.n_tokens

    def figures(self) -> dict[str, Any]:
        """As JSON values."""
        rows = {s.group: {**s._asdict(), "enough": s.enough} for s in self.sources}
        figures = self._asdict() | {"optimum": self.optimum._asdict(), "sources": rows}
        return figures | {"shape": dataclasses.asdict(self.shape), "enough": self.enough()}


def plan_training(
    run: Run, out: str | None, flops: float, law: str, mfu: float, gpu_tflops: float
) -> TrainingPlan:
    """Raises ValueError for a directory that is no finished run, or has no tokens."""
    manifest = read_manifest(out) if out else {}
    optimum = compute_optimal(LAWS[law], flops)
    vocab_size = manifest.get("tokenizer", {}).get("vocab_size") or (
        run.tokenizer.vocab_size if run.tokenizer else 32000
    )
    sources = group_needs(run.mixture, _available(manifest, out), optimum.n_tokens) if out else []
    worth = sum(effective_tokens(s.available, s.needed) for s in sources)
    return TrainingPlan(
        flops=flops,
        law=law,
        optimum=optimum,
        shape=shape_of(optimum.n_weights, vocab_size),
        gpu_hours=flops / (mfu * gpu_tflops * 1e12 * 3600),
        mfu=mfu,
        gpu_tflops=gpu_tflops,
        sources=sources,
        most_tokens=most_tokens(sources, run.mixture),
        repeated_loss=LAWS[law].loss(optimum.n_weights, max(worth, 1.0)) if sources else None,
    )


def _available(manifest: dict[str, Any], out: str | None) -> dict[str, int]:
    """Tokens in one epoch of each group: of the mixture's table where there is one (held-out rows
    are then left out), else of each source."""
    if table := manifest.get("mixture"):
        return {group: row["available_tokens"] for group, row in table.items()}
    counted = manifest["stages"].get("tokenize")
    if not counted:
        raise ValueError(f"{out}: its documents have no tokens yet; run with a [tokenizer] section")
    return {source: counts["tokens"] for source, counts in counted.items()}


def group_needs(
    config: Mixture | None, available: dict[str, int], tokens: float
) -> list[SourcePlan]:
    """By the mixture of the configuration; without one, each source by its size. Where groups that
    are short are not topped up by others, caps are lifted, so that what is asked for shows beside
    what is allowed."""
    config = config or Mixture(scheme="temperature")
    histograms = {
        group: np.eye(1, BUCKETS, dtype=np.int64)[0] * n for group, n in available.items()
    }
    wanted = dataclasses.replace(config, tokens=round(tokens), max_epochs=math.inf, epochs={})
    plans = plan_mixture(histograms, wanted)
    if tops_up(config):
        most = sum(epochs_cap(group, config) * plan.available for group, plan in plans.items())
        plans = plan_mixture(
            histograms, dataclasses.replace(config, tokens=max(1, int(min(tokens, most))))
        )
    return [
        SourcePlan(g, p.weight, p.wanted, p.available, p.epochs, epochs_cap(g, config))
        for g, p in sorted(plans.items())
    ]


def tops_up(config: Mixture | None) -> bool:
    return config is not None and (config.scheme == "unimax" or config.when_short == "redistribute")


def most_tokens(sources: list[SourcePlan], config: Mixture | None) -> float | None:
    if tops_up(config):
        return sum(s.allowed * s.available for s in sources)
    return min((s.allowed * s.available / s.weight for s in sources), default=None)


# --- as text -----------------------------------------------------------------------------------


def render_training(plan: TrainingPlan, gpu_gb: float, sequence_length: int) -> str:
    best, shape = plan.optimum, plan.shape
    rate = f"{plan.mfu:.0%} of a peak of {plan.gpu_tflops:g} TFLOP/s"
    lines = [
        f"{plan.flops:.3g} operations, by the law of {plan.law}",
        f"  model      {_big(best.n_weights)} weights: about {shape.n_layers} layers of "
        f"{shape.dim}, {shape.n_heads} heads, {_big(shape.vocab_size)} vocabulary",
        f"  tokens     {_big(best.n_tokens)}, {best.n_tokens / best.n_weights:.1f} a weight",
        f"  loss       {best.loss:.3f} nats a token, on the law's own data: no promise for yours",
        f"  GPU-hours  {plan.gpu_hours:,.4g}, at {rate}",
    ]
    lines += _render_sources(plan) + _render_memory(plan, gpu_gb, sequence_length)
    return "\n".join(lines)


def _render_sources(plan: TrainingPlan) -> list[str]:
    if not plan.sources:
        return ["", "name a finished run with --out to see whether the corpus has the tokens"]
    heads = f"{'weight':>8}{'needed':>12}{'available':>12}{'epochs':>9}{'allowed':>9}"
    lines = ["", f"{'source':<24}{heads}"]
    lines += [
        f"{s.group:<24}{s.weight:>8.3f}{_big(s.needed):>12}{_big(s.available):>12}"
        f"{s.epochs:>9.2f}{s.allowed:>9.4g}{'' if s.enough else '  too few'}"
        for s in plan.sources
    ]
    assert plan.most_tokens is not None
    if plan.enough():
        lines.append("the corpus has the tokens")
    else:
        lines.append(
            f"the corpus does not have the tokens: it gives {_big(plan.most_tokens)} within the "
            "epochs allowed"
        )
    if plan.repeated_loss and plan.repeated_loss > plan.optimum.loss + 5e-4:
        lines.append(f"with the repeats the law gives a loss of {plan.repeated_loss:.3f}")
    return lines


def _render_memory(plan: TrainingPlan, gpu_gb: float, sequence_length: int) -> list[str]:
    """*: with the activations of one row, checkpointed."""
    shape = plan.shape
    n_weights = parameter_count(shape)
    kept = activation_bytes(shape, sequence_length)
    less = activation_bytes(shape, sequence_length, checkpointing=True)
    lines = [
        "",
        "GB of states on each GPU: 16-bit weights and gradients, 12 bytes a weight of Adam",
        f"*: with the activations of a row, checkpointed, within {gpu_gb:g} GB",
        f"{'ZeRO stage':<12}" + "".join(f"{f'{n} GPU':>12}" for n in DEVICES),
    ]
    for stage in (0, 1, 2, 3):
        totals = [state_bytes(n_weights, n, stage).total for n in DEVICES]
        marks = ["*" if total + less <= gpu_gb * 1e9 else " " for total in totals]
        cells = (f"{t / 1e9:>11.4g}{mark}" for t, mark in zip(totals, marks, strict=True))
        lines.append(f"{stage:<12}" + "".join(cells))
    lines.append(
        f"and {kept / 1e9:.4g} GB of activations for a row of {sequence_length} tokens, "
        f"{less / 1e9:.4g} with checkpointing"
    )
    return lines


def _big(n: float) -> str:
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return f"{n:.3g}"
