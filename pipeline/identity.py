"""What content keys are made of: digests of values, inputs and code, and versions of libraries."""

import ast
import contextlib
import functools
import hashlib
import importlib.metadata
import json
import os
import stat
from pathlib import Path

import pyarrow as pa
import pyarrow.fs

from pipeline.storage import filesystem, join, walk


def digest(value: object) -> str:
    """sha256 of a value's canonical JSON, 32 hex digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def input_identity(path: str, known: dict[str, list]) -> str:
    """The content of an input as a short digest: sha256 of a local file, size and time of a remote
    one.

    `known` caches path -> [size, mtime, digest] between runs, so an unchanged file is not read
    again.
    """
    fs, place = filesystem(path)
    info = fs.get_file_info(place)
    if info.type == pa.fs.FileType.Directory:
        return _folder_identity(path, known)
    if info.type != pa.fs.FileType.File:
        raise ValueError(f"{path}: no such file; check the path")
    stamp = [info.size, info.mtime_ns]
    if path in known and known[path][:2] == stamp:
        return known[path][2]
    if isinstance(fs, pa.fs.LocalFileSystem):
        with Path(place).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()[:32]
    else:
        found = digest([path, *stamp])
    known[path] = [*stamp, found]
    return found


def _folder_identity(path: str, known: dict[str, list]) -> str:
    """Of a directory: the names and the content of its files; of what is no file, or cannot be
    read, its size and time."""
    found = walk(path)
    stamp = [len(found), digest([(name, size, mtime) for name, size, mtime, _ in found])]
    if path in known and known[path][:2] == stamp:
        return known[path][2]
    contents: list[list] = []
    for name, size, mtime, mode in found:
        if stat.S_ISREG(mode) and os.access(join(path, name), os.R_OK):
            with Path(join(path, name)).open("rb") as file:
                contents.append([name, hashlib.file_digest(file, "sha256").hexdigest()])
        else:
            contents.append([name, size, mtime])
    known[path] = [*stamp, digest(contents)]
    return known[path][2]


@functools.cache
def code_version(*rooms: str) -> str:
    """Digest of the code of these rooms or files, of the data beside it (*.txt: a fitted model) and
    of the versions of the libraries, so that a change of any is a new part. Comments and formatting
    do not count: the syntax trees are compared."""
    here = Path(__file__).resolve().parent.parent
    trees = []
    for room in rooms:
        for file in (
            sorted((here / room).rglob("*.py")) if (here / room).is_dir() else [here / room]
        ):
            trees.append([str(file.relative_to(here)), ast.dump(ast.parse(file.read_text()))])
        for file in sorted((here / room).rglob("*.txt")):
            trees.append([str(file.relative_to(here)), file.read_text()])
    return digest([trees, library_versions()])


@functools.cache
def library_versions() -> dict[str, str]:
    names = (
        "chardet fasttext fastwarc idna kenlm numba numpy presidio-analyzer pyarrow resiliparse "
        "sentencepiece tldextract trafilatura"
    )
    return versions(*names.split())


def versions(*names: str) -> dict[str, str]:
    """Versions of distributions, "none" for one that is not installed."""
    found = dict.fromkeys(names, "none")
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
