"""Pages of documentation that are on this machine, and the text that each marks as its content.

Nobody labelled these pages, but their generators say where the content is: mdBook in <main>,
rustdoc in #main-content, Node.js in #apicontent; pages of Texinfo and DocBook are content but for a
line of links. They show how far what was learned from articles carries (benchmarks/extract.py).
To learn from 125 of them beside the articles was tried: F1 of the other manuals rose by .01 to .07
and held-out F1 of the articles was between .969 and .974, by the draw of the manuals; but manuals
have no footers, and small pages then kept theirs. So it is left out.

They come with `rustup component add rust-docs`, Debian's nodejs-doc, npm, valgrind, libffi-dev; a
kind that is not there is left out, and the caller says so.
"""

import random
import re
from pathlib import Path
from typing import NamedTuple

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

PAGES = 25  # of a kind
MAX_CHARS = 600_000
MIN_WORDS = 33  # 30 runs of four


class Kind(NamedTuple):
    root: str  # the first that matches, by name
    pages: str
    content: str  # a CSS selector
    without: str = ""  # within it


_RUST = ".rustup/toolchains/stable-*/share/doc/rust/html"  # below the home directory
KINDS = {
    "mdBook (Rust by Example)": Kind(_RUST, "rust-by-example/**/*.html", "main"),
    "mdBook (Cargo)": Kind(_RUST, "cargo/**/*.html", "main"),
    "mdBook (Rust reference)": Kind(_RUST, "reference/**/*.html", "main"),
    "rustdoc (structs)": Kind(_RUST, "std/**/struct.*.html", "#main-content"),
    "rustdoc (functions)": Kind(_RUST, "std/**/fn.*.html", "#main-content"),
    "Node.js": Kind("/usr/share/doc/nodejs/api", "*.html", "#apicontent"),
    "npm": Kind("/usr/lib/node_modules/npm/docs", "**/*.html", "#content", "#table_of_contents"),
    "DocBook (valgrind)": Kind("/usr/share/doc/valgrind/html", "*.html", "body"),
    "Texinfo (libffi)": Kind("/usr/share/doc/libffi8/html", "*.html", "body"),
}


class Manual(NamedTuple):
    html: str
    wanted: str


def manuals(kind: Kind) -> list[Manual]:
    """Up to PAGES pages in an order drawn with a fixed seed; none where they are not installed."""
    home = kind.root[0] != "/"
    roots = sorted(Path.home().glob(kind.root)) if home else [Path(kind.root)]
    if not roots or not roots[0].is_dir():
        return []
    paths = sorted(map(str, roots[0].glob(kind.pages)))
    random.Random(0).shuffle(paths)
    found: list[Manual] = []
    for path in paths:
        html = Path(path).read_text(errors="replace")
        if len(html) > MAX_CHARS or 'http-equiv="refresh"' in html:
            continue
        content = HTMLTree.parse(html).document.query_selector(kind.content)
        if content is None:
            continue
        for part in content.query_selector_all(kind.without) if kind.without else ():
            part.decompose()
        wanted = extract_plain_text(
            content.html,
            main_content=False,
            preserve_formatting=True,
            list_bullets=False,
            alt_texts=False,
            links=False,
        )
        if len(re.findall(r"\w+", wanted)) >= MIN_WORDS:
            found.append(Manual(html, wanted))
        if len(found) == PAGES:
            break
    return found
