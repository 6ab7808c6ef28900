"""`make fuzz`: every reader and extractor on damaged input.

    python -m tests.fuzz [--cases N] [--first N] [NAME ...]

Valid shards are damaged inside (before they are packed) or outside: bits, bytes, cuts, splices,
repeats, lengths that lie, and pieces that parsers stumble over. Whatever comes, no exception
escapes, every item is a Document or a Fault, reading ranges gives what reading the whole gives, and
memory stays bounded. A case is made of its name and number alone, so a failure is found again. To
add a format is to add its seeds to tests/fuzz_seeds.py.
"""

import argparse
import importlib.util
import random
import re
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.extract.encoding import decode_html
from pipeline.extract.html import Extract, html_to_text
from pipeline.extract.latex import latex_to_text
from pipeline.extract.metadata import page_metadata
from pipeline.extract.notebook import notebook_text
from pipeline.extract.wikitext import wikitext_to_text
from pipeline.schema import Document, Fault
from pipeline.sources import FORMATS
from tests.fuzz_seeds import HTML, NOTEBOOK, SEEDS, TEX, WIKI, Seed

MEMORY = 1 << 30  # bytes that the peak may grow by, whatever was read
SPLIT = 700  # bytes of a range
NOTES = {"split_inside_record"}  # a reader says so where ranges may differ


# --- extractors ---------------------------------------------------------------------------------


def html(engine: str) -> Callable[[bytes], object]:
    return lambda data: html_to_text(data.decode("utf-8", "replace"), Extract(engine=engine))


ENGINES = ["corpusmill", "resiliparse"]
if importlib.util.find_spec("trafilatura"):
    ENGINES.append("trafilatura")

# Each may refuse its input by a ValueError.
EXTRACTORS: dict[str, tuple[bytes, Callable[[bytes], object]]] = {
    **{f"html-{engine}": (HTML, html(engine)) for engine in ENGINES},
    "encoding": (HTML, lambda data: decode_html(data, None).text.encode()),
    "metadata": (HTML, page_metadata),
    "latex": (TEX, lambda data: latex_to_text({"a.tex": data.decode("latin-1")}, 1 << 20)),
    "wikitext": (WIKI.encode(), lambda data: wikitext_to_text(data.decode("utf-8", "replace"))),
    "notebook": (NOTEBOOK, lambda data: notebook_text(data, "script", 1000)),
}


def extract(name: str, data: bytes) -> bool:
    try:
        return EXTRACTORS[name][1](data) is not None
    except ValueError:
        return False


# --- damage -------------------------------------------------------------------------------------

TOKENS = [
    *(b"\0", b"\xff", b"<", b"<!--", b"</", b"&", b"&#x110000;", b"]]>", b"<script>", b"<p><b>"),
    *(b"{", b"}", b"{{", b"[[", b"\\", b"$", b"\\begin{x}", b"%", b'"', b"\\ud800", b"\r\n\r\n"),
    *(b"WARC/1.0\r\n", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18", b"PK\x03\x04"),
    *(b"\xef\xbb\xbf", b"\xff\xfe", b"\x1b$B", b"99999999999999999999", b"-1", b"1e999", b"NaN"),
    *(b"ustar", b"../", b"\xed\xa0\x80", "锟斤拷".encode(), "\U0001f600".encode()),
]


def damage(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        n = len(out)
        at = rng.randrange(n + 1)
        kind = rng.randrange(9)
        if kind == 0 and n:
            out[at % n] ^= 1 << rng.randrange(8)
        elif kind == 1 and n:
            out[at % n] = rng.randrange(256)
        elif kind == 2:
            del out[at:]
        elif kind == 3:
            del out[at : at + rng.choice((1, 4, 40, 400))]
        elif kind == 4:
            other = rng.randrange(n + 1)
            out[at:at] = out[other : other + rng.choice((4, 40, 400))]
        elif kind == 5:
            out[at:at] = out[at : at + rng.choice((1, 10, 100))] * rng.choice((3, 50))
        elif kind == 6:
            out[at:at] = rng.choice(TOKENS) * rng.choice((1, 1, 3, 200))
        elif kind == 7:  # a number in the text, that says how long something is
            numbers = list(re.finditer(rb"\d+", out))
            if numbers:
                number = rng.choice(numbers)
                value = rng.choice((b"0", b"1", b"-5", b"99999", b"4294967295", b"9" * 30))
                out[number.start() : number.end()] = value
        else:  # a number in binary
            value = rng.choice((b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\1\0"))
            out[at : at + 4] = value
    return bytes(out)


# --- one case -----------------------------------------------------------------------------------


def damaged(seed: Seed, rng: random.Random) -> bytes:
    if rng.random() < 0.5:
        return seed.pack(damage(seed.data, rng))
    return damage(seed.pack(seed.data), rng)


def read(name: str, path: Path, split_bytes: int) -> list[Document | Fault]:
    reader = FORMATS[name]
    items: list[Document | Fault] = []
    for start, end in reader.split(str(path), split_bytes):
        items += reader.read(str(path), start, end, reader.config())
    return items


def check_shard(name: str, path: Path) -> list[Document | Fault]:
    whole = read(name, path, 1 << 40)
    for item in whole:
        assert isinstance(item, Document | Fault), item
        if isinstance(item, Fault):
            item.message.encode()
            assert item.error and len(item.head) <= 4096, item
    split = read(name, path, SPLIT)
    faults = [item for item in (*whole, *split) if isinstance(item, Fault)]
    # "" or ~ at the end: the rest of a range is lost, and of a shorter one that is less
    if any(fault.locator == "" or fault.locator.endswith("~") for fault in faults):
        kept = {repr(item) for item in split}
        assert [x for x in whole if isinstance(x, Document) and repr(x) not in kept] == []
    elif not NOTES & {fault.error for fault in faults}:
        assert _sorted(split) == _sorted(whole)
    return whole


def _sorted(items: list[Document | Fault]) -> list[str]:
    return sorted(repr(item) for item in items)


def fuzz(name: str, cases: int, first: int = 0) -> int:
    """Runs cases of a format or an extractor; returns how many of them gave a document or a text.
    Raises AssertionError with the case's number and file."""
    n_read = 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    slowest = (0.0, 0)
    with tempfile.TemporaryDirectory() as folder:
        for case in range(first, first + cases):
            rng = random.Random(f"{name}/{case}")
            started = time.perf_counter()
            place = Path(folder)
            try:
                if name in EXTRACTORS:
                    place = Path(folder, "input")
                    place.write_bytes(damage(EXTRACTORS[name][0], rng))
                    n_read += extract(name, place.read_bytes())
                else:
                    seed = rng.choice(SEEDS[name])
                    place = Path(folder, seed.name)
                    place.write_bytes(damaged(seed, rng))
                    items = check_shard(name, place)
                    n_read += any(isinstance(item, Document) for item in items)
            except Exception as error:
                kept = Path(tempfile.gettempdir(), f"fuzz-{name}-{case}-{place.name}")
                kept.write_bytes(place.read_bytes())
                message = (
                    f"{name} case {case} ({kept}): {type(error).__name__}: {str(error)[:1000]}"
                )
                raise AssertionError(message) from error
            slowest = max(slowest, (time.perf_counter() - started, case))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    print(
        f"{name:<14}{cases:>7} cases {n_read:>7} read, memory +{grown >> 20} MiB, "
        f"slowest {slowest[1]}: {slowest[0]:.2f} s"
    )
    assert grown < MEMORY, f"{name}: memory grew by {grown >> 20} MiB"
    return n_read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", default=[*SEEDS, *EXTRACTORS])
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    args = parser.parse_args()
    for name in args.names:
        fuzz(name, args.cases, args.first)


if __name__ == "__main__":
    main()
