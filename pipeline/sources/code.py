"""Repositories -> one document a source file, or one a repository: archives (.tar, packed or not,
.zip, .whl), directories, and tables like The Stack's.

What is no code, not permissively licensed, generated, minified or vendored goes to removed/ with
its rule; a licence that is not allowed takes the text with it. The defaults follow The Stack v1.1
(permissive licences only) and StarCoder2 (no generated files). A tar has to be read for the
licences first and for the files then: twice the decompression, and no repository in memory.
"""

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal

from pipeline import storage
from pipeline.extract import folder
from pipeline.extract.members import (
    READ_ERRORS,
    ZIP,
    Member,
    members,
    open_zip,
    read_head,
    zip_entries,
)
from pipeline.schema import Document, Fault
from pipeline.sources import rows
from pipeline.sources.code_file import (
    File,
    marks_of_name,
    read_bytes,
    read_file,
    repository_of,
    strings_in,
)
from pipeline.sources.code_languages import DATA, LANGUAGES, canonical
from pipeline.sources.code_marks import Mark
from pipeline.sources.code_repository import merged
from pipeline.sources.license_names import PERMISSIVE, all_of, expression, spdx_of_name
from pipeline.sources.licenses import NOASSERTION, Licenses, evidence_bytes, is_evidence
from pipeline.sources.rows_arrow import Columns, ranges
from pipeline.sources.table import scalar, take, text_of


@dataclass(frozen=True, kw_only=True)
class StackColumns:
    """The columns of a table of source files: of each list, the first that the table has. The
    defaults read The Stack v1 and v2, StarCoderData, GitHub Code and RedPajama's GitHub."""

    content: tuple[str, ...] = ("content", "code", "text")
    path: tuple[str, ...] = ("max_stars_repo_path", "path", "meta.path")
    repository: tuple[str, ...] = ("max_stars_repo_name", "repo_name", "meta.repo_name")
    language: tuple[str, ...] = ("lang", "language")
    license: tuple[str, ...] = (
        *("max_stars_repo_licenses", "detected_licenses", "licenses", "license"),
        *("meta.license",),
    )
    id: tuple[str, ...] = ()
    """Empty: ids are made of the shard's name and the row."""
    meta: tuple[str, ...] = ()
    """Other columns to keep in meta, such as max_stars_count."""


@dataclass(frozen=True, kw_only=True)
class Code:
    """Source files out of repositories."""

    unit: Literal["file", "repository"] = "file"
    """What is one document. A repository's files come in the order of their paths, with markers;
    not for tables, whose rows of a repository are scattered."""
    repository_depth: int = 1
    """How many folders of a path name its repository: 1 for repo/src/a.py, 2 for
    owner/repo/src/a.py, 0 where a shard is one repository."""
    repository_marker: str = "<repo_name>{repository}"
    """Starts a repository's document. These are StarCoder2's markers."""
    file_marker: str = "<file_sep>{path}\n"
    """Starts each file in it."""
    languages: tuple[str, ...] = ()
    """The only languages kept; empty is all. Names as in meta: cpp, csharp, common-lisp."""
    keep_data: tuple[str, ...] = ()
    """Data languages (json, yaml, xml, csv ...) that are kept; bound their size by the step
    `starcoder`."""
    allow_licenses: tuple[str, ...] = PERMISSIVE
    """SPDX ids. Of `A AND B` both must be here, of `A OR B` one."""
    unknown_license: Literal["remove", "keep"] = "remove"
    """What becomes of files for which no licence was found."""
    remove: tuple[Mark, ...] = ("generated", "minified", "vendored")
    """Which marks remove a file; the others are kept in meta."""
    cut_license_headers: bool = True
    """Whether licence notices are cut from the top of files."""
    notebooks: Literal["script", "structured", "remove"] = "script"
    """Markdown cells as comments between the code, or StarCoder's <jupyter_...> markers."""
    notebook_output_chars: int = 0
    """How much of each cell's textual output is kept."""
    columns: StackColumns = field(default_factory=StackColumns)
    """Of shards that are tables."""
    max_document_bytes: int = 32 << 20
    """A larger file is an error; a larger repository is more than one document. Size as a sign of
    generated code is a filter's business."""

    def __post_init__(self) -> None:
        for name, known in (("languages", LANGUAGES), ("keep_data", DATA)):
            for language in getattr(self, name):
                if language not in known:
                    raise ValueError(f"{name}: no such language {language!r}")
        for name in self.allow_licenses:
            if expression(name) is None and not name.startswith("LicenseRef-"):
                raise ValueError(f"allow_licenses: {name!r} is no SPDX id that is known here")
        if self.repository_depth < 0:
            raise ValueError(f"repository_depth {self.repository_depth} is below 0")
        for name in ("repository_marker", "file_marker"):
            try:
                getattr(self, name).format(repository="", path="")
            except (KeyError, IndexError, ValueError):
                raise ValueError(
                    f"{name}: only {{repository}} and {{path}} may be in braces"
                ) from None


def split_code(path: str, split_bytes: int) -> list[tuple[int, int]]:
    """Ranges of the files of a directory, of the members of a zip, of a table's rows; a tar is
    read from its start: one piece."""
    if storage.is_folder(path):
        return ranges([entry.size for entry in folder.entries(path)], split_bytes)
    if rows.kind_of(path):
        return rows.split_rows(path, split_bytes)
    with storage.open_input(path) as file:
        archive = _zip(file)
        if archive is not None:
            sizes = [info.file_size for info in zip_entries(archive)]
            return ranges(sizes, split_bytes)
    return [(0, storage.input_size(path))]


def read_code(path: str, start: int, end: int, config: Code) -> Iterator[Document | Fault]:
    """The files of a range: a tar's in its order, others by name. Locator: a file's path in the
    shard, a table's row."""
    if storage.is_folder(path):
        entries = folder.entries(path)
        names = [entry.name for entry in entries]
        licenses = Licenses()
        for entry in entries:
            if is_evidence(entry.name):
                _note(licenses, folder.read_entry(entry))
        start, end = _whole_repositories(names, start, end, config)
        files = (item for entry in entries[start:end] for item in folder.read_entry(entry))
        yield from _documents(files, licenses, config)
    elif rows.kind_of(path):
        yield from _read_table(path, start, end, config)
    else:
        yield from _read_archive(path, start, end, config)


def _read_archive(path: str, start: int, end: int, config: Code) -> Iterator[Document | Fault]:
    licenses = Licenses()
    with storage.open_input(path) as file:  # opened twice: pyarrow's decoders close what they read
        if archive := _zip(file):
            licenses = _licenses_of_zip(archive)
            names = [info.filename for info in zip_entries(archive)]
            start, end = _whole_repositories(names, start, end, config)
        elif start:
            return
        else:
            _note(licenses, members(file, _max_read(config)))
            end = 1
    if start < end:
        with storage.open_input(path) as file:
            files = members(file, _max_read(config), start, end)
            yield from _documents(files, licenses, config)


def _documents(
    files: Iterator[Member | Fault], licenses: Licenses, config: Code
) -> Iterator[Document | Fault]:
    if config.unit == "repository":
        yield from merged(files, licenses, config)
        return
    for item in files:
        if isinstance(item, Fault):
            yield item
        else:
            yield from read_file(item, licenses.nearest(item.name), config)


def _max_read(config: Code) -> int:
    return max(config.max_document_bytes, 1 << 20) + 1


def _zip(file: BinaryIO) -> zipfile.ZipFile | None:
    """None for what is no zip, or one that cannot be read: `members` says what is wrong."""
    is_zip = file.read(len(ZIP)) == ZIP
    file.seek(0)
    try:
        return open_zip(file) if is_zip else None
    except READ_ERRORS:
        return None


def _whole_repositories(names: list[str], start: int, end: int, config: Code) -> tuple[int, int]:
    """The range, with its ends moved on to where a repository starts: a repository is whole in the
    range in which it starts."""
    if config.unit == "file":
        return start, end
    of = [repository_of(name, config.repository_depth) for name in names]

    def next_start(at: int) -> int:
        return next((i for i in range(at, len(of)) if i == 0 or of[i] != of[i - 1]), len(of))

    return next_start(start), next_start(end)


def _note(licenses: Licenses, files: Iterator[Member | Fault]) -> None:
    for item in files:
        if isinstance(item, Member) and is_evidence(item.name):
            licenses.add(item.name, read_head(item, evidence_bytes(item.name)))


def _licenses_of_zip(archive: zipfile.ZipFile) -> Licenses:
    """Only what tells licences is read."""
    licenses = Licenses()
    for info in zip_entries(archive):
        if is_evidence(info.filename):
            try:
                with archive.open(info) as stream:
                    data = stream.read(evidence_bytes(info.filename))
            except READ_ERRORS:
                continue  # the reader of the files says what is wrong
            licenses.add(info.filename.removeprefix("./"), data)
    return licenses


# --- tables -------------------------------------------------------------------------------------


def _read_table(path: str, start: int, end: int, config: Code) -> Iterator[Document | Fault]:
    if config.unit == "repository":
        if start == 0:
            message = 'a table has no whole repositories; set unit = "file"'
            yield Fault("", "no_repositories", message)
        return
    names = config.columns
    every = (*names.content, *names.path, *names.repository, *names.language, *names.license)
    only = tuple(name.partition(".")[0] for name in (*every, *names.id, *names.meta))
    columns = Columns(names.content, only)
    for item in rows.read_rows(path, start, end, columns, config.max_document_bytes, rows.Text()):
        if isinstance(item, Fault):
            yield item
        else:
            yield from _read_row(*item, config)


def _read_row(locator: str, row: dict[str, Any], config: Code) -> Iterator[Document | Fault]:
    names = config.columns
    text = text_of(locator, row, names.content, config.max_document_bytes)
    if isinstance(text, Fault):
        yield text
        return

    def first(candidates: tuple[str, ...]) -> Any:
        return next((value for name in candidates if (value := take(row, name)[1])), None)

    licenses = strings_in(first(names.license))
    expressions = [spdx_of_name(name) or _unknown(name) for name in licenses]
    license = all_of(expressions)
    language = scalar(first(names.language))
    meta = {name: value for name in names.meta if (value := scalar(take(row, name)[1]))}
    file = File(
        locator,
        (scalar(first(names.path)) or "").replace("\0", ""),
        (license, "column") if license else None,
        (scalar(first(names.repository)) or "").replace("\0", ""),
        canonical(language) if language else None,
        scalar(first(names.id)),
        meta,
    )
    marks, rule = marks_of_name(file, config)
    if rule:
        yield Document(locator, text, None, file.path, None, license, meta | marks, file.id, rule)
    else:
        yield from read_bytes(file, text.encode(), marks, config)


def _unknown(name: str) -> str:
    """A licence's name that is not known here, so that it is not taken for none."""
    return name if re.fullmatch(r"[A-Za-z0-9.+-]{1,100}", name) else NOASSERTION
