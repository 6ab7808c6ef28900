"""English prose that is on every machine with this project, for the demo's inputs.

Language topics of the standard library, READMEs and docstrings of installed packages, cut down to
paragraphs of sentences. No two paragraphs share a run of eight words, so that every repeat in the
demo is one that was planted.
"""

import importlib.metadata
import random
import re
import sysconfig
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from pydoc_data.topics import topics
from typing import NamedTuple

# Packages whose docstrings become pages; their code is in no code shard. All are installed by
# pyproject.toml or by what it names.
DOCUMENTED = (
    *("networkx", "numpy", "scipy", "sympy", "torch", "numba", "hypothesis", "mpmath", "pydantic"),
    *("jinja2", "click", "spacy", "ray"),
)
SKIPPED_FOLDERS = {"tests", "test", "testing", "_vendor", "__pycache__", "idlelib", "lib2to3"}

# Markdown, reStructuredText and HTML -> the words in them.
_MARKUP = [
    (re.compile(r"<[^>]*>"), " "),
    (re.compile(r"!?\[([^\]]*)\]\([^)]*\)"), r"\1"),
    (re.compile(r":[a-z]+(?::[a-z]+)*:`[~!]?([^`<]*)[^`]*`"), r"\1"),
    (re.compile(r"`+([^`]*)`+_*"), r"\1"),
    (re.compile(r"\*+|\[\d+\]_?"), ""),
    (re.compile(r"\s+"), " "),
]
_TYPOGRAPHY = str.maketrans("\u2018\u2019\u201c\u201d\u2013\u2014\u2026", "''\"\"--.")
_NOT_PROSE = re.compile(
    r"[{}|\\<>=@$^~\[\]#]|://|\d{4}|[^\x00-\x7f]|\.\.|--|::|__|TODO|(?:Args|Returns):"
)
_DOCSTRING = re.compile(r'"""(.*?)"""', re.DOTALL)
_STOP_WORDS = {"the", "of", "and", "to", "a", "is", "in", "that", "for", "with", "be", "have"}
_WORD = re.compile(r"[^\W_]+")
_TOKEN = re.compile(r"\w+|[^\w\s]")
_LONGEST_SHARED = 7  # words that two paragraphs may have in a row


class Article(NamedTuple):
    """A title and paragraphs without markup."""

    title: str
    paragraphs: tuple[str, ...]

    @property
    def n_words(self) -> int:
        return sum(p.count(" ") + 1 for p in self.paragraphs)


def words(text: str) -> list[str]:
    """Lower-cased runs of letters and digits: the words of shingles and n-grams."""
    return _WORD.findall(text.lower())


def articles(rng: random.Random, n: int) -> list[Article]:
    """The first n articles of 150 to 450 words, in the same order on the same machine. Raises
    ValueError if there is too little text."""
    out: list[Article] = []
    seen: set[tuple[str, ...]] = set()
    share = max(1, n // 5)  # of one collection: a package's own words would else be everywhere
    for name, texts in _collections():
        paragraphs: list[str] = []
        size, wanted = 0, rng.randint(150, 450)
        first = len(out)
        for paragraph in chain.from_iterable(map(prose_paragraphs, texts)):
            if not _is_new(paragraph, seen):
                continue
            paragraphs.append(paragraph)
            size += paragraph.count(" ") + 1
            if size >= wanted:
                out.append(Article(_title(name, paragraphs[0]), tuple(paragraphs)))
                paragraphs, size, wanted = [], 0, rng.randint(150, 450)
                if len(out) == n:
                    return out
                if len(out) - first == share:
                    break
    raise ValueError(
        f"the demo's inputs: {len(out)} articles in the packages installed, {n} wanted; "
        "run `make setup`, or ask for a smaller scale"
    )


def prose_paragraphs(text: str) -> Iterator[str]:
    """Paragraphs that are sentences: no code, tables, lists, addresses or markup."""
    for block in re.split(r"\n\s*\n", text.translate(_TYPOGRAPHY)):
        if block.count(" ") < 13:  # also the indentation: only the hopeless leave here
            continue
        for pattern, replacement in _MARKUP:
            block = pattern.sub(replacement, block)
        block = block.strip()
        parts = block.split(" ")
        if not 14 <= len(parts) <= 200 or not block[0].isupper() or block[-1] not in ".!?":
            continue
        tokens = _TOKEN.findall(block)
        alphabetic = sum(token.isalpha() for token in tokens)
        stop_words = sum(part in _STOP_WORDS for part in parts)
        if alphabetic < 0.83 * len(tokens) or stop_words < 3 or _NOT_PROSE.search(block):
            continue
        yield block


def python_files(folder: Path) -> list[Path]:
    """A package's modules without its tests, sorted."""
    found = (f.relative_to(folder) for f in folder.rglob("*.py"))
    kept = (f for f in found if not SKIPPED_FOLDERS & set(f.parts))
    return [folder / f for f in sorted(kept, key=lambda f: f.as_posix())]


def site_packages() -> Path:
    return Path(sysconfig.get_path("purelib"))


class Chain:
    """Sentences that follow the word triples of some paragraphs (Shannon 1948, section 3)."""

    def __init__(self, paragraphs: Iterable[str]) -> None:
        self._next: dict[tuple[str, str], list[str]] = {}
        self._starts: list[tuple[str, str]] = []
        for paragraph in paragraphs:
            for sentence in re.split(r"(?<=[a-z][.!?]) (?=[A-Z])", paragraph):
                parts = sentence.split(" ")
                if len(parts) < 5:
                    continue
                self._starts.append((parts[0], parts[1]))
                for a, b, c in zip(parts, parts[1:], [*parts[2:], ""], strict=False):
                    self._next.setdefault((a, b), []).append(c)

    def sentence(self, rng: random.Random) -> str:
        """From five words to about sixty."""
        while True:
            out = list(rng.choice(self._starts))
            while len(out) < 60 and (word := rng.choice(self._next[out[-2], out[-1]])):
                out.append(word)
            if len(out) >= 5:
                return " ".join(out).rstrip(".,;:!? ") + "."

    def paragraph(self, rng: random.Random, n_sentences: int) -> str:
        return " ".join(self.sentence(rng) for _ in range(n_sentences))


def _collections() -> Iterator[tuple[str, Iterator[str]]]:
    """(name, its texts) of everything on the machine that has prose, the best of it first."""
    for name in sorted(topics):
        yield f"The language reference on {name}", iter([topics[name]])
    readmes = {}
    for package in importlib.metadata.distributions(path=[str(site_packages())]):
        about = package.metadata.json  # the README is a header in old packages, a body in others
        readmes[str(about["name"]).lower()] = str(about.get("description", ""))
    for name in sorted(readmes):
        yield f"About {name}", iter([readmes[name]])
    for name in DOCUMENTED:
        yield f"Notes on {name}", _docstrings(site_packages() / name)


def _docstrings(folder: Path) -> Iterator[str]:
    """Triple-quoted strings: a parser gives nearly the same in 20 times the time (33 s)."""
    for path in python_files(folder):
        yield from _DOCSTRING.findall(path.read_text(encoding="utf-8", errors="replace"))


def _is_new(paragraph: str, seen: set[tuple[str, ...]]) -> bool:
    """Whether it shares no long run of words with an earlier paragraph, nor with itself."""
    parts = words(paragraph)
    n = _LONGEST_SHARED + 1
    runs = [tuple(parts[i : i + n]) for i in range(len(parts) - n + 1)]
    if not runs or len(set(runs)) < len(runs) or not seen.isdisjoint(runs):
        return False
    seen.update(runs)
    return True


def _title(name: str, paragraph: str) -> str:
    return f"{name}: {' '.join(paragraph.split(' ')[:6]).rstrip('.,;:')}"
