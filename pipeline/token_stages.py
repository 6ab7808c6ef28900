"""From the kept documents to a trained model: tokenizer, tokens, packed rows (mixture_stages.py),
training."""

import dataclasses
from pathlib import Path
from typing import Any

from pipeline.executor import Cluster, make_task, run_ranks, run_stage
from pipeline.identity import code_version
from pipeline.ledger import conserve
from pipeline.mixture import Mixture
from pipeline.mixture_stages import Packed, mix_and_pack
from pipeline.parts import Part, path_of
from pipeline.state import Piece, State, contents
from pipeline.storage import join, local_copy
from pipeline.token_tasks import fit_tokenizer, tokenize_part
from pipeline.tokenizer_sample import Documents
from tokenizer.encode import digest as tokenizer_digest
from tokenizer.encode import load as load_tokenizer
from tokenizer.encode import load_kernel
from train.config import Train

TOKEN_CODE = (
    "tokenizer",
    "filters/kernels.py",
    "pipeline/tally.py",
    "pipeline/token_tasks.py",
    "pipeline/mixture.py",
    "pipeline/mixture_groups.py",
    "pipeline/schema.py",
    "pipeline/files.py",
    "pipeline/parts.py",
    "pipeline/tokenizer_sample.py",
)
TRAIN_CODE = ("train",)


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
    packed = mix_and_pack(state, pieces, records, model)
    figures["mixture"], figures["packing"] = packed.mixture, packed.packing
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
    counts = state.last_counts()
    sources = [
        Documents(
            name,
            [p.path for p in pieces if p.path and p.source == name],
            counts[name]["bytes_kept"],
        )
        for name in run.sources
        if name in counts
    ]
    args: dict[str, Any] = {"sources": sources, "config": config, "seed": run.seed}
    args["mixture"] = run.mixture
    settings = {k: v for k, v in dataclasses.asdict(config).items() if k != "impl"}
    identity = [[p.content for p in pieces], settings, _weighing(run.mixture), run.seed]
    task = make_task("tokenizer", fit_tokenizer, args, *identity, code_version(*TOKEN_CODE))
    [record] = state.stage("tokenizer", [task])
    model = local_copy(join(state.out, path_of(record, "model") or ""))
    return model, record["counts"]["figures"]


def _weighing(mixture: Mixture | None) -> dict[str, Any]:
    """What of a mixture decides of the tokenizer's sample."""
    if mixture is None:
        return {}
    settings = dataclasses.asdict(mixture)
    names = ["scheme", "weights", "temperature", "split"]
    names += ["tokens", "max_epochs", "epochs"] if mixture.scheme == "unimax" else []
    return {name: settings[name] for name in names}


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


# --- training ----------------------------------------------------------------------------------


def train_task(
    part: Part,
    packed: list[str],
    validation: dict[str, list[str]],
    bytes_per_token: dict[str, float],
    config: Train,
    tokenizer: str,
    folder: str,
) -> dict[str, Any]:
    """Trains in `folder`, which keeps checkpoints and metrics: a run that was killed goes on from
    its last checkpoint."""
    from train.loop import train  # loads torch, which no other task needs

    args: dict[str, Any] = {"config": config, "packed_paths": packed, "out_dir": folder}
    args |= {"eval_paths": validation or None, "tokenizer_digest": tokenizer}
    args |= {"bytes_per_token": bytes_per_token}
    if config.workers == 1:
        figures = train(**args)
    else:
        figures = run_ranks(config.workers, train, args, gpus=config.device == "cuda")
    figures["checkpoint"] = figures["checkpoint"] and Path(figures["checkpoint"]).name
    return {"figures": figures}


def train_model(state: State, packed: Packed, tokenizer: str) -> dict[str, Any]:
    inputs = [contents(state.records["pack"], "packed")]
    inputs.append(contents(state.records.get("validation", []), "packed"))
    assert state.run.train
    config = dataclasses.asdict(state.run.train)
    for key in ("workers", "tensorboard"):  # with others it is the same run
        del config[key]
    args: dict[str, Any] = {"packed": packed.training, "validation": packed.validation}
    args |= {"config": state.run.train, "tokenizer": tokenizer}
    tokenized = state.counts["tokenize"]
    args["bytes_per_token"] = {
        source: counts["bytes_in"] / counts["tokens"]
        for source, counts in tokenized.items()
        if counts["tokens"]
    }
    task = make_task("train", train_task, args, inputs, config, code_version(*TRAIN_CODE))
    args["folder"] = join(state.out, "train", task.key[:10])
    # In this process: its progress is to be seen, and torch may have all cores.
    state.records["train"] = run_stage(Cluster(None), state.out, "train", [task])
    return state.records["train"][0]["counts"]["figures"]
