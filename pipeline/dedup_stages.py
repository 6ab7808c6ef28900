"""Deduplication as stages: one pass over the texts to sign them, exchanges of small rows, one pass
to write what is left. What the tasks do: `exchange.py`.

Exact duplicates go first and make no candidate pairs; near-duplicates and exact ones make no
windows of repeated words. The files of `sign` depend on their own part only, so a new shard
leaves them valid.
"""

import dataclasses
import sys
from collections.abc import Callable
from typing import Any

from dedup.lsh import choose_bands, s_curve
from pipeline import exchange
from pipeline.config import resolved
from pipeline.executor import make_task
from pipeline.ledger import conserve
from pipeline.parts import path_of
from pipeline.state import Piece, State, content_of, contents, next_pieces, paths
from pipeline.storage import code_version

Records = list[dict[str, Any]]

DEDUP_CODE = (
    "dedup",
    "filters/kernels.py",
    "pipeline/exchange.py",
    "pipeline/parts.py",
    "pipeline/schema.py",
)
ROUTED = ("fates", "keepers", "repeats")


def deduplicate(state: State, pieces: list[Piece], out: str) -> list[Piece]:
    """The pieces without their exact, near and n-gram duplicates, as far as each is configured."""
    dedup = state.run.dedup
    signed = _sign(state, pieces)
    exact = _find_exact(state, signed) if dedup.exact else []
    near = _find_near(state, signed, exact) if dedup.minhash else []
    repeats = _find_repeats(state, signed, exact + near) if dedup.ngrams else []
    routed = _route(state, pieces, exact, near, repeats)
    records = _resolve(state, pieces, routed, out)
    state.counts["dedup"] = conserve("dedup", records, state.last_counts())
    return next_pieces(pieces, records)


def _sign(state: State, pieces: list[Piece]) -> Records:
    run, dedup = state.run, state.run.dedup
    bands = (0, 0)
    if dedup.minhash:
        config = dedup.minhash
        bands = choose_bands(config.similarity, config.recall, config.permutations)
        curve = ", ".join(f"{share:.0%} at {s:g}" for s, share in s_curve(*bands))
        print(f"minhash: {bands[0]} bands of {bands[1]} rows propose {curve}", file=sys.stderr)
    priorities = {name: i for i, name in enumerate(dedup.prefer)}
    methods = resolved(run)["dedup"]
    tasks = []
    for piece in pieces:
        priority = priorities.get(piece.source, len(priorities))
        args: dict[str, Any] = {"path": piece.path, "priority": priority, "bands": bands}
        args |= {"exact": dedup.exact, "minhash": dedup.minhash, "ngrams": dedup.ngrams}
        args |= {"partitions": dedup.partitions, "batch_bytes": run.batch_bytes}
        identity = [piece.content, priority, bands, methods, run.batch_bytes]
        code = code_version(*DEDUP_CODE)
        tasks.append(make_task(piece.label, exchange.sign_part, args, *identity, code))
    return state.stage("sign", tasks)


def _find_exact(state: State, signed: Records) -> Records:
    args: dict[str, Any] = {"keys": [path_of(record, "keys") for record in signed]}
    return _by_partition(state, "exact", exchange.exact_partition, args, [contents(signed, "keys")])


def _find_near(state: State, signed: Records, exact: Records) -> Records:
    config, n = state.run.dedup.minhash, state.run.dedup.partitions
    args: dict[str, Any] = {"bands": [path_of(record, "bands") for record in signed]}
    args |= {"fates": paths(exact, "fates"), "config": config}
    inputs = [contents(signed, "bands"), contents(exact, "fates")]
    paired = _by_partition(state, "pairs", exchange.pairs_partition, args, inputs)

    args = {"shingles": [path_of(record, "shingles") for record in signed]}
    args |= {"pairs": paths(paired, "pairs"), "config": config}
    inputs = [contents(paired, "pairs"), contents(signed, "shingles")]
    verified = _by_partition(state, "verify", exchange.verify_partition, args, inputs)

    args = {"edges": paths(verified, "edges"), "config": config, "partitions": n}
    assert config
    identity: list[Any] = [contents(verified, "edges"), dataclasses.asdict(config), n]
    code = code_version(*DEDUP_CODE)
    task = make_task("the verified graph", exchange.keepers_task, args, *identity, code)
    return state.stage("keepers", [task])


def _find_repeats(state: State, signed: Records, fates: Records) -> Records:
    args: dict[str, Any] = {"windows": [path_of(record, "windows") for record in signed]}
    args |= {"fates": paths(fates, "fates"), "config": state.run.dedup.ngrams}
    inputs = [contents(signed, "windows"), contents(fates, "fates")]
    return _by_partition(state, "repeats", exchange.repeats_partition, args, inputs)


def _route(
    state: State, pieces: list[Piece], exact: Records, near: Records, repeats: Records
) -> Records:
    args: dict[str, Any] = {"exact": paths(exact, "fates"), "near": paths(near, "fates")}
    args |= {"keepers": paths(exact + near, "keepers"), "repeats": paths(repeats, "repeats")}
    args |= {"documents": [piece.path for piece in pieces]}
    inputs = [contents(exact, "fates"), contents(near, "fates"), contents(repeats, "repeats")]
    inputs.append([piece.content for piece in pieces])
    return _by_partition(state, "route", exchange.route_partition, args, inputs)


def _resolve(state: State, pieces: list[Piece], routed: Records, out: str) -> Records:
    run, ngrams = state.run, state.run.dedup.ngrams
    tasks = []
    for i, piece in enumerate(pieces):
        mine = routed[i % len(routed)]
        args: dict[str, Any] = {"source": piece.source, "path": piece.path, "ngrams": ngrams}
        args |= {role: path_of(mine, f"{role}-{i}") for role in ROUTED}
        args |= {"out": out, "batch_bytes": run.batch_bytes}
        identity: list[Any] = [piece.content, [content_of(mine, f"{role}-{i}") for role in ROUTED]]
        identity += [dataclasses.asdict(ngrams) if ngrams else None, out, run.batch_bytes]
        code = code_version(*DEDUP_CODE)
        tasks.append(make_task(piece.label, exchange.resolve_part, args, *identity, code))
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
