"""`corpusmill plan` without --flops: tasks, disk, memory and time of a large run of the document
stages, from a small run of the same configuration.

The smallest shards of each source, whole, go through every document stage in one process (as
`corpusmill check` tries its own); the CPU time and bytes on their records are scaled up. Whole
shards, because only then it is known how many input bytes a measured second is for; the smallest,
because they take the least time. A first run over a few records loads models and compiles kernels,
which a long run does once.

On 8.9 MB of WARC and 3.5 MB of books, from 5.4 MB of them: CPU time of ingest and filter within 5 %
of what was then measured, their bytes within 2 %. What the sample cannot show is duplicates between
it and the rest: dedup was thought to write 2.4 times what it wrote.
"""

import dataclasses
import math
import tempfile
from collections import Counter
from typing import Any, NamedTuple

from pipeline.config import Run
from pipeline.exchange.files import exchange_bytes
from pipeline.executor import connect
from pipeline.named_files import Shard, look_for_files
from pipeline.stages import run_trial
from pipeline.storage import input_size, is_folder, join, list_files, read_json, walk

WARM_RECORDS = 20
TRIAL_PARTITIONS = 2  # not 1, so that stages of a single task are told from exchanges
PARTITION_COPIES = 3  # of its rows that a task of an exchange holds: read, joined, sorted
PARTITION_BYTES = 2 << 30  # what such a task may take, for the partitions that are proposed
ONCE = ("models",)  # fitted to a sample of bounded size: they do not grow with the corpus


class StagePlan(NamedTuple):
    stage: str
    tasks: int
    core_hours: float
    bytes: float  # written
    hours: float  # on the cores given, all of its tasks alike


class CorpusPlan(NamedTuple):
    input_bytes: float
    sample_bytes: int
    cores: int
    stages: list[StagePlan]
    worker_bytes: int  # peak of the process that ran the sample: a bound for one worker
    partition_bytes: float  # rows of the fullest exchange that one of its tasks holds
    partitions: int  # that keep this below PARTITION_BYTES

    def figures(self) -> dict[str, Any]:
        """As JSON values."""
        return self._asdict() | {"stages": {s.stage: s._asdict() for s in self.stages}}


def plan_corpus(run: Run, n_bytes: float | None, cores: int, sample_bytes: int) -> CorpusPlan:
    """For n_bytes of input in the proportions of the configuration's own (and for these, if None).
    Raises ConfigError for what is missing."""
    sizes = {shard: shard_size(shard) for shard in look_for_files(run)}
    inputs = _by_source(sizes)
    sample = _sample(sizes, sample_bytes)
    taken = _by_source({shard: sizes[shard] for shard in sample})
    growth = (n_bytes or sum(inputs.values())) / sum(inputs.values())
    scale = {name: growth * inputs[name] / max(taken[name], 1) for name in inputs}
    tasks = Counter[str]()
    for shard, size in sizes.items():
        tasks[shard.source] += max(1, math.ceil(size / run.split_bytes))

    with tempfile.TemporaryDirectory(prefix="corpusmill-plan-") as out, connect("off") as cluster:
        dedup = dataclasses.replace(run.dedup, partitions=TRIAL_PARTITIONS)
        trial = dataclasses.replace(run, dedup=dedup, max_error_fraction=1.0)
        few = dataclasses.replace(trial, limit=WARM_RECORDS)
        run_trial(few, join(out, "warm"), cluster, sample)
        manifest = run_trial(trial, join(out, "run"), cluster, sample)
        records = [
            read_json(path)
            for path in list_files(join(out, "run", "_parts"))
            if not path.endswith("inputs.json")
        ]
        fullest = max(_exchange_bytes(join(out, "run", "work")).values(), default=0)
    kept = {name: c["bytes_kept"] for name, c in manifest["stages"]["ingest"].items()}
    overall = sum(scale[s] * kept[s] for s in kept) / max(sum(kept.values()), 1)
    held = PARTITION_COPIES * fullest * overall
    return CorpusPlan(
        input_bytes=growth * sum(inputs.values()),
        sample_bytes=sum(taken.values()),
        cores=cores,
        stages=_stages(records, scale, overall, tasks, growth, run.dedup.partitions, cores),
        worker_bytes=max(r["timing"]["peak_rss_bytes"] for r in records),
        partition_bytes=held / run.dedup.partitions,
        partitions=max(1, math.ceil(held / PARTITION_BYTES)),
    )


def _stages(
    records: list[dict[str, Any]],
    scale: dict[str, float],
    overall: float,
    tasks: Counter[str],
    growth: float,
    partitions: int,
    cores: int,
) -> list[StagePlan]:
    """A record of a part grows with its source, one of an exchange with the text of all."""
    cpu_s, written = Counter[str](), Counter[str]()
    n_tasks, seen = Counter[str](), Counter[str]()
    for record in records:
        stage, source = record["stage"], record["label"].partition("/")[0]
        of_part = "/" in record["label"] and source in scale
        factor = 1.0 if stage in ONCE else scale[source] if of_part else overall
        cpu_s[stage] += factor * record["timing"]["cpu_s"]
        written[stage] += factor * sum(file["bytes"] for file in record["files"].values())
        if of_part:
            n_tasks[stage] = math.ceil(growth * sum(tasks.values()))
        else:
            seen[stage] += 1
            exchanges = seen[stage] == TRIAL_PARTITIONS and stage not in ONCE
            n_tasks[stage] = partitions if exchanges else seen[stage]
    return [
        StagePlan(
            stage=stage,
            tasks=n_tasks[stage],
            core_hours=seconds / 3600,
            bytes=written[stage],
            hours=seconds / 3600 / min(cores, n_tasks[stage]),
        )
        for stage, seconds in cpu_s.items()
    ]


def _sample(sizes: dict[Shard, int], sample_bytes: int) -> list[Shard]:
    """The smallest shards of each source up to its share of sample_bytes, and at least one."""
    by_source: dict[str, list[Shard]] = {}
    for shard in sorted(sizes, key=lambda shard: (sizes[shard], shard.name)):
        by_source.setdefault(shard.source, []).append(shard)
    chosen: set[Shard] = set()
    for shards in by_source.values():
        left = sample_bytes / len(by_source)
        for shard in shards:
            if left <= 0:
                break
            chosen.add(shard)
            left -= sizes[shard]
    return [shard for shard in sizes if shard in chosen]  # in the order of a run


def shard_size(shard: Shard) -> int:
    if is_folder(shard.path):
        return sum(size for _, size, _, _ in walk(shard.path))
    return input_size(shard.path)


def _by_source(sizes: dict[Shard, int]) -> Counter[str]:
    total = Counter[str]()
    for shard, size in sizes.items():
        total[shard.source] += size
    return total


def _exchange_bytes(work: str) -> Counter[str]:
    """Bytes in memory of the rows of each exchange, by stage and role."""
    total = Counter[str]()
    for path in list_files(work):
        if path.endswith(".exchange"):
            stage, name = path.rsplit("/", 2)[-2:]
            total[f"{stage}/{name.partition('-')[0]}"] += exchange_bytes(path)
    return total


def render_corpus(plan: CorpusPlan) -> str:
    lines = [
        f"{plan.input_bytes / 1e9:,.4g} GB of input on {plan.cores} cores, "
        f"from a sample of {plan.sample_bytes / 1e6:,.4g} MB",
        "",
        f"{'stage':<12}{'tasks':>10}{'core-hours':>14}{'GB written':>14}{'hours':>12}",
    ]
    for s in plan.stages:
        lines.append(
            f"{s.stage:<12}{s.tasks:>10,}{s.core_hours:>14,.4g}{s.bytes / 1e9:>14,.4g}"
            f"{s.hours:>12,.4g}"
        )
    total = [sum(column) for column in zip(*(s[2:] for s in plan.stages), strict=True)]
    lines += [
        f"{'all':<12}{'':>10}{total[0]:>14,.4g}{total[1] / 1e9:>14,.4g}{total[2]:>12,.4g}",
        "",
        f"memory of a worker: at most {plan.worker_bytes / 1e9:.3g} GB in parts; in exchanges "
        f"{plan.partition_bytes / 1e9:.3g} GB of rows",
        f"dedup.partitions = {plan.partitions} or more keep a task of an exchange below "
        f"{PARTITION_BYTES / 1e9:.2g} GB",
        "",
        "assumed: cost grows with bytes of input, source by source, and that of exchanges with "
        "text;",
        "duplicates are as frequent as in the sample (a larger corpus has more: more pairs, less "
        "text kept);",
        "cores as fast as this one, tasks of a stage alike, reading and writing hidden behind them",
    ]
    return "\n".join(lines)
