"""From token ids to packed rows: which documents are held out, which a mixture takes, the rows.

    hold_out   part        tokens by validation bucket                     -> a histogram
    mixture    part        tokens of the others by group and hash bucket   -> a histogram
    choose     part        the chosen documents, repeats included          -> by packed part
    pack       packed part documents in the order of the mixture           -> rows, sidecar
    validation source      documents held out                              -> rows, sidecar

What the tasks do: mixture_tasks.py.
"""

import dataclasses
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.ablation.controls import Control
from pipeline.executor import StageError, make_task
from pipeline.identity import code_version
from pipeline.mixture import (
    BUCKETS,
    Mixture,
    plan_mixture,
)
from pipeline.mixture_groups import validation_limits
from pipeline.mixture_tasks import (
    ALONE,
    CLUSTERED,
    Tokens,
    choose_part,
    count_buckets,
    count_held_out,
    pack_held_out,
    pack_part,
)
from pipeline.parts import path_of, read_tables
from pipeline.state import Piece, State, content_of, contents
from pipeline.storage import join
from tokenizer.encode import digest as tokenizer_digest
from tokenizer.encode import load as load_tokenizer

PACK_CODE = (
    "train/packing.py",
    "filters/kernels.py",
    "pipeline/mixture.py",
    "pipeline/mixture_groups.py",
    "pipeline/mixture_stages.py",
    "pipeline/mixture_tasks.py",
    "pipeline/exchange/files.py",
    "pipeline/files.py",
    "pipeline/parts.py",
    "pipeline/schema.py",
)
PACKED_PART_TOKENS = 1 << 26  # one packed file; what a pack task holds


class Packed(NamedTuple):
    """What a mixture came to: files, and figures for the manifest."""

    training: list[str]
    validation: dict[str, list[str]]  # by source
    mixture: dict[str, Any]
    packing: dict[str, Any]


def mix_and_pack(
    state: State,
    pieces: list[Piece],
    records: list[dict[str, Any]],
    model: str,
    aside: list[dict[str, Any]] | None = None,
    control: Control | None = None,
) -> Packed:
    """`records`: of tokenize. An ablation gives `aside`, the records that say which documents it
    leaves out, and `control`, what is done to the chosen ones."""
    config = state.run.mixture
    assert config
    vocab_size, tokenizer = load_tokenizer(model).get_piece_size(), tokenizer_digest(model)
    parts = parts_of(pieces, records, config, aside)
    try:
        limits = hold_out(state, parts, config) if config.validation_tokens else {}
        plans, table = _plan(state, parts, config, limits)
    except ValueError as error:
        raise StageError(str(error)) from None

    n = max(1, -(-sum(plan["tokens"] for plan in plans.values()) // PACKED_PART_TOKENS))
    chosen = _choose(state, parts, plans, limits, vocab_size, n)
    for record in chosen:
        for group, documents in record["counts"]["documents"].items():
            table[group]["documents"] += documents
    packed = _pack(state, chosen, n, vocab_size, tokenizer, control)
    validation = {}
    if limits:
        held = pack_validation(state, parts, config, limits, model)
        validation = {
            source: [join(state.out, path_of(record, "packed") or "")]
            for source, record in held.items()
        }
    files = [join(state.out, path_of(r, "packed") or "") for r in packed]
    return Packed(files, validation, table, _packing_figures(packed, config))


def _choose(
    state: State,
    parts: list[Tokens],
    plans: dict[str, dict[str, Any]],
    limits: dict[str, int],
    vocab_size: int,
    packed_parts: int,
) -> list[dict[str, Any]]:
    config = state.run.mixture
    assert config
    tasks = []
    for p in parts:
        mine = {g: plan for g, plan in plans.items() if g.partition("/")[0] == p.source}
        args: dict[str, Any] = {"tokens": p, "plans": mine, "config": config}
        args |= {"limits": limits, "vocab_size": vocab_size, "packed_parts": packed_parts}
        rest = [mine, _settings(config), limits, packed_parts, code_version(*PACK_CODE)]
        tasks.append(make_task(p.label, choose_part, args, p.content, *rest))
    return state.stage("choose", tasks)


def _pack(
    state: State,
    chosen: list[dict[str, Any]],
    packed_parts: int,
    vocab_size: int,
    tokenizer: str,
    control: Control | None,
) -> list[dict[str, Any]]:
    run, config = state.run, state.run.mixture
    assert config
    args: dict[str, Any] = {"sequence_length": config.sequence_length, "vocab_size": vocab_size}
    args |= {"tokenizer": tokenizer, "name": run.name, "control": control}
    args |= {"chosen": [path_of(r, "chosen") for r in chosen], "partitions": packed_parts}
    rest = [config.sequence_length, tokenizer, run.name, code_version(*PACK_CODE)]
    if control:
        rest += [dataclasses.asdict(control), code_version("pipeline/ablation/controls.py")]
    inputs = contents(chosen, "chosen")
    tasks = [
        make_task(
            f"packed {i} of {packed_parts}", pack_part, args | {"partition": i}, inputs, *rest
        )
        for i in range(packed_parts)
    ]
    return state.stage("pack", tasks)


def parts_of(
    pieces: list[Piece],
    records: list[dict[str, Any]],
    config: Mixture,
    aside: list[dict[str, Any]] | None = None,
) -> list[Tokens]:
    """The parts of the sources that take part: all, or those with a weight."""
    sources = {name.partition("/")[0] for name, weight in config.weights.items() if weight}
    parts = []
    for i, (p, r) in enumerate(zip(pieces, records, strict=True)):
        tokens = path_of(r, "tokens")
        if not (tokens and p.path and (p.source in sources or not sources)):
            continue
        content, path = [content_of(r, "tokens"), p.content], None
        if aside:
            content, path = [*content, content_of(aside[i], "aside")], path_of(aside[i], "aside")
        parts.append(Tokens(p.source, p.label, tokens, p.path, content, path))
    return parts


def _settings(config: Mixture) -> list[Any]:
    """What decides of one document, weights and budget aside."""
    return [config.seed, {name: dataclasses.asdict(s) for name, s in config.split.items()}]


def hold_out(state: State, parts: list[Tokens], config: Mixture) -> dict[str, int]:
    """By source: documents in validation buckets below it are held out (mixture_tasks.held_out).
    Raises ValueError for a source that is too small."""
    histograms = validation_histograms(state, parts, config)
    return validation_limits(histograms, config.validation_tokens)


def validation_histograms(
    state: State, parts: list[Tokens], config: Mixture
) -> dict[str, np.ndarray]:
    """By source: tokens by validation bucket, int64 [2, BUCKETS]: of documents that are like no
    other, and of those in duplicate clusters."""
    code = code_version(*PACK_CODE)
    tasks = [
        make_task(
            p.label,
            count_held_out,
            {"tokens": p, "seed": config.seed},
            p.content,
            config.seed,
            code,
        )
        for p in parts
    ]
    found = _sum(state, state.stage("hold_out", tasks))
    none = np.zeros(BUCKETS, np.int64)
    return {
        source: np.stack([found.get(f"{source}/{name}", none) for name in (ALONE, CLUSTERED)])
        for source in dict.fromkeys(p.source for p in parts)
    }


def _plan(
    state: State, parts: list[Tokens], config: Mixture, limits: dict[str, int]
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """The plan of each group, and its row of the mixture's table."""
    histograms, sizes = available(state, parts, config, limits)
    plans = plan_mixture(histograms, config)
    total = max(sum(plan.tokens for plan in plans.values()), 1)
    table = {}
    for group, plan in plans.items():
        figures = {"weight": plan.weight, "proportion": plan.tokens / total, "epochs": plan.epochs}
        row: dict[str, Any] = {key: round(value, 4) for key, value in figures.items()}
        row |= {"wanted": plan.wanted, "tokens": plan.tokens, "documents": 0}
        row |= {"available_tokens": plan.available, "available_bytes": sizes[group]["bytes"]}
        table[group] = row | {"available_documents": sizes[group]["documents"]}
    return {group: plan._asdict() for group, plan in plans.items()}, table


def available(
    state: State, parts: list[Tokens], config: Mixture, limits: dict[str, int]
) -> tuple[dict[str, np.ndarray], dict[str, Counter[str]]]:
    """Of each group that is there to be mixed, tokens by hash bucket; and documents, bytes,
    tokens."""
    tasks = []
    for p in parts:
        args: dict[str, Any] = {"tokens": p, "config": config, "limits": limits}
        rest = [_settings(config), limits, code_version(*PACK_CODE)]
        tasks.append(make_task(p.label, count_buckets, args, p.content, *rest))
    counted = state.stage("mixture", tasks)
    sizes: dict[str, Counter[str]] = {}
    for record in counted:
        for group, counts in record["counts"]["groups"].items():
            sizes.setdefault(group, Counter()).update(counts)
    return _sum(state, counted), sizes


def _sum(state: State, records: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    histograms: dict[str, np.ndarray] = {}
    for record in records:
        path = path_of(record, "histogram")  # none where all documents of a part are held out
        for table in read_tables(state.out, path) if path else ():
            groups = table["group"].to_numpy(zero_copy_only=False)
            for group in np.unique(groups.astype(str)):
                rows = table.filter(pa.array(groups == group))
                histogram = histograms.setdefault(group, np.zeros(BUCKETS, np.int64))
                histogram[rows["bucket"].to_numpy()] += rows["tokens"].to_numpy()
    return histograms


def pack_validation(
    state: State, parts: list[Tokens], config: Mixture, limits: dict[str, int], model: str
) -> dict[str, dict[str, Any]]:
    """By source the record of its documents below the limit, packed."""
    args: dict[str, Any] = {"vocab_size": load_tokenizer(model).get_piece_size()}
    args |= {"tokenizer": tokenizer_digest(model), "name": state.run.name}
    tasks = []
    for source in limits:
        mine = [p for p in parts if p.source == source]
        given = args | {"parts": mine, "config": config, "limits": limits}
        rest = [limits, _settings(config), config.sequence_length, args["tokenizer"], args["name"]]
        identity = [[p.content for p in mine], *rest, code_version(*PACK_CODE)]
        tasks.append(make_task(f"validation of {source}", pack_held_out, given, *identity))
    return dict(zip(limits, state.stage("validation", tasks), strict=True))


def _packing_figures(packed: list[dict[str, Any]], config: Mixture) -> dict[str, Any]:
    names = ("rows", "documents", "tokens", "cut_documents")
    totals: dict[str, Any] = {k: sum(r["counts"][k] for r in packed) for k in names}
    slots = totals["rows"] * config.sequence_length
    return totals | {"fill": round(totals["tokens"] / slots, 6) if slots else 0.0}
