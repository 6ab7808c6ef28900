"""An index as it lies on disk: reading it, and writing it with what changed for its documents.

index.json   settings, and for each part its files; written last, so a reader sees the old index
             or the new one
parts/       the files, named by their content
"""

import shutil
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from pipeline.build_config import ConfigError, build
from pipeline.config import Dedup, resolved
from pipeline.dedup_stages import Records
from pipeline.exchange.resolve import ROUTED_FATES
from pipeline.executor import make_task
from pipeline.files import located as files_located
from pipeline.identity import code_version
from pipeline.ledger import drop_stale, write_manifest
from pipeline.parts import Part, path_of, read_tables
from pipeline.state import State, content_of
from pipeline.storage import (
    absolute,
    exists,
    filesystem,
    join,
    open_input,
    read_json,
    sweep,
    temporary_suffix,
    write_json,
)

SIGN_CODE = (
    *("dedup/columns.py", "dedup/exact.py", "dedup/minhash.py", "dedup/scopes.py"),
    *("filters/kernels.py", "filters/words.py"),
)
IDS = pa.schema([("id", pa.string())])
CHANGES = pa.schema(
    [
        ("id", pa.string()),
        ("change", pa.string()),  # removed; restored; matched: it goes for another document now
        ("rule", pa.string()),
        ("matched_id", pa.string()),
        ("similarity", pa.float64()),
    ]
)
Entry = dict[str, Any]  # a part: label, source, shard, content, shingled, files {role: path}


def read_index(index: str) -> dict[str, Any]:
    """What `finish` wrote. Raises ConfigError where there is none."""
    if not exists(join(index, "index.json")):
        raise ConfigError([f"{index}: no index.json; corpusmill dedup --index {index} makes one"])
    return read_json(join(index, "index.json"))


def check_apart(index: str, out: str) -> None:
    """Raises ConfigError for an index that is the output of a run, or is to be that."""
    if index == absolute(out) or exists(join(index, "manifest.json")):
        raise ConfigError([f"{index}: is the output of a run; an index is a directory of its own"])


def dedup_of(settings: dict[str, Any]) -> Any:
    mistakes: list[str] = []
    given = {key: value for key, value in settings.items() if value is not None}
    dedup = build(Dedup, given, "dedup", mistakes)
    if mistakes:
        raise ConfigError(mistakes)
    return dedup


def located(entry: Entry, index: str) -> Entry:
    """With paths that do not need the index's own; those of a run's output are so already."""
    files = {role: files_located(index, path) for role, path in entry["files"].items()}
    return {**entry, "files": files}


def finish(
    state: State, index: str, entries: list[Entry], routed: Records, manifest: dict[str, Any]
) -> dict[str, Any]:
    """Writes what changed for the documents of the index, then the index, then the manifest."""
    tasks, code = [], code_version("pipeline/index/store.py")
    for i, entry in enumerate(entries):
        mine, role = routed[i % len(routed)], f"fates-{i}"
        if "fates" in entry["sha256"]:
            args = {"ids": entry["files"].get("ids"), "before": entry["files"].get("fates")}
            args |= {"after": path_of(mine, role)}
            identity = [entry["sha256"], content_of(mine, role), code]
            tasks.append(make_task(entry["label"], changes_part, args, *identity))
    changed = state.stage("changes", tasks)
    keep = {file["path"] for record in changed for file in record["files"].values()}
    sweep(state.out, "changes", keep)
    counts = {
        name: sum(record["counts"][name] for record in changed)
        for name in ("removed", "restored", "matched")
    }
    stored = []
    for i, entry in enumerate(entries):
        mine, role = routed[i % len(routed)], f"fates-{i}"
        path = path_of(mine, role)
        files = {role: place for role, place in entry["files"].items() if role != "fates"}
        files |= {"fates": join(state.out, path)} if path else {}
        shas = {**entry["sha256"], "fates": content_of(mine, role)}
        inside = {role: _copy(place, index, shas[role]) for role, place in files.items()}
        stored.append({**entry, "files": inside, "sha256": shas})
    settings = resolved(state.run)["dedup"]
    value = {"dedup": settings, "code": code_version(*SIGN_CODE), "parts": stored}
    write_json(join(index, "index.json"), value)
    sweep(index, "parts", {path for entry in stored for path in entry["files"].values()})
    manifest["changes"] = counts
    drop_stale(state.out, state.records)
    write_manifest(state.out, manifest)
    return manifest


def changes_part(
    part: Part, ids: str | None, before: str | None, after: str | None
) -> dict[str, Any]:
    """The documents of one part of the index whose fate is another one now."""
    if ids is None:
        return {"removed": 0, "restored": 0, "matched": 0}
    names = pa.concat_tables(list(read_tables(part.root, ids)))["id"]
    was, now = (
        {row["doc"]: row for table in _tables(part.root, path) for row in table.to_pylist()}
        for path in (before, after)
    )
    rows = []
    for doc in sorted(was.keys() | now.keys()):
        name, fate = names[doc].as_py(), now.get(doc)
        if name is None:
            continue  # it was forgotten
        if fate is None:
            rows.append({"id": name, "change": "restored"})
        elif doc not in was or any(was[doc][k] != fate[k] for k in ("rule", "matched_id")):
            keys = ("rule", "matched_id", "similarity")
            change = "matched" if doc in was else "removed"
            rows.append({"id": name, "change": change, **{k: fate[k] for k in keys}})
    table = pa.Table.from_pylist(rows, schema=CHANGES)
    part.table("changes", "changes", CHANGES).write(table)
    return {
        kind: sum(row["change"] == kind for row in rows)
        for kind in ("removed", "restored", "matched")
    }


def _tables(root: str, path: str | None) -> list[pa.Table]:
    return list(read_tables(root, path)) if path else [ROUTED_FATES.empty_table()]


def _copy(path: str, index: str, sha256: str) -> str:
    """A file of the index with this content, which is copied there if it is not."""
    name = f"parts/{sha256}{PurePosixPath(path).suffix}"
    if not exists(join(index, name)):
        fs, place = filesystem(join(index, name))
        fs.create_dir(str(PurePosixPath(place).parent), recursive=True)
        with open_input(path) as source:
            sink = fs.open_output_stream(place + temporary_suffix())
            shutil.copyfileobj(source, sink, 1 << 20)
            sink.close()
        fs.move(place + temporary_suffix(), place)
    return name
