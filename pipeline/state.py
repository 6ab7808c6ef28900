"""What the stages of one run share, and what they hand from one to the next."""

import copy
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.config import Run
from pipeline.executor import Cluster, Task, run_stage
from pipeline.identity import input_identity
from pipeline.parts import path_of
from pipeline.storage import absolute, join, read_json, sweep

if TYPE_CHECKING:
    from pipeline.named_files import Shard


class Piece(NamedTuple):
    """One part of the corpus as it goes from stage to stage."""

    source: str
    shard: str
    label: str  # source/shard@start
    path: str | None  # of its documents, below the root; None when none are left
    content: str  # sha256 of that file


class State:
    """Where and how a run goes, and the records and counts made so far. `shared`: other runs have
    their files below the same root; nothing is swept, and stages that are ready say nothing.
    `shards`: those to read, in their order, if not all."""

    def __init__(
        self,
        run: Run,
        out: str,
        cluster: Cluster,
        shared: bool = False,
        shards: list["Shard"] | None = None,
    ) -> None:
        self.run, self.out, self.cluster, self.shared = run, absolute(out), cluster, shared
        self.shards = shards
        self.records: dict[str, list[dict[str, Any]]] = {}
        self.counts: dict[str, dict[str, Any]] = {}  # of the stages that hand on documents
        self.reports: dict[str, dict[str, Any]] = {}  # what else the manifest says of a stage
        self.known = _known_inputs(self.out)
        self.suffix = ""  # of the names of its stages

    def aside(self, suffix: str) -> "State":
        """The same run, for stages of other names whose reports do not count."""
        other = copy.copy(self)
        other.suffix, other.reports = suffix, {}
        return other

    def stage(self, name: str, stage_tasks: list[Task]) -> list[dict[str, Any]]:
        name += self.suffix
        self.records[name] = run_stage(self.cluster, self.out, name, stage_tasks, self.shared)
        if self.shared:
            return self.records[name]
        keep = {f["path"] for record in self.records[name] for f in record["files"].values()}
        # What this stage made of other inputs or settings.
        for folder in ("removed", "errors", "contamination"):
            sweep(self.out, folder, keep, prefix=f"{name}-")
        return self.records[name]

    def last_counts(self) -> dict[str, Any]:
        """The counts of the stage that handed on documents last."""
        return list(self.counts.values())[-1]

    def identity(self, path: str) -> str:
        return input_identity(path, self.known)

    def place(self, path: str) -> str:
        return input_path(self.run, path)


def input_path(run: Run, path: str) -> str:
    """A path of the configuration, below its `root`; absolute, for workers that start elsewhere."""
    return absolute(path if "://" in path or not run.root else str(PurePosixPath(run.root) / path))


def next_pieces(pieces: list[Piece], records: list[dict[str, Any]]) -> list[Piece]:
    """The same parts after a stage, with the documents that its records name."""
    return [
        piece._replace(path=path_of(record, "documents"), content=content_of(record, "documents"))
        for piece, record in zip(pieces, records, strict=True)
    ]


def content_of(record: dict[str, Any], role: str) -> str:
    """sha256 of a record's file, "none" where it has none."""
    return record["files"].get(role, {}).get("sha256", "none")


def contents(records: list[dict[str, Any]], role: str) -> list[str]:
    return [content_of(record, role) for record in records]


def paths(records: list[dict[str, Any]], role: str) -> list[str]:
    """The files of a role, of the records that have one."""
    return [path for record in records if (path := path_of(record, role))]


def _known_inputs(out: str) -> dict[str, list]:
    try:
        return read_json(join(out, "_parts", "inputs.json"))
    except (OSError, ValueError):
        return {}
