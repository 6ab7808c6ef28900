"""WARC to filtered, signed documents: corpusmill and datatrove 0.10.1 on the same shards, in one
run.

    python -m benchmarks.pipeline [--data DIR] [--peers PYTHON] [--repeats 3]

Both read WARC records, extract the main text of each page, compute Gopher's repetition and quality
rules and write MinHash signatures of word 5-grams (datatrove: trafilatura, 14 x 8; corpusmill:
resiliparse, 128 permutations, and it goes on to verify the candidates and to write Parquet). Each
side runs in a process of its own, on one core, once to warm up (imports, compiled kernels,
tokenizer tables) and then measured by its own CPU time. The two take turns.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
STEPS = [{"use": "gopher_repetition"}, {"use": "gopher_quality"}]


def run_ours(shards: list[str], out: str) -> dict:
    """CPU seconds and documents of the same DAG that `corpusmill run` runs, in a plain loop."""
    from pipeline.config import parse
    from pipeline.executor import connect
    from pipeline.stages import run_pipeline

    config = {
        "name": "benchmark",
        "sources": {"web": {"format": "warc", "paths": shards, "steps": STEPS}},
        "dedup": {"minhash": {}, "partitions": 4},
    }
    run = parse(config)
    started = time.process_time()
    with connect("off") as cluster:
        manifest = run_pipeline(run, out, cluster)
    seconds = time.process_time() - started
    stages = manifest["stages"]
    return {
        "cpu_s": seconds,
        "documents": stages["ingest"]["web"]["in"],
        "extracted": stages["ingest"]["web"]["kept"],
        "kept": stages["filter"]["web"]["kept"],
    }


def run_datatrove(shards: list[str], out: str) -> dict:
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.extractors import Trafilatura
    from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter
    from datatrove.pipeline.readers import WarcReader

    folder = str(Path(shards[0]).parent)
    names = [Path(s).name for s in shards]
    paths = Path(out) / "paths.txt"
    paths.parent.mkdir(parents=True, exist_ok=True)
    paths.write_text("\n".join(names) + "\n")
    pipeline = [
        WarcReader(folder, paths_file=str(paths)),
        Trafilatura(favour_precision=True, timeout=60),
        GopherRepetitionFilter(),
        GopherQualityFilter(),
        MinhashDedupSignature(f"{out}/signatures", config=MinhashConfig(n_grams=5)),
    ]
    executor = LocalPipelineExecutor(
        pipeline, tasks=1, workers=1, logging_dir=f"{out}/logs", skip_completed=False
    )
    times = os.times()
    executor.run()
    after = os.times()
    seconds = sum(after[:4]) - sum(times[:4])  # its extractor runs in a child process
    stats = json.loads((Path(out) / "logs/stats.json").read_text())
    numbers = [s["stats"] for s in stats]

    def count(stats: dict, key: str) -> int:
        value = stats.get(key, 0)
        return value if isinstance(value, int) else value.get("total", 0)

    return {
        "cpu_s": seconds,
        "documents": count(numbers[0], "documents"),
        "extracted": count(numbers[1], "forwarded"),
        "kept": count(numbers[3], "forwarded"),
    }


def side(name: str, shards: list[str]) -> None:
    """The child process: a warm-up, a measured run, one JSON line."""
    run = {"ours": run_ours, "datatrove": run_datatrove}[name]
    with tempfile.TemporaryDirectory() as folder:
        run(shards[:1], f"{folder}/warm")
        print(json.dumps(run(shards, f"{folder}/measured")))


def measure_input(shards: list[str]) -> tuple[int, float]:
    """Response records, and MB of their HTTP bodies: the work's input, the same for both sides
    (datatrove reads 306 of the 340 records: it leaves out what does not decode)."""
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    records = total = 0
    for shard in shards:
        with Path(shard).open("rb") as file:
            for record in ArchiveIterator(file, record_types=WarcRecordType.response):
                records += 1
                total += len(record.reader.read())
    return records, total / 1e6


def child(python: str, name: str, shards: list[str]) -> dict:
    command = [python, "-m", "benchmarks.pipeline", "--side", name, "--shards", *shards]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPO)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPO, env=env)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    default = os.environ.get("CORPUSMILL_DATA", str(REPO.parent / "shared" / "data"))
    parser.add_argument("--data", default=default, help="directory with web/pages-*.warc.gz")
    parser.add_argument(
        "--peers", default=".venv-peers/bin/python", help="python that has datatrove"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--side", choices=["ours", "datatrove"], help=argparse.SUPPRESS)
    parser.add_argument("--shards", nargs="*", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        side(args.side, args.shards)
        return
    shards = sorted(str(p) for p in Path(args.data, "web").glob("pages-*.warc.gz"))
    if not shards:
        sys.exit(f"{args.data}/web: no pages-*.warc.gz; give --data")
    records, megabytes = measure_input(shards)
    print(f"{records} records, {megabytes:.1f} MB of HTML, {args.repeats} repeats, one core each")
    runs: dict[str, list[dict]] = {"ours": [], "datatrove": []}
    for _ in range(args.repeats):
        runs["ours"].append(child(sys.executable, "ours", shards))
        runs["datatrove"].append(child(args.peers, "datatrove", shards))
    figures = {}
    for name, results in runs.items():
        cpu = [r["cpu_s"] for r in results]
        median = statistics.median(cpu)
        first = results[0]
        figures[name] = {
            "cpu_s": round(median, 3),
            "cpu_s_min": round(min(cpu), 3),
            "cpu_s_max": round(max(cpu), 3),
            "documents_per_core_s": round(records / median, 1),
            "html_mb_per_core_s": round(megabytes / median, 2),
            **{k: first[k] for k in ("documents", "extracted", "kept")},
        }
        print(
            f"{name:<10} {median:7.2f} s CPU ({min(cpu):.2f} .. {max(cpu):.2f})  "
            f"{records / median:8.1f} documents/core-s  "
            f"{megabytes / median:6.2f} MB HTML/core-s  "
            f"{first['documents']} read, {first['extracted']} extracted, {first['kept']} kept"
        )
    ratio = figures["datatrove"]["cpu_s"] / figures["ours"]["cpu_s"]
    print(f"ratio      {ratio:.1f} x")
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=REPO
    ).stdout.strip()
    print(
        json.dumps(
            {
                "name": "pipeline",
                "figures": figures,
                "ratio": round(ratio, 2),
                "html_mb": round(megabytes, 2),
                "machine": f"{os.cpu_count()} cores, {platform.machine()}",
                "versions": {"datatrove": "0.10.1", "resiliparse": version("resiliparse")},
                "commit": commit,
            }
        )
    )


if __name__ == "__main__":
    main()
