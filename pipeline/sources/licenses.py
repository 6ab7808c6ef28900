"""Under which licence the files of a repository are.

A file's own word comes first: an SPDX tag, or the notice at its top. Then the nearest folder upward
that says something: its LICENSE or COPYING files, its package's metadata, its README. A wheel's
`NAME.dist-info` speaks for what its RECORD lists. A folder with a licence file that is not
recognised says NOASSERTION, and no folder above it is asked.
"""

import json
import re
import tomllib
from collections.abc import Callable
from typing import Any

from pipeline.extract.license_header import header_text, may_hold_notice
from pipeline.sources.license_names import all_of, any_of, expression, spdx_of_name
from pipeline.sources.license_texts import license_of_text, readme_license, spdx_tag

NOASSERTION = "NOASSERTION"
HEADER_CHARS = 8000

_LICENSE_FILE = re.compile(
    r"(?:un|mit-|bsd-|gpl-)?licen[cs]es?(?:[._-][\w.+-]*)?|copying(?:[._-][\w.+-]*)?|[\w.+-]{1,30}"
    r"[._-]licen[cs]e(?:\.(?:txt|md|rst))?",
    re.I,
)
_MAIN = re.compile(r"(?:un)?licen[cs]es?(?:\.(?:txt|md|rst|html?))?|copying(?:\.txt|\.md|3)?", re.I)
_OTHERS_WORK = re.compile(r"third|3rd|bundle|depend|vendor|exception|header", re.I)
_NO_LICENSE_FILE = re.compile(
    r".*\.(?:py|js|ts|c|h|cpp|java|rb|go|rs|json|html|css|png|svg|toml)", re.I
)
_README = re.compile(r"readme(?:\.(?:md|rst|txt|markdown))?", re.I)


def is_evidence(path: str) -> bool:
    """Whether a file of this name may say what licence the files around it have."""
    folder, _, name = path.rpartition("/")
    return bool(
        _license_file(name)
        or name in _METADATA
        or _README.fullmatch(name)
        or name.endswith((".gemspec", ".cabal", ".nuspec"))
        or _reuse_folder(folder)
        or (folder.endswith(".dist-info") and name == "RECORD")
    )


def _reuse_folder(folder: str) -> bool:
    """Where the REUSE convention keeps the text of every licence that some file has."""
    return folder == "LICENSES" or folder.endswith("/LICENSES")


def evidence_bytes(path: str) -> int:
    """How much of such a file is read."""
    return 1 << (22 if path.endswith("/RECORD") else 18)


def _license_file(name: str) -> bool:
    return bool(_LICENSE_FILE.fullmatch(name)) and not _NO_LICENSE_FILE.fullmatch(name)


class Licenses:
    """What the folders of a repository, or of an archive of many, say of their licences."""

    def __init__(self) -> None:
        self._files: dict[str, dict[str, str | None]] = {}  # folder -> licence file -> SPDX
        self._reuse: dict[str, list[str]] = {}  # folder -> names in its LICENSES/
        self._metadata: dict[str, tuple[str, str]] = {}  # folder -> (SPDX, file)
        self._readme: dict[str, tuple[str, str]] = {}
        self._wheel: dict[str, str] = {}  # a path that a RECORD lists -> its .dist-info folder

    def add(self, path: str, data: bytes) -> None:
        """Takes note of a file for which `is_evidence` holds."""
        folder, _, name = path.rpartition("/")
        text = data.decode("utf-8", "replace")
        parent, _, last = folder.rpartition("/")
        if folder.endswith(".dist-info") and name == "RECORD":
            for line in text.splitlines():
                top = line.partition(",")[0].strip('"').split("/")[0]
                if top and not top.endswith((".dist-info", ".data", "..")):
                    self._wheel[_join(parent, top)] = folder
        elif _reuse_folder(folder):
            stem = re.sub(r"\.(?:txt|md)\Z", "", name)
            found = expression(stem) or license_of_text(text)
            self._reuse.setdefault(parent, []).append(found or NOASSERTION)
        elif _license_file(name):
            if last == "licenses" and parent.endswith(".dist-info"):
                folder = parent
            self._files.setdefault(folder, {})[name] = license_of_text(text)
        elif _README.fullmatch(name):
            if found := readme_license(text):
                self._readme[folder] = found, path
        elif found := metadata_license(name, text):
            self._metadata.setdefault(folder, (found, path))

    def nearest(self, path: str) -> tuple[str, str] | None:
        """(SPDX expression, the file that says so) for a file of this path."""
        if found := self._of_wheel(path):
            return found
        folder = path
        while True:
            folder = folder.rpartition("/")[0]
            if found := self._of_folder(folder) or self._of_wheel(folder):
                return found
            if not folder:
                return None

    def _of_wheel(self, path: str) -> tuple[str, str] | None:
        return self._of_folder(self._wheel[path]) if path in self._wheel else None

    def _of_folder(self, folder: str) -> tuple[str, str] | None:
        files = self._files.get(folder, {})
        for name, spdx in sorted(files.items()):  # the LGPL comes as an addition to the GPL
            if spdx and spdx.startswith("LGPL") and re.match(r"(?i)copying\.l", name):
                return spdx, _join(folder, name)
        main = {n: spdx for n, spdx in sorted(files.items()) if _MAIN.fullmatch(n) and spdx}
        if main:
            return all_of([s for s in main.values() if s]) or "", _join(folder, next(iter(main)))
        ours = {n: s for n, s in sorted(files.items()) if s and not _OTHERS_WORK.search(n)}
        if ours:  # LICENSE-MIT beside LICENSE-APACHE: the user's choice
            return any_of([s for s in ours.values() if s]) or "", _join(folder, next(iter(ours)))
        if folder in self._metadata:
            return self._metadata[folder]
        if folder in self._reuse:
            return all_of(sorted(self._reuse[folder])) or "", _join(folder, "LICENSES")
        if folder in self._readme:
            return self._readme[folder]
        unread = [name for name in sorted(files) if not _OTHERS_WORK.search(name)]
        return (NOASSERTION, _join(folder, unread[0])) if unread else None


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def own_license(text: str, language: str) -> tuple[str, str] | None:
    """(SPDX expression, "tag" or "notice") of what the file itself says at its top."""
    head = text[:HEADER_CHARS]
    if "SPDX-License-Identifier" in head and (found := spdx_tag(head)):
        return found, "tag"
    if not may_hold_notice(head):
        return None
    header = header_text(head, language)
    found = license_of_text(header) if header else None
    # "BSD license, see LICENSE": which one is for that file to say.
    return (found, "notice") if found and not found.startswith("LicenseRef-BSD") else None


# --- the metadata of packages -------------------------------------------------------------------


def metadata_license(name: str, text: str) -> str | None:
    """The SPDX expression that a package's metadata states; None where it states none that is
    known, or is damaged."""
    read = _METADATA.get(name) or (
        _gemspec if name.endswith(".gemspec") else _lines if name.endswith(".cabal") else _pom
    )
    try:
        return read(text)
    except (ValueError, RecursionError, AttributeError, TypeError):
        return None


def _names(value: Any) -> str | None:
    """Of "MIT", {"type": "MIT"}, or a list of them, to choose from."""
    if isinstance(value, list):
        return any_of([spdx for item in value[:20] if (spdx := _names(item))])
    if isinstance(value, dict):
        value = value.get("type") or value.get("text") or value.get("name")
    if not isinstance(value, str):
        return None
    return spdx_of_name(value) or (license_of_text(value) if len(value) > 100 else None)


def _json(text: str) -> str | None:
    table = json.loads(text)
    return _names(table.get("license") or table.get("licenses"))


def _pyproject(text: str) -> str | None:
    table = tomllib.loads(text)
    project = table.get("project", {})
    poetry = table.get("tool", {}).get("poetry", {})
    found = _names(project.get("license") or poetry.get("license"))
    return found or _classifiers(project.get("classifiers", poetry.get("classifiers", [])))


def _cargo(text: str) -> str | None:
    return _names(tomllib.loads(text).get("package", {}).get("license"))


def _classifiers(values: list[str]) -> str | None:
    prefix = "License :: "
    names = [v.split(" :: ")[-1] for v in values if v.startswith(prefix)]
    return any_of([spdx for name in names if (spdx := spdx_of_name(name))])


def _core_metadata(text: str) -> str | None:
    """A wheel's METADATA and a source distribution's PKG-INFO."""
    head = text.partition("\n\n")[0]
    fields = re.findall(r"^([A-Za-z-]+):[ \t]*(.*(?:\n[ \t].*)*)", head, re.M)
    table: dict[str, list[str]] = {}
    for key, value in fields:
        table.setdefault(key.lower(), []).append(value)
    for key in ("license-expression", "license"):
        if found := _names((table.get(key) or [""])[0]):
            return found
    return _classifiers(table.get("classifier", []))


def _lines(text: str) -> str | None:
    """`License: MIT` or `license = MIT`: R's DESCRIPTION, setup.cfg, Cabal."""
    found = re.search(r"^[ \t]*license[ \t]*[:=][ \t]*([^\n]{1,100})", text, re.I | re.M)
    name = re.sub(r"[ +|]*file LICEN[CS]E", "", found[1]) if found else ""
    return spdx_of_name(name) or _classifiers(
        [line.strip() for line in text.splitlines() if line.strip().startswith("License ::")]
    )


def _setup_py(text: str) -> str | None:
    found = re.search(r"\blicense\s{0,9}=\s{0,9}[\"']([^\"'\n]{1,100})[\"']", text)
    classifiers = re.findall(r"[\"'](License :: [^\"'\n]{1,100})[\"']", text)
    return (spdx_of_name(found[1]) if found else None) or _classifiers(classifiers)


def _gemspec(text: str) -> str | None:
    found = re.search(r"\.licenses?\s{0,9}=\s{0,9}\[?\s{0,9}[\"']([^\"'\n]{1,60})[\"']", text)
    return spdx_of_name(found[1]) if found else None


def _pom(text: str) -> str | None:
    """Maven's pom.xml and NuGet's .nuspec."""
    found = re.search(r"<license[^>]{0,60}>\s{0,99}(?:<name>)?([^<]{1,100})<", text)
    return spdx_of_name(found[1]) if found else None


_METADATA: dict[str, Callable[[str], str | None]] = {
    "pyproject.toml": _pyproject,
    "package.json": _json,
    "composer.json": _json,
    "bower.json": _json,
    "haxelib.json": _json,
    "META.json": _json,
    "Cargo.toml": _cargo,
    "METADATA": _core_metadata,
    "PKG-INFO": _core_metadata,
    "DESCRIPTION": _lines,
    "setup.cfg": _lines,
    "setup.py": _setup_py,
    "pom.xml": _pom,
}
