"""Checkpoints: a directory a step, one .npy file a tensor and `state.json`; no pickle anywhere.

A checkpoint is copied to the CPU's memory (12 bytes a weight with AdamW) and written from there by
a thread while the training goes on; the next one waits for it. It gets its name, `step-00000050`,
when it is whole and flushed to disk, and loses it before it is deleted: what has the name is whole,
also after a kill or a full disk. A tensor's digest is checked on loading. Resuming on the same
hardware, torch and thread count is bit-exact.

Several ranks write together, whole tensors, every rank its share of them; so a checkpoint is the
same whatever the ranks, and any number of them can go on from it. Their directory has to be shared.
"""

import dataclasses
import hashlib
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor, distribute_tensor

from train.config import Train

STATE_NAME = "state.json"
# What may differ between a checkpoint and the run that resumes it: none of it changes what is
# computed.
FREE_KEYS = {
    "device",
    "threads",
    "tensorboard",
    "eval_every",
    "eval_rows",
    "checkpoint_every",
    "keep_checkpoints",
    "micro_rows",
    "activation_checkpointing",
    "workers",
    "parallel",
    "tensor_parallel",
    "zero_stage",
    "peak_tflops",
}
RANKS_WAIT_S = 1800  # for the files of the other ranks


class Writer:
    """Writes checkpoints into a directory, of which the newest `keep` stay."""

    def __init__(self, directory: str, keep: int, rank: int = 0, world: int = 1) -> None:
        self.directory, self.keep, self.rank, self.world = Path(directory), keep, rank, world
        self._thread: threading.Thread | None = None
        self._error: OSError | None = None

    def save(
        self,
        step: int,
        model: torch.nn.Module,
        optimizers: Sequence[torch.optim.Optimizer],
        identity: dict,
        extra: dict | None = None,
    ) -> str:
        """The path that the state after `step` steps will have. identity: JSON of what the run is
        (`identity_of`); a run with another one cannot load it. extra: JSON that `load` gives back.
        Raises what `wait` raises, for the checkpoint before."""
        self.wait()
        place = self.directory / f"step-{step:08d}"
        temporary = place.with_name(f".tmp-{place.name}")
        if self.rank == 0:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
        tensors, scalars = _snapshot(model, optimizers, self.rank, self.world)
        if self.world > 1:
            dist.barrier()  # the directory is there
        state = {"step": step, "identity": identity, "extra": extra or {}, "scalars": scalars}
        json.dumps(state)  # a mistake shows here, not in the thread
        arguments = (place, temporary, tensors, state)
        self._thread = threading.Thread(target=self._work, args=arguments, name="checkpoint")
        self._thread.start()
        return str(place)

    def close(self) -> None:
        """Until the last one is on disk, or could not be written."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def wait(self) -> None:
        """`close`; raises ValueError if it could not be written; the one before is as it was."""
        self.close()
        self.check()

    def check(self) -> None:
        """`wait`'s error, without waiting."""
        if self._error is not None:
            error, self._error = self._error, None
            raise ValueError(
                f"{self.directory}: the checkpoint could not be written "
                f"({error.strerror or error}); the last good one is "
                f"{latest(str(self.directory)) or 'none'}; make room and run the same again"
            ) from error

    def _work(
        self, place: Path, temporary: Path, tensors: dict[str, np.ndarray], state: dict
    ) -> None:
        try:
            entries = {}
            for name, array in tensors.items():
                _write_array(temporary / f"{name}.npy", array)
                entries[name] = {"shape": list(array.shape), "sha256": _digest(array)}
            if self.rank:
                _write_json(temporary / f"rank-{self.rank}.json", entries)
                return
            for rank in range(1, self.world):
                entries |= _entries_of(temporary / f"rank-{rank}.json")
            _write_json(temporary / STATE_NAME, {**state, "tensors": entries})
            _flush_directory(temporary)
            if place.exists():  # of a run that went back, or was resumed from an earlier one
                _remove(place)
            temporary.replace(place)
            _flush_directory(self.directory)
            for left in self.directory.glob(".old-*"):  # by a kill
                shutil.rmtree(left, ignore_errors=True)
            for old in complete(self.directory)[: -self.keep]:
                _remove(old)
        except OSError as error:
            self._error = error
            shutil.rmtree(temporary, ignore_errors=True)


def _remove(checkpoint: Path) -> None:
    """A kill in between leaves nothing that has the name of a checkpoint and is none."""
    hidden = checkpoint.with_name(f".old-{checkpoint.name}")
    shutil.rmtree(hidden, ignore_errors=True)
    checkpoint.replace(hidden)
    shutil.rmtree(hidden)


def _flush_directory(place: Path) -> None:
    """The names in it."""
    opened = os.open(place, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _write_array(path: Path, array: np.ndarray) -> None:
    """np.save, but for its error on a full disk, which does not say that it is full."""
    with path.open("wb") as file:
        header = np.lib.format.header_data_from_array_1_0(array)
        np.lib.format.write_array_header_1_0(file, header)
        file.write(array.data)
        file.flush()
        os.fsync(file.fileno())


def _write_json(path: Path, value: dict) -> None:
    temporary = path.with_name(f".{path.name}")
    with temporary.open("w") as file:
        json.dump(value, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _entries_of(path: Path) -> dict:
    """Of another rank, when it is done. Only files: a collective in a thread would meet those of
    the training."""
    until = time.monotonic() + RANKS_WAIT_S
    while not path.exists():
        if time.monotonic() > until or not path.parent.exists():
            raise OSError(f"{path.stem} did not write its share; is the directory shared?")
        time.sleep(0.02)
    entries = json.loads(path.read_text())
    path.unlink()
    return entries


def latest(directory: str) -> str | None:
    """The newest whole checkpoint below a directory."""
    found = complete(directory)
    return str(found[-1]) if found else None


def before(directory: str, step: int) -> str | None:
    """The newest checkpoint of at most `step` steps; the oldest if they all have more."""
    found = complete(directory)
    early = [p for p in found if int(p.name.removeprefix("step-")) <= step]
    return str((early or found[::-1])[-1]) if found else None


def load(
    path: str,
    model: torch.nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    identity: dict,
) -> tuple[int, dict]:
    """Fills the model and the optimizers (none: the weights alone); the number of steps done, and
    `extra`. Raises ValueError for a checkpoint of another run or model, or one that was changed."""
    state = json.loads((Path(path) / STATE_NAME).read_text())
    _check_identity(path, state["identity"], identity)
    names = {weight: name for name, weight in model.named_parameters()}
    with torch.no_grad():
        for weight, name in names.items():
            weight.copy_(_like(read_tensor(path, f"model.{name}", state, weight.shape), weight))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            on_device = group.get("fused") or group.get("capturable")
            for weight in group["params"]:
                there = optimizer.state[weight] = {}
                suffix = f".{names[weight]}"
                for key in state["tensors"]:
                    kind = key.removesuffix(suffix)
                    if kind != key and "." not in kind and kind != "model":
                        there[kind] = _like(read_tensor(path, key, state), weight)
                for key, value in state["scalars"].items():
                    kind = key.removesuffix(suffix)
                    if kind != key and "." not in kind:
                        device = weight.device if on_device else "cpu"
                        there[kind] = torch.tensor(value, dtype=torch.float32, device=device)
    return state["step"], state["extra"]


def read_tensor(
    path: str, name: str, state: dict, shape: Sequence[int] | None = None
) -> torch.Tensor:
    """One tensor of a checkpoint, checked. state: its state.json."""
    entry = state["tensors"].get(name)
    if entry is None or (shape is not None and entry["shape"] != list(shape)):
        raise ValueError(
            f"{path}: no tensor {name} of shape {list(shape or [])}; "
            "it is of another model, choose another output directory"
        )
    try:
        array = np.load(Path(path) / f"{name}.npy", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        array = np.empty(0, np.float32)
    if _digest(array) != entry["sha256"]:
        raise ValueError(f"{path}/{name}.npy: changed since it was written; delete this checkpoint")
    return torch.from_numpy(array)


def _like(value: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """On the weight's device; sharded as it is, if they have one shape."""
    if isinstance(weight, DTensor) and value.shape == weight.shape:
        on_device = value.to(weight.device)
        return distribute_tensor(
            on_device, weight.device_mesh, weight.placements, src_data_rank=None
        )
    return value.to(weight.device)


def delete(directory: str | Path, which: Callable[[int, dict], bool]) -> None:
    """which: of a checkpoint's steps done and its `extra`."""
    for path in complete(directory):
        state = json.loads((path / STATE_NAME).read_text())
        if which(state["step"], state["extra"]):
            _remove(path)


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


def _snapshot(
    model: torch.nn.Module, optimizers: Sequence[torch.optim.Optimizer], rank: int, world: int
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Copies of this rank's share of the tensors to keep, by name, a tied weight once; and the
    optimizers' scalars."""
    arrays, scalars, turn = {}, {}, 0
    for name, weight in model.named_parameters():
        values: dict[str, torch.Tensor] = {"model": weight}
        for optimizer in optimizers:
            values |= optimizer.state.get(weight, {})
        for key, value in values.items():
            if value.dim() == 0:
                scalars[f"{key}.{name}"] = value.item()
                continue
            value = value.detach()
            whole = value.full_tensor() if isinstance(value, DTensor) else value  # by all ranks
            if turn % world == rank:
                assert whole.dtype == torch.float32, (key, name, whole.dtype)
                copy = whole.cpu() if whole.device.type != "cpu" else whole.clone()
                arrays[f"{key}.{name}"] = np.ascontiguousarray(copy.numpy())
            turn += 1
    return arrays, scalars


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def complete(directory: str | Path) -> list[Path]:
    """The whole checkpoints below a directory, by step."""
    place = Path(directory)
    if not place.is_dir():
        return []
    return sorted(p for p in place.iterdir() if re.fullmatch(r"step-\d{8}", p.name))
