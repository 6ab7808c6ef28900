"""Checkpoints: a directory a step, one .npy file a tensor and `state.json`; no pickle anywhere.

Written under a temporary name, flushed to disk, then renamed: what has the name `step-00000050` is
whole, also after a kill or a full disk. A tensor's digest is checked on loading. Resuming on the
same hardware, torch and thread count is bit-exact.
"""

import dataclasses
import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import torch

from train.config import Train

STATE_NAME = "state.json"
# What may differ between a checkpoint and the run that resumes it: none of it changes what is
# computed.
FREE_KEYS = {
    "device",
    "threads",
    "eval_every",
    "eval_rows",
    "checkpoint_every",
    "keep_checkpoints",
    "micro_rows",
}


def save(
    directory: str,
    step: int,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    identity: dict,
    keep: int,
) -> str:
    """Writes the state after `step` steps, deletes all but the newest `keep` checkpoints, returns
    the new one's path.

    identity: JSON of what the run is (see `identity_of`); a run with another identity cannot load
    it.
    """
    place = Path(directory) / f"step-{step:08d}"
    temporary = place.with_name(f".tmp-{os.getpid()}-{place.name}")
    if temporary.exists():
        shutil.rmtree(temporary)
    temporary.mkdir(parents=True)
    tensors = {}
    for name, tensor in _state(model, optimizer).items():
        array = tensor.detach().cpu().numpy()
        assert array.dtype == np.float32, (name, array.dtype)
        with (temporary / f"{name}.npy").open("wb") as file:
            np.save(file, array, allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        tensors[name] = {"shape": list(array.shape), "sha256": _digest(array)}
    state = {"step": step, "identity": identity, "tensors": tensors}
    with (temporary / STATE_NAME).open("w") as file:
        json.dump(state, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    if (
        place.exists()
    ):  # of a run that was killed after this step and then resumed from an earlier one
        shutil.rmtree(place)
    temporary.replace(place)
    for old in _complete(directory)[:-keep]:
        shutil.rmtree(old)
    return str(place)


def latest(directory: str) -> str | None:
    """The newest whole checkpoint below a directory."""
    found = _complete(directory)
    return str(found[-1]) if found else None


def load(
    path: str, model: torch.nn.Module, optimizer: torch.optim.Optimizer | None, identity: dict
) -> int:
    """Fills model and optimizer (if given) and returns the number of steps done. Raises ValueError
    for a checkpoint of another run or model, or one that was changed."""
    state = json.loads((Path(path) / STATE_NAME).read_text())
    _check_identity(path, state["identity"], identity)
    step = state["step"]
    if optimizer is not None:
        _start_optimizer(optimizer, step)
    with torch.no_grad():
        for name, tensor in _state(model, optimizer).items():
            entry = state["tensors"].get(name)
            if entry is None or entry["shape"] != list(tensor.shape):
                raise ValueError(
                    f"{path}: no tensor {name} of shape {list(tensor.shape)}; "
                    "it is of another model, choose another output directory"
                )
            array = np.load(Path(path) / f"{name}.npy", allow_pickle=False)
            if _digest(array) != entry["sha256"]:
                raise ValueError(
                    f"{path}/{name}.npy: changed since it was written; delete this checkpoint"
                )
            tensor.copy_(torch.from_numpy(array))
    return step


def identity_of(config: Train, **data: object) -> dict:
    """What has to be equal for a run to go on from a checkpoint: the settings that change what is
    computed, and the data."""
    settings = {k: v for k, v in dataclasses.asdict(config).items() if k not in FREE_KEYS}
    return json.loads(json.dumps({**settings, **data}))


def _check_identity(path: str, there: dict, here: dict) -> None:
    for key in sorted(there.keys() | here.keys()):
        if there.get(key) != here.get(key):
            raise ValueError(
                f"{path}: {key} was {there.get(key)!r} there and is {here.get(key)!r} now; "
                "resume with the same settings and data, or choose another output directory"
            )


def _state(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer | None
) -> dict[str, torch.Tensor]:
    """Every tensor to keep, by name; a tied weight once."""
    out: dict[str, torch.Tensor] = {}
    for name, weight in model.named_parameters():
        out[f"model.{name}"] = weight
        if optimizer is not None and weight in optimizer.state:
            for key in ("exp_avg", "exp_avg_sq"):
                out[f"{key}.{name}"] = optimizer.state[weight][key]
    return out


def _start_optimizer(optimizer: torch.optim.Optimizer, step: int) -> None:
    """AdamW's state as it is after `step` steps, but for its values."""
    for group in optimizer.param_groups:
        for weight in group["params"]:
            optimizer.state[weight] = {
                "step": torch.tensor(float(step)),
                "exp_avg": torch.zeros_like(weight),
                "exp_avg_sq": torch.zeros_like(weight),
            }


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def _complete(directory: str) -> list[Path]:
    place = Path(directory)
    if not place.is_dir():
        return []
    return sorted(p for p in place.iterdir() if re.fullmatch(r"step-\d{8}", p.name))
