"""A trial: one training of an arm with one seed, then its measures. Ray places trials, one to a GPU
or to a core; both are tasks with a record, so what is done is not done again.

    trials/<arm>/seed-<k>/   metrics.jsonl, checkpoints/, loss.svg of the training
                             training.json: what it came to; result.json: that and the measures

A training that diverges is a result: it keeps its reason, and its measures are null. The two stages
are apart so that a further text or task is measured without training again.
"""

import fcntl
import json
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.ablation.arms import Prepared
from pipeline.ablation.config import Ablation
from pipeline.ablation.questions import load_task
from pipeline.executor import Cluster, Task, make_task, run_stage
from pipeline.identity import code_version, input_identity, versions
from pipeline.parts import Part, record_path
from pipeline.state import input_path
from pipeline.storage import delete, join, list_files, read_json
from tokenizer.encode import digest as tokenizer_digest
from tokenizer.encode import token_bytes
from train.config import Train

MODEL_CODE = (
    *("train/attention.py", "train/attention_kernels.py", "train/attention_plan.py"),
    *("train/attention_triton.py", "train/config.py", "train/cross_entropy.py"),
    *("train/cross_entropy_triton.py", "train/loader.py", "train/model.py", "train/packing.py"),
    *("train/parallel.py", "train/schedule.py", "train/sources.py", "train/update.py"),
)
TRAINING_CODE = (
    *("train/checkpoint.py", "train/evaluate.py", "train/loop.py", "train/metrics.py"),
    *("train/optimizer.py", "train/run.py", "train/spikes.py", *MODEL_CODE),
)
MEASURE_CODE = (
    *("train/measures.py", "pipeline/ablation/questions.py", "tokenizer", "filters/kernels.py"),
    *("pipeline/schema.py", *MODEL_CODE),
)
DONE, DIVERGED = "done", "diverged"


class Trial(NamedTuple):
    arm: str
    role: str
    seed: int


def run_trials(
    ablation: Ablation, prepared: list[Prepared], directory: str, cluster: Cluster
) -> list[dict[str, Any]]:
    """Trains and measures what has no record yet; what result.json holds, in the order of the arms
    and seeds. Raises StageError."""
    todo = [(p, Trial(p.arm.name, p.arm.role, seed)) for p in prepared for seed in p.arm.seeds]
    training = [_training(ablation, p, trial) for p, trial in todo]
    forget_replaced(directory, "train", training)
    trained = run_stage(cluster, directory, "train", training, quiet=True)
    measuring = [
        _measuring(ablation, p, trial, record)
        for (p, trial), record in zip(todo, trained, strict=True)
    ]
    forget_replaced(directory, "measure", measuring)
    measured = run_stage(cluster, directory, "measure", measuring, quiet=True)
    return [record["counts"]["result"] for record in measured]


def _training(ablation: Ablation, p: Prepared, trial: Trial) -> Task:
    config = trial_config(ablation.proxy.train, trial.seed)
    folder = f"trials/{trial.arm}/seed-{trial.seed}"
    args: dict[str, Any] = {"trial": trial, "packed": p.packed.training, "config": config}
    sources = {n: paths for n, paths in p.validation.items() if n not in ablation.evaluate.texts}
    args |= {"validation": sources, "bytes_per_token": p.bytes_per_token}
    args |= {"tokenizer": tokenizer_digest(p.tokenizer), "folder": folder}
    identity = [p.content, asdict(config), args["tokenizer"], code_version(*TRAINING_CODE)]
    identity += [versions("torch")]  # another one gives other last digits
    task = make_task(f"{trial.arm}, seed {trial.seed}", train_trial, args, *identity)
    task.args["key"] = task.key
    return task._replace(gpus=int(config.device == "cuda"))


def _measuring(ablation: Ablation, p: Prepared, trial: Trial, trained: dict[str, Any]) -> Task:
    config = trial_config(ablation.proxy.train, trial.seed)
    tasks = {
        name: (input_path(ablation.base.run, task.path), task.shots)
        for name, task in ablation.evaluate.tasks.items()
    }
    args: dict[str, Any] = {"trial": trial, "training": trained["counts"]["training"]}
    args |= {"rows": p.validation, "tasks": tasks, "tokenizer": p.tokenizer, "config": config}
    args |= {"folder": f"trials/{trial.arm}/seed-{trial.seed}"}
    args |= {"sequence_length": ablation.proxy.sequence_length}
    contents = [trained["key"], trained["files"]["training"]["sha256"], p.validation_content]
    contents += [[n, input_identity(path, {}), shots] for n, (path, shots) in tasks.items()]
    task = make_task(
        f"{trial.arm}, seed {trial.seed}",
        measure_trial,
        args,
        contents,
        code_version(*MEASURE_CODE),
        versions("torch"),
    )
    return task._replace(gpus=int(config.device == "cuda"))


def trial_config(config: Train, seed: int) -> Train:
    """A trial has one core, or a GPU: more threads would spin in each other's way."""
    threads = config.threads or (1 if config.device == "cpu" else None)
    return replace(config, seed=seed, threads=threads)


def forget_replaced(root: str, stage: str, tasks: list[Task]) -> None:
    """Deletes the records of trials whose folder now belongs to a changed arm."""
    mine = {task.args["folder"]: record_path(root, stage, task.key) for task in tasks}
    for path in list_files(join(root, "_parts", stage)):
        if not path.endswith(".json"):
            continue
        files = read_json(path)["files"].values()
        if any(mine.get(f["path"].rsplit("/", 1)[0], path) != path for f in files):
            delete(path)


# --- what workers do -----------------------------------------------------------------------------


def train_trial(
    part: Part,
    trial: Trial,
    packed: list[str],
    validation: dict[str, list[str]],
    bytes_per_token: dict[str, float],
    config: Train,
    tokenizer: str,
    folder: str,
    key: str,
) -> dict[str, Any]:
    """Trains in the folder, or goes on there from the last checkpoint."""
    from train.loop import Diverged, train  # loads torch

    place = Path(part.root, folder)
    with _alone(place, key):
        training: dict[str, Any] = {"status": DONE, "reason": ""}
        try:
            training |= train(
                config,
                packed,
                str(place),
                eval_paths=validation,
                tokenizer_digest=tokenizer,
                bytes_per_token=bytes_per_token,
                say=lambda line: None,
            )
            training["checkpoint"] = Path(training["checkpoint"]).name
            del training["resumed_from"]
        except Diverged as error:
            training |= {"status": DIVERGED, "reason": str(error), "steps": config.steps}
    Path(part.file("training", f"{folder}/training.json")).write_text(_json(training))
    return {"training": training}


def measure_trial(
    part: Part,
    trial: Trial,
    training: dict[str, Any],
    rows: dict[str, list[str]],
    tasks: dict[str, tuple[str, int]],
    tokenizer: str,
    config: Train,
    folder: str,
    sequence_length: int,
) -> dict[str, Any]:
    """Measures the trained model; of one that diverged, the same measures as null."""
    from train.measures import measure

    questions = {
        name: load_task(path, tokenizer, sequence_length, shots)
        for name, (path, shots) in tasks.items()
    }
    measures: dict[str, float | None] = {f"bits_per_byte/{name}": None for name in rows}
    if training["status"] == DONE:
        model = load_model(Path(part.root, folder, "checkpoints", training["checkpoint"]), config)
        found = measure(model, rows, token_bytes(tokenizer), questions, config)
        measures |= {n: value if math.isfinite(value) else None for n, value in found.items()}
    result: dict[str, Any] = trial._asdict()
    result |= {"status": training["status"], "reason": training["reason"]}
    result |= {"tokens": training.get("tokens", 0), "steps": training["steps"]}
    result |= {"measures": measures, "training": training}
    Path(part.file("result", f"{folder}/result.json")).write_text(_json(result))
    return {"result": result}


def load_model(checkpoint: Path, config: Train) -> Any:
    """The model of a checkpoint, on the device of the configuration."""
    import torch

    from train.checkpoint import STATE_NAME, load
    from train.model import Transformer

    if config.threads:
        torch.set_num_threads(config.threads)
    state = json.loads((checkpoint / STATE_NAME).read_text())
    vocab_size = state["tensors"]["model.embedding.weight"]["shape"][0]
    model = Transformer(config.model(vocab_size), config.seed, config.attention).to(config.device)
    load(str(checkpoint), model, (), state["identity"])
    return model


@contextmanager
def _alone(place: Path, key: str) -> Iterator[None]:
    """One training in a folder at a time: the worker of a killed run may live a little longer. What
    another trial left there goes."""
    place.mkdir(parents=True, exist_ok=True)
    with Path(place.parent, f".{place.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel gives it back when its holder dies
        owner = place / "key"
        if not owner.exists() or owner.read_text() != key:
            shutil.rmtree(place)
            place.mkdir()
            owner.write_text(key)
        yield


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=1, sort_keys=True) + "\n"
