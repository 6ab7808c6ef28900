"""From the kept documents to a trained model: tokenizer, tokens, mixture, packed rows, training.

The mixture is a shuffle of all sources by one key: tokens parts say how many tokens lie in which
hash bucket (`mixture`), the sum says how far into each source the budget reaches, each part then
sends its chosen documents to the packed part that its key falls in (`choose`), and packed parts are
filled in the order of the key (`pack`).
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.executor import Cluster, StageError, make_task, run_stage
from pipeline.ledger import conserve
from pipeline.mixture import (
    BUCKETS,
    KEY_BITS,
    SourcePlan,
    bucket_histogram,
    choose_documents,
    plan_mixture,
)
from pipeline.parts import Part, path_of, read_partition, read_tables
from pipeline.schema import tokens_schema
from pipeline.state import Piece, State, contents
from pipeline.storage import code_version, join, local_copy
from pipeline.tasks import fit_tokenizer, tokenize_part
from tokenizer.encode import digest as tokenizer_digest
from tokenizer.encode import load as load_tokenizer
from tokenizer.encode import load_kernel
from train.config import Train
from train.packing import write_packed

TOKEN_CODE = (
    "tokenizer",
    "filters/kernels.py",
    "pipeline/tasks.py",
    "pipeline/schema.py",
    "pipeline/parts.py",
)
PACK_CODE = (
    "train/packing.py",
    "pipeline/mixture.py",
    "pipeline/token_stages.py",
    "pipeline/parts.py",
)
TRAIN_CODE = ("train",)

PACKED_PART_TOKENS = 1 << 26  # one packed file; what a pack task holds
HISTOGRAM = pa.schema([("bucket", pa.uint16()), ("tokens", pa.int64())])


def make_tokens(state: State, pieces: list[Piece], until: str | None) -> dict[str, Any]:
    """The stages after the documents, as far as the configuration and `until` go; their figures for
    the manifest."""
    run = state.run
    figures: dict[str, Any] = {}
    steps = ["tokenizer", "tokenize", "pack", "train"]
    wanted = steps[: steps.index(until) + 1] if until in steps else steps
    if not run.tokenizer:
        return figures
    model, figures["tokenizer"] = make_tokenizer(state, pieces)
    if "tokenize" not in wanted:
        return figures
    records = tokenize(state, pieces, model)
    if not run.mixture or "pack" not in wanted:
        return figures
    packed, figures["mixture"], figures["packing"] = mix_and_pack(state, pieces, records, model)
    if not run.train or "train" not in wanted:
        return figures
    figures["training"] = train_model(state, packed, tokenizer_digest(model))
    return figures


def make_tokenizer(state: State, pieces: list[Piece]) -> tuple[str, dict[str, Any]]:
    """The path of tokenizer.model (below the root, or as the configuration names it) and its
    figures."""
    run, config = state.run, state.run.tokenizer
    assert config
    if config.model:
        path = local_copy(state.place(config.model))
        return path, {
            "vocab_size": load_tokenizer(path).get_piece_size(),
            "digest": tokenizer_digest(path),
        }
    sources = _sampled_sources(state, pieces, config.sample_bytes)
    args: dict[str, Any] = {"sources": sources, "config": config, "seed": run.seed}
    settings = {k: v for k, v in dataclasses.asdict(config).items() if k != "impl"}
    shares = [share for _, share in sources]
    identity = [[p.content for p in pieces], settings, shares, run.seed]
    task = make_task("tokenizer", fit_tokenizer, args, *identity, code_version(*TOKEN_CODE))
    [record] = state.stage("tokenizer", [task])
    model = local_copy(join(state.out, path_of(record, "model") or ""))
    return model, record["counts"]["figures"]


def _sampled_sources(
    state: State, pieces: list[Piece], n_bytes: int
) -> list[tuple[list[str], float]]:
    """For each source its documents and the share of them to draw for the tokenizer's sample: by
    the mixture's weights where there is one, else by size. Twice what is needed: the trainer draws
    its exact sample by the hash of the text."""
    counts, mixture = state.last_counts(), state.run.mixture
    sizes = {name: counts[name]["bytes_kept"] for name in state.run.sources if name in counts}
    weights = (
        mixture.weights
        if mixture
        else {n: s / max(sum(sizes.values()), 1) for n, s in sizes.items()}
    )
    return [
        (
            [p.path for p in pieces if p.path and p.source == name],
            min(1.0, 2 * n_bytes * weights.get(name, 0.0) / max(size, 1)),
        )
        for name, size in sizes.items()
    ]


def tokenize(state: State, pieces: list[Piece], model: str) -> list[dict[str, Any]]:
    config = state.run.tokenizer
    assert config
    if config.impl == "corpusmill":
        load_kernel(model)  # refuses here, not in a worker, what it cannot encode
    vocab_size = load_tokenizer(model).get_piece_size()
    stage_tasks = []
    for piece in pieces:
        args: dict[str, Any] = {"source": piece.source, "path": piece.path, "model": model}
        args |= {
            "impl": config.impl,
            "vocab_size": vocab_size,
            "batch_bytes": state.run.batch_bytes,
        }
        identity = [piece.content, tokenizer_digest(model), state.run.batch_bytes]
        code = code_version(*TOKEN_CODE)
        stage_tasks.append(make_task(piece.label, tokenize_part, args, *identity, code))
    records = state.stage("tokenize", stage_tasks)
    before = state.last_counts()
    state.counts["tokenize"] = conserve("tokenize", records, before, "tokens")
    return records


# --- mixture and packing -----------------------------------------------------------------------


def count_buckets(part: Part, tokens: str, seed: int) -> dict[str, Any]:
    """Tokens by hash bucket of the documents of one tokens part."""
    histogram = np.zeros(BUCKETS, np.int64)
    for table in read_tables(part.root, tokens):
        lengths = pc.fill_null(pc.list_value_length(table["ids"]), 0).to_numpy()
        histogram += bucket_histogram(table["id"], lengths, seed)
    bucket = np.flatnonzero(histogram)
    rows = pa.table(
        {"bucket": bucket.astype(np.uint16), "tokens": histogram[bucket]}, schema=HISTOGRAM
    )
    part.table("histogram", f"work/{part.stage}", HISTOGRAM, "histogram").write(rows)
    return {}


def choose_part(
    part: Part, tokens: str, plan: dict[str, Any], seed: int, vocab_size: int, packed_parts: int
) -> dict[str, Any]:
    """Sends the chosen documents of one tokens part to their packed parts, repeats included."""
    schema = _chosen_schema(vocab_size)
    writer = part.exchange("chosen", schema, packed_parts)
    for table in read_tables(part.root, tokens):
        chosen = choose_documents(table["id"], SourcePlan(**plan), seed)
        rows = table.take(chosen["row"])
        key = chosen["key"].to_numpy()
        width = (1 << KEY_BITS) // packed_parts + 1
        target = np.minimum(key // np.uint64(width), np.uint64(packed_parts - 1))
        rows = rows.append_column("key", pa.array(target, pa.uint64()))
        rows = rows.append_column("order", chosen["key"]).append_column("epoch", chosen["epoch"])
        writer.write(rows)
    return {}


def pack_part(
    part: Part,
    chosen: list[str],
    partition: int,
    partitions: int,
    sequence_length: int,
    vocab_size: int,
    tokenizer: str,
    name: str,
) -> dict[str, Any]:
    """One packed file and its sidecar, documents in the order of the mixture."""
    schema = _chosen_schema(vocab_size)
    rows = read_partition(part.root, chosen, partition, partitions, schema)
    rows = rows.sort_by([("order", "ascending"), ("id", "ascending"), ("epoch", "ascending")])
    stem = f"packed/{name}/part-{partition:05d}-{part.key[:10]}"
    local = part.file("packed", f"{stem}.arrow")
    sidecar = part.file("documents_of_rows", f"{stem}.documents.parquet")
    ids, arrays = rows["id"].to_pylist(), rows["ids"].combine_chunks()
    offsets, values = arrays.offsets.to_numpy(), arrays.values.to_numpy()
    documents = ((ids[i], values[offsets[i] : offsets[i + 1]]) for i in range(len(ids)))
    packed = write_packed(
        local, documents, sequence_length, vocab_size=vocab_size, tokenizer_digest=tokenizer
    )
    Path(packed.documents_path).replace(sidecar)
    figures = packed._asdict()
    return {k: figures[k] for k in ("rows", "documents", "tokens", "cut_documents")}


def mix_and_pack(
    state: State, pieces: list[Piece], records: list[dict[str, Any]], model: str
) -> tuple[list[str], dict[str, Any], dict[str, Any]]:
    """The packed files, the mixture's table, and the packing's figures."""
    run, config = state.run, state.run.mixture
    assert config
    vocab_size, tokenizer = load_tokenizer(model).get_piece_size(), tokenizer_digest(model)
    code = code_version(*PACK_CODE)
    mine = [
        (piece, path_of(r, "tokens"), r["files"]["tokens"]["sha256"])
        for piece, r in zip(pieces, records, strict=True)
        if path_of(r, "tokens") and config.weights.get(piece.source)
    ]
    stage_tasks = [
        make_task(
            p.label, count_buckets, {"tokens": path, "seed": config.seed}, sha, config.seed, code
        )
        for p, path, sha in mine
    ]
    counted = state.stage("mixture", stage_tasks)
    histograms = {name: np.zeros(BUCKETS, np.int64) for name in run.sources}
    for (piece, _, _), record in zip(mine, counted, strict=True):
        for table in read_tables(state.out, path_of(record, "histogram") or ""):
            histograms[piece.source][table["bucket"].to_numpy()] += table["tokens"].to_numpy()
    try:
        plans = {name: plan._asdict() for name, plan in plan_mixture(histograms, config).items()}
    except ValueError as error:
        raise StageError(str(error)) from None

    packed_parts = max(1, -(-sum(p["tokens"] for p in plans.values()) // PACKED_PART_TOKENS))
    stage_tasks = []
    for piece, path, sha in mine:
        args: dict[str, Any] = {"tokens": path, "plan": plans[piece.source], "seed": config.seed}
        args |= {"vocab_size": vocab_size, "packed_parts": packed_parts}
        rest = [plans[piece.source], config.seed, packed_parts, code]
        stage_tasks.append(make_task(piece.label, choose_part, args, sha, *rest))
    chosen = state.stage("choose", stage_tasks)

    stage_tasks = []
    inputs = contents(chosen, "chosen")
    for p in range(packed_parts):
        args = {"chosen": [path_of(r, "chosen") for r in chosen], "partition": p}
        args |= {"partitions": packed_parts, "sequence_length": config.sequence_length}
        args |= {"vocab_size": vocab_size, "tokenizer": tokenizer, "name": run.name}
        rest = [config.sequence_length, tokenizer, run.name, code]
        stage_tasks.append(
            make_task(f"packed {p} of {packed_parts}", pack_part, args, inputs, *rest)
        )
    packed = state.stage("pack", stage_tasks)

    totals = {
        k: sum(r["counts"][k] for r in packed)
        for k in ("rows", "documents", "tokens", "cut_documents")
    }
    slots = totals["rows"] * config.sequence_length
    totals["fill"] = round(totals["tokens"] / slots, 6) if slots else 0.0
    table = {
        name: {k: round(p[k], 4) for k in ("weight", "wanted", "tokens", "epochs")}
        for name, p in plans.items()
    }
    return [join(state.out, path_of(r, "packed") or "") for r in packed], table, totals


def _chosen_schema(vocab_size: int) -> pa.Schema:
    return pa.schema(
        [
            ("key", pa.uint64()),  # the packed part
            ("order", pa.uint64()),
            ("epoch", pa.int32()),
            *tokens_schema(vocab_size),
        ]
    )


# --- training ----------------------------------------------------------------------------------


def train_task(
    part: Part, packed: list[str], config: Train, tokenizer: str, folder: str
) -> dict[str, Any]:
    """Trains in `folder`, which keeps checkpoints and metrics: a run that was killed goes on from
    its last checkpoint."""
    from train.loop import train  # loads torch, which no other task needs

    figures = train(config, packed, folder, tokenizer_digest=tokenizer)
    figures["checkpoint"] = figures["checkpoint"] and Path(figures["checkpoint"]).name
    return {"figures": figures}


def train_model(state: State, packed: list[str], tokenizer: str) -> dict[str, Any]:
    if "://" in state.out:
        raise StageError(
            f"{state.out}: training writes to a local directory; use `python -m train.loop` there"
        )
    inputs = contents(state.records["pack"], "packed")
    assert state.run.train
    config = dataclasses.asdict(state.run.train)
    args: dict[str, Any] = {"packed": packed, "config": state.run.train, "tokenizer": tokenizer}
    task = make_task("train", train_task, args, inputs, config, code_version(*TRAIN_CODE))
    args["folder"] = join(state.out, "train", task.key[:10])
    # In this process: its progress is to be seen, and torch may have all cores.
    state.records["train"] = run_stage(Cluster(None), state.out, "train", [task])
    return state.records["train"][0]["counts"]["figures"]
