"""`corpusmill check`: mistakes before the run. Paths, models and test sets are looked for, then the
first records of the first shards go through every document stage in a temporary directory, with all
steps run on all documents, so that each rule's firing rate shows."""

import dataclasses
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.build_config import ConfigError
from pipeline.canaries import run_canaries
from pipeline.check_columns import absent_columns
from pipeline.check_mixture import mixture_outlook
from pipeline.config import Run
from pipeline.executor import connect
from pipeline.ledger import InputError, commonest_error
from pipeline.likely import likely
from pipeline.named_files import Shard, look_for_files, resolve_files
from pipeline.parts import read_tables
from pipeline.stages import document_stages, run_pipeline
from pipeline.state import input_path
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
    with tempfile.TemporaryDirectory(prefix="corpusmill-check-") as out, connect("off") as cluster:
        trial = _trial_of(run, shards, limit)
        try:
            manifest = run_pipeline(trial, out, cluster, document_stages(run, None)[-1])
        except InputError as error:
            raise ConfigError(str(error).splitlines()) from None
        fired = {name: _firing(out, name) for name in run.sources}
        lost = {name: _commonest_error(out, name) for name in run.sources}
        outlook = mixture_outlook(run, out, shards, limit)
        columns = absent_columns(run, out)
        warnings, silent_steps = _canaries(run, Path(out) / "canaries")
    lines = [f"{run.name}: configuration, paths and models are in order"]
    for name, source in run.sources.items():
        mine = [s for s in shards if s.source == name]
        first, last = _first_and_last(manifest, name)
        lines += [
            "",
            f"sources.{name}: {len(mine)} shards, {first['in']} records tried, {last['kept']} kept",
        ]
        n_texts = max(manifest["stages"]["ingest"][name]["kept"], 1)
        for rule, times in fired[name].most_common():
            n = first["in"] if rule.startswith("ingest.") else n_texts
            lines.append(f"  {rule:<50}{times:>6} of {n}")
            if times > ALWAYS * n and n >= 10:
                warnings.append(f"sources.{name}: {rule} fires on {times} of {n} documents")
        silent = [
            u.label
            for u in source.steps
            if u.name != "scrub_pii"  # it edits and never marks
            and not any(r.startswith(u.label + ".") for r in fired[name])
        ]
        if silent:
            lines.append(f"  fired on none: {', '.join(silent)}")
        if not first["in"]:
            hint = likely(source, mine[0].path)
            warnings.append(f"sources.{name}: no record at all in {mine[0].path}{hint}")
        elif last["kept"] < (1 - LOST) * first["in"]:
            warnings.append(
                f"sources.{name}: only {last['kept']} of {first['in']} records are kept"
            )
        if first["lost"]:
            warnings.append(
                f"sources.{name}: {first['lost']} records could not be read, {lost[name]}"
            )
    warnings += columns + outlook.warnings
    lines += outlook.lines
    lines += ["", *silent_steps] if silent_steps else []
    lines += ["", *[f"warning: {warning}" for warning in warnings]] if warnings else []
    return Report("\n".join(lines), warnings)


def _canaries(run: Run, folder: Path) -> tuple[list[str], list[str]]:
    """What the canaries of every step say under its configuration, and which steps have none."""

    def place(path: str) -> str:
        return input_path(run, path)

    def nothing(path: str) -> str:
        return ""

    fitted = {f"models.{name}{of}": ("", "") for name in run.models for of in ("", ".cutoffs")}
    warnings: list[str] = []
    silent: list[str] = []
    for name, source in run.sources.items():
        local, _ = resolve_files(source.steps, f"sources.{name}.steps", fitted, place, nothing)
        for i, (use, mine) in enumerate(zip(source.steps, local, strict=True)):
            model = getattr(use.config, "model", None)
            chosen = use if isinstance(model, str) and model.startswith("models.") else mine
            where = f"sources.{name}.steps[{i}]"
            found, reason = run_canaries(chosen, where, folder / f"{name}-{i}")
            warnings += found
            silent += [reason] if reason else []
    return warnings, silent


def _trial_of(run: Run, shards: list[Shard], limit: int) -> Run:
    sources = {}
    for name, source in run.sources.items():
        paths = tuple(s.path for s in shards if s.source == name)[:SHARDS]
        sources[name] = dataclasses.replace(source, paths=paths)
    return dataclasses.replace(
        run,
        sources=sources,
        limit=limit,
        audit_fraction=1.0,
        max_error_fraction=1.0,
        dedup=dataclasses.replace(run.dedup, partitions=1),
    )


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
