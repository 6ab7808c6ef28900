"""Tables with a text column -> one document a row: Parquet, Arrow IPC, JSON lines, CSV and TSV.

Parquet splits by row groups, Arrow files by record batches, plain JSON lines by bytes at line ends;
CSV and what is compressed do not split. The columns of a document (id, url, path, created, license,
meta) are taken under their names; other scalar columns go to meta as strings. A column inside of
another is named with a dot (`meta.url`). A subset or split of a Hugging Face directory is chosen by
the pattern of its paths: `data/en/train-*.parquet`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.schema import HEAD_BYTES, Document, Fault
from pipeline.sources.rows import Text, read_rows, split_rows
from pipeline.sources.rows_arrow import Columns


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of Parquet, Arrow, JSON lines, CSV or TSV, told by the file's name."""

    text_column: str = "text"
    id_column: str | None = "id"
    """Kept as the document's id where the table has it; "" makes ids of the shard's name and the
    row. Ids are unique in the corpus: two tables that count from 0 need ""."""
    url_column: str = "url"
    path_column: str = "path"
    created_column: str = "created"
    license_column: str = "license"
    meta_columns: tuple[str, ...] = ()
    """What goes to meta; empty is every other scalar column."""
    delimiter: str = ""
    """Between the fields of a CSV file; empty is a comma, a tab in .tsv."""
    quote: str = '"'
    """Around a field of a CSV file that holds delimiters or line ends; empty is no quoting."""
    header: tuple[str, ...] = ()
    """The columns of a CSV file whose first line is not their names."""
    max_document_bytes: int = 32 << 20
    """A longer line or text is an error."""

    def __post_init__(self) -> None:
        for name in ("delimiter", "quote"):
            if len(getattr(self, name)) > 1 or getattr(self, name) in ("\n", "\r"):
                raise ValueError(f"{name} {getattr(self, name)!r} is not one character")
        if self.header and self.text_column not in self.header:
            raise ValueError(f"header has no text_column {self.text_column!r}")
        if self.max_document_bytes < 1:
            raise ValueError(f"max_document_bytes {self.max_document_bytes} is below 1")


_META_CHARS = 1000  # of a value that goes to meta


def split_table(path: str, split_bytes: int) -> list[tuple[int, int]]:
    """Row-group, batch or byte ranges."""
    return split_rows(path, split_bytes)


def read_table(path: str, start: int, end: int, config: Table) -> Iterator[Document | Fault]:
    """The rows of a range. Locator: a row's number, or a line's offset."""
    columns = Columns((config.text_column,))
    text = Text(config.delimiter, config.quote, config.header)
    for item in read_rows(path, start, end, columns, config.max_document_bytes, text):
        found = item if isinstance(item, Fault) else _document(*item, config)
        if isinstance(found, Fault) and found.error == "missing_column":
            found = found._replace(message=f"{found.message}; name the right one: text_column")
        yield found


def take(row: dict[str, Any], name: str) -> tuple[bool, Any]:
    """(whether the row has it, the value) of a column, which is taken out of the row; `a.b` is
    field b of column a."""
    if name in row:
        return True, row.pop(name)
    if "." not in name:
        return False, None
    first, *path = name.split(".")
    value: Any = row.get(first)
    for part in path:
        if isinstance(value, list):  # a map column is a list of pairs
            value = dict(pair for pair in value if isinstance(pair, tuple) and len(pair) == 2)
        if not isinstance(value, dict) or part not in value:
            return False, None
        value = value[part]
    return bool(path), value


def text_of(locator: str, row: dict[str, Any], names: tuple[str, ...], limit: int) -> str | Fault:
    """The text in the first of these columns that the row has, taken out of the row."""
    text: Any = None
    for name in names:
        found, text = take(row, name)
        if found:
            break
    else:
        wanted, has = " or ".join(map(repr, names)), ", ".join(map(str, list(row)[:50]))
        message = f"no column {wanted}; the line has {has}"
        head = str(list(row.items())[:20]).encode("utf-8", "replace")[:HEAD_BYTES]
        return Fault(locator, "missing_column", message.encode("utf-8", "replace").decode(), head)
    if not isinstance(text, str | bytes | None):
        message = f"column {name!r} is {type(text).__name__}, and a text is a string"
        return Fault(locator, "wrong_type", message, str(text)[:1000].encode("utf-8", "replace"))
    if isinstance(text, str) and text.isascii() and len(text) <= limit and "\0" not in text:
        return text  # as most are: nothing can be wrong with its bytes
    raw = text if isinstance(text, bytes) else (text or "").encode("utf-8", "surrogatepass")
    head = raw[:HEAD_BYTES]
    if len(raw) > limit:
        message = f"a text of {len(raw)} bytes (max_document_bytes {limit})"
        return Fault(locator, "too_large", message, head)
    try:
        decoded = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        kind = "bad_utf8" if isinstance(text, bytes) else "lone_surrogate"
        return Fault(locator, kind, str(error), head)
    if "\0" in decoded:
        return Fault(locator, "nul_bytes", "NUL in a text", head)
    return decoded


def _document(locator: str, row: dict[str, Any], config: Table) -> Document | Fault:
    text = text_of(locator, row, (config.text_column,), config.max_document_bytes)
    if isinstance(text, Fault):
        return text
    wanted = {name: take(dict(row), name)[1] for name in config.meta_columns}
    return Document(
        locator,
        text,
        id=scalar(take(row, config.id_column)[1]) if config.id_column else None,
        url=scalar(take(row, config.url_column)[1]),
        path=scalar(take(row, config.path_column)[1]),
        created=scalar(take(row, config.created_column)[1]),
        license=scalar(take(row, config.license_column)[1]),
        meta=meta_of(wanted if config.meta_columns else row),
        rule=None if text.strip() else "no_text",
    )


def meta_of(row: dict[str, Any]) -> dict[str, str]:
    """Scalars as strings; an inner `meta` (a map or an object) is taken out of its wrapping."""
    inner = row.pop("meta", None)
    pairs = (
        inner
        if isinstance(inner, list)
        else list((inner or {}).items() if isinstance(inner, dict) else ())
    )
    every = [*row.items(), *(pair for pair in pairs if isinstance(pair, tuple) and len(pair) == 2)]
    meta = {scalar(key): scalar(value) for key, value in every}
    return {key: value[:_META_CHARS] for key, value in meta.items() if key and value is not None}


def scalar(value: Any) -> str | None:
    """A number, boolean, string or time as a valid string; None for null and for what is nested."""
    if value is None:
        return None
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict | tuple):
        return None
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
