"""Files in the making: written under a temporary name, hashed on the way, renamed when complete."""

import hashlib
from pathlib import PurePosixPath
from typing import NamedTuple

import pyarrow as pa

from pipeline.storage import filesystem, join, temporary_suffix


class File(NamedTuple):
    """A committed output: path below the output root, rows, bytes and content."""

    path: str
    rows: int
    bytes: int
    sha256: str


class HashingSink:
    """A stream that knows the sha256 and length of what went through it."""

    def __init__(self, stream: pa.NativeFile) -> None:
        self.stream, self.sha256, self.bytes, self.closed = stream, hashlib.sha256(), 0, False

    def write(self, data: bytes) -> int:
        view = memoryview(data)
        self.sha256.update(view)
        self.stream.write(view)
        self.bytes += view.nbytes
        return view.nbytes

    def tell(self) -> int:
        return self.bytes

    def flush(self) -> None:
        self.stream.flush()

    def close(self) -> None:
        if not self.closed:
            self.stream.close()
            self.closed = True


def discard(sink: HashingSink, root: str, path: str) -> None:
    sink.close()
    fs, place = filesystem(join(root, path) + temporary_suffix())
    if fs.get_file_info(place).type == pa.fs.FileType.File:
        fs.delete_file(place)


def open_temporary(path: str) -> HashingSink:
    fs, place = filesystem(path)
    fs.create_dir(str(PurePosixPath(place).parent), recursive=True)
    sink = HashingSink(fs.open_output_stream(place + temporary_suffix()))
    return sink


def commit(sink: HashingSink, root: str, path: str, rows: int) -> File:
    sink.close()
    fs, place = filesystem(join(root, path))
    fs.move(place + temporary_suffix(), place)
    return File(path, rows, sink.bytes, sink.sha256.hexdigest())


def located(root: str, path: str) -> str:
    """Below the root, unless the path says where it is itself (a file of an index)."""
    return path if path.startswith("/") or "://" in path else join(root, path)
