"""Raw shards -> documents: one module a format, and the one table of them.

A reader yields, for each record of a range, one Document (with `rule` set where it is none after
all) or one lost Fault, in the order of the shard; a Fault with lost=False notes a repair of the
record that follows. Reading the ranges of a split one after another gives what one range over the
whole shard gives (in stackexchange and dialogue, whose ranges are of key hashes, the faults of each
range come first).
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from pipeline.schema import Document, Fault
from pipeline.sources.arxiv import Arxiv, read_arxiv, split_arxiv
from pipeline.sources.books import Books, read_books, split_books
from pipeline.sources.code import Code, read_code, split_code
from pipeline.sources.dialogue import Dialogue, read_dialogue, split_dialogue
from pipeline.sources.stackexchange import (
    StackExchange,
    read_stackexchange,
    split_stackexchange,
)
from pipeline.sources.table import Table, read_table, split_table
from pipeline.sources.warc import Warc, read_warc, split_warc
from pipeline.sources.wikipedia import Wikipedia, read_wikipedia, split_wikipedia


class Format(NamedTuple):
    config: type  # its frozen dataclass
    split: Callable[[str, int], list[tuple[int, int]]]
    read: Callable[[str, int, int, Any], Iterator[Document | Fault]]
    files: tuple[str, ...] = ()  # config keys that name more files to read
    folders: bool = False  # whether a directory is a shard, and not its files


FORMATS: dict[str, Format] = {
    "warc": Format(Warc, split_warc, read_warc),
    "books": Format(Books, split_books, read_books),
    "arxiv": Format(Arxiv, split_arxiv, read_arxiv),
    "code": Format(Code, split_code, read_code, folders=True),
    "table": Format(Table, split_table, read_table),
    "wikipedia": Format(Wikipedia, split_wikipedia, read_wikipedia),
    "stackexchange": Format(StackExchange, split_stackexchange, read_stackexchange),
    "dialogue": Format(Dialogue, split_dialogue, read_dialogue, files=("submissions",)),
}
