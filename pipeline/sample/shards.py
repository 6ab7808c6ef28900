"""Books, LaTeX papers, messages and archives of code for the demo, in the containers that they are
published in. The same input gives the same bytes: no times, owners or host names."""

import gzip
import io
import random
import tarfile
import textwrap
import zipfile
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from pipeline.sample.prose import Chain


class Book(NamedTuple):
    title: str
    author: str
    chapters: tuple[tuple[str, tuple[str, ...]], ...]  # (heading, paragraphs)

    @property
    def text(self) -> str:
        return "\n\n".join("\n\n".join([heading, *body]) for heading, body in self.chapters)


_FIRST = ("Ada", "Edmund", "Clara", "Josiah", "Winifred", "Ambrose", "Harriet", "Silas")
_LAST = ("Thornbury", "Quill", "Marchbanks", "Penhallow", "Greystone", "Lovelock", "Ashdown")
_NOUNS = ("Lantern", "Garden", "Machine", "River", "Archive", "Island", "Clock", "Orchard")
_KINDS = ("Silent", "Last", "Crooked", "Unwritten", "Northern", "Patient", "Borrowed")


def make_book(words: Chain, rng: random.Random, n_characters: int) -> Book:
    """Chapters of paragraphs of two to eight sentences, about n_characters in all."""
    title = f"The {rng.choice(_KINDS)} {rng.choice(_NOUNS)} of {rng.choice(_LAST)}"
    chapters: list[tuple[str, tuple[str, ...]]] = []
    size = 0
    while size < n_characters:
        body = [words.paragraph(rng, rng.randint(2, 8)) for _ in range(rng.randint(12, 24))]
        heading = f"CHAPTER {len(chapters) + 1}. The {rng.choice(_KINDS)} {rng.choice(_NOUNS)}"
        chapters.append((heading, tuple(body)))
        size += sum(map(len, body))
    return Book(title, f"{rng.choice(_FIRST)} {rng.choice(_LAST)}", tuple(chapters))


def gutenberg(book: Book) -> bytes:
    """The book as Project Gutenberg's plain texts look: wrapped, between header and licence."""
    name = book.title.upper()
    wrapped = (textwrap.fill(p, 72, break_on_hyphens=False) for p in book.text.split("\n\n"))
    text = f"""The Project Gutenberg eBook of {book.title}, by {book.author}

This eBook was generated for a demonstration. It follows the form of
the books of Project Gutenberg and is not one of them.

Title: {book.title}

Author: {book.author}

Language: English

*** START OF THE PROJECT GUTENBERG EBOOK {name} ***



{chr(10).join(p + chr(10) for p in wrapped)}

*** END OF THE PROJECT GUTENBERG EBOOK {name} ***

{_LICENCE}"""
    return gzip.compress(text.replace("\n", "\r\n").encode(), mtime=0)


_LICENCE = """Updated editions will replace the previous one; the old editions will be
renamed. You may copy it, give it away or re-use it under the terms of the
licence included with this eBook. Redistribution is subject to the trademark
license, especially commercial redistribution.

Section 1. General Terms of Use and Redistributing electronic works

1.A. By reading or using any part of this electronic work, you indicate that
you have read, understand, agree to and accept all the terms of this license.
"""


_CONTAINER = """<?xml version="1.0"?>
<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>
<rootfile full-path="OPS/book.opf" media-type="application/oebps-package+xml"/>
</rootfiles></container>"""


def epub(book: Book, doctype: str = "") -> bytes:
    """The book as EPUB 3; `doctype` goes in front of its package document."""
    files = [("mimetype", b"application/epub+zip"), ("META-INF/container.xml", _CONTAINER.encode())]
    items, spine = [], []
    for i, (heading, body) in enumerate(book.chapters):
        name = f"chapter-{i:03d}.xhtml"
        inside = f"<h2>{heading}</h2>" + "".join(f"<p>{_escape(p)}</p>\n" for p in body)
        page = f"<title>{heading}</title></head><body><section>{inside}</section></body></html>"
        files.append((f"OPS/{name}", (_XHTML + page).encode()))
        items.append(f'<item id="c{i}" href="{name}" media-type="application/xhtml+xml"/>')
        spine.append(f'<itemref idref="c{i}"/>')
    package = f"""<?xml version="1.0"?>{doctype}
<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:identifier id="id">demo</dc:identifier>
<dc:title>{book.title}</dc:title><dc:creator>{book.author}</dc:creator>
<dc:language>en</dc:language></metadata>
<manifest>{"".join(items)}</manifest><spine>{"".join(spine)}</spine></package>"""
    return zip_bytes([*files, ("OPS/book.opf", package.encode())])


_XHTML = """<?xml version="1.0" encoding="utf-8"?>
<html xmlns="http://www.w3.org/1999/xhtml"><head>"""
ENTITY_BOMB = (
    '<!DOCTYPE package [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in pairwise("abcdefghi"))
    + "]>"
)


# --- papers -------------------------------------------------------------------------------------


def paper(words: Chain, rng: random.Random, number: int) -> bytes:
    """One gzip file as in arXiv's bulk tars: every third a lone .tex, the others a tar of a main
    file, its \\input, a bibliography and a figure."""
    title = f"On the {rng.choice(_KINDS)} {rng.choice(_NOUNS)} and {rng.randint(2, 99)} bounds"
    sections = [_section(words, rng, i) for i in range(rng.randint(4, 7))]
    abstract = _tex(words.paragraph(rng, 5))
    first, rest = sections[0], "\n".join(sections[1:])
    lone = number % 3 == 0
    main = f"""\\documentclass[11pt]{{article}}
\\usepackage{{amsmath,amssymb}} % fonts
\\newcommand{{\\R}}{{\\mathbb{{R}}}}
\\newcommand{{\\norm}}[1]{{\\left\\lVert #1 \\right\\rVert}}
\\newcommand{{\\method}}{{the {rng.choice(_KINDS).lower()} method}}
% TODO: ask the second author, this comment must not be in the corpus
\\title{{{title}}}
\\author{{{rng.choice(_FIRST)} {rng.choice(_LAST)}\\thanks{{Supported by a grant.}}}}
\\begin{{document}}
\\maketitle
\\begin{{abstract}}
{abstract}
\\end{{abstract}}
{first if lone else chr(92) + "input{sections/first}"}
{rest}
\\begin{{thebibliography}}{{9}}
\\bibitem{{one}} {rng.choice(_FIRST)} {rng.choice(_LAST)}. \\emph{{The {rng.choice(_NOUNS)}}}.
\\end{{thebibliography}}
\\end{{document}}
"""
    if lone:
        return gzip.compress(main.encode(), mtime=0)
    figure = b"%!PS-Adobe-3.0 EPSF-3.0\n" + rng.randbytes(600)
    files = [("main.tex", main.encode()), ("sections/first.tex", first.encode())]
    return gzip.compress(tar_bytes([*files, ("figures/one.eps", figure)]), mtime=0)


def _section(words: Chain, rng: random.Random, number: int) -> str:
    blocks = [f"\\section{{{rng.choice(_KINDS)} {rng.choice(_NOUNS)}}}\\label{{s{number}}}"]
    for _ in range(rng.randint(4, 9)):
        text = _tex(words.paragraph(rng, rng.randint(3, 7)))
        blocks.append(f"{text} We compare with \\method\\ \\cite{{one}}. % checked twice")
        if rng.random() < 0.5:
            a, b = rng.randint(2, 99), rng.randint(2, 99)
            blocks.append(
                f"\\begin{{equation}}\n\\norm{{x_{{{a}}}}} \\le \\sum_{{i=1}}^{{{b}}} \\alpha_i"
                " \\quad x \\in \\R\n\\end{equation}"
            )
    return "\n\n".join(blocks)


def _tex(text: str) -> str:
    return "".join(f"\\{c}" if c in "%&_#$" else c for c in text)


# --- containers -----------------------------------------------------------------------------------

Files = Sequence[tuple[str, bytes]]


def tar_bytes(files: Files, extra: Iterable[tarfile.TarInfo] = ()) -> bytes:
    """A tar of files, then of members without content (links)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for info in extra:
            tar.addfile(info)
    return out.getvalue()


def symlink(name: str, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info


def zip_bytes(files: Files) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files:
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.create_system = 3
            info.compress_type = zipfile.ZIP_STORED if name == "mimetype" else zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return out.getvalue()


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
