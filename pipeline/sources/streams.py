"""The data of large files, plain or compressed (gzip, bzip2, zstd, xz: by their magic, stream after
stream), and what lies in them one after another: XML elements, lines.

Compressed data are fed in small pieces, so that no piece can give more than about 40 MB, and a
stream that grows beyond RATIO times its size is given up. A bzip2 file of several streams
(Wikipedia's multistream dumps, pbzip2) is entered at any of them: the start of one is found by its
ten bytes of magic. zstd windows may be 2 GiB (--long=31), as in the Reddit dumps; that much memory
is then needed.
"""

import bz2
import lzma
import zlib
from collections.abc import Callable, Generator, Iterator
from typing import Any, BinaryIO, NamedTuple

import zstandard

from pipeline import storage
from pipeline.extract.members import RATIO, RATIO_FLOOR
from pipeline.schema import HEAD_BYTES, Fault

_BLOCK = 1 << 20
_YIELD = 1 << 18  # of inflated data at once, where there is as much
_SEVEN_ZIP = b"7z\xbc\xaf\x27\x1c"
_BZ2_STREAM = tuple(b"BZh%d1AY&SY" % level for level in range(1, 10))
_ERRORS = (zlib.error, lzma.LZMAError, zstandard.ZstdError, OSError, EOFError, ValueError)


class _Codec(NamedTuple):
    name: str
    magic: bytes
    piece: int  # compressed bytes fed at once
    inflate: Callable[[], Any]  # -> decompress(bytes), eof, unused_data


_CODECS = (
    _Codec("gzip", b"\x1f\x8b", 4096, lambda: zlib.decompressobj(31)),
    _Codec("bz2", b"BZh", 1024, bz2.BZ2Decompressor),
    _Codec(
        "zstd",
        b"\x28\xb5\x2f\xfd",
        1024,
        lambda: zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj(),
    ),
    _Codec("xz", b"\xfd7zXZ\0", 1024, lambda: lzma.LZMADecompressor(memlimit=1 << 30)),
)


class Piece(NamedTuple):
    """Data, or what ended them (`error`). `origin`: their offset in a plain file, that of their
    stream in a compressed one."""

    origin: int
    data: bytes
    error: str = ""
    message: str = ""


def split_streams(path: str, split_bytes: int) -> list[tuple[int, int]]:
    """Byte ranges of a plain or bzip2 file; any other in one."""
    size = storage.input_size(path)
    with storage.open_input(path) as file:
        codec = _codec(file.read(8))
    if codec and codec.name != "bz2":
        return [(0, size)]
    starts = range(0, max(size, 1), split_bytes)
    return [(start, min(start + split_bytes, size)) for start in starts]


def whole_file_fault(path: str) -> Fault | None:
    """What is wrong with a file as a whole: nothing in it, or a container that cannot be read one
    byte after another."""
    with storage.open_input(path) as file:
        head = file.read(HEAD_BYTES)
    if not head:
        return Fault("", "empty_file", "the file has no bytes")
    if head.startswith(_SEVEN_ZIP):
        message = "a .7z cannot be streamed: repack it, `7z x -so FILE | zstd > NAME.zst`"
        return Fault("", "seven_zip", message, head)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return Fault("", "not_utf8", "UTF-16: convert it, `iconv -f UTF-16 -t UTF-8`", head)
    return None


def _codec(head: bytes) -> _Codec | None:
    return next((codec for codec in _CODECS if head.startswith(codec.magic)), None)


def pieces(path: str, start: int = 0) -> Iterator[Piece]:
    """The data from the first stream, or byte, at or after `start` on. After a damaged stream the
    next one of bzip2 is looked for."""
    with storage.open_input(path) as file:
        codec = _codec(file.read(8))
        if codec is None:
            file.seek(start)
            while data := file.read(_BLOCK):
                yield Piece(start, data)
                start += len(data)
            return
        at = _next_bz2(file, start) if start else 0
        while at >= 0:
            file.seek(at)
            end = yield from _inflate(file, at, codec)
            if end is None:
                at = _next_bz2(file, at + 1) if codec.name == "bz2" else -1
                continue
            file.seek(end)
            head = file.read(8)
            if not head.strip(b"\0"):
                return
            at = end
            if not head.startswith(codec.magic):
                yield Piece(at, b"", f"not_{codec.name}", "bytes that are no stream")
                at = _next_bz2(file, at) if codec.name == "bz2" else -1


def _inflate(file: BinaryIO, at: int, codec: _Codec) -> Generator[Piece, None, int | None]:
    """One stream; returns its end in the file, None where it is damaged."""
    stream = codec.inflate()
    held: list[bytes] = []
    n_held = n_out = 0
    n_in = 0
    error = message = ""
    block = b""
    fed = 0
    while not stream.eof and not error:
        if fed >= len(block):
            block, fed = file.read(_BLOCK), 0
            if not block:
                error, message = f"truncated_{codec.name}", "the file ends inside a stream"
                break
        piece = block[fed : fed + codec.piece]
        fed += len(piece)
        n_in += len(piece)
        try:
            data = stream.decompress(piece)
        except _ERRORS as problem:
            error, message = f"bad_{codec.name}", f"{type(problem).__name__}: {problem}"
            break
        held.append(data)
        n_held += len(data)
        n_out += len(data)
        if n_out > RATIO_FLOOR and n_out > RATIO * n_in:
            error, message = "bomb", f"{n_in} bytes hold more than {n_out}"
        if n_held >= _YIELD:
            yield Piece(at, b"".join(held))
            held, n_held = [], 0
    yield Piece(at, b"".join(held))
    if error:
        yield Piece(at, b"", error, message)
        return None
    return at + n_in - len(stream.unused_data)


def _next_bz2(file: BinaryIO, at: int) -> int:
    """The first start of a stream at or after `at`; -1 where there is none. Ten bytes occur by
    chance once in 10^24."""
    overlap = len(_BZ2_STREAM[0]) - 1
    while True:
        file.seek(at)
        window = file.read(_BLOCK)
        found = [i for i in (window.find(magic) for magic in _BZ2_STREAM) if i >= 0]
        if found:
            return at + min(found)
        if len(window) < _BLOCK:
            return -1
        at += len(window) - overlap


# --- what lies in them --------------------------------------------------------------------------


class Item(NamedTuple):
    """An element or a line; `data` is only its head where it is longer than the limit."""

    locator: str
    data: bytes
    length: int


def elements(
    path: str, start: int, end: int, opening: bytes, closing: bytes, limit: int
) -> Iterator[Item | Fault]:
    """The elements from `opening` to `closing` whose first byte (in bzip2: the stream with it) lies
    in a range. Neither mark can occur inside an element: XML has no bare `<` in text or attributes.
    Locator: the offset, in bzip2 that of the stream and the element's number in it.
    """
    reader = _Elements(path, end, opening, closing, limit)
    for piece in pieces(path, start):
        yield from reader.feed(piece)
        if reader.done:
            return
    yield from reader.cut("the file ends in it")


class _Elements:
    """What `elements` holds: the data from the open element on, and where they are from."""

    def __init__(self, path: str, end: int, opening: bytes, closing: bytes, limit: int):
        with storage.open_input(path) as file:
            codec = _codec(file.read(8))
        self._numbered = codec is not None and codec.name == "bz2"
        self._plain = codec is None
        self._end, self._opening, self._closing, self._limit = end, opening, closing, limit
        self._data = b""
        self._base = 0  # the place of the data in all that was fed; in a plain file, their offset
        self._at = 0  # in the data: of the open element, or where the next is looked for
        self._scanned = 0  # in the data: before it there is no mark that ends the open element
        self._dropped = 0  # bytes of the open element that are gone, it being too large
        self._locator = ""  # of the open element
        self._origins: list[tuple[int, int]] = []  # (place, origin) of streams
        self._number = (-1, 0)  # origin and number of the last element
        self.done = False

    def feed(self, piece: Piece) -> Iterator[Item | Fault]:
        self._forget(self._at)
        if piece.error:
            yield from self.cut("the data end in it")
            if piece.origin < self._end:
                yield Fault(f"{piece.origin:012d}~", piece.error, piece.message)
            self._forget(len(self._data))
            return
        if self._plain and not self._origins:
            self._base = piece.origin
        if not self._origins or (not self._plain and self._origins[-1][1] != piece.origin):
            self._origins.append((self._base + len(self._data), piece.origin))
        self._data += piece.data
        while (item := self._next()) is not None:
            yield item

    def cut(self, why: str) -> Iterator[Fault]:
        """Gives up the open element."""
        if self._locator:
            head = self._data[self._at : self._at + HEAD_BYTES]
            yield Fault(self._locator, "unclosed_element", why, head)
        self._locator, self._dropped = "", 0

    def _next(self) -> Item | Fault | None:
        data, opening, closing = self._data, self._opening, self._closing
        if not self._locator:
            at = data.find(opening, self._at)
            if at < 0:
                self._at = max(len(data) - len(opening) + 1, self._at)
                return None
            if self._open(self._base + at) >= self._end:
                self._locator = ""
                self.done = True
                return None
            self._at, self._scanned = at, at + len(opening)
        close = data.find(closing, self._scanned)
        another = data.find(opening, self._scanned, len(data) if close < 0 else close)
        if another >= 0:
            head = data[self._at : min(another, self._at + HEAD_BYTES)]
            fault = Fault(self._locator, "unclosed_element", "another starts in it", head)
            self._close(another)
            return fault
        if close < 0:
            margin = max(len(closing), len(opening)) - 1
            self._scanned = max(len(data) - margin, self._scanned)
            if len(data) - self._at > self._limit + _BLOCK:  # only the head is of use
                self._forget(self._at)
                kept = self._data[:HEAD_BYTES] + self._data[-margin:]
                n = len(self._data) - len(kept)
                self._data = kept
                self._dropped += n
                self._base += n
                self._scanned -= n
            return None
        end = close + len(closing)
        length = end - self._at + self._dropped
        held = min(end, self._at + HEAD_BYTES) if length > self._limit else end
        item = Item(self._locator, data[self._at : held], length)
        self._close(end)
        return item

    def _open(self, place: int) -> int:
        """Names the element at this place; returns its origin."""
        while len(self._origins) > 1 and self._origins[1][0] <= place:
            self._origins.pop(0)
        origin = place if self._plain else self._origins[0][1]
        self._locator = f"{place:012d}"
        if self._numbered:
            n = self._number[1] + 1 if self._number[0] == origin else 0
            self._number = (origin, n)
            self._locator = f"{origin:012d}.{n:08d}"
        return origin

    def _close(self, at: int) -> None:
        self._at = at
        self._locator, self._dropped = "", 0

    def _forget(self, n: int) -> None:
        """Lets go of the first n bytes."""
        self._data = self._data[n:]
        self._base += n
        self._at = max(self._at - n, 0)
        self._scanned = max(self._scanned - n, 0)


def lines(path: str, limit: int) -> Iterator[Item | Fault]:
    """The lines of a file, without empty ones. Locator: the offset in its data."""
    held = b""
    at = dropped = 0
    for piece in pieces(path):
        if piece.error:
            yield Fault(f"{at:012d}~", piece.error, f"{piece.message}; the rest is lost")
            return
        *whole, rest = (held + piece.data).split(b"\n")
        for line in whole:
            length = len(line) + dropped
            if line.strip():
                yield Item(f"{at:012d}", line if length <= limit else line[:HEAD_BYTES], length)
            at += length + 1
            dropped = 0
        held = rest
        if len(held) + dropped > limit + _BLOCK:
            dropped += max(len(held) - HEAD_BYTES, 0)
            held = held[:HEAD_BYTES]
    if held.strip():
        length = len(held) + dropped
        yield Item(f"{at:012d}", held if length <= limit else held[:HEAD_BYTES], length)
