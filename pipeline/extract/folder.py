"""The files below a directory, as `members` gives those of an archive: by name, links not followed,
version control's own files left out. A local directory, or one of any file system."""

import os
import stat
from collections.abc import Iterator
from typing import IO, NamedTuple, cast

from pipeline import storage
from pipeline.extract.members import Member
from pipeline.schema import Fault


class Entry(NamedTuple):
    name: str  # below the directory, with /
    path: str
    size: int
    mode: int  # of a local file, 0 elsewhere


def entries(folder: str) -> list[Entry]:
    """Every file, link and device, sorted by name."""
    return [
        Entry(name, storage.join(folder, name), size, mode)
        for name, size, _, mode in storage.walk(folder)
    ]


def read_entry(entry: Entry) -> Iterator[Member | Fault]:
    name = entry.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if stat.S_ISLNK(entry.mode):
        yield Fault(name, "link", "a link is not followed", lost=False)
    elif entry.mode and not stat.S_ISREG(entry.mode) and not stat.S_ISDIR(entry.mode):
        yield Fault(name, "not_a_file", f"a file of type {stat.S_IFMT(entry.mode):o}")
    else:
        try:
            if stat.S_ISDIR(entry.mode):
                os.scandir(entry.path).close()  # raises what kept it from being walked
            stream = storage.open_input(entry.path)
        except OSError as error:
            yield Fault(name, "unreadable", f"{type(error).__name__}: {error.strerror or error}")
            return
        with stream:
            yield Member(name, entry.size, cast(IO[bytes], stream))
