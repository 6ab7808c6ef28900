"""From the arms of an ablation to packed rows: below one root, where arms share what is equal.

A task's key is made of content, and nothing is swept, so an arm does again only what its changes
reach. With other weights that is the choice and the packing of documents; with another threshold
the filters decide again, from stored signals.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from filters.decontaminate import Decontaminate
from filters.testsets import read_texts
from pipeline.ablation.config import BASE, Ablation, Arm, Evaluate, same_documents
from pipeline.ablation.held_out import Records, held_names, set_aside, with_kin
from pipeline.ablation.questions import read_task
from pipeline.build_config import ConfigError
from pipeline.config import Run
from pipeline.executor import Cluster, StageError, make_task
from pipeline.identity import code_version, input_identity
from pipeline.mixture import Mixture, epochs_cap, source_of
from pipeline.mixture_groups import validation_limits
from pipeline.mixture_stages import (
    Packed,
    available,
    mix_and_pack,
    pack_validation,
    parts_of,
    validation_histograms,
)
from pipeline.parts import Part, path_of, read_tables
from pipeline.stages import digest_documents, document_stages, make_documents
from pipeline.state import Piece, State, contents
from pipeline.storage import expand, join, local_copy, write_bytes
from pipeline.token_stages import TOKEN_CODE, make_tokenizer, tokenize
from tokenizer.encode import digest as tokenizer_digest
from tokenizer.encode import encode
from tokenizer.encode import load as load_tokenizer
from tokenizer.train import Tokenizer
from train.packing import write_packed


class Ground(NamedTuple):
    """What all arms stand on: the base's documents and tokenizer, and what is held out."""

    ablation: Ablation
    state: State
    pieces: list[Piece]
    tokenizer: str  # tokenizer.model
    everything: Mixture  # of all sources, to hold out of
    limits: dict[str, int]  # by source, of the documents held out
    too_small: dict[str, int]  # sources that nothing is held out of: their tokens
    names: Records
    sets: dict[str, tuple[str, str]]  # of the named texts and tasks: their test set and its content
    corpus_digest: str


class Prepared(NamedTuple):
    """An arm, ready to be trained on."""

    arm: Arm
    tokenizer: str
    packed: Packed
    content: list[str]  # of the packed rows
    validation: dict[str, list[str]]  # packed rows by measure: sources and named texts
    validation_content: list[str]
    bytes_per_token: dict[str, float]  # of these
    aside: dict[str, Any]  # how many documents were left out, and why
    corpus_digest: str


def lay_ground(ablation: Ablation, root: str, cluster: Cluster) -> Ground:
    """The base up to its tokens, what is held out of it, and the evaluation texts. Raises
    StageError."""
    run = ablation.base.run
    assert run.mixture
    state = State(run, root, cluster, shared=True)
    pieces = make_documents(state, document_stages(run, None))
    corpus = digest_documents(state, pieces)
    tokenizer, _ = make_tokenizer(state, pieces)
    records = tokenize(state, pieces, tokenizer)
    wanted = ablation.proxy.validation_tokens
    everything = replace(
        run.mixture, scheme="temperature", weights={}, validation_tokens=wanted, tokens=1
    )
    parts = parts_of(pieces, records, everything)
    histograms = validation_histograms(state, parts, everything)
    too_small = {s: int(h.sum()) for s, h in histograms.items() if h.sum() < 2 * wanted}
    large = {source: h for source, h in histograms.items() if source not in too_small}
    try:
        limits = validation_limits(large, wanted)
    except ValueError as error:
        raise StageError(str(error)) from None
    if not limits:
        raise StageError(
            f"proxy.validation_tokens: {wanted} is more than half of any source; the largest has "
            f"{max(too_small.values(), default=0)} tokens"
        )
    names = held_names(state, parts, limits, everything.seed)
    names = with_kin(state, pieces, names)
    sets = write_sets(read_sets(ablation.evaluate, state.place), state.out)
    return Ground(
        ablation, state, pieces, tokenizer, everything, limits, too_small, names, sets, corpus
    )


def prepare(ground: Ground, arm: Arm) -> Prepared:
    """All stages of an arm up to its packed rows. Raises StageError."""
    base, run = ground.ablation.base.run, arm.run
    assert base.tokenizer and run.tokenizer
    if not arm.own_tokenizer:
        run = replace(run, tokenizer=replace(base.tokenizer, model=ground.tokenizer))
    if same_documents(run, base):
        state, pieces, corpus = beside(ground, run), ground.pieces, ground.corpus_digest
    else:
        state = State(run, ground.state.out, ground.state.cluster, shared=True)
        last = document_stages(base, None)[-1]
        pieces = make_documents(state, document_stages(run, None), last)
        corpus = digest_documents(state, pieces)
    tokenizer, _ = make_tokenizer(state, pieces)
    records = tokenize(state, pieces, tokenizer)
    aside = aside_of(ground, state, pieces)
    try:
        packed = mix_and_pack(state, pieces, records, tokenizer, aside, arm.control)
    except StageError as error:
        line = str(error).replace("mixture.tokens", "proxy.tokens")
        raise StageError(f"{'' if arm.name == BASE else 'arms.'}{arm.name}: {line}") from None
    check_aside(state, aside)
    assert run.tokenizer is not None, run.name
    validation, contents_of, bytes_per_token = validation_rows(ground, run.tokenizer, tokenizer)
    return Prepared(
        arm,
        tokenizer,
        packed,
        contents(state.records["pack"], "packed"),
        validation,
        contents_of,
        bytes_per_token,
        sum_aside(pieces, aside),
        corpus,
    )


def beside(ground: Ground, run: Run) -> State:
    """A state below the same root, with the base's documents done."""
    state = State(run, ground.state.out, ground.state.cluster, shared=True)
    state.counts = {k: v for k, v in ground.state.counts.items() if k != "tokenize"}
    state.records = dict(ground.state.records)
    return state


def weight_caps(ground: Ground, groups: list[str]) -> dict[str, float]:
    """For each group of the base's documents the largest weight that its epochs allow."""
    config = ground.ablation.base.run.mixture
    assert config
    even = dict.fromkeys(groups, 1 / len(groups))
    run = replace(ground.state.run, mixture=replace(config, weights=even))
    state = beside(ground, run)
    records = tokenize(state, ground.pieces, ground.tokenizer)
    assert run.mixture
    aside = aside_of(ground, state, ground.pieces)
    parts = parts_of(ground.pieces, records, run.mixture, aside)
    found, _ = available(state, parts, run.mixture, {})
    caps = dict.fromkeys(groups, 0.0)
    for group, histogram in found.items():
        name = group if group in caps else source_of(group)
        if name in caps:
            caps[name] += int(histogram.sum()) * epochs_cap(group, config) / config.tokens
    return caps


# --- what is left out ----------------------------------------------------------------------------


def aside_of(ground: Ground, state: State, pieces: list[Piece]) -> Records:
    against = None
    if ground.sets:
        against = Decontaminate(
            against=tuple(path for path, _ in ground.sets.values()),
            min_matched_ngrams=ground.ablation.evaluate.min_matched_ngrams,
        )
    sets = json.dumps(
        [[c for _, c in ground.sets.values()], against and against.min_matched_ngrams]
    )
    return set_aside(state, pieces, with_kin(state, pieces, ground.names), against, sets)


def sum_aside(pieces: list[Piece], records: Records) -> dict[str, Any]:
    """By source: documents, and those left out; by text or task: documents left out because of it,
    and the one that holds most of an item."""
    sources: dict[str, dict[str, int]] = {}
    items: dict[str, dict[str, Any]] = {}
    for piece, record in zip(pieces, records, strict=True):
        row = sources.setdefault(piece.source, {"documents": 0, "held_out": 0, "evaluation": 0})
        for key in row:
            row[key] += record["counts"][key]
        for name, found in record["counts"]["items"].items():
            item = items.setdefault(name, {"documents": 0, "largest": 0.0, "item": "", "id": ""})
            n = item["documents"] + found["documents"]
            if found["largest"] > item["largest"]:
                items[name] = dict(found)
            items[name]["documents"] = n
    return {"sources": sources, "evaluation": dict(sorted(items.items()))}


def check_aside(state: State, aside: Records) -> None:
    """Reads the ids of all packed rows: none of them was set aside. Raises StageError."""
    out = [
        table["id"]
        for record in aside
        if (path := path_of(record, "aside"))
        for table in read_tables(state.out, path, ["id"])
    ]
    known = pa.concat_tables([pa.table({"id": ids}) for ids in out]) if out else None
    for record in state.records["pack"]:
        path = path_of(record, "documents_of_rows")
        for table in read_tables(state.out, path, ["id"]) if path and known else ():
            inside = table.join(known, "id", join_type="inner")
            if inside.num_rows:
                raise StageError(f"{path}: {inside['id'][0]} is held out, and is trained on")


# --- what all are measured on --------------------------------------------------------------------


def validation_rows(
    ground: Ground, config: Tokenizer, tokenizer: str
) -> tuple[dict[str, list[str]], list[str], dict[str, float]]:
    """(packed files by measure, their content, bytes a token): of the base's held-out documents and
    the named texts, as this tokenizer encodes them."""
    run = replace(ground.state.run, tokenizer=replace(config, model=tokenizer))
    mine = beside(ground, run)
    records = tokenize(mine, ground.pieces, tokenizer)
    parts = parts_of(ground.pieces, records, ground.everything)
    found = pack_validation(mine, parts, ground.everything, ground.limits, tokenizer)
    tasks = []
    names = list(ground.ablation.evaluate.texts)
    for name in names:
        path, content = ground.sets[name]
        args: dict[str, Any] = {"path": path, "name": name, "model": tokenizer, "impl": config.impl}
        args |= {"sequence_length": ground.ablation.proxy.sequence_length}
        identity = [content, args["sequence_length"], tokenizer_digest(tokenizer)]
        code = code_version(*TOKEN_CODE, "train/packing.py", "pipeline/ablation/arms.py")
        tasks.append(make_task(f"text {name}", text_task, args, *identity, code))
    if tasks:
        found |= zip(names, mine.stage("texts", tasks), strict=True)
    files = {n: [join(mine.out, path_of(record, "packed") or "")] for n, record in found.items()}
    sizes = {
        n: record["counts"]["bytes"] / record["counts"]["tokens"] for n, record in found.items()
    }
    return files, contents(list(found.values()), "packed"), sizes


def text_task(
    part: Part, path: str, name: str, model: str, impl: Any, sequence_length: int
) -> dict[str, Any]:
    """The packed rows of a named text."""
    texts = [json.loads(line)["question"] for line in Path(path).read_text().splitlines()]
    ids = encode(pa.array(texts, pa.string()), model, impl)
    stem = f"packed/texts/{name}-{part.key[:10]}"
    local = part.file("packed", f"{stem}.arrow")
    sidecar = part.file("documents_of_rows", f"{stem}.documents.parquet")
    documents = ((f"{name}/{i}", name, ids[i].values.to_numpy()) for i in range(len(ids)))
    packed = write_packed(
        local,
        documents,
        sequence_length,
        vocab_size=load_tokenizer(model).get_piece_size(),
        tokenizer_digest=tokenizer_digest(model),
    )
    Path(packed.documents_path).replace(sidecar)
    return {"tokens": packed.tokens, "bytes": sum(len(text.encode()) for text in texts)}


def read_sets(evaluate: Evaluate, place: Callable[[str], str]) -> dict[str, list[dict[str, str]]]:
    """By name of a text or a task: an item of a test set for each text or question. Raises
    ConfigError for files that cannot be used."""
    rows: dict[str, list[dict[str, str]]] = {}
    mistakes = []
    for name, patterns in evaluate.texts.items():
        try:
            rows[name] = [{"question": text} for p in patterns for text in _texts(place(p))]
        except (OSError, ValueError) as error:
            mistakes.append(f"evaluate.texts.{name}: {error}")
    for name, task in evaluate.tasks.items():
        try:
            rows[name] = [
                {"question": row.prompt, "answer": row.choices[row.answer]}
                for row in read_task(place(task.path), task.shots)
            ]
        except (OSError, ValueError) as error:
            mistakes += [f"evaluate.tasks.{name}: {line}" for line in str(error).splitlines()]
    if mistakes:
        raise ConfigError(mistakes)
    return rows


def write_sets(rows: dict[str, list[dict[str, str]]], root: str) -> dict[str, tuple[str, str]]:
    """(path, content) of the test set of each name."""
    found: dict[str, tuple[str, str]] = {}
    for name, items in rows.items():
        path = join(root, "work/evaluation", f"{name}.jsonl")
        write_bytes(path, "".join(json.dumps(item) + "\n" for item in items).encode())
        found[name] = path, input_identity(path, {})
    return found


def _texts(pattern: str) -> list[str]:
    texts = []
    files = [path for path, _ in expand(pattern)]
    if not files:
        raise ValueError(f"{pattern} names no file")
    for path in map(local_copy, files):
        if path.endswith(".txt"):
            texts.append(Path(path).read_text(errors="replace"))
        else:
            texts += [text for array in read_texts(path) for text in array.to_pylist()]
    texts = [text for text in texts if text]
    if not texts:
        raise ValueError(f"no text in {pattern}")
    return texts
