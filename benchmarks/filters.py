"""Gopher, C4 and FineWeb rules: corpusmill and datatrove 0.10.1 on the same texts, in one run.

    python -m benchmarks.filters [--data DIR] [--peers PYTHON] [--repeats 5]

The texts are those that corpusmill extracts from data/web. Speed: CPU seconds of one process; ours
runs the four steps as a job does (`pipeline.steps.apply`) and each alone, datatrove its four
filters one after the other on each document. Agreement: every rule alone on every document, with
our own words and with datatrove's (spaCy's) in their place. `benchmarks/hostile.py` has the time
for each byte of hostile texts.
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
STEPS = ("gopher_repetition", "gopher_quality", "c4", "fineweb")


def extracted_texts(data: Path) -> list[str]:
    from pipeline.schema import Document
    from pipeline.sources import FORMATS

    warc = FORMATS["warc"]
    texts = []
    for path in [*sorted(data.glob("web/pages-*.warc.gz")), data / "web" / "archive-it.warc.gz"]:
        for record in warc.read(str(path), 0, path.stat().st_size, warc.config()):
            if isinstance(record, Document) and record.rule is None:
                texts.append(record.text)
    return texts


def documents(texts: list[str]):
    import pyarrow as pa

    from pipeline.schema import DOCUMENT

    rows = [{"id": str(i), "text": text, "source": "web"} for i, text in enumerate(texts)]
    return pa.Table.from_pylist(rows, schema=DOCUMENT)


def our_seconds(texts: list[str], repeats: int) -> dict[str, list[float]]:
    """CPU seconds of each step alone and of the four in a row (key all), after one to warm up.
    Between measurements the last batch that was split is forgotten."""
    from filters import spans
    from pipeline.apply import apply
    from pipeline.steps import STEPS as TABLE
    from pipeline.steps import Use

    docs = documents(texts)
    seconds: dict[str, list[float]] = {}
    for chosen in (*((step,) for step in STEPS), STEPS):
        uses = [Use(step, TABLE[step].config()) for step in chosen]
        times = []
        for _ in range(repeats + 1):
            spans.forget()
            started = time.process_time()
            apply(docs, uses, 0.01)
            times.append(time.process_time() - started)
        seconds["all" if len(chosen) > 1 else chosen[0]] = times[1:]
    return seconds


def given_spans(texts: list[str], words: list[list[str]], kinds: list[str]):
    """The spans of the texts with another splitter's words for tokens."""
    import numpy as np
    import pyarrow as pa

    from filters.kernels import hash_strings, text_buffers
    from filters.spans import split

    flat = pa.array([word for found in words for word in found], pa.string())
    ours = split(*text_buffers(flat))
    hashes = hash_strings(flat, np.uint64(0))
    single = np.flatnonzero(ours.token_last - ours.token_first == 1)
    hashes[single] = ours.token_hash[ours.token_first[single]]  # as those of the stop words
    ends = np.cumsum([0, *map(len, words)])
    return split(*text_buffers(pa.array(texts, pa.string())))._replace(
        token_first=ends[:-1],
        token_last=ends[1:],
        token_hash=hashes,
        token_chars=ours.n_chars.astype(np.int32),
        token_kind=np.array([int(kind) for found in kinds for kind in found], np.uint8),
    )


def our_fails(texts: list[str], peer: dict | None) -> dict[str, list[bool]]:
    """Whether each rule marks each text; with the peer's words and sentences where given."""
    import pyarrow as pa

    from filters import c4, fineweb, gopher
    from filters.rules import mark, with_signals

    column = pa.chunked_array([pa.array(texts, pa.string())])
    spans = given_spans(texts, peer["words"], peer["kinds"]) if peer else None
    docs = pa.table({"text": column})
    quality = gopher.measure_quality(column, gopher.STOP_WORDS, spans)
    repetition = gopher.measure_repetition(column, spans)
    docs = with_signals(docs, "gopher", quality | repetition)
    docs = with_signals(docs, "fineweb", fineweb.measure(column, 30, spans))
    docs = with_signals(docs, "c4", c4.measure(column, c4.C4())[0])
    if peer:
        docs = with_signals(docs, "c4", {"n_sentences": pa.array(peer["sentences"])})
    bounds = {
        "gopher_quality": gopher.gopher_quality_bounds(gopher.GopherQuality()),
        "gopher_repetition": gopher.gopher_repetition_bounds(gopher.GopherRepetition()),
        "c4": c4.c4_bounds(c4.C4()),
        "fineweb": fineweb.fineweb_bounds(fineweb.FineWeb()),
    }
    fails = {}
    for step, rules in bounds.items():
        failed = mark(docs, rules)["failed"].to_pylist()
        for bound in rules:
            fails[f"{step}.{bound.rule}"] = [bound.rule in (names or ()) for names in failed]
    return fails


def agreement(texts: list[str], peer: dict) -> dict[str, dict]:
    """For each rule: documents that datatrove's removes, and the share on which the two agree, with
    our own words and with datatrove's."""
    own, given = our_fails(texts, None), our_fails(texts, peer)
    rules = {}
    for rule, theirs in peer["fails"].items():
        known = [i for i, fails in enumerate(theirs) if fails is not None]
        share = [
            sum(side[rule][i] == theirs[i] for i in known) / len(known) for side in (own, given)
        ]
        removed = sum(bool(fails) for fails in theirs)
        rules[rule] = {"removed": removed, "own": share[0], "given": share[1]}
    return rules


def same_edits(texts: list[str], edited: list[str]) -> float:
    """The share of texts of which C4's line rules leave the same."""
    import pyarrow as pa

    from filters.c4 import C4, measure

    config = C4(max_lorem_ipsum_lines=1 << 30, max_curly_bracket_lines=1 << 30, min_sentences=0)
    ours = measure(pa.chunked_array([pa.array(texts, pa.string())]), config)[1].to_pylist()
    return sum(a == b for a, b in zip(ours, edited, strict=True)) / len(texts)


def run_peer(python: str, texts: list[str]) -> dict | None:
    if not Path(python).exists():
        print(f"no peer: {python} is not there (make peers, or --peers PYTHON)")
        return None
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder, "texts.json"), Path(folder, "peer.json")
        given.write_text(json.dumps(texts))
        command = [python, str(REPO / "benchmarks" / "filters_peer.py"), str(given), str(out)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"datatrove failed:\n{done.stderr[-2000:]}")
        return json.loads(out.read_text())


def report(texts: list[str], peer: dict | None, repeats: int) -> dict:
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    print(f"{len(texts)} pages, {megabytes:.2f} MB of text, {repeats} repeats, one core")
    figures: dict = {"documents": len(texts), "text_mb": round(megabytes, 2)}
    for step, seconds in our_seconds(texts, repeats).items():
        rates = sorted(megabytes / s for s in seconds)
        line = f"{step:<20}{statistics.median(rates):8.1f} MB/s ({rates[0]:.1f} .. {rates[-1]:.1f})"
        figures[step] = {"mb_per_s": round(statistics.median(rates), 2)}
        if peer:
            theirs = megabytes / peer["seconds"][step]
            ratio = statistics.median(rates) / theirs
            line += f"   datatrove {theirs:6.3f} MB/s   {ratio:6.0f} x"
            figures[step] |= {"datatrove_mb_per_s": round(theirs, 4), "ratio": round(ratio, 1)}
        print(line)
    if peer:
        print(
            "\nrule, documents that datatrove's removes, agreement with our words, with its words"
        )
        figures["agreement"] = agreement(texts, peer)
        for rule, found in figures["agreement"].items():
            print(f"{rule:<54}{found['removed']:>5}{found['own']:>9.2%}{found['given']:>9.2%}")
        figures["same_c4_texts"] = same_edits(texts, peer["edited"])
        print(f"{'texts that C4 leaves, the same':<54}{figures['same_c4_texts']:>14.2%}")
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    default = os.environ.get("CORPUSMILL_DATA", str(REPO.parent / "shared" / "data"))
    parser.add_argument("--data", default=default, help="directory with web/pages-*.warc.gz")
    parser.add_argument(
        "--peers", default=".venv-peers/bin/python", help="python that has datatrove"
    )
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    texts = extracted_texts(Path(args.data))
    if not texts:
        sys.exit(f"{args.data}/web: no pages; give --data")
    figures = report(texts, run_peer(args.peers, texts), args.repeats)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=REPO
    ).stdout.strip()
    print(
        json.dumps(
            {
                "name": "filters",
                "figures": figures,
                "machine": f"{os.cpu_count()} cores, {platform.machine()}",
                "versions": {"datatrove": "0.10.1", "numba": version("numba")},
                "commit": commit,
            }
        )
    )


if __name__ == "__main__":
    main()
