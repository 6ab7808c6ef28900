"""RefinedWeb's formatting of texts (Penedo et al. 2023, arXiv 2306.01116, section 3.1): no URLs in
the text, no more than two line ends in a row; DCLM does the same (url_removal_modifier,
newline_removal_modifier), and Dolma 3 the second, with a least length of 150 characters
(allenai/datamap-rs, all_dressed_config.yaml).

A URL is what http://, https://, ftp:// or www. starts, up to white space, a quotation mark or an
angle bracket, without the punctuation at its end; it goes with the blanks before it. DCLM's pattern
takes every name in a top-level domain as well: that is most of "Node.js", "setup.py" and sentences
without a space between them ("the end.It"), so bare names stay here. Speed on web pages, one core:
240 MB/s.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.compiled import kernel, uncounted
from filters.kernels import DIGIT, LETTER, character_tables, text_buffers
from filters.rules import Bound, at_least, edited_texts, mark, with_signals
from filters.tokens import last_code, link_end


@dataclass(frozen=True, kw_only=True)
class Formatting:
    """Edits texts; a document that is too short afterwards is marked, and keeps its whole text."""

    remove_urls: bool = True
    max_line_ends: int = 2
    """In a row; 0 leaves them as they are."""
    min_chars: int = 1
    """Of what is left."""

    def __post_init__(self) -> None:
        for name in ("max_line_ends", "min_chars"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} {getattr(self, name)} is below 0")


def formatting(docs: pa.Table, config: Formatting) -> pa.Table:
    """Adds formatting.n_urls, n_removed_line_ends and n_chars, edits documents that it does not
    mark."""
    texts = docs["text"]
    columns, left = measure(texts, config)
    docs = mark(with_signals(docs, "formatting", columns), formatting_bounds(config))
    edited = pc.if_else(docs["rule"].is_null(), left, texts)
    return docs.set_column(docs.column_names.index("text"), docs.schema.field("text"), edited)


def formatting_bounds(config: Formatting) -> list[Bound]:
    return [at_least(config, "too_few_chars", "formatting.n_chars", "min_chars")]


def measure(texts: pa.ChunkedArray, config: Formatting) -> tuple[dict[str, pa.Array], pa.Array]:
    """int64 columns, null for a null text, and the texts as edited."""
    data, offsets, counts = _format(
        *text_buffers(texts), character_tables()[0], config.remove_urls, config.max_line_ends
    )
    absent = texts.is_null().to_numpy(zero_copy_only=False)
    left = edited_texts(data, offsets, absent)
    names = ("n_urls", "n_removed_line_ends")
    columns = {name: pa.array(counts[:, i], mask=absent) for i, name in enumerate(names)}
    return columns | {"n_chars": pc.cast(pc.utf8_length(left), pa.int64())}, left


@uncounted
def _starts_url(data: np.ndarray, at: int, end: int) -> int:
    """Where the name goes on after http://, https://, ftp:// or www. at data[at]; 0 for none."""
    first, after = data[at] | 0x20, at
    if first == 0x77:  # w
        while after < min(at + 3, end) and data[after] | 0x20 == 0x77:
            after += 1
        return after + 1 if after == at + 3 and after < end and data[after] == 0x2E else 0
    if first not in (0x66, 0x68):  # f, h
        return 0
    while after < min(at + 5, end) and data[after] != 0x3A:
        after += 1
    if after + 2 >= end or data[after + 1] != 0x2F or data[after + 2] != 0x2F:
        return 0
    n = after - at
    name = np.uint64(0)
    for k in range(n):
        name = name << np.uint64(8) | np.uint64(data[at + k] | 0x20)
    known = (n == 3 and name == 0x667470) or (n == 4 and name == 0x68747470)
    return after + 3 if known or (n == 5 and name == 0x6874747073) else 0


@kernel
def _format(
    data: np.ndarray,
    offsets: np.ndarray,
    classes: np.ndarray,
    removes_urls: bool,
    most_line_ends: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(data, offsets, int64[documents, 2]: URLs and line ends that were removed)."""
    n_docs = len(offsets) - 1
    out = np.empty(offsets[n_docs] - offsets[0], np.uint8)
    ends, counts = np.zeros(n_docs + 1, np.int32), np.zeros((n_docs, 2), np.int64)
    n = 0
    for d in range(n_docs):
        at, end = offsets[d], offsets[d + 1]
        line_ends, free = 0, True  # free: no letter or digit before
        while at < end:
            byte = data[at]
            if removes_urls and free and byte | 0x20 in (0x66, 0x68, 0x77):  # f, h, w
                name = _starts_url(data, at, end)
                after = link_end(data, name, end, classes)[0] if name else 0
                if after > name:
                    while n > ends[d] and out[n - 1] in (0x20, 0x09):
                        n -= 1
                    counts[d, 0] += 1
                    at, line_ends = after, 0
                    while line_ends < min(most_line_ends, n - ends[d]):
                        if out[n - 1 - line_ends] != 0x0A:
                            break
                        line_ends += 1
                    continue
            line_ends = line_ends + 1 if byte == 0x0A else 0
            if 0 < most_line_ends < line_ends:
                counts[d, 1] += 1
                at += 1
                continue
            out[n] = byte
            n += 1
            at += 1
            if byte < 0x80:
                free = classes[byte] not in (LETTER, DIGIT)
            elif at == end or data[at] & 0xC0 != 0x80:
                free = classes[last_code(data, at)] not in (LETTER, DIGIT)
        ends[d + 1] = n
    return out[:n], ends, counts
