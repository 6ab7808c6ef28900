"""Where things are: files on any file system, and what a pattern names."""

import functools
import glob
import hashlib
import io
import json
import os
import re
import shutil
import socket
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.fs

TEMPORARY = ".tmp-"  # in the name of a file that is not committed
REMOTE_BLOCK = 4 << 20  # bytes of one request: an object store answers each after some 50 ms
_QUERY = re.compile(r"\w+=[^&]*(?:&\w+=[^&]*)*")  # of an s3:// URI, where ? is a wildcard too


def filesystem(path: str) -> tuple[pa.fs.FileSystem, str]:
    """The file system of a path or URI, and the path on it. https:// is for reading only."""
    scheme = path.split("://", 1)[0] if "://" in path else ""
    if not scheme:
        return pa.fs.LocalFileSystem(), str(Path(path).absolute())
    if scheme in ("http", "https"):
        import fsspec  # the only use, and slow to import

        return pa.fs.PyFileSystem(pa.fs.FSSpecHandler(fsspec.filesystem(scheme))), path
    base, query = split_query(path)
    if "?" not in base:
        return pa.fs.FileSystem.from_uri(base + query)
    folder, name = base[: base.index("?")].rsplit("/", 1)
    fs, place = pa.fs.FileSystem.from_uri(folder + query)
    return fs, f"{place}/{name}{base[base.index('?') :]}"


def split_query(uri: str) -> tuple[str, str]:
    """(the URI, `?endpoint_override=...&scheme=http`): what Arrow takes for stores like S3."""
    base, _, query = uri.rpartition("?")
    return (base, f"?{query}") if base and _QUERY.fullmatch(query) else (uri, "")


def is_web(path: str) -> bool:
    """On a web server, where files are read by their names and cannot be looked for."""
    return path.startswith(("http://", "https://"))


def absolute(path: str) -> str:
    """A local path from the root directory; a URI as it is."""
    return path if "://" in path else str(Path(path).absolute())


def join(root: str, *names: str) -> str:
    return "/".join([root.rstrip("/"), *names])


def open_input(path: str) -> BinaryIO:
    """A seekable, buffered binary file, local or remote. Raises ValueError for an http server that
    sends whole files only."""
    fs, place = filesystem(path)
    if isinstance(fs, pa.fs.LocalFileSystem):
        return Path(place).open("rb", buffering=1 << 16)
    if is_web(path):
        _check_ranges(path)
    raw = cast(io.RawIOBase, fs.open_input_file(place))
    return cast(BinaryIO, io.BufferedReader(raw, REMOTE_BLOCK))


@functools.cache
def _check_ranges(url: str) -> None:
    """A server that ignores `Range` would send the file from its start at every seek."""
    request = urllib.request.Request(url, headers={"Range": "bytes=0-0"})
    with urllib.request.urlopen(request) as answer:
        if answer.status != 206 and answer.headers.get("Content-Length") != "0":
            raise ValueError(f"{url}: its server has no byte ranges; give a downloaded copy")


def size_of(path: str) -> int | None:
    """Bytes of a file; None where there is none."""
    fs, place = filesystem(path)
    info = fs.get_file_info(place)
    return info.size if info.type == pa.fs.FileType.File else None


def input_size(path: str) -> int:
    fs, place = filesystem(path)
    size = fs.get_file_info(place).size
    if size is None:
        raise ValueError(f"{path}: its size is not known; give a downloaded copy")
    return size


def exists(path: str) -> bool:
    fs, place = filesystem(path)
    return fs.get_file_info(place).type != pa.fs.FileType.NotFound


def is_folder(path: str) -> bool:
    fs, place = filesystem(path)
    return fs.get_file_info(place).type == pa.fs.FileType.Directory


_VERSION_CONTROL = frozenset({".git", ".hg", ".svn", ".bzr", "CVS"})


def walk(folder: str) -> list[tuple[str, int, int, int]]:
    """(name below the folder, size, time, mode) of everything in a directory but directories and
    what version control keeps, sorted by name. Links are not followed; elsewhere than on a local
    file system, the mode is 0. A directory that cannot be read has its own mode."""
    if "://" in folder:
        fs, place = filesystem(folder)
        below = fs.get_file_info(pa.fs.FileSelector(place, recursive=True))
        files = [f for f in below if f.type == pa.fs.FileType.File]
        prefix = len(place.rstrip("/")) + 1
        remote = [(f.path[prefix:], f.size, f.mtime_ns, 0) for f in files]
        return sorted(row for row in remote if not _VERSION_CONTROL & set(row[0].split("/")))
    rows: list[tuple[str, int, int, int]] = []
    folders = [""]
    while folders:
        above = folders.pop()
        here = Path(folder, above)
        try:
            items = list(os.scandir(here))
        except OSError:
            rows.append((above, 0, 0, here.lstat().st_mode))
            continue
        for item in items:
            if item.is_dir(follow_symlinks=False):
                folders += [] if item.name in _VERSION_CONTROL else [f"{above}{item.name}/"]
            else:
                info = item.stat(follow_symlinks=False)
                rows.append((above + item.name, info.st_size, info.st_mtime_ns, info.st_mode))
    return sorted(rows)


def list_files(path: str) -> list[str]:
    """Every file below a directory, sorted; empty when there is none."""
    fs, place = filesystem(path)
    found = fs.get_file_info(pa.fs.FileSelector(place, recursive=True, allow_not_found=True))
    prefix = path.rstrip("/")
    return sorted(
        prefix + info.path[len(place.rstrip("/")) :]
        for info in found
        if info.type == pa.fs.FileType.File
    )


def expand(pattern: str, folders: bool = False) -> list[tuple[str, str]]:
    """(path, shard name) for each file that a glob pattern or a directory names, sorted by name.

    The shard name is the path below the last directory without a wildcard, so it does not change
    when shards are added. With `folders`, a directory is one shard, and what is below it none.
    """
    fs, place = filesystem(pattern)
    local = isinstance(fs, pa.fs.LocalFileSystem)
    if not glob.has_magic(place):
        if is_folder(pattern) and not folders:
            base = pattern.rstrip("/")
            return [(p, p[len(base) + 1 :]) for p in list_files(base) if not _hidden(p, base)]
        return [(pattern, PurePosixPath(place).name)] if exists(pattern) else []
    fixed = PurePosixPath(*_until_magic(PurePosixPath(place).parts))
    if local:
        found = (p.rstrip("/") for p in glob.glob(place, recursive=True))  # noqa: PTH207
        places = [p for p in found if Path(p).is_file() or (folders and Path(p).is_dir())]
        return sorted((p, str(PurePosixPath(p).relative_to(fixed))) for p in _topmost(places))
    matches = re.compile(_glob_regex(place)).fullmatch
    scheme, query = pattern.split("://", 1)[0], split_query(pattern)[1]
    selector = pa.fs.FileSelector(str(fixed), recursive=True, allow_not_found=True)
    kinds = {pa.fs.FileType.File} | ({pa.fs.FileType.Directory} if folders else set())
    places = [info.path for info in fs.get_file_info(selector) if info.type in kinds]
    places = _topmost([p for p in places if matches(p)])
    return sorted(
        (f"{scheme}://{p}{query}", str(PurePosixPath(p).relative_to(fixed))) for p in places
    )


def _topmost(places: list[str]) -> list[str]:
    """The paths that are below no other of them."""
    known = set(places)
    return sorted(p for p in known if not known & {str(q) for q in PurePosixPath(p).parents})


def expand_names(pattern: str) -> dict[str, str]:
    """{name: path} of the files of a pattern that has {lang} in the place of the name."""
    named = re.escape(absolute(pattern)).replace(r"\{lang\}", "([^/]+)")
    found = {}
    for path, _ in expand(pattern.replace("{lang}", "*")):
        if match := re.fullmatch(named, path):
            found[match[1]] = path
    return found


def _until_magic(parts: tuple[str, ...]) -> Iterator[str]:
    for part in parts:
        if glob.has_magic(part):
            return
        yield part


def _glob_regex(pattern: str) -> str:
    """`**/` any directories, `*` and `?` within one name."""
    out = re.escape(pattern).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
    return out.replace(r"\?", "[^/]")


def _hidden(path: str, base: str) -> bool:
    return any(name.startswith((".", "_")) for name in path[len(base) + 1 :].split("/"))


def local_copy(path: str) -> str:
    """A path that a C library can open: the file itself, or its copy in the temporary directory,
    in a folder of the same name (a blocklist's category)."""
    fs, place = filesystem(path)
    if isinstance(fs, pa.fs.LocalFileSystem):
        return place
    info = fs.get_file_info(place)
    version = hashlib.sha256(f"{path}\n{info.size}\n{info.mtime_ns}".encode()).hexdigest()[:32]
    base = Path(tempfile.gettempdir(), "corpusmill-inputs", version)
    copy = base / PurePosixPath(place).parent.name / PurePosixPath(place).name
    if not copy.exists():
        copy.parent.mkdir(parents=True, exist_ok=True)
        half = copy.with_name(copy.name + temporary_suffix())
        with open_input(path) as source, half.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
        half.rename(copy)
    return str(copy)


def write_bytes(path: str, data: bytes) -> None:
    """The whole file at once or not at all."""
    fs, place = filesystem(path)
    temporary = place + temporary_suffix()
    fs.create_dir(str(PurePosixPath(place).parent), recursive=True)
    with fs.open_output_stream(temporary) as out:
        out.write(data)
    fs.move(temporary, place)


def delete(path: str) -> None:
    """Deletes a file; nothing happens where there is none."""
    if exists(path):
        fs, place = filesystem(path)
        fs.delete_file(place)


def write_json(path: str, value: object) -> None:
    write_bytes(path, json.dumps(value, indent=1, sort_keys=True).encode() + b"\n")


def read_json(path: str) -> Any:
    """Raises ValueError for a damaged file, with its path."""
    with open_input(path) as file:
        data = file.read()
    try:
        return json.loads(data)
    except ValueError as error:
        raise ValueError(f"{path}: damaged: {error}") from None


def temporary_suffix() -> str:
    return f"{TEMPORARY}{socket.gethostname()}-{os.getpid()}"


def sweep(root: str, folder: str, keep: set[str], prefix: str = "") -> list[str]:
    """Deletes the files below root/folder that are not among those to keep (paths below root); only
    those whose names start with `prefix`."""
    gone = []
    for path in list_files(join(root, folder)):
        relative = path[len(root.rstrip("/")) + 1 :]
        if relative not in keep and PurePosixPath(relative).name.startswith(prefix):
            fs, place = filesystem(path)
            fs.delete_file(place)
            gone.append(relative)
    return gone
