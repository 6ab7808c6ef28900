"""The body of an HTTP response, out of its transfer and content encodings, however many.

As much as can be had is saved where an encoding is cut off or damaged. Archives of the 2000s often
hold a body that was decoded already under the headers that it came with; such a body is taken as it
is. The output is bounded at every step (RFC 9110, section 8.4; RFC 9112, section 7).
"""

import re
import zlib
from collections.abc import Callable
from typing import Any

import brotli
import zstandard

_MOST_ENCODINGS = 5  # a body in more than that is no page
_PIECE = 4096
_NONE = frozenset({"", "identity", "none", "binary", "7bit", "8bit"})
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,8})[^\r\n]{0,200}\r?\n")
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_ERRORS = (zlib.error, brotli.error, zstandard.ZstdError)


def decode_body(body: bytes, headers: dict[str, str], limit: int) -> tuple[bytes | None, str]:
    """(about `limit` bytes of the body at most, decoded, or None if it cannot be; what was wrong
    with its encoding)."""
    listed = f"{headers.get('content-encoding', '')},{headers.get('transfer-encoding', '')}"
    names = [name for name in (n.strip().lower() for n in listed.split(",")) if name not in _NONE]
    if len(names) > _MOST_ENCODINGS:
        return None, f"{len(names)} encodings"
    problems = []
    for name in reversed(names):
        if name not in _DECODERS:
            problems.append(f"no such encoding as {name[:60]!r}")
            continue
        decoded, problem = _DECODERS[name](body, limit)
        if problem:
            problems.append(f"{name}: {problem}")
        if problem and not decoded and body:
            if _is_binary(body):
                return None, "; ".join(problems)
            continue  # it is not encoded at all
        body = decoded
        if len(body) > limit:
            break
    if problems and _is_binary(body):
        return None, "; ".join(problems)
    return body, "; ".join(problems)


def _is_binary(body: bytes) -> bool:
    return body.lstrip()[:1] != b"<" and bool(_BINARY.search(body, 0, 1024))


def _dechunk(body: bytes, limit: int) -> tuple[bytes, str]:
    chunks: list[bytes] = []
    at = 0
    while match := _CHUNK.match(body, at):
        length = int(match[1], 16)
        if length == 0:
            return b"".join(chunks), ""
        chunk = body[match.end() : match.end() + length]
        at = match.end() + len(chunk)
        if len(chunk) == length and body[at : at + 1] not in (b"\r", b"\n", b""):
            break
        chunks.append(chunk)
        at += 1 + (body[at : at + 2] == b"\r\n")
    return b"".join(chunks), f"no chunk at byte {at} of {len(body)}"


def _inflate(
    decompress: Callable[[bytes], bytes], finished: Callable[[], bool], body: memoryview, limit: int
) -> tuple[bytes, str, int]:
    """(data, problem, bytes read): piece by piece, so that what comes before a fault is saved, and
    a bomb stops."""
    out: list[bytes] = []
    size = 0
    for at in range(0, len(body), _PIECE):
        try:
            out.append(decompress(bytes(body[at : at + _PIECE])))
        except _ERRORS as error:
            return b"".join(out), str(error), at
        size += len(out[-1])
        if finished() or size > limit:
            return b"".join(out), "", min(at + _PIECE, len(body))
    return b"".join(out), "the data end inside it", len(body)


def _gunzip(body: bytes, limit: int) -> tuple[bytes, str]:
    """gzip, of one member or several, or zlib; where neither, deflate without a header."""
    members: list[bytes] = []
    size = 0
    rest = memoryview(body)
    while True:
        unpacker = zlib.decompressobj(47)
        data, problem, used = _inflate(unpacker.decompress, lambda: unpacker.eof, rest, limit)  # noqa: B023
        members.append(data)
        size += len(data)
        rest = rest[used - len(unpacker.unused_data) :]
        if problem or size > limit or rest[:3] != b"\x1f\x8b\x08":
            break
    if problem and not size:
        raw = zlib.decompressobj(-15)
        data, worse, _ = _inflate(raw.decompress, lambda: raw.eof, memoryview(body), limit)
        if data and not worse:
            return data, "deflate without its header"
    return b"".join(members), problem


def _unbrotli(body: bytes, limit: int) -> tuple[bytes, str]:
    unpacker = brotli.Decompressor()

    def decompress(piece: bytes) -> bytes:
        return unpacker.process(piece, output_buffer_limit=limit + 1)

    return _inflate(decompress, unpacker.is_finished, memoryview(body), limit)[:2]


def _unzstd(body: bytes, limit: int) -> tuple[bytes, str]:
    unpacker: Any = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()

    def decompress(piece: bytes) -> bytes:
        # 4 bytes can hold a block of 128 KiB: 1 KiB at a time gives 32 MB at most
        out = []
        for at in range(0, len(piece), 1024):
            out.append(unpacker.decompress(piece[at : at + 1024]))
            if unpacker.eof or sum(map(len, out)) > limit:
                break
        return b"".join(out)

    return _inflate(decompress, lambda: unpacker.eof, memoryview(body), limit)[:2]


_DECODERS: dict[str, Callable[[bytes, int], tuple[bytes, str]]] = {
    "chunked": _dechunk,
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _gunzip,
    "br": _unbrotli,
    "zstd": _unzstd,
}
