"""One pass over texts: tokens, lines and sentences, which all rules share.

The definitions are those of datatrove 0.10.1, whose decisions the presets are judged by, but for
the split into tokens and sentences, which replaces spaCy by rules on Unicode classes. `spans_of`
keeps the last batch: the steps that follow each other in a run see the same texts, or what is
left of them, and those are not split again. Speed on web pages, one core: 150 MB/s; texts that
were split before 4.7 GB/s, and nothing where they are the same memory.
"""

import functools
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from filters.characters import UPPER, character_traits
from filters.compiled import inlined, uncounted
from filters.kernels import (
    IDEOGRAPH,
    OTHER,
    SPACE,
    character_tables,
    decode,
    equal_rows,
    hash_bytes,
    mix,
    slot_of,
    table_size,
    text_buffers,
)
from filters.tokens import (
    ABBREVIATIONS,
    ALPHA,
    FIRM,
    GLUED,
    KIND,
    LONG_CHUNK,
    MARKED,
    NO_STOP,
    OPENS_SENTENCE,
    POINT,
    SYMBOL,
    is_abbreviated,
    is_contraction,
    rest_of_chunk,
    symbol_at,
    word_at,
)


class Spans(NamedTuple):
    """Document d has the tokens token_first[d] to token_last[d] (exclusive) and the lines
    line_first[d] to line_last[d]. Places are bytes from the start of the document's text."""

    data: np.ndarray  # uint8, UTF-8 of all texts
    offsets: np.ndarray  # int32, documents + 1
    n_chars: np.ndarray  # int64, of each document
    token_first: np.ndarray  # int64
    token_last: np.ndarray  # int64
    line_first: np.ndarray  # int64
    line_last: np.ndarray  # int64
    token_hash: np.ndarray  # uint64, of its characters, case kept
    token_start: np.ndarray  # int32
    token_chars: np.ndarray  # int32, its length in characters
    token_kind: np.ndarray  # uint8, SYMBOL, NUMBER or ALPHA; GLUED: no white space before it
    line_start: np.ndarray  # int32
    line_end: np.ndarray  # int32, before its line end
    line_chars: np.ndarray  # int32
    line_hash: np.ndarray  # uint64, of its bytes
    line_token: np.ndarray  # int64, its first token; its last is before that of the next line


_last: Spans | None = None


def spans_of(texts: pa.Array | pa.ChunkedArray) -> Spans:
    """The spans of the texts, a null as an empty one. What is equal, byte by byte, to a text of the
    call before is not split again."""
    global _last
    data, offsets = text_buffers(texts)
    known = _last
    if known is not None:
        if data.ctypes.data == known.data.ctypes.data and np.array_equal(offsets, known.offsets):
            return known  # the same memory, which `known` keeps from being another's
        rows = equal_rows(known.data, known.offsets, data, offsets)
        new = np.flatnonzero(rows < 0)
        if not len(new):
            return _rows_of(known, rows, data, offsets)
        if 2 * np.diff(offsets)[new].sum(dtype=np.int64) < offsets[-1] - offsets[0]:
            added = split(*text_buffers(texts.take(pa.array(new))))
            rows[new] = len(known.n_chars) + np.arange(len(new))
            return _rows_of(_joined(known, added), rows, data, offsets)
    _last = split(data, offsets)
    return _last


def forget() -> None:
    """Drops what `spans_of` keeps: for measurements, and to free its memory."""
    global _last
    _last = None


def _rows_of(spans: Spans, rows: np.ndarray, data: np.ndarray, offsets: np.ndarray) -> Spans:
    per_document = {name: getattr(spans, name)[rows] for name in Spans._fields[2:7]}
    return spans._replace(data=data, offsets=offsets, **per_document)


def _joined(a: Spans, b: Spans) -> Spans:
    """The documents of both, but for their data and offsets."""
    n_tokens, n_lines = len(a.token_hash), len(a.line_hash)
    b = b._replace(
        token_first=b.token_first + n_tokens,
        token_last=b.token_last + n_tokens,
        line_first=b.line_first + n_lines,
        line_last=b.line_last + n_lines,
        line_token=b.line_token + n_tokens,
    )
    pairs = zip(Spans._fields[2:], a[2:], b[2:], strict=True)
    return a._replace(**{name: np.concatenate([x, y]) for name, x, y in pairs})


def split(data: np.ndarray, offsets: np.ndarray) -> Spans:
    """Tokens are words and punctuation, much as spaCy and NLTK cut English:

    - a run of letters, digits and marks is a token, ALPHA where it has a letter, else NUMBER; an
      apostrophe between two letters (don't) and a point or comma between two digits (1,000.5) do
      not break it;
    - a run of anything else that is not white space is one token, SYMBOL;
    - what follows LONG_CHUNK characters without white space is one token, SYMBOL, up to the next
      white space: junk, which else would take the most time of all;
    - a Han or kana character is a token, and so are every UNSPACED_WORD letters of a run of Thai,
      Lao, Khmer or Myanmar (the run's last token may be shorter), with the marks after them.

    Lines are those of str.splitlines. A sentence ends with a SYMBOL that holds a terminal mark (but
    no ellipsis, and no point after an initial, an abbreviation or within a word) and opens with the
    next word, whatever the lines.
    """
    return Spans(data, offsets, *_split(data, offsets, _abbreviations()))


def _split(
    data: np.ndarray, offsets: np.ndarray, abbreviations: np.ndarray
) -> tuple[np.ndarray, ...]:
    """The arrays of `Spans` from n_chars on. They have room for the most tokens and lines that may
    be; only what is written becomes memory, and in huge pages, which numba's own arrays do not ask
    for: a fifth of the time."""
    n_chars = np.empty(len(offsets) - 1, np.int64)
    ends = np.zeros((2, len(offsets)), np.int64)  # of tokens and lines
    types = (np.uint64, np.int32, np.int32, np.uint8, np.int32, np.int32, np.int32, np.uint64)
    room = [np.empty(offsets[-1] - offsets[0], kind) for kind in (*types, np.int64)]
    tables = character_tables()[0], character_traits()
    n, n_lines = _write_spans(data, offsets, *tables, abbreviations, n_chars, ends, *room)
    firsts = ends[0, :-1], ends[0, 1:], ends[1, :-1], ends[1, 1:]
    return n_chars, *firsts, *(a[:n] for a in room[:4]), *(a[:n_lines] for a in room[4:])


@functools.cache
def _abbreviations() -> np.ndarray:
    """A table for `slot_of` of the hashes of ABBREVIATIONS."""
    words = ABBREVIATIONS.split()
    keys = np.zeros(table_size(len(words)), np.uint64)
    for word in words:
        key = _split(*text_buffers(pa.array([word])), np.zeros(2, np.uint64))[5][0]
        keys[slot_of(keys, key)] = key
    return keys


@inlined
def _ends_line(code: int) -> bool:
    """As str.splitlines."""
    if code < 0x80:
        return 0x0A <= code <= 0x0D or 0x1C <= code <= 0x1E
    return code in (0x85, 0x2028, 0x2029)


@uncounted
def _write_spans(
    data: np.ndarray,
    offsets: np.ndarray,
    classes: np.ndarray,
    traits: np.ndarray,
    abbreviations: np.ndarray,
    doc_chars: np.ndarray,
    ends: np.ndarray,
    hashes: np.ndarray,
    starts: np.ndarray,
    chars: np.ndarray,
    kinds: np.ndarray,
    line_starts: np.ndarray,
    line_ends: np.ndarray,
    line_chars: np.ndarray,
    line_hashes: np.ndarray,
    line_tokens: np.ndarray,
) -> tuple[int, int]:
    """(tokens, lines)."""
    n = n_lines = 0
    blank = hash_bytes(data, 0, 0, np.uint64(0))
    for d in range(len(offsets) - 1):
        first, end = offsets[d], offsets[d + 1]
        at = line = first
        line_token, line_before = n, 0
        n_chars = chunk = 0  # chunk: characters before the last white space
        glued = False
        stop, upper = FIRM, False  # what ended before; whether the word before ended in a capital
        while at < end:
            code, width = decode(data, at, end)
            here = classes[code]
            if here == SPACE:
                n_chars += 1
                chunk = n_chars
                at += width
                glued = False
                if _ends_line(code):
                    stop_at = at - width
                    line_starts[n_lines], line_ends[n_lines] = line - first, stop_at - first
                    line_chars[n_lines] = n_chars - 1 - line_before
                    line_hashes[n_lines] = (
                        hash_bytes(data, line, stop_at, np.uint64(0)) if stop_at > line else blank
                    )
                    line_tokens[n_lines] = line_token
                    n_lines += 1
                    if code == 0x0D and at < end and data[at] == 0x0A:
                        at += 1
                        n_chars += 1
                    line, line_token, line_before = at, n, n_chars
                continue
            starts[n] = at - first
            flags = GLUED if glued else 0
            if glued and n_chars - chunk > LONG_CHUNK and here < IDEOGRAPH:
                end_at, chars[n] = rest_of_chunk(data, at, end, classes)
                hashes[n] = hash_bytes(data, at, end_at, np.uint64(0))
                kinds[n] = SYMBOL | flags
                at, stop = end_at, NO_STOP
                n_chars += chars[n]
                n += 1
                continue
            if stop in (POINT, MARKED) and not glued:
                stop = FIRM
            if here == OTHER and not (
                code in (0x27, 0x2019)
                and (glued and kinds[n - 1] & KIND == ALPHA)
                and is_contraction(data, at + width, end, classes)
            ):
                before = at
                at, hashes[n], chars[n], found = symbol_at(data, at, end, traits)
                if found == POINT and glued:
                    if kinds[n - 1] & KIND == SYMBOL:
                        found = MARKED
                    elif is_abbreviated(
                        data, before, hashes, chars, kinds, n, upper, abbreviations
                    ):
                        hashes[n - 1] = mix(hashes[n - 1])  # Mr. is one token
                        chars[n - 1] += 1
                        n_chars += 1
                        stop = NO_STOP
                        continue
                after = min(stop, MARKED) if stop != FIRM else FIRM
                stop = max(after, found)
                kinds[n] = SYMBOL | flags
            else:
                if stop == FIRM or (
                    stop == POINT and not upper and traits[code] & UPPER and chars[n - 1] == 1
                ):
                    flags |= OPENS_SENTENCE
                stop = NO_STOP
                at, hashes[n], chars[n], kind, last = word_at(data, at, end, classes, traits)
                kinds[n] = kind | flags
                upper = traits[last] & UPPER != 0
            n_chars += chars[n]
            n += 1
            glued = True
        if line < end:
            line_starts[n_lines], line_ends[n_lines] = line - first, end - first
            line_chars[n_lines] = n_chars - line_before
            line_hashes[n_lines] = hash_bytes(data, line, end, np.uint64(0))
            line_tokens[n_lines] = line_token
            n_lines += 1
        doc_chars[d] = n_chars
        ends[0, d + 1], ends[1, d + 1] = n, n_lines
    return n, n_lines


@uncounted
def rstrip(data: np.ndarray, start: int, end: int, classes: np.ndarray) -> int:
    """Where data[start:end] ends without the white space at its end."""
    while start < end:
        at = end - 1
        while at > start and (data[at] & 0xC0) == 0x80:
            at -= 1
        if classes[decode(data, at, end)[0]] != SPACE:
            break
        end = at
    return end
