"""Runs the tasks of a stage, on Ray or in this process. The only file that imports ray.

A task is idempotent and commits its own record (`parts.Part`); this file only decides what still
has to run, and what a death or an error of a worker means: a part whose worker died is retried,
then run carefully (`quarantine`); a part that raised is retried once, then fails the stage with its
name while the other parts finish.
"""

import concurrent.futures
import os
import queue
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import pyarrow as pa

from pipeline import quarantine
from pipeline.build_config import ConfigError
from pipeline.identity import digest
from pipeline.parts import Part, find_record, record_path
from pipeline.progress import Progress
from pipeline.storage import exists, open_input

MAX_QUARANTINED = 100  # records of one part, before the part is given up
IN_PROCESS = "off"  # --ray off: a plain loop in this process


class Task(NamedTuple):
    """`function(part, **args)` writes through `part` and returns its counts. The key is made of
    content: see `make_task`."""

    key: str
    label: str
    function: Callable[..., dict[str, Any]]
    args: dict[str, Any]
    notes: dict[str, Any] = {}  # noqa: RUF012 - what the record says beside, never written to
    gpus: int = 0  # that it has for itself


class StageError(RuntimeError):
    """A stage could not finish; the message names its failed parts."""


class Cluster(NamedTuple):
    """Where tasks run: Ray's number of cores, or None for a plain loop in this process; and its
    GPUs."""

    cores: int | None
    gpus: int = 0


def make_task(label: str, function: Callable, args: dict[str, Any], *identity: Any) -> Task:
    """`identity`: everything that the output depends on (input digests, config, code version), as
    JSON values."""
    return Task(digest([function.__name__, label, *identity]), label, function, args)


@contextmanager
def connect(address: str | None = None, workers: int | None = None) -> Iterator[Cluster]:
    """A local Ray of `workers` cores (all by default), a running cluster at `address`, or no Ray
    for "off". Raises ConfigError for workers of what is not ours to size."""
    if address and workers:
        what = "a running cluster has its own" if address != IN_PROCESS else "it is one process"
        raise ConfigError([f"--workers {workers}: not with --ray {address}; {what}"])
    if address == IN_PROCESS:
        yield Cluster(None)
        return
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no network call that nobody asked for
    if address:
        _knock(address)
    if address and _has_token():
        # `ray start` asks for its token by default; a client with an address does not send it
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address:
        here = Path(__file__).resolve().parent.parent
        excludes = [".git", ".venv*", "demo-out", "out", "**/__pycache__"]
        options |= {"address": address}
        options |= {"runtime_env": {"working_dir": str(here), "excludes": excludes}}
    else:
        # "local": a cluster that happens to run on this machine is not ours to use
        options |= {"address": "local", "num_cpus": workers, "include_dashboard": False}
    try:
        ray.init(**options)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        where = f"cannot reach Ray at {address}" if address else "cannot start Ray"
        raise StageError(f"{where}: {' '.join(str(error).split())}") from None
    try:
        cores, gpus = (int(ray.cluster_resources().get(kind, 0)) for kind in ("CPU", "GPU"))
        if not cores:
            raise StageError(f"Ray at {address} has no CPU; start a node with `ray start`")
        stop_on_sigterm()  # Ray has put a dump of its own in its place
        yield Cluster(cores, gpus)
    finally:
        ray.shutdown()


class Terminated(KeyboardInterrupt):
    """SIGTERM: what a scheduler sends, and `timeout`. Ends a run as Ctrl-C does."""


def stop_on_sigterm() -> None:
    def stop(number: int, frame: object) -> None:
        raise Terminated

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, stop)


def _knock(address: str) -> None:
    """A cluster that does not answer is named in seconds; Ray itself would try for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not (host and port.isdigit()):
        return  # auto, or something that Ray will refuse at once
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except OSError as error:
        raise StageError(f"--ray {address}: nothing answers there: {error}") from None


def _has_token() -> bool:
    """Whether Ray's token is where Ray looks for it."""
    named = "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ
    return named or (Path.home() / ".ray" / "auth_token").exists()


def run_stage(
    cluster: Cluster, root: str, stage: str, tasks: list[Task], quiet: bool = False
) -> list[dict[str, Any]]:
    """Runs what has no record yet; returns all records in the order of the tasks. `quiet`: says
    nothing of a stage that has nothing to do. Raises StageError."""
    keys = [task.key for task in tasks]
    assert len(set(keys)) == len(keys), f"{stage}: two tasks with one key"
    records = {task.key: find_record(root, stage, task.key) for task in tasks}
    todo = [task for task in tasks if records[task.key] is None]
    if quiet and not todo:
        return [record for key in keys if (record := records[key])]
    if cluster.cores is not None and any(task.gpus > cluster.gpus for task in todo):
        raise StageError(f'{stage}: needs a GPU, and Ray has {cluster.gpus}; use device = "cpu"')
    progress = Progress(stage, len(tasks), len(tasks) - len(todo))
    run = _run_in_process if cluster.cores is None else _run_on_ray
    failures = []
    for task, outcome in run(cluster, root, stage, todo):
        if isinstance(outcome, str):
            failures.append(f"{stage}: {task.label}: {outcome}")
        else:
            records[task.key] = outcome
        progress.done(outcome)
    progress.close()
    if failures:
        raise StageError("\n".join(failures))
    return [record for key in keys if (record := records[key])]


def perform(
    root: str, stage: str, task: Task, careful: bool = False, skip: tuple[str, ...] = ()
) -> dict[str, Any]:
    """One task in this process: runs its function and commits. Returns the record."""
    pa.set_cpu_count(1)  # the cores are Ray's to give
    journal = _journal_path(root, stage, task) if careful else ""
    quarantine.begin(journal, skip)
    part = Part(root, stage, task.key, task.label)
    with ExitStack() as undo:  # whatever ends it before its record is written
        undo.callback(part.abandon)
        counts = task.function(part, **task.args)
        record = part.commit(counts, **task.notes)
        undo.pop_all()
    return record


def _run_in_process(
    cluster: Cluster, root: str, stage: str, tasks: list[Task]
) -> Iterator[tuple[Task, Any]]:
    for task in tasks:
        try:
            yield task, perform(root, stage, task)
        except (
            ValueError,
            OSError,
            RuntimeError,
            ArithmeticError,
            LookupError,
            TypeError,
        ) as error:
            yield task, _describe(error)


def _run_on_ray(
    cluster: Cluster, root: str, stage: str, tasks: list[Task]
) -> Iterator[tuple[Task, Any]]:
    import ray
    from ray.exceptions import NodeDiedError, OutOfMemoryError, RayTaskError, WorkerCrashedError

    # Retries are decided here, where it is known what a death means.
    remote = ray.remote(num_cpus=1, max_retries=0, max_calls=0)(perform)
    waiting = [(task, 0, 0, ()) for task in reversed(tasks)]  # task, deaths, errors, skipped
    running: dict[Any, tuple] = {}
    while waiting or running:
        while waiting and len(running) < 2 * (cluster.cores or 1):
            state = waiting.pop()
            task, deaths, _, skip = state
            on = remote.options(num_gpus=task.gpus) if task.gpus else remote
            running[on.remote(root, stage, task, deaths >= 2, skip)] = state
        [done], _ = ray.wait(list(running), num_returns=1)
        task, deaths, errors, skip = running.pop(done)
        try:
            yield task, ray.get(done)
        except (WorkerCrashedError, OutOfMemoryError, NodeDiedError) as error:
            culprit = _culprit(root, stage, task) if deaths >= 2 else None
            if deaths < 2:
                waiting.append((task, deaths + 1, errors, skip))
            elif culprit and culprit not in skip and len(skip) < MAX_QUARANTINED:
                waiting.append((task, deaths + 1, errors, (*skip, culprit)))
            else:
                yield task, f"its worker died {deaths + 1} times: {type(error).__name__}"
        except RayTaskError as error:
            if errors:
                yield task, _describe(error.cause if error.cause else error)
            else:
                waiting.append((task, deaths, errors + 1, skip))


class _Rank:
    """One process of several that work together, with what torchrun would tell it."""

    def place(self) -> tuple[str, str, int]:
        """(node, its address, a port that is free there)."""
        import ray

        with socket.socket() as free:
            free.bind(("", 0))
            port = free.getsockname()[1]
        return ray.get_runtime_context().get_node_id(), ray.util.get_node_ip_address(), port

    def run(
        self, environment: dict[str, str], function: Callable, args: dict[str, Any]
    ) -> Iterator[Any]:
        """What the function says, line by line, and what it returns."""
        os.environ.update(environment)
        said: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            result = thread.submit(function, **args, say=said.put)
            result.add_done_callback(lambda _: said.put(None))
            while (line := said.get()) is not None:
                yield line
            yield {"result": result.result()}


def run_ranks(n: int, function: Callable, args: dict[str, Any], *, gpus: bool = False) -> Any:
    """`function(**args, say=...)` in n processes that torch.distributed can join, each with a core,
    or a core and a GPU; what the first returns. Plain actors: Ray Train would bring pandas, and
    decide on checkpoints and retries, which the training does itself. Raises what a rank raised,
    and StageError."""
    import ray
    from ray.exceptions import RayActorError, RayTaskError

    for kind in ("CPU", "GPU") if gpus else ("CPU",):
        if (there := int(ray.cluster_resources().get(kind, 0))) < n:
            raise StageError(f"train.workers: {n} ranks want as many {kind}s; Ray has {there}")
    remote = ray.remote(num_cpus=1, num_gpus=int(gpus), max_restarts=0)(_Rank)
    actors: list[Any] = [remote.remote() for _ in range(n)]
    try:
        running: dict[Any, int] = _start_ranks(actors, function, args)
        results: dict[int, Any] = {}
        while running:
            [ready], _ = ray.wait(list(running), num_returns=1)
            try:
                said = ray.get(next(cast(Iterator, ready)))
            except StopIteration:
                del running[ready]
                continue
            if isinstance(said, dict):
                results[running[ready]] = said["result"]
            else:
                print(said, file=sys.stderr, flush=True)
        return results[0]
    except RayTaskError as error:
        raise (error.cause or error) from None
    except RayActorError:
        raise StageError("a rank died; the same command goes on from its checkpoint") from None
    finally:
        for actor in actors:
            ray.kill(actor)


def _start_ranks(actors: list, function: Callable, args: dict[str, Any]) -> dict[Any, int]:
    """The ranks, by what they say; neighbours on a node have neighbouring ones."""
    import ray

    places = ray.get([actor.place.remote() for actor in actors])
    order = sorted(range(len(actors)), key=lambda i: (places[i][0], i))
    _, address, port = places[order[0]]
    running = {}
    for rank, i in enumerate(order):
        told = {"RANK": rank, "WORLD_SIZE": len(actors)}
        told |= {"MASTER_ADDR": address, "MASTER_PORT": port}
        told["LOCAL_RANK"] = 0  # of the one GPU that Ray shows to it
        environment = {key: str(value) for key, value in told.items()}
        run = actors[i].run.options(num_returns="streaming")
        running[run.remote(environment, function, args)] = rank
    return running


def _journal_path(root: str, stage: str, task: Task) -> str:
    return record_path(root, stage, task.key).removesuffix(".json") + ".at"


def _culprit(root: str, stage: str, task: Task) -> str | None:
    """The record that a careful worker had announced when it died."""
    path = _journal_path(root, stage, task)
    if not exists(path):
        return None
    with open_input(path) as file:
        return file.read().decode()


def _describe(error: BaseException) -> str:
    text = str(error).strip() or "no message"
    return f"{type(error).__name__}: {text.splitlines()[-1]}"
