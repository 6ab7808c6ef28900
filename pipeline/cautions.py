"""What of a run's counts is worth a second look: rules that removed nothing or more than half of a
source, and sources of which next to nothing is left, or nothing was there."""

from typing import Any

from pipeline.config import Run
from pipeline.steps import STEPS, bounds_of

ALWAYS = 0.5  # a rule that removes more than this share of a source's documents
LOST = 0.9  # a source that loses more than this
ENOUGH = 100  # documents of a source, from which a rule that removed none is worth a word


def cautions(run: Run, stages: dict[str, dict[str, Any]]) -> list[str]:
    """A line each. `stages` are the counts of the manifest; a document counts for the rule that
    removed it, the first that it failed."""
    lines = []
    for name, source in run.sources.items():
        counts = [stage[name] for stage in stages.values() if name in stage]
        filtered = stages.get("filter", {}).get(name)
        if filtered:
            n, removed = filtered["in"], filtered["removed"]
            lines += [
                f"sources.{name}: {rule} removed {times:,} of {n:,} documents"
                for rule, times in removed.items()
                if times > ALWAYS * n
            ]
            idle = [rule for rule in _rules(source.steps) if rule not in removed]
            if idle and n >= ENOUGH:
                lines.append(f"sources.{name}: removed none of {n:,} documents: {', '.join(idle)}")
        documents = [c for c in counts if "removed" in c and "kept" in c]
        if documents and not documents[0]["in"]:
            lines.append(
                f"sources.{name}: no record at all; `corpusmill check` looks for the cause"
            )
        elif documents and documents[-1]["kept"] < (1 - LOST) * documents[0]["in"]:
            kept, n = documents[-1]["kept"], documents[0]["in"]
            lines.append(f"sources.{name}: {kept:,} of {n:,} records are kept")
    return lines


def _rules(steps: Any) -> list[str]:
    """The rules with a threshold that is set."""
    names = []
    for use in steps:
        if "cutoffs" in STEPS[use.name].files:
            continue  # their thresholds are in files
        on = [b for b in bounds_of(use) if b.least is not None or b.most is not None]
        names += [f"{use.label}.{bound.rule}" for bound in on]
    return names
