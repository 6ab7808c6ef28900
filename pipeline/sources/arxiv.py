"""arXiv's bulk source -> one document a paper.

A bulk file (arXiv_src_YYMM_NNN.tar, about 500 MB) holds one gzip file a paper: a lone .tex, or a
tar of its files; and a .pdf where the authors gave no source
(info.arxiv.org/help/bulk_data_s3.html).
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast

from pipeline import quarantine, storage
from pipeline.extract.html import ExtractError
from pipeline.extract.latex import latex_to_text
from pipeline.extract.members import (
    GZIP,
    READ_ERRORS,
    Bomb,
    Bounded,
    Member,
    gunzip,
    is_tar,
    members,
    read_head,
    read_whole,
    tar_members,
)
from pipeline.schema import HEAD_BYTES, Document, Fault


@dataclass(frozen=True, kw_only=True)
class Arxiv:
    """arXiv's bulk tars of LaTeX sources."""

    markup: Literal["latex", "text"] = "latex"
    """The body as its LaTeX source with the authors' macros expanded, as LLaMA kept it; or as plain
    reading text."""
    math: Literal["keep", "drop"] = "keep"
    """Formulas as their LaTeX source, or none."""
    abstract: bool = False
    """Keep an abstract that stands before the first section; LLaMA began with the section."""
    appendix: bool = False
    """Keep what follows \\appendix."""
    max_document_bytes: int = 32 << 20
    """A paper whose sources, or whose text, are larger is an error."""


_NEW_ID = re.compile(r"\A(\d{2})(\d{2})\.\d{4,5}\Z")
_OLD_ID = re.compile(r"\A([a-z-]+)((\d{2})(\d{2})\d{3})\Z")


def split_arxiv(path: str, split_bytes: int) -> list[tuple[int, int]]:
    """A tar is read from its start: one piece."""
    return [(0, storage.input_size(path))]


def read_arxiv(path: str, start: int, end: int, config: Arxiv) -> Iterator[Document | Fault]:
    """The papers of a bulk tar, in its order. Locator: the arXiv id, or the member's name where
    that is none."""
    if start > 0:
        return
    with storage.open_input(path) as file:
        for item in members(file, config.max_document_bytes + 1):
            yield item if isinstance(item, Fault) else _read_paper(item, config)


def _identify(name: str) -> tuple[str, str | None, str | None]:
    """(locator, url, month) from `2401/2401.00001.gz` or `0001/astro-ph0001001.gz`."""
    stem = name.rsplit("/", 1)[-1]
    stem = stem.removesuffix(".gz").removesuffix(".pdf").removesuffix(".tex")
    if new := _NEW_ID.match(stem):
        return stem, f"https://arxiv.org/abs/{stem}", f"20{new[1]}-{new[2]}"
    if old := _OLD_ID.match(stem):
        century = 19 if old[3] >= "91" else 20
        paper = f"{old[1]}/{old[2]}"
        return paper, f"https://arxiv.org/abs/{paper}", f"{century}{old[3]}-{old[4]}"
    return name, None, None


def _read_paper(member: Member, config: Arxiv) -> Document | Fault:
    locator, url, month = _identify(member.name)
    head = b""
    if member.name.endswith(".pdf"):
        message = f"{member.size} bytes of PDF and no source"
        return Fault(locator, "pdf_only", message, read_head(member))
    if deadly := quarantine.refusal(locator):
        return deadly
    try:
        files = _tex_files(member, config.max_document_bytes)
        if isinstance(files, Fault):
            return files._replace(locator=locator)
        head = next(iter(files.values()), "").encode()[:HEAD_BYTES]
        paper = latex_to_text(
            files,
            config.max_document_bytes,
            text=config.markup == "text",
            math=config.math == "keep",
            abstract=config.abstract,
            appendix=config.appendix,
        )
    except Bomb as error:
        return Fault(locator, "bomb", str(error))
    except ExtractError as error:
        return Fault(locator, error.kind, str(error), head)
    except READ_ERRORS as error:
        return Fault(locator, "truncated_gzip", f"{type(error).__name__}: {error}")
    if "\0" in paper.text:
        return Fault(locator, "nul_bytes", "NUL in the LaTeX source", head)
    meta = {"title": paper.title, "author": paper.authors}
    meta = {key: value for key, value in meta.items() if value}
    rule = None if paper.text else "no_text"
    if any(_WITHDRAWN.match(text) for text in files.values()):
        rule = "withdrawn"
    return Document(locator, paper.text, url=url, created=month, meta=meta, rule=rule)


# What arXiv holds where there is no TeX, by its first bytes or by the ends of its files' names.
_NO_TEX = {
    "pdf_only": (b"%PDF", (".pdf",)),
    "ps_only": (b"%!PS", (".ps", ".eps", ".ps.gz", ".epsf")),
    "html_only": (b"<", (".html", ".htm")),
    "docx_only": (b"PK\x03\x04", (".docx", ".doc", ".odt")),
}
_TEX = (".tex", ".ltx", ".latex", ".sty")
_WITHDRAWN = re.compile(r"\s*%auto-ignore")
_INPUTENC = re.compile(rb"\\usepackage\s*\[([a-zA-Z0-9-]{1,20})\]\s*\{inputenc\}")
_CHARSETS = {
    **{"latin1": "cp1252", "ansinew": "cp1252", "latin2": "iso8859-2", "latin5": "iso8859-9"},
    **{"latin9": "iso8859-15", "applemac": "mac_roman", "cp1250": "cp1250", "cp1251": "cp1251"},
    **{"koi8-r": "koi8-r", "koi8-u": "koi8-u", "cp866": "cp866", "cp850": "cp850"},
    **{"cp437": "cp437", "iso88595": "iso8859-5"},
}


def _tex_files(member: Member, limit: int) -> dict[str, str] | Fault:
    """The .tex files of one paper by name, limit bytes in all."""
    stream = cast(io.BufferedReader, member.stream)
    zipped = stream.peek(2)[:2] == GZIP
    if zipped:
        stream = io.BufferedReader(gunzip(member.stream, limit + 1))
    block = stream.peek(512)
    if is_tar(block):
        return _tar_files(stream, limit)
    for kind, (magic, _) in _NO_TEX.items():
        if block.lstrip().startswith(magic):
            return Fault("", kind, f"{kind[:-5]} and no source", block[:HEAD_BYTES])
    data = stream.read(limit + 1)
    if len(data) > limit:
        return Fault("", "too_large", f"a .tex of more than {limit} bytes", data[:HEAD_BYTES])
    return _decode({"main.tex": data})


def _tar_files(stream: io.BufferedReader, limit: int) -> dict[str, str] | Fault:
    files: dict[str, bytes] = {}
    left = limit
    others: list[str] = []
    for item in tar_members(Bounded(stream, None, limit + 1), "truncated_gzip"):
        if isinstance(item, Fault):
            if item.error in ("path_outside", "link", "not_a_file", "duplicate_member"):
                continue  # left out, as an \\input of it will be
            return item
        name = item.name.lower()
        if name.endswith(_TEX) or "." not in name.rsplit("/", 1)[-1]:
            data = read_whole(item, left)
            if isinstance(data, Fault):
                return data
            left -= len(data)
            if name.endswith(_TEX) or b"\\" in data[:HEAD_BYTES]:  # README, Makefile
                files[item.name] = data
        elif len(others) < 1000:
            others.append(name)
    if any(not name.endswith(".sty") for name in files):
        return _decode(files)
    for kind, (_, ends) in _NO_TEX.items():
        if found := next((name for name in others if name.endswith(ends)), None):
            return Fault("", kind, f"{found} and no .tex")
    return Fault("", "no_main_file", "no .tex among its files")


def _decode(files: dict[str, bytes]) -> dict[str, str]:
    """UTF-8, else the charset that the paper declares, else windows-1252."""
    declared = next(
        (m[1].decode().lower() for d in files.values() if (m := _INPUTENC.search(d))), ""
    )
    charset = _CHARSETS.get(declared, "cp1252")
    texts = {}
    for name, data in files.items():
        try:
            texts[name] = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            texts[name] = data.decode(charset, errors="replace")
    return texts
