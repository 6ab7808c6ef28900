"""Deduplication as stages: one pass over the texts to sign them, exchanges of small rows, one pass
to write what is left. What the tasks do: `exchange/`.

Exact duplicates go first and make no candidate pairs; near-duplicates and exact ones make no
windows of repeated words. The files of `sign` depend on their own part only, so a new shard
leaves them valid.
"""

import dataclasses
import sys
from collections.abc import Callable
from typing import Any

from dedup.lsh import CURVE_AT, choose_bands, s_curve
from dedup.paragraphs import Paragraphs
from dedup.recall import DOCUMENTS
from pipeline.config import resolved
from pipeline.exchange.equal import exact_partition, gone_partition, repeats_partition
from pipeline.exchange.graph import (
    clusters_task,
    components_task,
    graph_partition,
    keepers_partition,
)
from pipeline.exchange.near import pairs_partition, recall_task, sets_partition, verify_partition
from pipeline.exchange.paragraphs import decide_partition, seen_partition, share_partition
from pipeline.exchange.resolve import resolve_part, route_partition
from pipeline.exchange.scopes import scopes_partition, scopes_report
from pipeline.exchange.sign import EXCHANGED, scoped, sign_part
from pipeline.executor import make_task
from pipeline.identity import code_version
from pipeline.ledger import conserve
from pipeline.parts import path_of
from pipeline.state import Piece, State, content_of, contents, next_pieces, paths

Records = list[dict[str, Any]]

DEDUP_CODE = (
    "dedup",
    "filters/kernels.py",
    "filters/words.py",
    "pipeline/exchange",
    "pipeline/files.py",
    "pipeline/parts.py",
    "pipeline/schema.py",
    "pipeline/tally.py",
)
ROUNDS = 32  # of `_find_seen`; a paragraph that is open after them stays
ROUTED = ("fates", "keepers", "clusters", "repeats")


def deduplicate(state: State, pieces: list[Piece], out: str) -> list[Piece]:
    """The pieces without their exact, near and n-gram duplicates, as far as each is configured."""
    routed = find(state, pieces, sign(state, pieces))
    records = resolve(state, pieces, routed, out, list(range(len(pieces))))
    state.counts["dedup"] = conserve("dedup", records, state.last_counts())
    return next_pieces(pieces, records)


def find(state: State, pieces: list[Piece], signed: Records) -> Records:
    """The exchanges: from what `sign` made of each piece to what happens to its documents."""
    dedup = state.run.dedup
    exact, near = _find_documents(state, pieces, signed)
    if len(dedup.scopes) > 1:
        state.reports["scopes"] = _compare_scopes(state, pieces, signed, exact + near)
    repeats: Records = []
    if isinstance(dedup.spans, Paragraphs):
        repeats = _find_seen(state, pieces, signed, exact + near)
    elif dedup.spans:
        repeats = _find_repeats(state, signed, exact + near)
    return _route(state, pieces, exact, near, repeats)


def _find_documents(state: State, pieces: list[Piece], signed: Records) -> tuple[Records, Records]:
    """Those to remove whole: exact duplicates, near-duplicates."""
    dedup = state.run.dedup
    exact = _find_exact(state, signed) if dedup.exact else []
    return exact, _find_near(state, pieces, signed, exact) if dedup.minhash else []


def _compare_scopes(
    state: State, pieces: list[Piece], signed: Records, applied: Records
) -> dict[str, Any]:
    """What each scope would remove: the same exchanges, from the files that `sign` made for it."""
    found = [applied]
    for i in range(1, len(state.run.dedup.scopes)):
        exact, near = _find_documents(
            state.aside(f"@{i}"), pieces, [_in_scope(record, i) for record in signed]
        )
        found.append(exact + near)
    args: dict[str, Any] = {"fates": [paths(records, "fates") for records in found]}
    args |= {"documents": [piece.path for piece in pieces]}
    inputs = [*(contents(records, "fates") for records in found), [p.content for p in pieces]]
    counted = _by_partition(state, "scopes", scopes_partition, args, inputs)
    return scopes_report(state.run.dedup.scopes, [record["counts"] for record in counted])


def _in_scope(record: dict[str, Any], i: int) -> dict[str, Any]:
    """What `sign` made for the i-th scope, under the names of the first."""
    files = record["files"]
    names = {role: scoped(role, i) for role in EXCHANGED}
    mine = {role: files[name] for role, name in names.items() if name in files}
    return {**record, "files": {**files, **mine}}


def sign(state: State, pieces: list[Piece]) -> Records:
    run, dedup = state.run, state.run.dedup
    bands = _banding(state)
    if dedup.minhash:
        curve = ", ".join(f"{share:.0%} at {s:g}" for s, share in s_curve(*bands))
        print(f"minhash: {bands[0]} bands of {bands[1]} rows propose {curve}", file=sys.stderr)
    priorities = {name: i for i, name in enumerate(dedup.prefer)}
    methods = resolved(run)["dedup"]
    tasks = []
    for piece in pieces:
        priority = priorities.get(piece.source, len(priorities))
        args: dict[str, Any] = {"path": piece.path, "priority": priority, "bands": bands}
        args |= {"exact": dedup.exact, "minhash": dedup.minhash, "spans": dedup.spans}
        args |= {"signal": dedup.prefer_signal, "scopes": dedup.scopes}
        args |= {"partitions": dedup.partitions, "batch_bytes": run.batch_bytes}
        identity = [piece.content, priority, bands, methods, run.batch_bytes]
        code = code_version(*DEDUP_CODE)
        tasks.append(make_task(piece.label, sign_part, args, *identity, code))
    return state.stage("sign", tasks)


def _banding(state: State) -> tuple[int, int]:
    if not (config := state.run.dedup.minhash):
        return 0, 0
    return choose_bands(config.similarity, config.recall, config.permutations)


def _find_exact(state: State, signed: Records) -> Records:
    args: dict[str, Any] = {"keys": [path_of(record, "keys") for record in signed]}
    args |= {"config": state.run.dedup.exact}
    return _by_partition(state, "exact", exact_partition, args, [contents(signed, "keys")])


def _gone(state: State, stage: str, fates: Records) -> Records:
    """What those fates remove, for the exchange after them."""
    if not fates:
        return []
    inputs, args = [contents(fates, "fates")], {"fates": paths(fates, "fates")}
    return _by_partition(state, stage, gone_partition, args, inputs)


def _find_near(state: State, pieces: list[Piece], signed: Records, exact: Records) -> Records:
    dedup, banding = state.run.dedup, _banding(state)
    config = {"config": dedup.minhash}
    args: dict[str, Any] = {
        role: [path_of(r, role) for r in signed] for role in ("bands", "samples")
    }
    n_shingled = sum(record["counts"].get("shingled", 0) for record in signed)
    gone = _gone(state, "gone-exact", exact)
    args |= {"gone": paths(gone, "gone"), "fraction": min(1.0, DOCUMENTS / max(n_shingled, 1))}
    inputs = [contents(signed, "bands"), contents(signed, "samples"), contents(gone, "gone")]
    paired = _by_partition(state, "pairs", pairs_partition, args | config, inputs)

    args = {"wanted": paths(paired, "wanted")}
    args |= {"shingles": [path_of(record, "shingles") for record in signed]}
    inputs = [contents(paired, "wanted"), contents(signed, "shingles")]
    sets = _by_partition(state, "sets", sets_partition, args, inputs)

    args = {"pairs": paths(paired, "pairs"), "sets": paths(sets, "sets")}
    inputs = [contents(paired, "pairs"), contents(sets, "sets")]
    verified = _by_partition(state, "verify", verify_partition, args | config, inputs)
    near = _find_keepers(state, pieces, verified)
    state.reports["minhash"] = _minhash_report(state, pieces, verified, near, banding)
    return near


def _find_keepers(state: State, pieces: list[Piece], verified: Records) -> Records:
    dedup, code = state.run.dedup, code_version(*DEDUP_CODE)
    args: dict[str, Any] = {"forests": paths(verified, "forest"), "partitions": dedup.partitions}
    identity = [contents(verified, "forest"), dedup.partitions, code]
    task = make_task("the verified graph", components_task, args, *identity)
    merged = state.stage("components", [task])

    args = {"edges": [path_of(record, "edges") for record in verified]}
    args |= {"component": paths(merged, "components")}
    inputs = [contents(verified, "edges"), contents(merged, "components")]
    graph = _by_partition(state, "graph", graph_partition, args, inputs)

    args = {role: paths(graph, role) for role in ("edges", "nodes")}
    args |= {"config": dedup.minhash, "over": dedup.report_clusters_over}
    inputs = [contents(graph, "edges"), contents(graph, "nodes")]
    return _by_partition(state, "keepers", keepers_partition, args, inputs)


def _minhash_report(
    state: State, pieces: list[Piece], verified: Records, near: Records, banding: tuple[int, int]
) -> dict[str, Any]:
    """What the bands proposed and missed, and the large clusters, for the manifest."""
    config = state.run.dedup.minhash
    assert config
    counts = [record["counts"] for record in verified]
    candidates = sum(c["candidate_pairs"] for c in counts)
    pairs = sum(c["verified_pairs"] for c in counts)
    code = code_version(*DEDUP_CODE)
    args: dict[str, Any] = {"sampled": paths(verified, "sampled"), "fates": paths(near, "fates")}
    args |= {"config": config, "banding": banding, "partitions": state.run.dedup.partitions}
    identity: list[Any] = [contents(verified, "sampled"), contents(near, "fates"), banding, code]
    identity += [config.similarity, state.run.dedup.partitions]
    task = make_task("the sampled pairs", recall_task, args, *identity)
    [measured] = state.stage("recall", [task])
    recall = measured["counts"]["recall"]
    promised = dict(s_curve(*banding))
    for at in CURVE_AT:
        recall["by_similarity"][f"{at:g}"]["at_lower_end"] = round(promised[at], 4)
    args = {"large": paths(near, "large"), "documents": [piece.path for piece in pieces]}
    identity = [contents(near, "large"), [piece.content for piece in pieces]]
    task = make_task("large clusters", clusters_task, args, *identity, code)
    [found] = state.stage("clusters", [task])
    return {
        "bands": banding[0],
        "rows": banding[1],
        "candidate_pairs": candidates,
        "verified_pairs": pairs,
        "precision_of_candidates": round(pairs / candidates, 4) if candidates else None,
        "recall": recall,
        "clusters": sum(record["counts"]["clusters"] for record in near),
        "large_clusters": sum(record["counts"]["large_clusters"] for record in near),
        "largest_clusters": found["counts"]["largest"],
    }


def _find_repeats(state: State, signed: Records, fates: Records) -> Records:
    args: dict[str, Any] = {"windows": [path_of(record, "windows") for record in signed]}
    gone = _gone(state, "gone", fates)
    args |= {"gone": paths(gone, "gone"), "config": state.run.dedup.spans}
    inputs = [contents(signed, "windows"), contents(gone, "gone")]
    return _by_partition(state, "repeats", repeats_partition, args, inputs)


def _find_seen(state: State, pieces: list[Piece], signed: Records, fates: Records) -> Records:
    """Rounds of `seen` and `decide`, until nothing is open."""
    args: dict[str, Any] = {"windows": [path_of(record, "windows") for record in signed]}
    gone = _gone(state, "gone", fates)
    args |= {"gone": paths(gone, "gone")}
    inputs = [contents(signed, "windows"), contents(gone, "gone")]
    seen = _by_partition(state, "seen-1", share_partition, args, inputs)
    known: dict[str, Any] = {"sizes": [path_of(record, "sizes") for record in signed]}
    known |= {"keepers": paths(fates, "keepers"), "config": state.run.dedup.paragraphs}
    known |= {"documents": [piece.path for piece in pieces]}
    given = [contents(signed, "sizes"), contents(fates, "keepers"), [p.content for p in pieces]]
    shared = {"shared": [path_of(record, "shared") for record in seen]}
    n_rounds = 1
    while True:
        args = {"counts": paths(seen, "counts"), **known}
        inputs = [contents(seen, "counts"), *given]
        decide = decide_partition
        decided = _by_partition(state, f"decide-{n_rounds}", decide, args, inputs)
        n_open = sum(record["counts"]["open"] for record in decided)
        if n_open == 0 or n_rounds == ROUNDS:
            break
        n_rounds += 1
        args = {"unsettled": paths(decided, "unsettled"), **shared}
        inputs = [contents(decided, "unsettled"), contents(seen, "shared")]
        look = seen_partition
        seen = _by_partition(state, f"seen-{n_rounds}", look, args, inputs)
    state.reports["paragraphs"] = {"rounds": n_rounds, "open": n_open}
    return decided


def _route(
    state: State, pieces: list[Piece], exact: Records, near: Records, repeats: Records
) -> Records:
    others = near + repeats  # only repeated paragraphs have fates, of whole documents
    args: dict[str, Any] = {"exact": paths(exact, "fates"), "near": paths(others, "fates")}
    args |= {"keepers": paths(exact + near, "keepers"), "clusters": paths(near, "clusters")}
    args |= {"repeats": paths(repeats, "repeats")}
    args |= {"documents": [piece.path for piece in pieces]}
    inputs = [contents(exact, "fates"), contents(others, "fates"), contents(repeats, "repeats")]
    inputs += [contents(near, "clusters"), contents(exact + near, "keepers")]
    inputs.append([piece.content for piece in pieces])
    return _by_partition(state, "route", route_partition, args, inputs)


def resolve(
    state: State, pieces: list[Piece], routed: Records, out: str, places: list[int]
) -> Records:
    """`places[i]`: which of the pieces that were exchanged piece i is."""
    run, spans = state.run, state.run.dedup.spans
    tasks = []
    for i, piece in zip(places, pieces, strict=True):
        mine = routed[i % len(routed)]
        args: dict[str, Any] = {"source": piece.source, "path": piece.path, "spans": spans}
        args |= {role: path_of(mine, f"{role}-{i}") for role in ROUTED}
        args |= {"out": out, "batch_bytes": run.batch_bytes, "minhash": bool(run.dedup.minhash)}
        identity: list[Any] = [piece.content, [content_of(mine, f"{role}-{i}") for role in ROUTED]]
        identity += [
            dataclasses.asdict(spans) if spans else None,
            out,
            run.batch_bytes,
            args["minhash"],
        ]
        code = code_version(*DEDUP_CODE)
        tasks.append(make_task(piece.label, resolve_part, args, *identity, code))
    return state.stage("dedup", tasks)


def _by_partition(
    state: State, stage: str, function: Callable, args: dict[str, Any], inputs: list
) -> Records:
    """One task a partition. `inputs`: the content of what it reads."""
    n, methods = state.run.dedup.partitions, resolved(state.run)["dedup"]
    code = code_version(*DEDUP_CODE)
    tasks = []
    for p in range(n):
        full = {**args, "partition": p, "partitions": n}
        tasks.append(make_task(f"partition {p} of {n}", function, full, inputs, methods, code))
    return state.stage(stage, tasks)
