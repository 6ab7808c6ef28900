"""Inputs for the demo, made of what is on this machine, with known truth planted in them.

The same machine, seed and scale give the same bytes. At scale 1:

    shards/web-*.warc.gz          1,000 pages: documentation in HTML, and most of the plants
    shards/spam-*.warc.gz         60 advertisements: what the quality classifier learns to refuse
    shards/books/                 10 generated books of 100 to 300 kB, one of them also as EPUB
    shards/code/                  the standard library and installed packages
    shards/arxiv/                 20 generated LaTeX papers
    shards/table/                 200 generated messages
    testsets/                     48 word problems, to decontaminate against
    truth.jsonl                   what was planted, an object a line

A line of truth.jsonl has a `component`, a document's `id`, and what to `expect` of it:

    removed    it is in removed/; of a `group` of duplicates, all but one are, if `detail.jaccard`
               (where it is given) reaches the similarity of the run, and none otherwise
    kept       it is in documents/, with `detail.contains` or `detail.string` where there is one
    scrubbed   it is in documents/, without `detail.string`
    cut        `detail.passage` is left in one document of the `group` only
    error      it is in errors/, under one of `detail.names`
"""

import argparse
import gzip
import json
import random
import sysconfig
from itertools import chain
from pathlib import Path
from typing import Any

from pipeline.sample import plants
from pipeline.sample.plant_strings import PII, Item, make_items, personal_string, reworded
from pipeline.sample.prose import Article, Chain, articles, python_files, site_packages
from pipeline.sample.shards import (
    ENTITY_BOMB,
    epub,
    gutenberg,
    make_book,
    paper,
    symlink,
    tar_bytes,
    write,
    zip_bytes,
)
from pipeline.sample.web import Mark, Page, write_warc
from pipeline.sources.code_marks import mark_of_content

REPOSITORIES = ("fsspec", "packaging", "pip", "requests", "rich", "setuptools", "urllib3")
STDLIB_BYTES, REPOSITORY_BYTES, FILE_BYTES = 3_000_000, 400_000, 200_000  # at scale 1; of a file
BOMB_BYTES = 64 << 20  # of zeros: 64 kB in a zip

Truth = list[dict[str, Any]]


def make_inputs(root: Path, seed: int = 0, scale: float = 1.0) -> None:
    """Writes everything below root, over what is there. `scale` multiplies the number of documents
    of each kind.

    Raises ValueError where there is too little English prose on the machine.
    """
    prose = articles(random.Random(f"{seed}/prose"), 100 + round(700 * scale))
    words = Chain(chain.from_iterable(article.paragraphs for article in prose))
    items = []
    for name in ("puzzles.jsonl", "riddles.jsonl"):
        made = make_items(random.Random(f"{seed}/{name}"), name, _count(24, scale))
        rows = [{"question": item.question, "answer": item.answer} for item in made]
        write(root / "testsets" / name, _json_lines(rows))
        items += made
    shards = root / "shards"
    truth = [
        *write_web(shards, prose, items, random.Random(f"{seed}/web"), scale),
        *write_books(shards / "books", words, random.Random(f"{seed}/books"), scale),
        *write_arxiv(shards / "arxiv", words, random.Random(f"{seed}/arxiv"), scale),
        *write_messages(shards / "table", words, items, random.Random(f"{seed}/table"), scale),
        *write_code(shards / "code", random.Random(f"{seed}/code"), scale),
    ]
    write(root / "truth.jsonl", _json_lines(truth))


def _count(n: int, scale: float) -> int:
    return max(2, round(n * scale))


def _truth(id: str, mark: Mark) -> dict[str, Any]:
    return {"id": id, **mark._asdict()}


def _json_lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows).encode()


def write_web(
    shards: Path, prose: list[Article], items: list[Item], rng: random.Random, scale: float
) -> Truth:
    """All pages in a random order in two shards; articles that no plant needed are pages too."""
    pool = iter(rng.sample(prose, len(prose)))
    pages = [
        *plants.exact_duplicates(pool, _count(20, scale)),
        *plants.near_duplicates(pool, rng, _count(20, scale)),
        *plants.ngram_repeats(pool, rng, _count(15, scale)),
        *plants.other_languages(pool, rng, _count(48, scale)),
        *plants.gibberish(prose, rng, _count(24, scale)),
        *plants.spam(rng, _count(24, scale)),
        *plants.repetition(pool, rng, _count(18, scale)),
        *plants.too_short(pool, rng, _count(10, scale)),
        *plants.personal_data(pool, rng, _count(8, scale)),
        *plants.contaminated(pool, items, rng),
        *plants.retold(pool, items[: _count(16, scale)]),
    ]
    broken = plants.broken_pages(pool)
    pages += [Page(article) for article in pool]
    rng.shuffle(pages)
    half = len(pages) // 2
    for page in broken:  # with sound ones behind them
        pages.insert(rng.randrange(half), page)
    half += len(broken)
    spam = plants.spam(rng, _count(60, scale))
    truth = []
    for source, i, part in (("web", 0, pages[:half]), ("web", 1, pages[half:]), ("spam", 0, spam)):
        name = f"{source}-{i:05d}.warc.gz"
        for offset, page in zip(write_warc(shards / name, part, rng), part, strict=True):
            truth += [_truth(f"{source}/{name}/{offset:012d}", mark) for mark in page.marks]
    return truth


def write_books(folder: Path, words: Chain, rng: random.Random, scale: float) -> Truth:
    """Books, the last of them in two editions; an EPUB that expands entities, an empty file."""
    for i in range(_count(10, scale)):
        book = make_book(words, rng, rng.randint(100_000, 300_000))
        write(folder / f"book-{i:02d}.txt.gz", gutenberg(book))
    write(folder / "edition.epub", epub(book))
    write(folder / "entities.epub", epub(book, doctype=ENTITY_BOMB))
    write(folder / "empty.txt.gz", b"")
    edition = Mark("near_duplicate", "removed", "near/edition", {"rate": 0.0, "jaccard": 1.0})
    return [
        _truth(f"books/book-{i:02d}.txt.gz/0", edition),
        _truth("books/edition.epub/0", edition),
        _truth("books/entities.epub/0", plants.fault("error", "entity_bomb", "xml_entities")),
        _truth("books/empty.txt.gz/0", plants.fault("error", "empty_file", "empty_file")),
    ]


def write_arxiv(folder: Path, words: Chain, rng: random.Random, scale: float) -> Truth:
    """A bulk tar of papers; the last one is a PDF without source."""
    n, shard = _count(20, scale), "arXiv_src_2401_001.tar"
    files = [(f"2401/2401.{i:05d}.gz", paper(words, rng, i)) for i in range(1, n + 1)]
    pdf = f"2401.{n + 1:05d}"
    files.append((f"2401/{pdf}.pdf", b"%PDF-1.5\n" + rng.randbytes(2000)))
    write(folder / shard, tar_bytes(files))
    return [_truth(f"arxiv/{shard}/{pdf}", plants.fault("error", "pdf_only", "pdf_only"))]


def write_messages(
    folder: Path, words: Chain, items: list[Item], rng: random.Random, scale: float
) -> Truth:
    """Messages with ids of their own, and three lines that are none."""
    lines: list[tuple[bytes, str | None, Mark | None]] = []  # (line, id if it has one, mark)
    for i in range(_count(200, scale)):
        body = [words.paragraph(rng, rng.randint(2, 5)) for _ in range(rng.randint(2, 4))]
        mark = None
        if i % 60 == 1:
            item = items[i % len(items)]
            body.insert(1, reworded(item.question, rng))
            mark = Mark("decontamination", "removed", None, {"kind": "message", "item": item.name})
        elif i % 10 == 3:
            kind = sorted(PII)[i // 10 % len(PII)]
            made = personal_string(kind, rng)
            body.insert(1, PII[kind][i // 60 % 2].format(made))
            mark = Mark("pii", "scrubbed", None, {"kind": kind, "string": made})
        id, text = f"message-{i:04d}", "\n\n".join(["Dear all,", *body, "Best wishes"])
        row = {"id": id, "text": text, "url": f"https://lists.example.org/{i}"}
        lines.append((json.dumps(row).encode(), id, mark))
    for line, kind in (
        (b'{"id": "no-text", "url": "https://lists.example.org/x"}', "missing_column"),
        (b'{"id": "half-a-pair", "text": "half of a pair: \\ud83d"}', "lone_surrogate"),
        (b'{"id": "cut-off", "text": "the line ends he', "bad_json"),
    ):
        lines.insert(rng.randrange(len(lines)), (line, None, plants.fault("error", kind, kind)))
    truth, at = [], 0
    for line, own_id, mark in lines:
        if mark:
            truth.append(_truth(own_id or f"table/messages.jsonl/{at:012d}", mark))
        at += len(line) + 1
    write(folder / "messages.jsonl", b"".join(line + b"\n" for line, _, _ in lines))
    return truth


def write_code(folder: Path, rng: random.Random, scale: float) -> Truth:
    """The standard library and packages as archives; a zip with copies of some files and bombs; a
    tar that points outside."""
    repositories = {"cpython-lib": (Path(sysconfig.get_path("stdlib")), STDLIB_BYTES)}
    for name in REPOSITORIES:
        repositories[name] = (site_packages() / name, REPOSITORY_BYTES)
    found = {}
    for name, (package, n_bytes) in repositories.items():
        found[name] = _repository(package, name, n_bytes * scale, rng)
        write(folder / f"{name}.tar.gz", gzip.compress(tar_bytes(found[name]), mtime=0))
    contents = [data for files in found.values() for _, data in files]
    unique = [f for f in found["cpython-lib"] if len(f[1]) > 2000 and contents.count(f[1]) == 1]
    unique = [(name, data) for name, data in unique if not mark_of_content(data, "python")]
    copies = rng.sample(unique, _count(8, scale))
    bomb = zip_bytes([("zeros.py", bytes(BOMB_BYTES))])
    mirror = [(f"mirror/{name}", data) for name, data in copies]
    mirror += [("mirror/nested.zip", zip_bytes([("inner.zip", bomb)]))]
    write(folder / "mirror.zip", zip_bytes([*mirror, ("mirror/zeros.py", bytes(BOMB_BYTES))]))
    outside = [("outside/ok.py", b"print('a sound file behind bad ones')\n")]
    outside.insert(0, ("outside/../../etc/evil.py", b"print('written where it should not be')\n"))
    links = [symlink("outside/link.py", "/etc/passwd")]
    write(folder / "outside.tar.gz", gzip.compress(tar_bytes(outside, links), mtime=0))
    truth = []
    for i, (name, _) in enumerate(copies):
        mark = Mark("exact_duplicate", "removed", f"exact/code/{i}")
        truth.append(_truth(f"code/cpython-lib.tar.gz/{name}", mark))
        truth.append(_truth(f"code/mirror.zip/mirror/{name}", mark))
    for id, mark in (
        ("mirror.zip/mirror/nested.zip", plants.fault("removed", "nested_zip", "ingest.not_code")),
        ("mirror.zip/mirror/zeros.py", plants.fault("error", "zip_bomb", "bomb")),
        (
            "outside.tar.gz/outside/../../etc/evil.py",
            plants.fault("error", "points_outside", "path_outside"),
        ),
        ("outside.tar.gz/outside/link.py", plants.fault("error", "symlink", "link")),
    ):
        truth.append(_truth(f"code/{id}", mark))
    return truth


def _repository(
    package: Path, name: str, n_bytes: float, rng: random.Random
) -> list[tuple[str, bytes]]:
    """Files of a package, chosen at random until they have n_bytes, by name."""
    files = [f for f in python_files(package) if 0 < f.stat().st_size <= FILE_BYTES]
    files = [f for f in files if "site-packages" not in f.relative_to(package).parts]
    chosen: list[tuple[str, bytes]] = []
    size = 0
    for file in rng.sample(files, len(files)):
        data = file.read_bytes()
        if size + len(data) <= n_bytes or not chosen:
            chosen.append((f"{name}/{file.relative_to(package).as_posix()}", data))
            size += len(data)
    return sorted(chosen)


def main() -> None:
    """`python -m pipeline.sample.inputs --code PATH`: the standard library as a .tar.gz, a code
    shard of real size for configs/real.toml."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--code", type=Path, required=True, metavar="PATH")
    path = parser.parse_args().code
    stdlib = Path(sysconfig.get_path("stdlib"))
    files = _repository(stdlib, "cpython-lib", float("inf"), random.Random(0))
    write(path, gzip.compress(tar_bytes(files), mtime=0))
    print(f"{path}: {len(files)} files of {stdlib}")


if __name__ == "__main__":
    main()
