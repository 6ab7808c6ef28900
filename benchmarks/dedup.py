"""Deduplication of a made corpus of known truth: cost a document, memory, precision, recall.

    python -m benchmarks.dedup [--million] [--hostile] [--peers PYTHON [--peers-documents 100000]]

Documents are some 120 words. Of each 100, 60 are single, a third of them with the same 40 words of
boilerplate; 30 are in families of a document and two edits of it (words changed so that the Jaccard
similarity of word 5-grams is from .5 to .99); 5 are a chain, each like the next only; and 5 edit
one of a few documents that hubs of many copies grow around. The truth is the Jaccard of the sets of
5-grams in plain Python, within a family, a chain and (of each document to its hub) a hub.

`recall`: of the true pairs of .8 or more, how many are no longer two kept documents; `promised`: by
the S-curve of our bands for the same pairs; `at_threshold`: of those below .82, where .95 is asked
for. `precision`: of those removed, how many are similar to a kept document of their group. A size
runs in a process of its own, single-threaded, after a warm-up of a shard; CPU time is its own, with
reading the JSON lines and writing what is kept on all sides. There is a partition for each 25,000
documents, so peak memory must not grow with n. datatrove runs its four MinHash stages (14 bands of
8, as it comes), text-dedup its MinHash (128 permutations, .8, xxh3: its fastest) on the same rows.

Then what hurts: identical documents without exact deduplication before (each band has one bucket of
all of them), documents of one word each, a huge document and its copy. `--hostile`: at full size.
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
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
SIMILARITY, RECALL, N = 0.8, 0.95, 5
BANDING = 13, 7  # bands and rows that `dedup.lsh` chooses for these
SHARD = 5000
HOSTILE = {"identical": 1_000_000, "one_word": 1_000_000, "one_document": 100 << 20}


def words(rng: random.Random, n: int) -> list[str]:
    return [f"w{rng.randrange(1 << 20):x}" for _ in range(n)]


def changed(rng: random.Random, base: list[str], edits: int) -> list[str]:
    out = list(base)
    for _ in range(edits):
        out[rng.randrange(len(out))] = f"x{rng.randrange(1 << 30):x}"
    return out


def make(n: int, folder: Path) -> None:
    """Shards of JSON lines {id, text, group}; group: whose members may be similar, or empty."""
    rng = random.Random(n)
    boilerplate = words(rng, 40)
    hubs = [words(rng, 120) for _ in range(max(1, n // 100_000))]
    rows: list[tuple[str, str]] = []

    def add(group: str, text: list[str]) -> None:
        rows.append((group, " ".join(text)))

    for block in range(n // 100):
        for i in range(60):
            add("", words(rng, 80) + (boilerplate if i % 3 == 0 else words(rng, 40)))
        for i in range(10):
            base = words(rng, 120)
            add(f"family-{block}-{i}", base)
            for _ in range(2):
                add(f"family-{block}-{i}", changed(rng, base, rng.randint(1, 9)))
        base = words(rng, 180)
        for i in range(5):
            add(f"chain-{block}", base[12 * i : 12 * i + 120])
        for _ in range(5):
            hub = rng.randrange(len(hubs))
            add(f"hub-{hub}", changed(rng, hubs[hub], rng.randint(1, 2)))
    rng.shuffle(rows)
    write(folder, rows)


def make_hostile(kind: str, size: int, folder: Path) -> None:
    rng = random.Random(0)
    if kind == "identical":
        texts: Iterable[str] = itertools.repeat(" ".join(words(rng, 120)), size)
    elif kind == "one_word":
        texts = (f"w{i % 5} " * (20 + i % 200) for i in range(size))
    else:
        around = [" ".join(words(rng, 120)) for _ in range(2000)]
        huge = " ".join(words(rng, size // 7))
        texts = [*around, huge, huge + " again"]
    write(folder, (("", text) for text in texts))


def write(folder: Path, rows: Iterable[tuple[str, str]]) -> None:
    folder.mkdir(parents=True)
    numbered = enumerate(rows)
    while shard := list(itertools.islice(numbered, SHARD)):
        with (folder / f"shard-{shard[0][0]:08d}.jsonl").open("w") as file:
            for i, (group, text) in shard:
                row = {"id": f"d{i:08d}", "text": text, "group": group}
                file.write(json.dumps(row) + "\n")


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
    if not groups:
        return {"removed": total - len(kept)}  # hostile input: nothing is known of it
    true = missed = right = at_threshold = missed_there = 0
    promised = 0.0
    for name, texts in groups.items():
        members = [(i, shingles(text)) for i, text in texts]
        if name.startswith("hub-"):  # all pairs would be quadratic
            pairs = zip(members[::2], members[1::2], strict=False)
        else:
            pairs = itertools.combinations(members, 2)
        for (a, x), (b, y) in pairs:
            similarity = len(x & y) / len(x | y)
            if similarity >= SIMILARITY:
                true += 1
                together = a in kept and b in kept
                missed += together
                promised += 1 - (1 - similarity ** BANDING[1]) ** BANDING[0]
                at_threshold += similarity < SIMILARITY + 0.02
                missed_there += together and similarity < SIMILARITY + 0.02
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
        "promised": round(promised / true, 4),
        "at_threshold": round(1 - missed_there / max(at_threshold, 1), 4),
        "precision": round(right / max(total - len(kept), 1), 4),
    }


def run_ours(folder: Path, out: Path) -> dict:
    import pyarrow.dataset as ds

    from pipeline.config import parse
    from pipeline.executor import connect
    from pipeline.stages import run_pipeline

    source = {"format": "table", "paths": [str(folder / "*.jsonl")]}
    source |= {"max_document_bytes": 256 << 20}
    minhash = {"similarity": SIMILARITY, "recall": RECALL, "words": N}
    n = len(list(folder.iterdir())) * SHARD
    config = {"name": "b", "sources": {"s": source}}
    config |= {"dedup": {"minhash": minhash, "partitions": max(4, n // 25_000)}}
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
    return found | score(folder, set(kept), matched)


def peak_mb() -> int:
    """Of this process. The parent must stay small: Linux counts what it held before the exec."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


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
    found = {"cpu_s": round(seconds, 2), "peak_rss_mb": peak_mb()}
    kept = {json.loads(x)["id"] for p in Path(f"{work}/out").glob("*.jsonl") for x in p.open()}
    return found | score(folder, kept, None)


def run_text_dedup(folder: Path, out: Path) -> dict:
    import datasets
    from text_dedup.minhash import main as minhash

    options = {"path": "json", "data_files": str(folder / "*.jsonl"), "split": "train"}
    options |= {"cache_dir": str(out / "cache"), "output": str(out / "out"), "column": "text"}
    options |= {"num_proc": "1", "num_perm": "128", "threshold": str(SIMILARITY), "ngram": str(N)}
    options |= {"hash_func": "xxh3"}
    datasets.disable_progress_bars()
    started = sum(os.times()[:4])
    minhash([x for k, v in options.items() for x in (f"--{k}", v)], standalone_mode=False)
    found = {"cpu_s": round(sum(os.times()[:4]) - started, 2), "peak_rss_mb": peak_mb()}
    kept = set(datasets.load_from_disk(str(out / "out"))["id"])
    return found | score(folder, kept, None)


SIDES = {"ours": run_ours, "datatrove": run_datatrove, "text_dedup": run_text_dedup}


def side(name: str, folder: Path) -> None:
    """The child process: a warm-up (compiled kernels, imports, memory that the allocator keeps), a
    measured run, one JSON line."""
    with tempfile.TemporaryDirectory() as work:
        make(SHARD, Path(work) / "small")
        SIDES[name](Path(work) / "small", Path(work) / "warm")
        print(json.dumps(SIDES[name](folder, Path(work) / "measured")))


def child(python: str, folder: Path, *arguments: str) -> dict:
    command = [python, "-m", "benchmarks.dedup", "--shards", str(folder), *arguments]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPO), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPO, env=env)
    if done.returncode:
        raise SystemExit(f"{arguments} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def compare(sizes: list[int], peers: str | None, peers_documents: list[int]) -> dict:
    figures: dict[str, dict[int, dict]] = {name: {} for name in SIDES}
    for n in sizes:
        with tempfile.TemporaryDirectory(prefix="dedup-") as work:
            folder = Path(work) / "in"
            child(sys.executable, folder, "--make", "corpus", str(n))
            for name in SIDES if peers and n in peers_documents else ["ours"]:
                found = child(sys.executable if name == "ours" else peers or "", folder,
                              "--side", name)  # fmt: skip
                figures[name][n] = found
                ms = 1000 * found["cpu_s"] / n
                print(
                    f"{name:<11}{n:>9,} documents: {ms:7.3f} CPU ms each, peak "
                    f"{found['peak_rss_mb']:,} MB, removed {found['removed']:,}, precision "
                    f"{found['precision']:.4f}, recall {found['recall']:.4f}, promised "
                    f"{found['promised']:.4f}, at_threshold {found['at_threshold']:.4f}",
                    flush=True,
                )
                if "estimated" in found:
                    print(f"{'':<11}estimated by the run itself: {found['estimated']}")
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
    parser.add_argument("--hostile", action="store_true", help="hostile input at full size")
    parser.add_argument("--peers", help="a Python with benchmarks/requirements.txt")
    parser.add_argument("--peers-documents", type=int, nargs="+", default=[100_000])
    parser.add_argument("--side", help=argparse.SUPPRESS)
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
        return side(args.side, args.shards)
    sizes = [10_000, 100_000, *([1_000_000] if args.million else [])]
    figures = compare(sizes, args.peers, args.peers_documents)
    if not args.peers:
        print("datatrove, text-dedup: skipped; give --peers PYTHON")
    hostile = endure(1 if args.hostile else 50)
    each = {n: found["cpu_s"] / n for n, found in figures["ours"].items()}
    ratios: dict[str, float] = {
        f"ours_{n}_to_100000": round(cost / each[100_000], 3) for n, cost in each.items()
    }
    for peer in ("datatrove", "text_dedup"):
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
