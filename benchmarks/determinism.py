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
import shutil
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


def run_with_kill(
    arguments: list[str], out: Path, delay: float, kill: Callable[[subprocess.Popen], bool]
) -> tuple[bool, int]:
    """Starts the command, kills after `delay` seconds, lets it finish (starting it again if the
    driver died). Returns whether the kill came in time, and how many parts were ready then."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + delay
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    hit = False
    while process.poll() is None and not (hit := kill(process)):
        time.sleep(0.02)
    ready = sum(1 for _ in out.glob("_parts/*/*.json"))
    process.wait()
    finish(arguments)
    return hit, ready


def compare(config: str, changes: list[str], kills: int, seed: int, folder: Path) -> list[dict]:
    """A row a way: name, corpus digest, data digest, whether a kill hit."""
    options = [o for change in changes for o in ("--set", change)]
    rng = random.Random(seed)

    def row(name: str, out: Path, hit: bool | None = None) -> dict:
        corpus, data = digests(out)
        shutil.rmtree(out)
        print(f"{name:<52} corpus {corpus[:16]}  files {data[:16]}", flush=True)
        return {"way": name, "corpus": corpus, "files": data, "hit": hit}

    rows = []
    out = folder / "out"
    started = time.monotonic()
    finish(command(config, out, "--workers", "2", *options))
    seconds = time.monotonic() - started
    rows.append(row("two workers", out))
    finish(command(config, out, "--workers", "1", *options))
    rows.append(row("one worker", out))
    finish(command(config, out, *options, *reversed_inputs(config, changes)))
    rows.append(row("inputs in reverse", out))
    for name, kill in (("driver", kill_driver), ("worker", kill_worker)):
        for _ in range(kills):
            arguments = command(config, out, "--workers", "2", *options)
            # the first fifth is Python's and Ray's start
            hit, ready = run_with_kill(arguments, out, rng.uniform(0.2, 0.9) * seconds, kill)
            what = f"{name} killed after {ready} parts, resumed" if hit else f"{name} not killed"
            rows.append(row(what, out, hit))
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
