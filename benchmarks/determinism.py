"""The same bytes out: one configuration run in every way that must not matter, and the digests side
by side.

    python -m benchmarks.determinism configs/real.toml [--kills 3] [--seed 0]

One worker and two; the inputs listed in reverse; the driver killed with SIGKILL at random points,
and a worker killed at random points, then the same command again. Besides the corpus digest, a
digest over every data file (documents, removed, errors) is compared. Ends with a JSON line; exit
status 1 if anything differs.
"""

import argparse
import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.config import load
from pipeline.state import input_path
from pipeline.storage import expand

DATA = ("documents", "removed", "errors")


def command(config: str, out: Path, *more: str) -> list[str]:
    run = [sys.executable, "-m", "pipeline.cli", "run", config, "--out", str(out)]
    return [*run, "--until", "dedup", *more]


def finish(arguments: list[str]) -> None:
    done = subprocess.run(arguments, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)}\n{done.stderr[-3000:]}")


def digests(out: Path) -> tuple[str, str]:
    """The corpus digest, and sha256 over the names and bytes of all data files."""
    everything = hashlib.sha256()
    for path in sorted(p for name in DATA for p in (out / name).rglob("*") if p.is_file()):
        everything.update(str(path.relative_to(out)).encode() + b"\0" + path.read_bytes())
    manifest = json.loads((out / "manifest.json").read_text())
    return manifest["corpus_digest"], everything.hexdigest()


def reversed_inputs(config: str, changes: list[str]) -> list[str]:
    """--set options that list every shard by name, in reverse."""
    run = load(config, changes)
    options = []
    for name, source in run.sources.items():
        paths = [path for p in source.paths for path, _ in expand(input_path(run, p))]
        listed = ", ".join(json.dumps(path) for path in sorted(paths, reverse=True))
        options += ["--set", f"sources.{name}.paths=[{listed}]"]
    return options


def kill_driver(process: subprocess.Popen) -> bool:
    process.send_signal(signal.SIGKILL)
    return True


def kill_worker(process: subprocess.Popen) -> bool:
    """SIGKILL to a Ray worker that is at work; False where there is none right now."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                line = (entry / "cmdline").read_bytes()
                if line.startswith(b"ray::perform"):
                    os.kill(int(entry.name), signal.SIGKILL)
                    return True
    return False


def run_with_kills(
    arguments: list[str], delays: list[float], kill: Callable[[subprocess.Popen], bool]
) -> int:
    """Starts the command, kills after each delay (and starts it again if the driver died), then
    lets it finish. Returns how many kills hit."""
    hits = 0
    for delay in delays:
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + delay
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        while process.poll() is None and not kill(process):
            time.sleep(0.02)
        hits += process.poll() is None or process.returncode < 0
        process.wait()
    finish(arguments)
    return hits


def compare(config: str, changes: list[str], kills: int, seed: int, folder: Path) -> list[dict]:
    """A row a way: name, corpus digest, data digest, kills that hit."""
    options = [o for change in changes for o in ("--set", change)]
    rng = random.Random(seed)

    def row(name: str, out: str, hits: int | None = None) -> dict:
        corpus, data = digests(folder / out)
        print(f"{name:<44} corpus {corpus[:16]}  files {data[:16]}", flush=True)
        return {"way": name, "corpus": corpus, "files": data, "kills": hits}

    rows = []
    started = time.monotonic()
    finish(command(config, folder / "two", "--workers", "2", *options))
    seconds = time.monotonic() - started
    rows.append(row("two workers", "two"))
    finish(command(config, folder / "one", "--workers", "1", *options))
    rows.append(row("one worker", "one"))
    backwards = reversed_inputs(config, changes)
    finish(command(config, folder / "reversed", *options, *backwards))
    rows.append(row("inputs in reverse", "reversed"))
    for name, kill in (("driver", kill_driver), ("worker", kill_worker)):
        # Ray's start takes a few seconds: kills before it would hit nothing
        delays = [rng.uniform(0.25, 0.95) * seconds for _ in range(kills)]
        arguments = command(config, folder / name, "--workers", "2", *options)
        hits = run_with_kills(arguments, delays, kill)
        rows.append(row(f"{name} killed {hits} times, resumed", name, hits))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("config")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="determinism-") as folder:
        rows = compare(args.config, args.set, args.kills, args.seed, Path(folder))
    same = len({(r["corpus"], r["files"]) for r in rows}) == 1
    print("the same bytes every way" if same else "DIFFERENT")
    print(json.dumps({"name": "determinism", "config": args.config, "same": same, "rows": rows}))
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
