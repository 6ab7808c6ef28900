"""Dumps to documents, and URLs against lists: ours, mwparserfromhell and datatrove's URLFilter.

    python -m benchmarks.sources [--peers PYTHON] [--dump FILE.xml] [--repeats 3]

Inputs are made here: the articles (dense in markup), posts and threads of the tests, numbered and
repeated, plain, so that no decompression is in the figures; or --dump, a plain pages-articles dump.
A list of 4 million made-up domains, and 200,000 URLs of 85 bytes, one in 50 of a listed domain. CPU
time of one process.
"""

import argparse
import importlib.metadata
import json
import platform
import random
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pyarrow as pa

from filters.url import UrlFilter, load_url_lists, url_filter
from pipeline.extract.wikitext import wikitext_to_text
from pipeline.sources.conversations import Dialogue
from pipeline.sources.dialogue import read_dialogue
from pipeline.sources.grouping import BUCKETS
from pipeline.sources.stackexchange import StackExchange, read_stackexchange
from pipeline.sources.wikipedia import Wikipedia, read_wikipedia
from tests import test_dialogue, test_stackexchange, test_wikipedia

REPO = Path(__file__).resolve().parent.parent
N_DOMAINS, N_URLS = 4_000_000, 200_000

MWPARSER = """
import json, sys, time, mwparserfromhell
sources = json.load(open(sys.argv[1]))
start = time.process_time()
for source in sources:
    mwparserfromhell.parse(source).strip_code()
print(time.process_time() - start)
"""
DATATROVE = """
import sys, time
from datatrove.data import Document
from datatrove.pipeline.filters import URLFilter
import tldextract
words = [f"word{i}" for i in range(500)]
step = URLFilter(extra_domains=open(sys.argv[1]).read().split(), banned_words=words,
                 soft_banned_words=[f"soft{w}" for w in words],
                 banned_subwords=[f"sub{w}" for w in words],
                 use_integrated_lists=False)
step.tldextractor = tldextract.TLDExtract(suffix_list_urls=())
urls = open(sys.argv[2]).read().split()
documents = [Document(text="", id="", metadata={"url": url}) for url in urls]
step.filter(documents[0])
start = time.process_time()
kept = sum(step.filter(document) is True for document in documents)
print(time.process_time() - start, len(documents) - kept)
"""


def cpu(function: Callable[[], object], repeats: int) -> list[float]:
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        seconds.append(time.process_time() - start)
    return seconds


def wiki_dump(path: Path) -> None:
    pages = [
        test_wikipedia.page(i, f"Oak {i}", f"Oak {i}. {test_wikipedia.OAK}") for i in range(2000)
    ]
    path.write_text(test_wikipedia.ENGLISH + "".join(pages) + test_wikipedia.FOOT)


def posts(path: Path) -> None:
    post, body = test_stackexchange.post, test_stackexchange.BODY * 4
    rows = [post(i, 1, body, Title=f"Question {i}", score=i % 9) for i in range(2000)]
    rows += [post(i, 2, body, parent=i % 2000, score=i % 7) for i in range(2000, 6000)]
    path.write_text(test_stackexchange.HEAD + "".join(rows) + test_stackexchange.FOOT)


def threads(path: Path) -> None:
    rows = []
    for i in range(3000):
        text = json.dumps(test_dialogue.THREAD).replace("abc", f"t{i}")
        rows += json.loads(text)
    extra = {f"field_{i}": "a value that nobody reads" for i in range(12)}  # a comment has 1 kB
    path.write_bytes(test_dialogue.dump([{**row, **extra} for row in rows]))


def report(name: str, amount: float, unit: str, seconds: list[float]) -> dict[str, float]:
    middle = amount / statistics.median(seconds)
    low, high = amount / max(seconds), amount / min(seconds)
    digits = 0 if middle > 1000 else 1
    print(f"{name:<44}{middle:>12,.{digits}f} {unit}  ({low:,.{digits}f} .. {high:,.{digits}f})")
    return {"median": round(middle, 2), "min": round(low, 2), "max": round(high, 2)}


def readers(folder: Path, dump: Path | None, repeats: int) -> tuple[dict, list[str]]:
    """Figures of the three readers, and the wikitext that was read."""
    figures = {}
    makers = {"wikipedia": wiki_dump, "stackexchange": posts, "dialogue": threads}
    for name, make in makers.items():
        make(folder / name)
    wiki = dump or folder / "wikipedia"
    every = 1 << 62
    runs: dict[str, tuple[Path, Callable[[str], object]]] = {
        "wikipedia": (wiki, lambda p: [*read_wikipedia(p, 0, every, Wikipedia())]),
        "stackexchange": (
            folder / "stackexchange",
            lambda p: [*read_stackexchange(p, 0, BUCKETS, StackExchange())],
        ),
        "stackexchange, a range without questions": (
            folder / "stackexchange",
            lambda p: [*read_stackexchange(p, 0, 0, StackExchange())],
        ),
        "dialogue": (folder / "dialogue", lambda p: [*read_dialogue(p, 0, BUCKETS, Dialogue())]),
        "dialogue, a range without threads": (
            folder / "dialogue",
            lambda p: [*read_dialogue(p, 0, 0, Dialogue())],
        ),
    }
    for name, (path, run) in runs.items():
        run(str(path))  # compiles, fills caches
        seconds = cpu(lambda run=run, path=path: run(str(path)), repeats)
        figures[name] = report(name, path.stat().st_size / 1e6, "MB/s", seconds)
    found: list[str] = []
    for text in re.findall(r"<text[^>]*>([^<]*)</text>", wiki.read_text("utf-8", "replace")):
        if not text.lower().startswith("#redirect"):
            found.append(unescape(text))
    return figures, found


def urls(folder: Path, repeats: int) -> tuple[dict, Path, Path]:
    rng = random.Random(0)
    endings = ["com", "net", "org", "de", "co.uk", "ru", "info"]
    listed = folder / "adult" / "domains"
    listed.parent.mkdir()
    letters = [chr(97 + i) for i in range(26)]
    stems = ["".join(rng.choices(letters, k=9)) for _ in range(5000)]
    names = [f"{stems[i % 5000]}{i}.{endings[i % 7]}" for i in range(N_DOMAINS)]
    listed.write_text("\n".join(names) + "\n")
    for kind, prefix in (("hard", ""), ("soft", "soft"), ("sub", "sub")):
        (folder / kind).write_text("".join(f"{prefix}word{i}\n" for i in range(500)))
    made = []
    for i in range(N_URLS):
        host = f"www.{rng.choice(['blog', 'news', 'shop'])}{rng.randrange(10**6)}.{endings[i % 7]}"
        host = rng.choice(names) if i % 50 == 0 else host
        title = "-".join(rng.choices(stems, k=3))
        made.append(f"https://{host}/article/{i}/{title}.html?id={i}")
    asked = folder / "urls"
    asked.write_text("\n".join(made))
    config = UrlFilter(
        blocklists=(str(listed),),
        hard_words=(str(folder / "hard"),),
        soft_words=(str(folder / "soft"),),
        subwords=(str(folder / "sub"),),
    )
    start = time.process_time()
    lists = load_url_lists(config)
    print(f"{'4 million domains are read in':<44}{time.process_time() - start:>12.1f} s")
    size = lists.blocked.domains.nbytes + lists.blocked.domain_category.nbytes
    print(f"{'and held in':<44}{size / N_DOMAINS:>12.1f} bytes a domain")
    docs = pa.table({"text": pa.array([""] * N_URLS), "url": pa.array(made)})
    n = url_filter(docs, config)["rule"].is_valid().to_numpy().sum()
    seconds = cpu(lambda: url_filter(docs, config), repeats)
    figures = report("url_filter", N_URLS, "URLs/s", seconds)
    return {"url_filter": figures | {"blocked": int(n)}}, listed, asked


def peer(python: str, code: str, *args: str) -> list[float]:
    done = subprocess.run([python, "-c", code, *args], capture_output=True, text=True)
    if done.returncode:
        print(f"peer failed: {done.stderr.strip().splitlines()[-1]}")
        return []
    return [float(x) for x in done.stdout.split()]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--peers", help="a Python with mwparserfromhell and datatrove")
    parser.add_argument("--dump", type=Path, help="a plain pages-articles dump")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    ratios: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="sources-") as name:
        folder = Path(name)
        figures, wikitext = readers(folder, args.dump, args.repeats)
        size = sum(len(source.encode()) for source in wikitext) / 1e6
        seconds = cpu(lambda: [wikitext_to_text(source) for source in wikitext], args.repeats)
        figures["wikitext"] = report("wikitext alone", size, "MB/s", seconds)
        found, listed, asked = urls(folder, args.repeats)
        figures |= found
        if args.peers:
            (folder / "wikitext.json").write_text(json.dumps(wikitext))
            for key, theirs, amount, unit, result in (
                ("wikitext", "mwparserfromhell", size, "MB/s",
                 peer(args.peers, MWPARSER, str(folder / "wikitext.json"))),
                ("url_filter", "datatrove URLFilter", N_URLS, "URLs/s",
                 peer(args.peers, DATATROVE, str(listed), str(asked))),
            ):  # fmt: skip
                if result:
                    figures[theirs] = report(theirs, amount, unit, result[:1])
                    ratios[key] = round(figures[key]["median"] / figures[theirs]["median"], 1)
                    print(f"{'  ours is faster by':<44}{ratios[key]:>12.1f} times")
        else:
            print("no --peers: mwparserfromhell and datatrove are not measured")
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=REPO
    )
    versions = {n: importlib.metadata.version(n) for n in ("numba", "pyarrow", "resiliparse")}
    print(
        json.dumps(
            {"name": "sources", "figures": figures, "ratios": ratios, "machine": platform.machine(),
             "python": platform.python_version(), "versions": versions,
             "commit": commit.stdout.strip()}
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
