"""`corpusmill check`: mistakes before the run. Paths, models and test sets are looked for, then the
first records of the first shards go through every document stage in a temporary directory, with all
steps run on all documents, so that each rule's firing rate shows."""

import dataclasses
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.canaries import run_canaries
from pipeline.check_columns import absent_columns
from pipeline.check_mixture import mixture_outlook
from pipeline.config import Run
from pipeline.executor import connect
from pipeline.ledger import commonest_error
from pipeline.likely import likely
from pipeline.named_files import Shard, look_for_files, steps_of
from pipeline.parts import read_tables
from pipeline.stages import run_trial
from pipeline.storage import join, list_files, read_json

SHARDS = 3  # of each source, tried
ALWAYS = 0.5  # a rule that fires on more than this share of a source's documents is worth a look
LOST = 0.9  # and so is a source that loses more than this


class Report(NamedTuple):
    text: str
    warnings: list[str]


def check(run: Run, limit: int) -> Report:
    """Raises ConfigError where something is missing, or a source gives no record; a report with
    warnings otherwise."""
    shards = look_for_files(run)
    trial = dataclasses.replace(
        run,
        limit=limit,
        audit_fraction=1.0,
        max_error_fraction=1.0,
        dedup=dataclasses.replace(run.dedup, partitions=1),
    )
    lines = [f"{run.name}: configuration, paths and models are in order"]
    with tempfile.TemporaryDirectory(prefix="corpusmill-check-") as out, connect("off") as cluster:
        manifest = run_trial(trial, out, cluster, _first_of_each(shards))
        warnings, silent_steps = _canaries(run, Path(out) / "canaries")
        for name in run.sources:
            more, found = _of_source(run, name, shards, out, manifest)
            lines += ["", *more]
            warnings += found
        warnings += absent_columns(run, out)
        outlook = mixture_outlook(run, out, shards, limit)
    warnings += outlook.warnings
    lines += outlook.lines
    lines += ["", *silent_steps] if silent_steps else []
    lines += ["", *[f"warning: {warning}" for warning in warnings]] if warnings else []
    return Report("\n".join(lines), warnings)


def _of_source(
    run: Run, name: str, shards: list[Shard], out: str, manifest: dict[str, Any]
) -> tuple[list[str], list[str]]:
    """What the trial shows of a source, and the warnings."""
    source, mine = run.sources[name], [shard for shard in shards if shard.source == name]
    first, last = _first_and_last(manifest, name)
    n_in, n_texts = first["in"], max(manifest["stages"]["ingest"][name]["kept"], 1)
    fired = _firing(out, name)
    lines = [f"sources.{name}: {len(mine)} shards, {n_in} records tried, {last['kept']} kept"]
    warnings = []
    for rule, times in fired.most_common():
        n = n_in if rule.startswith("ingest.") else n_texts
        lines.append(f"  {rule:<50}{times:>6} of {n}")
        if times > ALWAYS * n and n >= 10:
            warnings.append(f"sources.{name}: {rule} fires on {times} of {n} documents")
    silent = [
        use.label
        for use in source.steps
        if use.name != "scrub_pii"  # it edits and never marks
        and not any(rule.startswith(use.label + ".") for rule in fired)
    ]
    if silent:
        lines.append(f"  fired on none: {', '.join(silent)}")
    if not n_in:
        path = mine[0].path
        warnings.append(f"sources.{name}: no record at all in {path}{likely(source, path)}")
    elif last["kept"] < (1 - LOST) * n_in:
        warnings.append(f"sources.{name}: only {last['kept']} of {n_in} records are kept")
    if first["lost"]:
        most = _commonest_error(out, name)
        warnings.append(f"sources.{name}: {first['lost']} records could not be read, {most}")
    return lines, warnings


def _canaries(run: Run, folder: Path) -> tuple[list[str], list[str]]:
    """What the canaries of every step say under its configuration, and which steps have none."""
    warnings: list[str] = []
    silent: list[str] = []
    for name, source in run.sources.items():
        for i, (use, mine) in enumerate(zip(source.steps, steps_of(run, name), strict=True)):
            model = getattr(use.config, "model", None)
            chosen = use if isinstance(model, str) and model.startswith("models.") else mine
            where = f"sources.{name}.steps[{i}]"
            found, reason = run_canaries(chosen, where, folder / f"{name}-{i}")
            warnings += found
            silent += [reason] if reason else []
    return warnings, silent


def _first_of_each(shards: list[Shard]) -> list[Shard]:
    """The first SHARDS of each source, in their order."""
    seen: Counter[str] = Counter()
    chosen = []
    for shard in shards:
        seen[shard.source] += 1
        chosen += [shard] if seen[shard.source] <= SHARDS else []
    return chosen


def _firing(out: str, source: str) -> Counter[str]:
    """How many documents failed each rule, whether or not another rule had failed before."""
    fired: Counter[str] = Counter()
    for path in list_files(join(out, "removed", source)):
        for table in read_tables(out, path[len(out) + 1 :], ["rule", "failed"]):
            for row in table.to_pylist():
                fired.update(set(row["failed"] or [row["rule"]]))
    return fired


def _commonest_error(out: str, source: str) -> str:
    """`most to KIND: MESSAGE` of the records of a source that could not be read, if any."""
    records = [read_json(path) for path in list_files(join(out, "_parts", "ingest"))]
    if not any(record["counts"].get(source, {}).get("lost") for record in records):
        return ""
    kind, message = commonest_error(out, records, source)
    return f"most to {kind}: {message}"


def _first_and_last(manifest: dict[str, Any], source: str) -> tuple[dict[str, Any], dict[str, Any]]:
    stages = [counts[source] for counts in manifest["stages"].values() if source in counts]
    return stages[0], stages[-1]
