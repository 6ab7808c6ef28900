"""What a source may be whose records were all lost: another format, another column. By the first
bytes of a shard, as formats and people tell files apart; a guess, for the line of an error only."""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

from pipeline.config import Source
from pipeline.schema import Fault
from pipeline.sources.rows import Text, kind_of, read_rows, split_rows
from pipeline.sources.rows_arrow import Columns
from pipeline.sources.streams import pieces

HEAD = 4096  # bytes looked at
ROWS, ROW_BYTES = 50, 1 << 20
BEGINNINGS = (  # the first that fits
    (rb"WARC/\d|filedesc:/", "warc"),
    (rb"PK\x03\x04.{26}mimetypeapplication/epub", "books"),
    (rb"(?=.{257}ustar)\d{4}/", "arxiv"),
    (rb".{257}ustar", "code"),
    (rb"PK\x03\x04", "code"),
    (rb"\s*<\?xml[^>]*>\s*<mediawiki|\s*<mediawiki", "wikipedia"),
    (rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?<(posts|comments)\b", "stackexchange"),
    (rb"\s*<(!doctype html|html)|.{0,2000}\*\*\* ?START OF TH", "books"),
)


def likely(source: Source, path: str) -> str:
    """`. Did you mean KEY = VALUE?`, or nothing."""
    reader, is_table = source.reader, kind_of(path)
    if is_table and source.format == "table":
        text = Text(reader.delimiter, reader.quote, reader.header)
        column = _longest_column(path, text)
        known = column in ("", reader.text_column)
        return "" if known else f'. Did you mean text_column = "{column}"?'
    if is_table and source.format == "code":
        column = _longest_column(path, Text())
        known = column in ("", *reader.columns.content)
        return "" if known else f'. Did you mean columns.content = ["{column}"]?'
    found = "table" if is_table else _format(path)
    return "" if found in ("", source.format) else f'. Did you mean format = "{found}"?'


def _format(path: str) -> str:
    try:
        head = next((piece.data for piece in pieces(path)), b"")[:HEAD]
    except (OSError, ValueError):
        return ""
    fits = (name for begins, name in BEGINNINGS if re.match(begins, head, re.DOTALL | re.I))
    return next(fits, "")


def _longest_column(path: str, text: Text) -> str:
    """The column with the most text in the first rows."""
    start, end = split_rows(path, 1 << 62)[0]
    chars: Counter[str] = Counter()
    for item in islice(read_rows(path, start, end, Columns(()), ROW_BYTES, text), ROWS):
        if not isinstance(item, Fault):
            chars.update(dict(_lengths(item[1], "")))
    [(name, _)] = chars.most_common(1) or [("", 0)]
    return name


def _lengths(row: dict[str, Any], above: str) -> Iterator[tuple[str, int]]:
    """Of every string; `a.b` is field b of column a."""
    for name, value in row.items():
        if isinstance(value, dict):
            yield from _lengths(value, f"{above}{name}.")
        elif isinstance(value, str | bytes):
            yield f"{above}{name}", len(value)
