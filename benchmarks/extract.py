"""HTML to text: F1 on labelled pages and pages a second of corpusmill, resiliparse and trafilatura,
in one run, on one core.

    python -m benchmarks.extract [--data DIR] [--repeats 5]

The pages are the 181 of article-extraction-benchmark with the article that a person marked. A text
is a multiset of 4-grams of its words; precision and recall are means over pages, F1 is that of the
means. In the timed region, for all alike: the page's bytes -> its characters (the project's own
decoding) -> its text. The engines take turns; CPU time of this process.

corpusmill's model was fitted on these pages among others, so the score of this run is in-sample and
flatters it. The held-out score, by `benchmarks/fit_extract.py`, is printed beside it and is the one
that counts. Manuals (benchmarks/documentation.py), which it was not fitted on, are scored beside
that where this machine has them.
"""

import argparse
import gzip
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
import zipfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from benchmarks.documentation import KINDS, manuals
from pipeline.extract.encoding import decode_html
from pipeline.extract.html import Extract, html_to_text

REPO = Path(__file__).resolve().parent.parent
RESULTS = REPO / "benchmarks" / "results" / "fit_extract.json"
ENGINES = ("corpusmill", "resiliparse", "trafilatura")


class Page(NamedTuple):
    url: str
    body: bytes
    wanted: str


def labelled_pages(data: Path) -> list[Page]:
    """The labelled pages, none if they are not there."""
    folder = data / "extraction"
    if not (folder / "ground-truth.json.gz").exists():
        return []
    truth = json.loads(gzip.decompress((folder / "ground-truth.json.gz").read_bytes()))
    pages = []
    with zipfile.ZipFile(folder / "pages.zip") as packed:
        names = {name.rsplit("/", 1)[-1].split(".")[0]: name for name in packed.namelist()}
        for key, page in sorted(truth.items()):
            body = packed.read(names[key])
            body = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
            pages.append(Page(page.get("url") or "", body, page["articleBody"]))
    return pages


def shingles(text: str) -> Counter:
    """4-grams of words; a text of fewer than four words is one shingle."""
    words = re.findall(r"\w+", text)
    if 0 < len(words) < 4:
        return Counter([tuple(words)])
    return Counter(tuple(words[i : i + 4]) for i in range(len(words) - 3))


def page_score(text: str, wanted: Counter) -> tuple[int, int, int]:
    """(shingles found and wanted, found, wanted)."""
    found = shingles(text)
    return (found & wanted).total(), found.total(), wanted.total()


def score(pages: list[tuple[int, int, int]]) -> tuple[float, float, float]:
    """(F1, precision, recall) of the means over pages."""
    precisions = [
        both / found if found else 1.0 for both, found, wanted in pages if found or not wanted
    ]
    recalls = [
        both / wanted if wanted else 1.0 for both, found, wanted in pages if wanted or not found
    ]
    p, r = statistics.fmean(precisions), statistics.fmean(recalls)
    return 2 * p * r / (p + r), p, r


def documentation_scores() -> dict[str, dict[str, float]]:
    """F1 of each engine on each kind of manual that is here."""
    found: dict[str, dict[str, float]] = {}
    for kind, place in KINDS.items():
        pages = manuals(place)
        if not pages:
            print(f"{kind}: not on this machine; benchmarks/documentation.py says what to install")
            continue
        wanted = [shingles(p.wanted) for p in pages]
        for engine in ENGINES:
            texts = [html_to_text(p.html, Extract(engine=engine))[0] for p in pages]
            f1, _, _ = score([page_score(t, w) for t, w in zip(texts, wanted, strict=True)])
            found.setdefault(kind, {})[engine] = round(f1, 4)
        scores = "  ".join(f"{engine} {f1:.3f}" for engine, f1 in found[kind].items())
        print(f"{kind:<26} {len(pages)} pages, F1: {scores}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    default = os.environ.get("CORPUSMILL_DATA", str(REPO.parent / "shared" / "data"))
    parser.add_argument("--data", default=default, help="directory with extraction/")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    pages = labelled_pages(Path(args.data))
    if not pages:
        sys.exit(f"{args.data}/extraction: no labelled pages; give --data")
    seconds: dict[str, list[float]] = {engine: [] for engine in ENGINES}
    texts: dict[str, list[str]] = {}
    for repeat in range(args.repeats + 1):  # the first is a warm-up
        for engine in ENGINES:
            config = Extract(engine=engine)
            started = time.process_time()
            texts[engine] = [html_to_text(decode_html(p.body, None).text, config)[0] for p in pages]
            if repeat:
                seconds[engine].append(time.process_time() - started)
    wanted = [shingles(p.wanted) for p in pages]
    megabytes = sum(len(p.body) for p in pages) / 1e6
    print(f"{len(pages)} pages, {megabytes:.1f} MB, {args.repeats} repeats, CPU time of one core")
    figures: dict[str, dict] = {}
    for engine, cpu in seconds.items():
        f1, p, r = score([page_score(t, w) for t, w in zip(texts[engine], wanted, strict=True)])
        rates = sorted(len(pages) / s for s in cpu)
        figures[engine] = {
            "f1": round(f1, 4), "precision": round(p, 4), "recall": round(r, 4),
            "pages_per_s": round(statistics.median(rates), 1),
            "pages_per_s_min": round(rates[0], 1), "pages_per_s_max": round(rates[-1], 1),
        }  # fmt: skip
        note = "  (in-sample)" if engine == "corpusmill" else ""
        print(
            f"{engine:<12} F1 {f1:.3f}  P {p:.3f}  R {r:.3f}  {statistics.median(rates):7.1f} "
            f"pages/s ({rates[0]:.1f} .. {rates[-1]:.1f}){note}"
        )
    held_out = json.loads(RESULTS.read_text())["held_out"]
    by_fold = " ".join(f"{f1:.3f}" for f1 in held_out["f1_by_fold"])
    print(
        f"corpusmill, held out (benchmarks/fit_extract.py): F1 {held_out['f1']:.3f}  "
        f"P {held_out['precision']:.3f}  R {held_out['recall']:.3f}; folds {by_fold}"
    )
    documentation = documentation_scores()
    rate = {engine: figures[engine]["pages_per_s"] for engine in ENGINES}
    ratios = {e: round(rate["corpusmill"] / rate[e], 2) for e in ENGINES[1:]}
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=REPO
    ).stdout.strip()
    print(
        json.dumps(
            {
                "name": "extract",
                "figures": {
                    **figures,
                    "corpusmill_held_out": held_out,
                    "documentation": documentation,
                },
                "ratios": ratios,
                "machine": f"{os.cpu_count()} cores, {platform.machine()}",
                "versions": {e: version(e) for e in ENGINES[1:]},
                "commit": commit,
            }
        )
    )


if __name__ == "__main__":
    main()
