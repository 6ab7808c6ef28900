"""One source file -> a document, or why it is none."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline import quarantine
from pipeline.extract.encoding import decode_html
from pipeline.extract.license_header import cut_license_header
from pipeline.extract.members import Member, read_whole
from pipeline.extract.notebook import notebook_text
from pipeline.schema import HEAD_BYTES, Document, Fault
from pipeline.sources.code_languages import DATA, canonical, is_data_name, language_of, may_be_code
from pipeline.sources.code_marks import is_binary, is_data, mark_of_content, mark_of_name
from pipeline.sources.license_names import allowed
from pipeline.sources.licenses import NOASSERTION, own_license

if TYPE_CHECKING:
    from pipeline.sources.code import Code

NOTEBOOK = "jupyter-notebook"
_PEEK_BYTES = HEAD_BYTES * 8


class File(NamedTuple):
    """What is known of a file before it is read."""

    locator: str
    path: str  # with its repository's folder
    nearest: tuple[str, str] | None  # (SPDX expression, what says so)
    repository: str = ""
    language: str | None = None  # where a table states it
    id: str | None = None
    meta: dict[str, str] = {}  # noqa: RUF012 - never written to


def repository_of(path: str, depth: int) -> str:
    """The folders that name a path's repository, "" for none."""
    parts = path.split("/")
    return "/".join(parts[:depth]) if len(parts) > depth else ""


def read_file(
    member: Member, nearest: tuple[str, str] | None, config: "Code"
) -> Iterator[Document | Fault]:
    """A file of a directory or archive; it is read only where its name lets it be code."""
    repository = repository_of(member.name, config.repository_depth)
    file = File(member.name, member.name, nearest, repository)
    marks, rule = marks_of_name(file, config)
    if rule is None and not may_be_code(file.path):
        rule = "not_code"
    if rule is None and is_data_name(file.path) not in (None, *config.keep_data):
        rule = "data_file"
    if rule is not None:
        yield _removed(file, rule, marks)
    elif deadly := quarantine.refusal(file.locator):
        yield deadly
    else:
        head = read_whole(member._replace(size=0), _PEEK_BYTES)
        if isinstance(head, Fault):
            yield head
        elif is_binary(head) or language_of(file.path, head) is None:
            yield _removed(file, "binary" if is_binary(head) else "not_code", marks)
        else:  # what is no code is not read as a whole: a library of 48 MB without an extension
            rest = read_whole(member, config.max_document_bytes)
            if isinstance(rest, Fault):
                yield rest
            else:
                yield from read_bytes(file, head + rest, marks, config)


def marks_of_name(file: File, config: "Code") -> tuple[dict[str, str], str | None]:
    """(marks for meta, the rule that removes the file)."""
    below = file.path
    if file.repository and below.startswith(file.repository + "/"):
        below = below[len(file.repository) + 1 :]
    found = mark_of_name(below)
    if found is None:
        return {}, None
    mark, why = found
    return {mark: why}, mark if mark in config.remove else None


def read_bytes(
    file: File, data: bytes, marks: dict[str, str], config: "Code"
) -> Iterator[Document | Fault]:
    """A file whose content was read."""
    language = file.language or language_of(file.path, data)
    if is_binary(data):
        yield _removed(file, "binary", marks)
        return
    if language is None or (language in DATA and language not in config.keep_data):
        yield _removed(file, "not_code" if language is None else "data_file", marks)
        return
    text, note = _decode(data)
    if note:
        yield Fault(file.locator, note[0], note[1], data[:HEAD_BYTES], lost=False)
    if "\0" in text:
        yield Fault(file.locator, "nul_bytes", f"NUL in a {language} file", data[:HEAD_BYTES])
        return
    if language == NOTEBOOK and config.notebooks != "remove":
        try:
            text, inner = notebook_text(data, config.notebooks, config.notebook_output_chars)
        except ValueError as error:
            yield Fault(file.locator, "bad_notebook", str(error)[:500], data[:HEAD_BYTES])
            return
        if config.notebooks == "script":
            language, marks = canonical(inner), marks | {"notebook": "script"}
    yield _document(file, data, text, language, marks, config)


def _document(
    file: File, data: bytes, text: str, language: str, marks: dict[str, str], config: "Code"
) -> Document:
    meta = {"language": language, **file.meta, **marks}
    if file.repository:
        meta["repository"] = file.repository
    license = own_license(text, language) or file.nearest
    if license:
        meta["license_from"] = license[1]
    rule = _rule(text, language, license, config)
    if found := None if rule else mark_of_content(data, language):
        meta[found[0]] = found[1]
        rule = found[0] if found[0] in config.remove else None
    if rule is None and language not in DATA and is_data(data):
        rule = "data_file"
    if rule is None and config.cut_license_headers:
        cut = cut_license_header(text, language)
        if cut != text:
            meta["license_header_chars"] = str(len(text) - len(cut))
            text = cut
            rule = None if text.strip() else "no_text"
    if rule in ("license_not_allowed", "no_license"):
        text = ""  # what may not be used is not stored either
    name = license[0] if license else None
    return Document(file.locator, text, None, file.path, None, name, meta, file.id, rule)


def _rule(text: str, language: str, license: tuple[str, str] | None, config: "Code") -> str | None:
    if language == NOTEBOOK and config.notebooks == "remove":
        return "notebook"
    if config.languages and language not in config.languages:
        return "other_language"
    if not text.strip():
        return "no_text"
    if license is None or license[0] == NOASSERTION:
        return "no_license" if config.unknown_license == "remove" else None
    if not allowed(license[0], frozenset(config.allow_licenses)):
        return "license_not_allowed"
    return None


def _removed(file: File, rule: str, marks: dict[str, str]) -> Document:
    name, where = file.nearest or (None, None)
    meta = file.meta | marks | ({"license_from": where} if where else {})
    return Document(file.locator, "", None, file.path, None, name, meta, file.id, rule)


# PEP 263's expression, which editors and other languages use too.
_CODING = re.compile(rb"[ \t\f]{0,40}[#/*;%\"-].{0,80}?coding[:=][ \t]*([-\w.]{1,40})")


def _decode(data: bytes) -> tuple[str, tuple[str, str] | None]:
    """(text, what was odd). UTF-8, or what the first two lines say, or what is detected."""
    try:
        return data.decode("utf-8-sig"), None
    except UnicodeDecodeError as error:
        lines = data.split(b"\n", 2)[:2]
        label = next((found[1].decode() for line in lines if (found := _CODING.match(line))), None)
        read = decode_html(data, label)
        if label and read.note is None:
            return read.text, None
        message = read.note[1] if read.note else f"{error}; read as {read.charset}"
        return read.text, ("not_utf8", message)


# --- a row of a table ---------------------------------------------------------------------------


def strings_in(value: Any, depth: int = 3) -> list[str]:
    """The strings of a column of licences: one, or a list, or a list of records."""
    if isinstance(value, bytes):
        return [value.decode("utf-8", "replace")]
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list) or not depth:
        return []
    return [name for item in value for name in strings_in(item, depth - 1)]
