"""Every table's columns, once; and what a source reader may yield.

A document table has the columns of DOCUMENT, then one column a signal (`gopher.n_words`). While
steps run it also carries REMOVAL, null until a rule fails. Rows with a non-null `rule` are
*marked*: the writer moves them to `removed/`.
"""

from typing import NamedTuple

import pyarrow as pa

DOCUMENT = pa.schema(
    [
        pa.field("id", pa.string()),  # <source>/<shard name>/<offset or member>, or the table's own
        pa.field("text", pa.string()),
        pa.field("source", pa.string()),
        pa.field("url", pa.string()),
        pa.field("path", pa.string()),
        pa.field("created", pa.string()),  # ISO 8601, as the source states it
        pa.field("license", pa.string()),
        pa.field("meta", pa.map_(pa.string(), pa.string())),
    ]
)

REMOVAL = pa.schema(
    [
        pa.field("stage", pa.string()),  # the stage that removed it: ingest, filter, dedup
        pa.field("rule", pa.string()),  # the first rule that failed: gopher_quality.too_few_words
        pa.field("value", pa.float64()),  # what was measured; null where nothing could be measured
        pa.field("threshold", pa.float64()),  # what it was compared with
        pa.field("matched_id", pa.string()),  # the kept document, or the test item, that it matches
        pa.field("similarity", pa.float64()),  # the checked similarity to matched_id, 0..1
        pa.field(
            "failed", pa.list_(pa.string())
        ),  # every rule that failed in the steps that saw it
    ]
)

ERROR = pa.schema(
    [
        pa.field("source", pa.string()),
        pa.field("shard", pa.string()),
        pa.field("locator", pa.string()),  # offset or member, "" for the whole shard
        pa.field("stage", pa.string()),
        pa.field("error", pa.string()),  # a kind, snake_case: truncated_gzip
        pa.field("message", pa.string()),
        pa.field("lost", pa.bool_()),  # False: the document was repaired and went on
        pa.field("head", pa.binary()),  # the first bytes of what could not be read
    ]
)

# What of the test sets is in which document, as the filter stage met it.
CONTAMINATION = pa.schema(
    [
        pa.field("item", pa.string()),  # <file name of the test set>/<number, from 0>
        pa.field("id", pa.string()),  # of the document
        pa.field("source", pa.string()),
        pa.field("item_fraction", pa.float64()),  # of the item's words, found in the document
        pa.field("answer", pa.bool_()),  # the answer was found too, by n-grams or next to them
        pa.field("document_fraction", pa.float64()),  # of its words, shared with any item
        pa.field("rule", pa.string()),  # that removed the document; null: it went on
    ]
)

# Records that no reader could make a text of, though nothing is wrong with their shard: they are
# errors, and do not count against max_error_fraction.
EXPECTED_ERRORS = frozenset({"pdf_only", "ps_only", "html_only", "docx_only"})
HEAD_BYTES = 4096  # of a bad record, kept in errors/

# What one exchange between documents says of a document that has to go or to be cut.
FATE = pa.schema(
    [
        pa.field("doc", pa.uint64()),  # its place: part << 32 | row
        pa.field("matched", pa.uint64()),  # the keeper's place; null where no one document is it
        pa.field("rule", pa.string()),
        pa.field("value", pa.float64()),
        pa.field("threshold", pa.float64()),
        pa.field("matched_id", pa.string()),
        pa.field("similarity", pa.float64()),
    ]
)


def tokens_schema(vocab_size: int) -> pa.Schema:
    """id, ids (uint16 where the vocabulary allows it), and how many bytes of UTF-8 they encode."""
    width = pa.uint16() if vocab_size <= 1 << 16 else pa.uint32()
    return pa.schema(
        [
            pa.field("id", pa.string()),
            pa.field("ids", pa.list_(width)),
            pa.field("n_bytes", pa.int64()),
        ]
    )


class Document(NamedTuple):
    """One record that a reader turned into text. `rule` is set when it is not a document after all
    (an image, a page without text): it goes to removed/ under `ingest.<rule>`, not away."""

    locator: str  # unique in the shard; offsets are zero-padded so that text order is reading order
    text: str
    url: str | None = None
    path: str | None = None
    created: str | None = None
    license: str | None = None
    meta: dict[str, str] = {}  # noqa: RUF012 - never written to
    id: str | None = None  # only where the input brings an id of its own
    rule: str | None = None


class Fault(NamedTuple):
    """A record, member or shard that was not read, or (lost=False) was read after a repair."""

    locator: str
    error: str
    message: str
    head: bytes = b""
    lost: bool = True
