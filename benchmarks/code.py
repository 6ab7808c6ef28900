"""Source code: MB of kept text a CPU second of the reader, and of text of each step of rules.

    python -m benchmarks.code [--repeats 3]

Input: this machine's standard library as a tar.gz and as a directory (its own files, no installed
packages). One process; the reader decompresses a tar twice.
"""

import argparse
import gzip
import io
import json
import os
import platform
import statistics
import subprocess
import sysconfig
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from filters.code import LlamaCode, StarCoder, StarCoder2, llama_code, starcoder, starcoder2
from pipeline.schema import DOCUMENT, Document
from pipeline.sources.code import Code, read_code, split_code


def make_shards(folder: Path) -> dict[str, Path]:
    stdlib = Path(sysconfig.get_path("stdlib"))
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for file in sorted(stdlib.rglob("*")):
            inside = file.relative_to(stdlib)
            if {"site-packages", "__pycache__"} & set(inside.parts) or not file.is_file():
                continue
            data = file.read_bytes()
            info = tarfile.TarInfo(f"lib/{inside.as_posix()}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
            (folder / "directory" / "lib" / inside).parent.mkdir(parents=True, exist_ok=True)
            (folder / "directory" / "lib" / inside).write_bytes(data)
    (folder / "lib.tar.gz").write_bytes(gzip.compress(out.getvalue(), 6, mtime=0))
    return {"tar.gz": folder / "lib.tar.gz", "directory": folder / "directory"}


def read(path: Path) -> list[Document]:
    config = Code(unknown_license="keep")
    return [
        item
        for start, end in split_code(str(path), 1 << 60)
        for item in read_code(str(path), start, end, config)
        if isinstance(item, Document)
    ]


def rates(work: Callable[[], Any], megabytes: float, repeats: int) -> list[float]:
    found = []
    for _ in range(repeats):
        before = time.process_time()
        work()
        found.append(megabytes / (time.process_time() - before))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="corpusmill-") as folder:
        shards = make_shards(Path(folder))
        items = read(shards["directory"])
        kept = [item for item in items if item.rule is None]
        size = sum(len(item.text.encode()) for item in kept) / 1e6
        print(f"{len(items)} files, {len(kept)} kept, {size:.1f} MB")
        print(", ".join(f"{rule} {n}" for rule, n in Counter(i.rule for i in items).most_common()))

        def report(name: str, work: Callable[[], Any]) -> None:
            found = rates(work, size, repeats)
            figures[name] = statistics.median(found)
            print(f"{name:<24}{figures[name]:7.1f} MB/s  ({min(found):.1f} to {max(found):.1f})")

        for kind, path in shards.items():
            report(f"read a {kind}", lambda path=path: read(path))
        rows = [{"id": i.locator, "text": i.text, "meta": list(i.meta.items())} for i in kept]
        docs = pa.Table.from_pylist(rows, DOCUMENT)
        for step, config in (
            (llama_code, LlamaCode()),
            (starcoder, StarCoder()),
            (starcoder2, StarCoder2()),
        ):
            step(docs.slice(0, 2), config)  # compiles
            report(step.__name__, lambda step=step, config=config: step(docs, config))
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    versions = {"python": platform.python_version(), "pyarrow": pa.__version__}
    line = {"name": "code", "figures_mb_s": figures, "machine": machine, "versions": versions}
    print(json.dumps(line | {"commit": commit.strip()}))


if __name__ == "__main__":
    main()
