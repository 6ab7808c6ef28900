"""The files in a tar (plain, or packed by gzip, zstd, xz, bzip2, lz4) or a zip, one after another,
from archives that nobody vouches for.

Streamed: a member's bytes are read only where a caller asks, and never more than it asks for.
Names that point outside, links and devices are faults; nested archives are members like others. A
compressed stream that grows beyond RATIO times its size is a bomb (deflate can reach 1,032).
"""

import gzip
import io
import lzma
import re
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import IO, Any, BinaryIO, NamedTuple, cast

import pyarrow as pa

from pipeline.schema import HEAD_BYTES, Fault

RATIO = 200
RATIO_FLOOR = 32 << 20  # bytes that any stream may have, whatever its ratio
GZIP = b"\x1f\x8b"
ZIP = b"PK"
PACKED = {
    "gzip": GZIP,
    "zstd": b"\x28\xb5\x2f\xfd",
    "xz": b"\xfd7zXZ\0",
    "bz2": b"BZh",
    "lz4": b"\x04\x22\x4d\x18",
}
"""The first bytes of a compressed file, by the name of the compression."""
ZIP_DIRECTORY = 16 << 20  # 350,000 short names: about 200 MB in memory
XZ_MEMORY = 256 << 20  # its header may ask for a dictionary of 4 GiB; xz -9 asks for 64 MiB


class Bomb(ValueError):
    """A stream that grows without measure."""


# What reading a damaged member can raise. RuntimeError: an encrypted zip member;
# NotImplementedError is its subclass.
READ_ERRORS = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,  # Bomb, UnicodeDecodeError; a place that a damaged zip gives as negative
    OverflowError,
    struct.error,
)


class Member(NamedTuple):
    name: str
    size: int
    stream: IO[bytes]  # good until the next member is asked for


class Bounded(io.RawIOBase):
    """A stream read forward only, that stops a bomb and any single read of more than `max_read`
    bytes."""

    def __init__(self, stream: IO[bytes], compressed: IO[bytes] | None, max_read: int):
        self._stream, self._compressed, self._max_read = stream, compressed, max_read
        self._start = compressed.tell() if compressed else 0
        self._at = 0
        self.last = b""  # what the last read gave: tarfile ends silently on a bad header

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > self._max_read:
            raise Bomb(f"a header or member of {size} bytes")
        self.last = self._stream.read(size)
        self._at += len(self.last)
        if self._compressed and self._at > RATIO_FLOOR:
            packed = self._compressed.tell() - self._start
            if self._at > RATIO * packed:
                raise Bomb(f"{packed} bytes hold more than {self._at}")
        return self.last

    def readinto(self, buffer: Any) -> int:
        data = self.read(min(len(buffer), self._max_read))
        buffer[: len(data)] = data
        return len(data)

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        assert whence == 0 and offset >= self._at, (offset, whence, self._at)
        while self._at < offset and self.read(min(offset - self._at, 1 << 20)):
            pass
        return self._at


def gunzip(file: IO[bytes], max_read: int) -> Bounded:
    """The data of a gzip file from its current place on."""
    return Bounded(cast(IO[bytes], gzip.GzipFile(fileobj=file)), file, max_read)


def unpack(file: IO[bytes], compression: str, max_read: int) -> Bounded:
    """The data of a file packed by one of PACKED. Streams one after another are one."""
    if compression == "gzip":
        return gunzip(file, max_read)
    stream = _Xz(file) if compression == "xz" else pa.CompressedInputStream(file, compression)
    return Bounded(cast(IO[bytes], stream), file, max_read)


class _Xz:
    """What lzma.LZMAFile does, with bounded memory."""

    def __init__(self, file: IO[bytes]):
        self._file = file
        self._decoder = lzma.LZMADecompressor(memlimit=XZ_MEMORY)

    def read(self, size: int) -> bytes:
        found = bytearray()
        while len(found) < size and (data := self._some(size - len(found))):
            found += data
        return bytes(found)

    def _some(self, size: int) -> bytes:
        while True:
            packed = b""
            if self._decoder.eof:  # another stream may follow, after padding by zeros
                packed = self._decoder.unused_data or self._file.read(1 << 16)
                if not packed.strip(b"\0"):
                    return b""
                packed = packed.lstrip(b"\0")
                self._decoder = lzma.LZMADecompressor(memlimit=XZ_MEMORY)
            elif self._decoder.needs_input and not (packed := self._file.read(1 << 16)):
                raise EOFError("the stream ends before its end marker")
            if data := self._decoder.decompress(packed, size):
                return data


def read_whole(member: Member, limit: int) -> bytes | Fault:
    """A member's bytes, or the fault that it is: too_large, bomb, bad_member."""
    if member.size > limit:
        head = read_head(member)
        message = f"{member.size} bytes (max_document_bytes {limit})"
        return Fault(member.name, "too_large", message, head)
    try:
        return member.stream.read(limit)
    except READ_ERRORS as error:
        kind = "bomb" if isinstance(error, Bomb) else "bad_member"
        return Fault(member.name, kind, f"{type(error).__name__}: {error}")


def read_head(member: Member, size: int = HEAD_BYTES) -> bytes:
    try:
        return member.stream.read(size)
    except READ_ERRORS:
        return b""


def members(
    file: BinaryIO, max_read: int, first: int = 0, last: int | None = None
) -> Iterator[Member | Fault]:
    """The regular files of an archive, and what is wrong with it. Tar members come in the order of
    the archive, zip members by name, of which `first` and `last` are a range. A name that comes
    again is a fault."""
    start = file.tell()
    magic = file.read(6)
    file.seek(start)
    packed = [name for name, lead in PACKED.items() if magic.startswith(lead)]
    if not magic:
        yield Fault("", "empty_file", "the file has no bytes")
        return
    if magic.startswith(ZIP):
        yield from _zip_members(file, first, last)
    elif packed:
        yield from tar_members(unpack(file, packed[0], max_read), f"truncated_{packed[0]}")
    else:
        yield from tar_members(Bounded(file, None, max_read), "damaged_tar")


def _unique(found: Iterator[Member | Fault]) -> Iterator[Member | Fault]:
    seen: dict[str, int] = {}
    for item in found:
        if isinstance(item, Fault):
            yield item
            continue
        n = seen[item.name] = seen.get(item.name, 0) + 1
        if n > 1:
            yield Fault(f"{item.name}#{n}", "duplicate_member", f"{item.name} comes {n} times")
        else:
            yield item


def is_tar(block: bytes) -> bool:
    """Whether a tar file starts with these (at least 512) bytes."""
    try:
        tarfile.TarInfo.frombuf(block[:512], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


_OUTSIDE = re.compile(r"\A(?:[/\\]|[A-Za-z]:)|(?:\A|[/\\])\.\.(?:[/\\]|\Z)")


def _clean(name: str) -> str:
    """A name that is valid Unicode and without a leading `./`."""
    name = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace").replace("\0", "")
    return name.removeprefix("./")


def tar_members(stream: Bounded, damage: str) -> Iterator[Member | Fault]:
    """The same for a tar that is being read; `damage` is the fault of a stream that breaks off."""
    yield from _unique(_tar_members(stream, damage))


def _tar_members(stream: Bounded, damage: str) -> Iterator[Member | Fault]:
    place = "@"
    try:
        with tarfile.open(fileobj=stream, mode="r:") as tar:
            for info in tar:
                tar.members = []  # type: ignore[attr-defined]  # or tarfile remembers every member
                name = _clean(info.name)
                place = f"{name}@"
                if info.isdir():
                    continue
                if _OUTSIDE.search(name):
                    yield Fault(name, "path_outside", f"{name!r} points outside the archive")
                elif info.issym() or info.islnk():
                    message = f"a link to {_clean(info.linkname)!r} is not followed"
                    yield Fault(name, "link", message, lost=False)  # it has no content of its own
                elif not info.isreg():
                    yield Fault(name, "not_a_file", f"a tar member of type {info.type!r}")
                else:
                    yield Member(name, info.size, cast(IO[bytes], tar.extractfile(info)))
            if stream.last.strip(b"\0"):
                message = (
                    f"no valid header at byte {stream.tell() - len(stream.last)}; the rest is lost"
                )
                yield Fault(place, "damaged_tar", message, stream.last[:HEAD_BYTES])
    except Bomb as error:
        yield Fault(place, "bomb", f"{error}; the rest of the archive is lost")
    except READ_ERRORS as error:
        yield Fault(
            place, damage, f"{type(error).__name__}: {error}; the rest of the archive is lost"
        )


def _zip_members(file: BinaryIO, first: int, last: int | None) -> Iterator[Member | Fault]:
    try:
        archive = open_zip(file)
    except READ_ERRORS as error:
        if first == 0:
            kind = "bomb" if isinstance(error, Bomb) else "bad_zip"
            yield Fault("", kind, f"{type(error).__name__}: {error}")
        return
    with archive:
        seen: Counter[str] = Counter()
        for i, info in enumerate(zip_entries(archive)[:last]):
            name = _clean(info.filename)
            seen[name] += 1
            if i >= first:
                yield from _zip_member(archive, info, name, seen[name])


def open_zip(file: BinaryIO) -> zipfile.ZipFile:
    """Raises READ_ERRORS; Bomb for a directory that would take too much memory."""
    end = zipfile._EndRecData(file)  # type: ignore[attr-defined]
    if end and end[zipfile._ECD_SIZE] > ZIP_DIRECTORY:  # type: ignore[attr-defined]
        raise Bomb(f"a directory of {end[zipfile._ECD_SIZE]} bytes")  # type: ignore[attr-defined]
    return zipfile.ZipFile(file)


def zip_entries(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """A zip's files by name, which is the order of its members."""
    files = [info for info in archive.infolist() if not info.filename.endswith("/")]
    return sorted(files, key=lambda info: info.filename)


def _zip_member(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, times: int
) -> Iterator[Member | Fault]:
    if times > 1:
        yield Fault(f"{name}#{times}", "duplicate_member", f"{name} comes {times} times")
    elif _OUTSIDE.search(name):
        yield Fault(name, "path_outside", f"{name!r} points outside the archive")
    elif (info.external_attr >> 16) & 0o170000 == 0o120000:
        yield Fault(name, "link", "a link is not followed", lost=False)
    elif info.flag_bits & 1:
        yield Fault(name, "encrypted", "a member under a password")
    elif info.file_size > 1 << 20 and info.file_size > RATIO * info.compress_size:
        yield Fault(name, "bomb", f"{info.compress_size} bytes hold {info.file_size}")
    else:
        try:
            stream = archive.open(info)
        except READ_ERRORS as error:
            yield Fault(name, "bad_member", f"{type(error).__name__}: {error}")
            return
        with stream:
            yield Member(name, info.file_size, stream)
