"""An index of what was deduplicated, to which new shards are added and from which old ones go.

It holds what `sign` made of each part (keys, bands, shingles, ids), without the texts, and each
document's fate. New parts are signed, the exchanges run over old and new together, in the order in
which one run would have them: so the outcome is that of one run over all, by construction. A new
document may be preferred to an old one; what changes for documents of the index is a row of
`changes/`. The dear pass, over texts, is over new parts only; the exchanges cost .02 ms a document.

What cuts texts (ngrams, segments, paragraphs) needs those that an index does not have: it is for
one run, and refused here. On disk: `index/store.py`; forgetting: `index/forget.py`; an index for
look-ups: `index/export.py`.
"""

from collections.abc import Iterator
from typing import Any

from pipeline import dedup_stages
from pipeline.build_config import ConfigError
from pipeline.config import Run, resolved
from pipeline.dedup_stages import Records
from pipeline.exchange.sign import BANDS, KEYS, SHINGLES
from pipeline.executor import Cluster, make_task
from pipeline.identity import code_version, library_versions
from pipeline.index.store import IDS, SIGN_CODE, Entry, check_apart, finish, located
from pipeline.ledger import conserve
from pipeline.named_files import look_for_files
from pipeline.parts import Part, read_tables
from pipeline.stages import digest_documents, ingest
from pipeline.state import Piece, State, next_pieces
from pipeline.storage import absolute, delete, exists, join, read_json

SIGNED = {"keys": KEYS, "bands": BANDS, "samples": BANDS, "shingles": SHINGLES}


def extend_index(run: Run, out: str, index: str, cluster: Cluster) -> dict[str, Any]:
    """Deduplicates the run's documents against those of the index and adds them to it. Returns the
    manifest of the new documents. Raises ConfigError for settings or parts that do not fit."""
    look_for_files(run, out)
    if mistakes := _not_for_an_index(run):
        raise ConfigError(mistakes)
    index = absolute(index)
    check_apart(index, out)
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


def _load(index: str, run: Run) -> list[Entry]:
    """The parts of an index, none where there is no index yet."""
    if not exists(join(index, "index.json")):
        return []
    stored = read_json(join(index, "index.json"))
    if stored["code"] != code_version(*SIGN_CODE):
        raise ConfigError(
            [f"{index}: made by another version of corpusmill; make it anew from its documents"]
        )
    mistakes = [
        f"{key}: {mine} is not {theirs}, which the index {index} was made with; use that, or start "
        "another index"
        for key, mine, theirs in _differences(resolved(run)["dedup"], stored["dedup"], "dedup")
    ]
    if mistakes:
        raise ConfigError(mistakes)
    return [located(entry, index) for entry in stored["parts"]]


def _differences(
    mine: dict[str, Any], theirs: dict[str, Any], place: str
) -> Iterator[tuple[str, Any, Any]]:
    """(dotted key, value here, value there) of settings that differ."""
    for key in sorted(mine.keys() | theirs.keys()):
        here, a, b = f"{place}.{key}", mine.get(key), theirs.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            yield from _differences(a, b, here)
        elif a != b:
            yield here, a, b


def _entries(state: State, pieces: list[Piece], signed: Records) -> list[Entry]:
    """The new parts, with the ids of their rows."""
    tasks = [
        make_task(
            p.label, ids_part, {"path": p.path}, p.content, code_version("pipeline/index/extend.py")
        )
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
