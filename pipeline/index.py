"""An index of what was deduplicated, to which new shards are added and from which old ones go.

It holds what `sign` made of each part (keys, bands, shingles, ids), without the texts, and each
document's fate. New parts are signed, the exchanges run over old and new together, in the order in
which one run would have them: so the outcome is that of one run over all, by construction. A new
document may be preferred to an old one; what changes for documents of the index is a row of
`changes/`. The dear pass, over texts, is over new parts only; the exchanges cost .02 ms a document.

    index.json   settings, and for each part its files; written last, so a reader sees the old index
                 or the new one
    parts/       the files, named by their content

What cuts texts (ngrams, segments, paragraphs) needs those that an index does not have: it is for
one run, and refused here. Forgetting: `index_forget.py`; an index for look-ups: `index_export.py`.
"""

import shutil
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from pipeline import dedup_stages
from pipeline.build_config import ConfigError, build
from pipeline.config import Dedup, Run, resolved
from pipeline.dedup_stages import Records
from pipeline.exchange import BANDS, KEYS, SHINGLES
from pipeline.exchange_resolve import ROUTED_FATES
from pipeline.executor import Cluster, make_task
from pipeline.ledger import conserve, drop_stale, write_manifest
from pipeline.named_files import look_for_files
from pipeline.parts import Part, path_of, read_tables
from pipeline.stages import digest_documents, ingest
from pipeline.state import Piece, State, content_of, next_pieces
from pipeline.storage import (
    absolute,
    code_version,
    delete,
    exists,
    filesystem,
    join,
    library_versions,
    open_input,
    read_json,
    sweep,
    temporary_suffix,
    write_json,
)

SIGN_CODE = (
    *("dedup/exact.py", "dedup/minhash.py", "dedup/scopes.py"),
    *("filters/kernels.py", "filters/words.py"),
)
SIGNED = {"keys": KEYS, "bands": BANDS, "samples": BANDS, "shingles": SHINGLES}
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


def extend_index(run: Run, out: str, index: str, cluster: Cluster) -> dict[str, Any]:
    """Deduplicates the run's documents against those of the index and adds them to it. Returns the
    manifest of the new documents. Raises ConfigError for settings or parts that do not fit."""
    look_for_files(run)
    if mistakes := _not_for_an_index(run):
        raise ConfigError(mistakes)
    index = absolute(index)
    if index == absolute(out) or exists(join(index, "manifest.json")):
        raise ConfigError([f"{index}: is the output of a run; an index is a directory of its own"])
    old = _load(index, run)
    state = State(run, out, cluster)
    delete(join(state.out, "manifest.json"))
    pieces = ingest(state, "work/ingest")
    new = _entries(state, pieces, dedup_stages.sign(state, pieces))
    entries = _merged(old, new)
    routed = fates_of(state, entries)
    place = {entry["label"]: i for i, entry in enumerate(entries)}
    places = [place[piece.label] for piece in pieces]
    records = dedup_stages.resolve(state, pieces, routed, "documents", places)
    state.counts["dedup"] = conserve("dedup", records, state.last_counts())
    manifest = {
        "name": run.name,
        "config": resolved(run),
        "libraries": library_versions(),
        "stages": state.counts,
        "dedup": state.reports,
        "corpus_digest": digest_documents(state, next_pieces(pieces, records)),
    }
    return finish(state, index, entries, routed, manifest)


def _not_for_an_index(run: Run) -> list[str]:
    """Sections whose outcome would not be that of one run over all."""
    dedup = run.dedup
    mistakes = [
        f"dedup.{name}: an index has no texts to cut; leave it out, and cut in a run over all"
        for name in ("ngrams", "segments", "paragraphs")
        if getattr(dedup, name)
    ]
    if not (dedup.exact or dedup.minhash):
        mistakes.append("dedup: neither exact nor minhash; an index would hold nothing")
    if dedup.compare_scopes:
        mistakes.append("dedup.compare_scopes: is for one run; an index applies dedup.scope")
    mistakes += [
        f"sources.{name}.steps: are for one run; filter first, then add what is kept"
        for name, source in run.sources.items()
        if source.steps
    ]
    later = [name for name in ("tokenizer", "mixture", "train") if getattr(run, name)]
    return mistakes + [f"{name}: is for one run; an index ends with documents" for name in later]


# --- what is in it -----------------------------------------------------------------------------


def dedup_of(settings: dict[str, Any]) -> Any:
    mistakes: list[str] = []
    given = {key: value for key, value in settings.items() if value is not None}
    dedup = build(Dedup, given, "dedup", mistakes)
    if mistakes:
        raise ConfigError(mistakes)
    return dedup


def read_index(index: str) -> dict[str, Any]:
    """What `finish` wrote. Raises ConfigError where there is none."""
    if not exists(join(index, "index.json")):
        raise ConfigError([f"{index}: no index.json; corpusmill dedup --index {index} makes one"])
    return read_json(join(index, "index.json"))


def _load(index: str, run: Run) -> list[Entry]:
    """The parts of an index, none where there is no index yet."""
    if not exists(join(index, "index.json")):
        return []
    stored = read_json(join(index, "index.json"))
    if stored["code"] != code_version(*SIGN_CODE):
        raise ConfigError(
            [f"{index}: made by another version of corpusmill; make it anew from its documents"]
        )
    settings = resolved(run)["dedup"]
    differing = [key for key in settings if stored["dedup"].get(key) != settings[key]]
    if differing:
        raise ConfigError(
            [
                f"dedup.{key}: {settings[key]} is not {stored['dedup'].get(key)}, which the index "
                f"{index} was made with; use that, or start another index"
                for key in differing
            ]
        )
    return [located(entry, index) for entry in stored["parts"]]


def located(entry: Entry, index: str) -> Entry:
    files = {
        role: path if path.startswith("/") else join(index, path)
        for role, path in entry["files"].items()
    }
    return {**entry, "files": files}


def _entries(state: State, pieces: list[Piece], signed: Records) -> list[Entry]:
    """The new parts, with the ids of their rows."""
    tasks = [
        make_task(p.label, ids_part, {"path": p.path}, p.content, code_version("pipeline/index.py"))
        for p in pieces
    ]
    entries = []
    for piece, record, ids in zip(pieces, signed, state.stage("ids", tasks), strict=True):
        files = {**record["files"], **ids["files"]}
        entry: Entry = {"label": piece.label, "source": piece.source, "shard": piece.shard}
        entry |= {"content": piece.content, "shingled": record["counts"].get("shingled", 0)}
        entry["files"] = {role: join(state.out, file["path"]) for role, file in files.items()}
        entry["sha256"] = {role: file["sha256"] for role, file in files.items()}
        entries.append(entry)
    return entries


def ids_part(part: Part, path: str | None) -> dict[str, Any]:
    if path:
        writer = part.table("ids", f"work/{part.stage}", IDS, "ids")
        for table in read_tables(part.root, path, ["id"]):
            writer.write(table)
    return {}


def _merged(old: list[Entry], new: list[Entry]) -> list[Entry]:
    """All parts, in the order that one run gives them. A part that is there already is the same
    part, with the fates that it had."""
    known = {entry["label"]: entry for entry in old}
    mistakes = []
    for entry in new:
        before = known.get(entry["label"])
        shas = {r: sha for r, sha in before["sha256"].items() if r != "fates"} if before else {}
        if before and (before["content"] != entry["content"] or shas != entry["sha256"]):
            mistakes.append(
                f"{entry['label']}: the index has other content of that name, or has forgotten "
                "some of it; give the shard another name or another --source"
            )
        elif before is None:
            known[entry["label"]] = entry
    if mistakes:
        raise ConfigError(mistakes)

    def order(entry: Entry) -> tuple[str, str, int]:
        start = int(entry["label"].rpartition("@")[2])
        return entry["source"] + "/", entry["shard"] + "/", start

    return sorted(known.values(), key=order)


# --- one run over all --------------------------------------------------------------------------


def fates_of(state: State, entries: list[Entry]) -> Records:
    """What `route` says of every part, old and new."""
    pieces = [Piece(e["source"], e["shard"], e["label"], None, e["content"]) for e in entries]
    signed = [
        {
            "files": {
                role: {"path": entry["files"][role], "sha256": entry["sha256"][role]}
                for role in SIGNED
                if role in entry["files"]
            },
            "counts": {"shingled": entry["shingled"]},
        }
        for entry in entries
    ]
    return dedup_stages.find(state, pieces, signed)


def finish(
    state: State, index: str, entries: list[Entry], routed: Records, manifest: dict[str, Any]
) -> dict[str, Any]:
    """Writes what changed for the documents of the index, then the index, then the manifest."""
    tasks, code = [], code_version("pipeline/index.py")
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
