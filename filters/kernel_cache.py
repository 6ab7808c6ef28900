"""numba's cache on disk, made aware of other files.

numba compiles a cached function again when its own file has changed, not when a file has that it
takes inlined functions or constants from: after an upgrade an old kernel would go on, silently. The
stamp of a file is therefore that of all project files that it imports, directly or not. Importing a
room sets this up before the room's kernels are declared (its `__init__.py`).
"""

import functools
import hashlib
import re
from pathlib import Path

from numba.core import caching

ROOT = Path(__file__).resolve().parent.parent
_IMPORT = re.compile(
    r"^\s*(?:from\s+([\w.]+)\s+import\s+(\([^)]*\)|[^\n]*)|import\s+([\w.]+))", re.M
)
_NAME = re.compile(r"\w+")


def imported_files(path: Path, root: Path = ROOT) -> set[Path]:
    """The file itself and every file below `root` that it imports, directly or not."""
    found: set[Path] = set()
    left = [path]
    while left:
        file = left.pop()
        if file in found:
            continue
        found.add(file)
        for module, names, plain in _IMPORT.findall(file.read_text(encoding="utf-8")):
            base = root.joinpath(*(module or plain).split("."))
            places = [base.with_suffix(".py"), base / "__init__.py"]
            places += [(base / name).with_suffix(".py") for name in _NAME.findall(names)]
            left += [place for place in places if place.is_file()]
    return found


@functools.cache
def stamp(path: Path, root: Path = ROOT) -> str:
    """sha256 over the content of imported_files(path)."""
    digest = hashlib.sha256()
    for file in sorted(imported_files(path, root)):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{file.relative_to(root)} {content}\n".encode())
    return digest.hexdigest()


_stamp_of_one_file = caching._SourceFileBackedLocatorMixin.get_source_stamp


def _get_source_stamp(self):
    path = Path(self._py_file).resolve()
    return stamp(path) if ROOT in path.parents else _stamp_of_one_file(self)


setattr(caching._SourceFileBackedLocatorMixin, "get_source_stamp", _get_source_stamp)  # noqa: B010
