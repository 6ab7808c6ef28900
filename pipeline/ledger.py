"""The proof of the run: what went into every stage, what came out, and why the rest did not.

`conserve` fails a run in which in = kept + removed + lost does not hold exactly, for a stage or
between two.
"""

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from filters.kernels import text_buffers
from pipeline.build_config import ConfigError
from pipeline.executor import StageError
from pipeline.files import File
from pipeline.parts import Part, read_tables
from pipeline.storage import exists, join, read_json, sweep, write_json

DIGEST = pa.schema([("id", pa.string()), ("sha256", pa.binary(32))])
FREE_ERRORS = 20  # records of one shard that may be lost whatever max_error_fraction says


class InputError(StageError):
    """A stage could not finish because of what it was given; the message names the mend, in the
    configuration or in the inputs."""


def total(records: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Counts by source, summed over parts; `removed` by rule."""
    out: dict[str, dict[str, Any]] = {}
    for record in records:
        for source, counts in record["counts"].items():
            if isinstance(counts, dict) and "in" in counts:
                out[source] = _add(out.get(source, {}), counts)
    return dict(sorted(out.items()))


def _add(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    out = dict(left)
    for key, value in right.items():
        if isinstance(value, dict):
            out[key] = dict(sorted(_add(out.get(key, {}), value).items()))
        else:
            out[key] = out.get(key, 0) + value
    return out


def conserve(
    stage: str,
    records: list[dict[str, Any]],
    before: dict[str, dict[str, Any]] | None,
    kept_in: str = "documents",
) -> dict[str, dict[str, Any]]:
    """The stage's counts by source. Raises StageError where documents appeared or vanished: in the
    stage, between the stages, or between the counts and the files."""
    for record in records:
        kept = sum(c["kept"] for c in record["counts"].values())
        removed = sum(sum(c["removed"].values()) for c in record["counts"].values())
        for role, expected in ((kept_in, kept), ("removed", removed)):
            rows = record["files"].get(role, {}).get("rows", 0)
            if rows != expected:
                raise StageError(
                    f"{stage}: {record['label']}: {expected} {role} counted, {rows} written"
                )
    counts = total(records)
    for source, c in counts.items():
        out = c["kept"] + sum(c["removed"].values()) + c["lost"]
        if c["in"] != out:
            raise StageError(
                f"{stage}: {source}: in {c['in']} != kept {c['kept']} + removed "
                f"{sum(c['removed'].values())} + lost {c['lost']}"
            )
        if before is not None and c["in"] != before[source]["kept"]:
            kept = before[source]["kept"]
            raise StageError(
                f"{stage}: {source}: {kept} documents were handed on, {c['in']} came in"
            )
    return counts


def check_errors(
    stage: str, shards: list[str], records: list[dict[str, Any]], max_error_fraction: float
) -> None:
    """Raises StageError for shards that lost more than the allowed share of their records.
    `shards[i]` is part i's."""
    seen: dict[str, list[int]] = {}
    for shard, record in zip(shards, records, strict=True):
        for counts in record["counts"].values():
            entry = seen.setdefault(shard, [0, 0])
            entry[0] += counts["damaged"]
            entry[1] += counts["in"]
    bad = [
        f"{stage}: {shard}: {lost} of {n} records lost, more than max_error_fraction = "
        f"{max_error_fraction:g} and more than {FREE_ERRORS}; look at errors/, then mend the "
        "shard or raise the limit"
        for shard, (lost, n) in seen.items()
        if lost > FREE_ERRORS and lost > max_error_fraction * n
    ]
    if bad:
        raise StageError("\n".join(bad))


def check_sources(
    root: str,
    counts: dict[str, dict[str, Any]],
    records: list[dict[str, Any]],
    hint: Callable[[str], str],
) -> None:
    """Raises InputError for the sources of which every record was lost: the wrong format, the wrong
    column. A line names the commonest error and ends with what `hint` says of the source."""
    lost = [name for name, c in counts.items() if c["lost"] and not (c["kept"] or c["removed"])]
    lines = []
    for name in lost:
        kind, message = commonest_error(root, records, name)
        n = counts[name]["lost"]
        lines.append(
            f"sources.{name}: all {n} records were lost, most to {kind}: {message}{hint(name)}"
        )
    if lines:
        raise InputError("\n".join(lines))


def commonest_error(root: str, records: list[dict[str, Any]], source: str) -> tuple[str, str]:
    """(kind, one message of it) of what a source lost most records to."""
    seen: Counter[str] = Counter()
    messages: dict[str, str] = {}
    for record in records:
        path = record["files"].get("errors", {}).get("path", "")
        if path.startswith(f"errors/{source}/"):
            for table in read_tables(root, path, ["error", "message", "lost"]):
                for row in table.to_pylist():
                    if row["lost"]:
                        seen[row["error"]] += 1
                        messages.setdefault(row["error"], row["message"])
    [(kind, _)] = seen.most_common(1)
    return kind, messages[kind]


def digest_part(part: Part, path: str | None) -> dict[str, Any]:
    """(id, sha256 of the text) of each document, sorted by id."""
    if path is None:
        return {"first": None, "last": None}
    tables = []
    for table in read_tables(part.root, path, ["id", "text"]):
        data, offsets = text_buffers(table["text"])
        ends, view = offsets.tolist(), data.data
        hashes = [hashlib.sha256(view[a:b]).digest() for a, b in itertools.pairwise(ends)]
        tables.append(pa.table({"id": table["id"], "sha256": hashes}, schema=DIGEST))
    rows = pa.concat_tables(tables).sort_by([("id", "ascending"), ("sha256", "ascending")])
    part.table("digest", "work/digest", DIGEST, "digest").write(rows)
    return {"first": rows["id"][0].as_py(), "last": rows["id"][-1].as_py()}


def corpus_digest(root: str, records: list[dict[str, Any]]) -> str:
    """sha256 over the sorted (id, sha256(text)) of all documents. Raises InputError for an id that
    occurs twice.

    Parts whose id ranges do not overlap are taken one after the other; memory is that of the parts
    that do.
    """
    spans = sorted(
        (r["counts"]["first"], r["counts"]["last"], File(**r["files"]["digest"]).path)
        for r in records
        if "digest" in r["files"]
    )
    overall = hashlib.sha256()
    previous = part = None
    for group in _overlapping(spans):
        tables = [
            table.append_column("part", pa.array([path] * table.num_rows))
            for path in group
            for table in read_tables(root, path)
        ]
        for row in pa.concat_tables(tables).sort_by("id").to_pylist():
            if row["id"] == previous:
                raise InputError(
                    f"documents: the id {row['id']!r} occurs twice ({row['part']} and {part}); "
                    'make ids unique, or set id_column = "" so that they are made of shard and row'
                )
            previous, part = row["id"], row["part"]
            overall.update(previous.encode() + b"\0" + row["sha256"])
    return overall.hexdigest()


def _overlapping(spans: list[tuple[str, str, str]]) -> Iterator[list[str]]:
    group: list[str] = []
    end = ""
    for first, last, path in spans:
        if group and first > end:
            yield group
            group = []
        group.append(path)
        end = max(end, last)
    if group:
        yield group


def write_manifest(root: str, manifest: dict[str, Any]) -> None:
    write_json(join(root, "manifest.json"), manifest)


def read_manifest(root: str) -> dict[str, Any]:
    """Of a finished run. Raises ConfigError for a directory that is none."""
    path = join(root, "manifest.json")
    if not exists(path):
        what = f"{root}: no manifest.json; it is not the output of a finished run. If it was one"
        raise ConfigError([f"{what} that stopped, the same command goes on there"])
    try:
        manifest = read_json(path)
        found = {key: type(manifest[key]) for key in ("stages", "config")}
    except (ValueError, KeyError, TypeError) as error:
        found = {"": type(error)}
    if set(found.values()) != {dict}:
        what = f"{path}: damaged, or not a manifest of a run; run the same command again"
        raise ConfigError([f"{what}, which writes it anew"])
    return manifest


# Folders that belong to one stage; documents/, removed/ and errors/ belong to the run.
FOLDERS = {"models": "models", "tokenizer": "tokenizer", "tokenize": "tokens", "pack": "packed"}


def drop_stale(root: str, current: dict[str, list[dict[str, Any]]]) -> None:
    """Deletes the files of the stages of this run that none of its records names, and records of
    parts that are no longer part of it. Stages that did not run this time keep theirs."""
    keep = {
        file["path"]
        for records in current.values()
        for record in records
        for file in record["files"].values()
    }
    folders = ["documents", "removed", "errors", "contamination"]
    for stage, records in current.items():
        keep |= {f"_parts/{stage}/{record['key']}.json" for record in records}
        folders += [f"work/{stage}", f"_parts/{stage}", *filter(None, [FOLDERS.get(stage)])]
    for folder in folders:
        sweep(root, folder, keep)
