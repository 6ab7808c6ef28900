"""Language identification: ours, fastText a text at a time, langdetect and CLD2, on the same texts
in one run.

    python -m benchmarks.language [--data DIR] [--peers PYTHON] [--repeats 3]

Accuracy: the 131 texts of the Universal Declaration of Human Rights whose language lid.176 has a
label for, cut to several lengths. Speed: the real web pages, extracted once, by CPU time on one
core. fastText's own Python interface gets one text at a time (NumPy 2 needs another build of it),
with the same lid.176.ftz. Each side runs in a process of its own, once to warm up.
"""

import argparse
import gzip
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
LENGTHS = (50, 100, 200, 500, 1000, 0)  # characters; 0 is the whole text
PACKAGES = {"fasttext": ("fasttext-numpy2-wheel", "fasttext")}
# The codes of langdetect and CLD2 where they differ from lid.176's.
SAME = {"iw": "he", "zh-cn": "zh", "zh-tw": "zh", "zh-Hant": "zh", "nb": "no", "jw": "jv"}

Labels = list[str | None]


def ours(model: str, lower_capitals: bool = False) -> Callable[[list[str], int], Labels]:
    import pyarrow as pa

    from filters.language import load_fasttext, measure_language

    loaded = load_fasttext(model)

    def label(texts: list[str], chars: int) -> Labels:
        column = pa.chunked_array([pa.array(texts)])
        found = measure_language(column, loaded, chars, lower_capitals)
        return found["label"].to_pylist()

    return label


def fasttext(model: str) -> Callable[[list[str], int], Labels]:
    import fasttext

    loaded = fasttext.load_model(model)

    def label(texts: list[str], chars: int) -> Labels:
        out: Labels = []
        for text in texts:
            labels, _ = loaded.predict(text[: chars or None].replace("\n", " "), k=1)
            out.append(labels[0].removeprefix("__label__") if labels else None)
        return out

    return label


def langdetect(model: str) -> Callable[[list[str], int], Labels]:
    from langdetect import DetectorFactory, LangDetectException, detect

    DetectorFactory.seed = 0

    def one(text: str) -> str | None:
        try:
            return detect(text)
        except LangDetectException:
            return None

    return lambda texts, chars: [one(text[: chars or None]) for text in texts]


def pycld2(model: str) -> Callable[[list[str], int], Labels]:
    import pycld2

    def one(text: str) -> str | None:
        try:
            return pycld2.detect(text)[2][0][1]
        except pycld2.error:
            return None

    return lambda texts, chars: [one(text[: chars or None]) for text in texts]


SIDES: dict[str, Callable[[str], Callable[[list[str], int], Labels]]] = {
    "ours": ours,
    "ours_lower_capitals": partial(ours, lower_capitals=True),
    "fasttext": fasttext,
    "langdetect": langdetect,
    "pycld2": pycld2,
}


def side(name: str, given: Path) -> None:
    """The child process: one JSON line of labels right by length, and CPU seconds by length."""
    data = json.loads(given.read_text())
    label = SIDES[name](data["model"])
    right = {}
    for chars in LENGTHS:
        found = label([text for _, text in data["labelled"]], chars)
        pairs = zip(found, data["labelled"], strict=True)
        right[chars] = sum(SAME.get(a or "", a) == b for a, (b, _) in pairs)
    pages = data["pages"][: 60 if name == "langdetect" else None]  # it takes seconds for these
    seconds: dict[int, list[float]] = {}
    for chars in (1000, 0):
        for _ in range(data["repeats"]):
            started = time.process_time()
            label(pages, chars)
            seconds.setdefault(chars, []).append((time.process_time() - started) / len(pages))
    print(json.dumps({"right": right, "seconds": seconds, "version": _version(name)}))


def _version(name: str) -> str:
    ours_or_peer = "corpusmill" if name.startswith("ours") else name
    for package in PACKAGES.get(name, (ours_or_peer,)):
        try:
            return f"{package} {version(package)}"
        except PackageNotFoundError:
            continue
    return name


def child(python: str, name: str, given: Path) -> dict | None:
    command = [python, "-m", "benchmarks.language", "--side", name, "--given", str(given)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPO)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPO, env=env)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["killed"])[-1]
        if name.startswith("ours"):
            raise SystemExit(f"ours failed: {reason}")
        print(f"{name:<20} skipped: {reason}")
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def read_pages(data: Path) -> list[str]:
    """The texts of the real web pages."""
    from pipeline.schema import Document
    from pipeline.sources import FORMATS

    warc, texts = FORMATS["warc"], []
    for path in sorted(map(str, data.glob("web/pages-*.warc.gz"))):
        for start, end in warc.split(path, 1 << 62):
            records = warc.read(path, start, end, warc.config())
            texts += [r.text for r in records if isinstance(r, Document) and r.text]
    return texts


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    default = os.environ.get("CORPUSMILL_DATA", str(REPO.parent / "shared" / "data"))
    parser.add_argument("--data", default=default, help="directory with lid/ and web/")
    parser.add_argument("--peers", default=".venv-peers/bin/python", help="python of the peers")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--given", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        side(args.side, args.given)
        return
    labelled = Path(args.data, "lid", "udhr.jsonl.gz")
    if not labelled.exists():
        sys.exit(f"{labelled}: not there; give --data")
    from filters.language import lid_176

    with gzip.open(labelled, "rt", encoding="utf-8") as lines:
        rows = [(row["label"], row["text"]) for row in map(json.loads, lines) if row["label"]]
    pages = read_pages(Path(args.data))
    given = {"labelled": rows, "pages": pages, "model": lid_176(), "repeats": args.repeats}
    print(f"{len(rows)} labelled texts; {len(pages)} pages, {sum(map(len, pages)):,} characters")
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "given.json")
        path.write_text(json.dumps(given))
        for name in SIDES:
            python = sys.executable if name.startswith("ours") else args.peers
            found = child(python, name, path) if Path(python).exists() else None
            if found is None:
                continue
            right = {int(chars): n for chars, n in found["right"].items()}
            rate = {int(c): [1 / s for s in found["seconds"][c]] for c in found["seconds"]}
            figures[name] = {
                "right": right,
                "documents_per_core_s": {c: round(statistics.median(r)) for c, r in rate.items()},
                "spread": {c: [round(min(r)), round(max(r))] for c, r in rate.items()},
                "version": found["version"],
            }
            shown = "  ".join(f"{c or 'all'}: {n}" for c, n in right.items())
            print(f"{name:<20} right of {len(rows)} by characters  {shown}")
            for chars, each in rate.items():
                what = f"first {chars} characters" if chars else "whole texts"
                print(
                    f"{'':<20} {statistics.median(each):9.0f} documents/core-s "
                    f"({min(each):.0f} .. {max(each):.0f})  {what}"
                )
    ratios = {
        name: round(
            figures["ours"]["documents_per_core_s"][1000] / f["documents_per_core_s"][1000], 2
        )
        for name, f in figures.items()
        if not name.startswith("ours")
    }
    print(f"ratios at 1,000 characters: {ratios or 'no peers; give --peers'}")
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=REPO
    ).stdout.strip()
    machine = f"{os.cpu_count()} cores, {platform.machine()}"
    print(
        json.dumps(
            {
                "name": "language",
                "figures": figures,
                "ratios": ratios,
                "machine": machine,
                "versions": {name: f["version"] for name, f in figures.items()},
                "commit": commit,
            }
        )
    )


if __name__ == "__main__":
    main()
