"""arXiv's bulk source -> one document a paper.

A bulk file (arXiv_src_YYMM_NNN.tar, about 500 MB) holds one gzip file a paper: a lone .tex, or a
tar of its files; and a .pdf where the authors gave no source
(info.arxiv.org/help/bulk_data_s3.html).
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

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
        text, title = latex_to_text(files, config.max_document_bytes)
    except Bomb as error:
        return Fault(locator, "bomb", str(error))
    except ExtractError as error:
        return Fault(locator, error.kind, str(error), head)
    except READ_ERRORS as error:
        return Fault(locator, "truncated_gzip", f"{type(error).__name__}: {error}")
    if "\0" in text:
        return Fault(locator, "nul_bytes", "NUL in the LaTeX source", head)
    meta = {"title": title} if title else {}
    rule = None if text else "no_text"
    return Document(locator, text, url=url, created=month, meta=meta, rule=rule)


def _tex_files(member: Member, limit: int) -> dict[str, str] | Fault:
    """The .tex files of one paper by name, limit bytes in all."""
    stream = cast(io.BufferedReader, member.stream)
    zipped = stream.peek(2)[:2] == GZIP
    if zipped:
        stream = io.BufferedReader(gunzip(member.stream, limit + 1))
    block = stream.peek(512)
    if block.startswith(b"%PDF"):
        return Fault("", "pdf_only", "a PDF and no source", block[:HEAD_BYTES])
    if is_tar(block):
        return _tar_files(stream, limit)
    data = stream.read(limit + 1)
    if len(data) > limit:
        return Fault("", "too_large", f"a .tex of more than {limit} bytes", data[:HEAD_BYTES])
    return {"main.tex": _decode(data)}


def _tar_files(stream: io.BufferedReader, limit: int) -> dict[str, str] | Fault:
    files: dict[str, str] = {}
    left = limit
    pdf = None
    for item in tar_members(Bounded(stream, None, limit + 1), "truncated_gzip"):
        if isinstance(item, Fault):
            if item.error in ("path_outside", "link", "not_a_file", "duplicate_member"):
                continue  # left out, as an \input of it will be
            return item
        name = item.name.lower()
        if name.endswith((".tex", ".ltx")):
            data = read_whole(item, left)
            if isinstance(data, Fault):
                return data
            left -= len(data)
            files[item.name] = _decode(data)
        elif name.endswith(".pdf") and pdf is None:
            pdf = item.name
    if not files:
        kind = "pdf_only" if pdf else "no_main_file"
        return Fault("", kind, f"{pdf} and no .tex" if pdf else "no .tex among its files")
    return files


def _decode(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")
