"""Deduplication of a made corpus of known truth: cost a document, memory, precision, recall.

    python -m benchmarks.dedup [--million] [--peers PYTHON [--peers-documents 10000 100000]]

Documents are some 120 words. Of each 100, 60 are single, a third of them with the same 40 words of
boilerplate; 30 are in families of a document and two edits of it (words changed so that the Jaccard
similarity of word 5-grams is from .5 to .99); 5 are a chain, each like the next only; and 5 edit
one of a few documents that hubs of many copies grow around. The truth is the Jaccard of the sets of
5-grams in plain Python, within a family, a chain and (of each document to its hub) a hub.

`recall`: of the true pairs of .8 or more, how many are no longer two kept documents. `precision`:
of the documents removed, how many are similar enough to a kept document of their own group. A size
runs in a process of its own, single-threaded, after a warm-up; CPU time is its own, with reading
the JSON lines and writing what is kept on both sides. datatrove runs its four MinHash stages (14
bands of 8, as it comes) on the same rows.
"""

import argparse
import itertools
import json
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
SIMILARITY, RECALL, N = 0.8, 0.95, 5
SHARD = 5000


def words(rng: random.Random, n: int) -> list[str]:
    return [f"w{rng.randrange(1 << 20):x}" for _ in range(n)]


def changed(rng: random.Random, base: list[str], edits: int) -> list[str]:
    out = list(base)
    for _ in range(edits):
        out[rng.randrange(len(out))] = f"x{rng.randrange(1 << 30):x}"
    return out


def make(n: int, folder: Path) -> None:
    """Shards of JSON lines {id, text, group}; group: whose members may be similar, or null."""
    rng = random.Random(n)
    boilerplate = words(rng, 40)
    hubs = [words(rng, 120) for _ in range(max(1, n // 100_000))]
    rows: list[tuple[str | None, list[str]]] = []
    for block in range(n // 100):
        for i in range(60):
            rows.append((None, words(rng, 80) + (boilerplate if i % 3 == 0 else words(rng, 40))))
        for i in range(10):
            base = words(rng, 120)
            rows.append((f"family-{block}-{i}", base))
            for _ in range(2):
                rows.append((f"family-{block}-{i}", changed(rng, base, rng.randint(1, 9))))
        base = words(rng, 180)
        for i in range(5):
            rows.append((f"chain-{block}", base[12 * i : 12 * i + 120]))
        for _ in range(5):
            hub = rng.randrange(len(hubs))
            rows.append((f"hub-{hub}", changed(rng, hubs[hub], rng.randint(1, 2))))
    rng.shuffle(rows)
    folder.mkdir(parents=True)
    for start in range(0, n, SHARD):
        with (folder / f"shard-{start:08d}.jsonl").open("w") as file:
            for i, (group, text) in enumerate(rows[start : start + SHARD], start):
                file.write(json.dumps({"id": f"d{i:08d}", "text": " ".join(text)} |
                                      {"group": group or ""}) + "\n")  # fmt: skip


def shingles(text: str) -> frozenset[tuple[str, ...]]:
    split = text.split()
    return frozenset(zip(*(split[i:] for i in range(N)), strict=False))


def score(folder: Path, kept: set[str], matched: dict[str, str] | None) -> dict[str, float]:
    """Precision and recall of what was kept, and where the keepers are named, of their names."""
    groups: dict[str, list[tuple[str, str]]] = {}
    total = 0
    for path in sorted(folder.iterdir()):
        for line in path.open():
            row = json.loads(line)
            total += 1
            if row["group"]:
                groups.setdefault(row["group"], []).append((row["id"], row["text"]))
    true = missed = right = 0
    for name, texts in groups.items():
        members = [(i, shingles(text)) for i, text in texts]
        if name.startswith("hub-"):  # all pairs would be quadratic
            pairs = zip(members[::2], members[1::2], strict=False)
        else:
            pairs = itertools.combinations(members, 2)
        for (a, x), (b, y) in pairs:
            if len(x & y) / len(x | y) >= SIMILARITY:
                true += 1
                missed += a in kept and b in kept
        sets = dict(members)
        stay = [i for i in sets if i in kept]
        for i in sets.keys() - kept:
            keepers = [matched[i]] if matched is not None else stay
            near = (sets.get(k, frozenset()) for k in keepers)
            right += any(len(sets[i] & k) / len(sets[i] | k) >= SIMILARITY for k in near)
    return {
        "removed": total - len(kept),
        "true_pairs": true,
        "recall": round(1 - missed / true, 4),
        "precision": round(right / max(total - len(kept), 1), 4),
    }


def run_ours(folder: Path, out: Path) -> dict:
    import pyarrow.dataset as ds

    from pipeline.config import parse
    from pipeline.executor import connect
    from pipeline.stages import run_pipeline

    source = {"format": "table", "paths": [str(folder / "*.jsonl")]}
    minhash = {"similarity": SIMILARITY, "recall": RECALL, "words": N}
    n = len(list(folder.iterdir())) * SHARD
    config = {"name": "b", "sources": {"s": source}}
    config |= {"dedup": {"minhash": minhash, "partitions": max(4, n // 25_000)}}
    started = time.process_time()
    with connect("off") as cluster:
        manifest = run_pipeline(parse(config), str(out), cluster)
    seconds = time.process_time() - started
    stages: dict[str, float] = {}
    for path in (out / "_parts").glob("*/*.json"):
        cpu = json.loads(path.read_text())["timing"]["cpu_s"]
        stages[path.parent.name] = round(stages.get(path.parent.name, 0) + cpu, 3)
    kept = ds.dataset(out / "documents").to_table(["id"])["id"].to_pylist()
    gone = ds.dataset(out / "removed").to_table(["id", "matched_id"]).to_pydict()
    matched = dict(zip(gone["id"], gone["matched_id"], strict=True))
    report = manifest["dedup"]["minhash"]
    return {
        "cpu_s": round(seconds, 2),
        "stages_cpu_s": stages,
        "estimated": {
            k: report["recall"][k] for k in ("proposed", "error", "expected", "parted", "pairs")
        },
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        **score(folder, set(kept), matched),
    }


def run_datatrove(folder: Path, out: Path) -> dict:
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
    kept = {json.loads(x)["id"] for p in Path(f"{work}/out").glob("*.jsonl") for x in p.open()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {"cpu_s": round(seconds, 2), "peak_rss_mb": peak, **score(folder, kept, None)}


def side(name: str, folder: str) -> None:
    """The child process: a warm-up (compiled kernels, imports), a measured run, one JSON line."""
    run = {"ours": run_ours, "datatrove": run_datatrove}[name]
    with tempfile.TemporaryDirectory() as work:
        make(1000, Path(work) / "small")
        run(Path(work) / "small", Path(work) / "warm")
        print(json.dumps(run(Path(folder), Path(work) / "measured")))


def child(python: str, name: str, folder: Path) -> dict:
    command = [python, "-m", "benchmarks.dedup", "--side", name, "--shards", str(folder)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPO)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPO, env=env)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--million", action="store_true", help="a million documents too")
    parser.add_argument("--peers", help="a Python with benchmarks/requirements.txt")
    parser.add_argument("--peers-documents", type=int, nargs="+", default=[10_000])
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--shards", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        return side(args.side, args.shards)
    figures: dict[str, dict[int, dict]] = {"ours": {}, "datatrove": {}}
    for n in [10_000, 100_000, *([1_000_000] if args.million else [])]:
        with tempfile.TemporaryDirectory(prefix="dedup-") as name:
            folder = Path(name) / "in"
            make(n, folder)
            sides = {"ours": sys.executable}
            if args.peers and n in args.peers_documents:
                sides["datatrove"] = args.peers
            for peer, python in sides.items():
                found = child(python, peer, folder)
                figures[peer][n] = found
                ms = 1000 * found["cpu_s"] / n
                print(
                    f"{peer:<10}{n:>9,} documents: {ms:7.3f} CPU ms each, peak "
                    f"{found['peak_rss_mb']:,} MB, removed {found['removed']:,}, precision "
                    f"{found['precision']:.4f}, recall {found['recall']:.4f}",
                    flush=True,
                )
                if "estimated" in found:
                    print(f"{'':<10}estimated by the run itself: {found['estimated']}")
    if not args.peers:
        print("datatrove: skipped; give --peers PYTHON")
    each = {n: found["cpu_s"] / n for n, found in figures["ours"].items()}
    ratios: dict[str, float] = {
        f"ours_{n}_to_10000": round(cost / each[10_000], 3) for n, cost in each.items()
    }
    for n, found in figures["datatrove"].items():
        ratios[f"datatrove_to_ours_{n}"] = round(found["cpu_s"] / figures["ours"][n]["cpu_s"], 2)
    print(ratios)
    git = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=REPO)
    result = {"name": "dedup", "figures": figures, "ratios": ratios}
    result |= {"machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    result |= {"versions": {name: version(name) for name in ("numba", "numpy", "pyarrow")}}
    print(json.dumps(result | {"commit": git.stdout.strip()}))


if __name__ == "__main__":
    main()
