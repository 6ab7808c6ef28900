"""Deduplication of a made corpus of known truth: cost a document, memory, precision, recall.

    python -m benchmarks.dedup [--million] [--hostile] [--repeats 3]
                               [--peers PYTHON [--peers-documents 100000]]

The corpus and its truth: `dedup_corpus.py`.

`recall`: of the true pairs of .8 or more, how many are no longer two kept documents; `promised`: by
the S-curve of our bands for the same pairs; `at_threshold`: of those below .82, where .95 is asked
for. `precision`: of those removed, how many are similar to a kept document of their group. A size
runs in a process of its own, single-threaded, after a warm-up of a shard; CPU time is its own, with
reading the JSON lines and writing what is kept on all sides. There is a partition for each 25,000
documents, so peak memory must not grow with n. On the same rows run datatrove's four MinHash
stages (14 bands of 8, as they come) and text-dedup's MinHash for .8, as it comes (250 permutations,
SHA-1) and at its fastest (128, xxh3).

Then what hurts: identical documents without exact deduplication before (each band has one bucket of
all of them), documents of one word each, a huge document and its copy. `--hostile`: at full size.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from benchmarks.dedup_corpus import RECALL, SHARD, SIMILARITY, N, make, make_hostile, score

REPO = Path(__file__).resolve().parent.parent
Ran = tuple[dict, set[str], dict[str, str] | None]  # figures, ids kept, id -> its keeper
HOSTILE = {"identical": 1_000_000, "one_word": 1_000_000, "one_document": 100 << 20}


def run_ours(folder: Path, out: Path) -> Ran:
    import pyarrow.dataset as ds

    from pipeline.config import parse
    from pipeline.executor import connect
    from pipeline.stages import run_pipeline

    source = {"format": "table", "paths": [str(folder / "*.jsonl")]}
    source |= {"max_document_bytes": 256 << 20}
    minhash = {"similarity": SIMILARITY, "recall": RECALL, "words": N}
    n = len(list(folder.iterdir())) * SHARD
    config = {"name": "b", "sources": {"s": source}}
    config |= {"dedup": {"minhash": minhash, "partitions": max(1, n // 25_000)}}
    started = time.process_time()
    with connect("off") as cluster:
        manifest = run_pipeline(parse(config), str(out), cluster)
    found = {"cpu_s": round(time.process_time() - started, 2), "peak_rss_mb": peak_mb()}
    stages: dict[str, float] = {}
    slowest = 0.0
    for path in (out / "_parts").glob("*/*.json"):
        cpu = json.loads(path.read_text())["timing"]["cpu_s"]
        stages[path.parent.name] = round(stages.get(path.parent.name, 0) + cpu, 3)
        slowest = max(slowest, cpu)
    kept = ds.dataset(out / "documents").to_table(["id"])["id"].to_pylist()
    gone = ds.dataset(out / "removed").to_table(["id", "matched_id"]).to_pydict()
    matched = dict(zip(gone["id"], gone["matched_id"], strict=True))
    report = manifest["dedup"]["minhash"]
    found |= {
        "slowest_task_s": slowest,
        "stages_cpu_s": stages,
        "digest": manifest["corpus_digest"],
    }
    found |= {"kept": len(kept), "candidate_pairs": report["candidate_pairs"]}
    found["estimated"] = {k: v for k, v in report["recall"].items() if k != "by_similarity"}
    return found, set(kept), matched


def peak_mb() -> int:
    """Of this process. The parent must stay small: Linux counts what it held before the exec."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def run_datatrove(folder: Path, out: Path) -> Ran:
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    config = MinhashConfig(n_grams=N)
    work = str(out)

    def stage(name: str, pipeline: list, tasks: int = 1) -> None:
        logs = f"{work}/logs-{name}"
        LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=logs).run()

    reader = JsonlReader(str(folder))
    started = sum(os.times()[:4])
    stage("1", [reader, MinhashDedupSignature(f"{work}/sig", config=config)])
    buckets = MinhashDedupBuckets(f"{work}/sig", f"{work}/buckets", config=config)
    stage("2", [buckets], tasks=config.num_buckets)
    stage("3", [MinhashDedupCluster(f"{work}/buckets", f"{work}/remove", config=config)])
    writer = JsonlWriter(f"{work}/out", compression=None)
    stage("4", [JsonlReader(str(folder)), MinhashDedupFilter(f"{work}/remove"), writer])
    seconds = sum(os.times()[:4]) - started
    found = {"cpu_s": round(seconds, 2), "peak_rss_mb": peak_mb()}
    kept = {json.loads(x)["id"] for p in Path(f"{work}/out").glob("*.jsonl") for x in p.open()}
    return found, kept, None


def run_text_dedup_128(folder: Path, out: Path) -> Ran:
    return run_text_dedup(folder, out, num_perm="128", hash_func="xxh3")


def run_text_dedup(folder: Path, out: Path, **given: str) -> Ran:
    import datasets
    from text_dedup.minhash import main as minhash

    options = {"path": "json", "data_files": str(folder / "*.jsonl"), "split": "train"}
    options |= {"cache_dir": str(out / "cache"), "output": str(out / "out"), "column": "text"}
    options |= {"num_proc": "1", "threshold": str(SIMILARITY), "ngram": str(N), **given}
    datasets.disable_progress_bars()
    started = sum(os.times()[:4])
    minhash([x for k, v in options.items() for x in (f"--{k}", v)], standalone_mode=False)
    found = {"cpu_s": round(sum(os.times()[:4]) - started, 2), "peak_rss_mb": peak_mb()}
    kept = set(datasets.load_from_disk(str(out / "out"))["id"])
    return found, kept, None


SIDES = {
    "ours": run_ours,
    "text_dedup_128": run_text_dedup_128,
    "text_dedup": run_text_dedup,
    "datatrove": run_datatrove,
}


def side(name: str, folder: Path, again: bool) -> None:
    """The child process: a warm-up (compiled kernels, imports, memory that the allocator keeps), a
    measured run, one JSON line. `again`: the score is known."""
    with tempfile.TemporaryDirectory() as work:
        make(SHARD, Path(work) / "small")
        SIDES[name](Path(work) / "small", Path(work) / "warm")
        found, kept, matched = SIDES[name](folder, Path(work) / "measured")
        print(json.dumps(found if again else found | score(folder, kept, matched)))


def repeated(python: str, folder: Path, name: str, repeats: int) -> dict:
    """The median of the CPU times, of all and by stage, beside what else the first run found."""
    runs = [child(python, folder, "--side", name)]
    runs += [child(python, folder, "--side", name, "--again") for _ in range(repeats - 1)]
    assert len({run.get("digest") for run in runs}) == 1
    found = runs[0] | {"runs_cpu_s": [run["cpu_s"] for run in runs]}
    found["cpu_s"] = statistics.median(found["runs_cpu_s"])
    found["peak_rss_mb"] = max(run["peak_rss_mb"] for run in runs)
    if stages := found.get("stages_cpu_s"):
        for stage in stages:
            stages[stage] = statistics.median(run["stages_cpu_s"][stage] for run in runs)
    return found


class Failed(Exception):
    """What a child process wrote to stderr."""


def child(python: str, folder: Path, *arguments: str) -> dict:
    command = [python, "-m", "benchmarks.dedup", "--shards", str(folder), *arguments]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPO), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPO, env=env)
    if done.returncode:
        raise Failed(f"{arguments} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def compare(sizes: list[int], peers: str | None, peers_documents: list[int], repeats: int) -> dict:
    figures: dict[str, dict[int, dict]] = {name: {} for name in SIDES}
    for n in sizes:
        with tempfile.TemporaryDirectory(prefix="dedup-") as work:
            folder = Path(work) / "in"
            child(sys.executable, folder, "--make", "corpus", str(n))
            for name in SIDES if peers and n in peers_documents else ["ours"]:
                if name == "ours":
                    found = repeated(sys.executable, folder, name, repeats)
                else:
                    try:
                        found = repeated(peers or "", folder, name, 1)
                    except (Failed, FileNotFoundError) as error:
                        print(f"{name}: skipped: {str(error).strip().splitlines()[-1]}")
                        continue
                figures[name][n] = found
                ms = 1000 * found["cpu_s"] / n
                print(
                    f"{name:<14} {n:>9,} documents: {ms:7.4f} CPU ms each, peak "
                    f"{found['peak_rss_mb']:,} MB, removed {found['removed']:,}, precision "
                    f"{found['precision']:.4f}, recall {found['recall']:.4f}, promised "
                    f"{found['promised']:.4f}, at_threshold {found['at_threshold']:.4f}",
                    flush=True,
                )
                if name == "ours":
                    each = {k: round(1e6 * s / n, 1) for k, s in found["stages_cpu_s"].items()}
                    print(f"{'':<15}runs of {found['runs_cpu_s']} s; us each by stage: {each}")
                    print(f"{'':<15}estimated by the run itself: {found['estimated']}", flush=True)
    return figures


def endure(share: int) -> dict:
    figures = {}
    for kind, full in HOSTILE.items():
        size = full // share
        with tempfile.TemporaryDirectory(prefix="dedup-") as work:
            folder = Path(work) / "in"
            child(sys.executable, folder, "--make", kind, str(size))
            found = child(sys.executable, folder, "--side", "ours")
        figures[kind] = {"size": size, **found}
        unit = "bytes" if kind == "one_document" else "documents"
        print(
            f"{kind:<13}{size:>12,} {unit}: {found['cpu_s']:.1f} CPU s, its longest task "
            f"{found['slowest_task_s']:.1f}, peak {found['peak_rss_mb']:,} MB, "
            f"{found['candidate_pairs']:,} pairs compared, {found['kept']:,} kept",
            flush=True,
        )
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--million", action="store_true", help="a million documents too")
    parser.add_argument("--repeats", type=int, default=3, help="of ours; the medians are compared")
    parser.add_argument("--hostile", action="store_true", help="hostile input at full size")
    parser.add_argument("--peers", help="a Python with benchmarks/requirements.txt")
    parser.add_argument("--peers-documents", type=int, nargs="+", default=[100_000])
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--again", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--shards", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--make", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.make:
        kind, size = args.make[0], int(args.make[1])
        if kind == "corpus":
            make(size, args.shards)
        else:
            make_hostile(kind, size, args.shards)
        return print("{}")
    if args.side:
        return side(args.side, args.shards, args.again)
    sizes = [10_000, 100_000, *([1_000_000] if args.million else [])]
    figures = compare(sizes, args.peers, args.peers_documents, args.repeats)
    if not args.peers:
        print("datatrove, text-dedup: skipped; give --peers PYTHON")
    hostile = endure(1 if args.hostile else 50)
    each = {n: found["cpu_s"] / n for n, found in figures["ours"].items()}
    ratios: dict[str, float] = {
        f"ours_{n}_to_100000": round(cost / each[100_000], 3) for n, cost in each.items()
    }
    for peer in [name for name in SIDES if name != "ours"]:
        for n, found in figures[peer].items():
            cost = found["cpu_s"] / figures["ours"][n]["cpu_s"]
            ratios[f"{peer}_to_ours_{n}"] = round(cost, 2)
    print(ratios)
    git = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=REPO)
    result = {"name": "dedup", "figures": {**figures, "hostile": hostile}, "ratios": ratios}
    result |= {"machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    result |= {"versions": {name: version(name) for name in ("numba", "numpy", "pyarrow")}}
    print(json.dumps(result | {"commit": git.stdout.strip()}))


if __name__ == "__main__":
    main()
