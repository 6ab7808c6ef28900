"""What Ray costs: CPU seconds of the same run on a local Ray and in a plain loop in one process.

    python -m benchmarks.overhead [--data DIR] [--copies 20] [--repeats 3]

Input: the real web pages, as `copies` shards of their own. Filters and exact and MinHash
deduplication run over them. The whole machine's busy CPU time is counted (/proc/stat), Ray's own
processes included, so nothing else may run meanwhile.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
CONFIG = """
name = "overhead"
[sources.web]
format = "warc"
paths = ["{folder}/shard-*.warc.gz"]
steps = [{{ use = "language" }}, {{ use = "gopher_repetition" }}, {{ use = "gopher_quality" }}]
[dedup.exact]
[dedup.minhash]
"""


def busy_seconds() -> float:
    """CPU time that any process of this machine has used."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _, _, irq, softirq = (int(x) for x in fields[:7])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def measure(config: Path, out: Path, *options: str) -> float:
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "pipeline.cli", "run", str(config), "--out", str(out)]
    before = busy_seconds()
    subprocess.run([*command, *options], check=True, capture_output=True)
    return busy_seconds() - before


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    default = os.environ.get("CORPUSMILL_DATA", str(REPO.parent / "shared" / "data"))
    parser.add_argument("--data", default=default, help="directory with web/pages-*.warc.gz")
    parser.add_argument("--copies", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--workers",
        default="1",
        help="of Ray (more share caches and hyperthreads, which is not Ray's cost)",
    )
    args = parser.parse_args()
    workers = args.workers
    shards = sorted(Path(args.data, "web").glob("pages-*.warc.gz"))
    if not shards:
        sys.exit(f"{args.data}/web: no pages-*.warc.gz; give --data")
    with tempfile.TemporaryDirectory(prefix="overhead-") as name:
        folder = Path(name)
        for i in range(args.copies):
            (folder / f"shard-{i:03d}.warc.gz").symlink_to(shards[i % len(shards)].resolve())
        config = folder / "overhead.toml"
        config.write_text(CONFIG.format(folder=folder))
        seconds: dict[str, list[float]] = {"ray": [], "loop": []}
        for _ in range(args.repeats):
            seconds["ray"].append(measure(config, folder / "ray", "--workers", workers))
            seconds["loop"].append(measure(config, folder / "loop", "--ray", "off"))
        manifest = json.loads((folder / "ray" / "manifest.json").read_text())
    documents = manifest["stages"]["ingest"]["web"]["in"]
    figures = {}
    for name, values in seconds.items():
        median = statistics.median(values)
        figures[name] = {
            "cpu_s": round(median, 2),
            "cpu_s_min": round(min(values), 2),
            "cpu_s_max": round(max(values), 2),
            "cpu_ms_per_document": round(1000 * median / documents, 3),
        }
        print(
            f"{name:<5} {median:7.2f} s CPU ({min(values):.2f} .. {max(values):.2f}), "
            f"{1000 * median / documents:.3f} ms a document"
        )
    ratio = figures["loop"]["cpu_s"] / figures["ray"]["cpu_s"]
    print(f"the loop takes {ratio:.3f} of Ray's CPU time, on {documents} documents")
    print(
        json.dumps(
            {
                "name": "overhead",
                "figures": figures,
                "ratio": round(ratio, 3),
                "documents": documents,
            }
        )
    )


if __name__ == "__main__":
    main()
