"""Archives of repositories (.tar, .tar.gz, .tgz, .zip) -> one document a source file.

The licence of a file is that of the nearest LICENSE above it in the archive. A tar has to be read
for the licences first and for the files then: twice the decompression, and no repository in
memory.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline import quarantine, storage
from pipeline.extract.members import Member, members, read_head, read_whole
from pipeline.schema import HEAD_BYTES, Document, Fault


@dataclass(frozen=True, kw_only=True)
class Code:
    """Source files out of archives of repositories."""

    max_document_bytes: int = 32 << 20
    """A larger file is an error. Size as a sign of generated code is a filter's business."""


# Languages by extension, after GitHub's linguist; where an extension has several, the most common.
_LANGUAGES = """
ada adb ads| apl apl| asm assembly s nasm| awk awk| shell bash sh zsh ksh| batch bat cmd| c c h|
clojure clj cljs cljc edn| cmake cmake| cobol cob cbl| coffeescript coffee|
cpp cc cpp cxx c++ hpp hh hxx h++ inl ipp| csharp cs| css css| cuda cu cuh| cython pyx pxd pxi|
d d di| dart dart| elixir ex exs| elm elm| emacs-lisp el| erlang erl hrl|
fortran f f77 f90 f95 f03 for| fsharp fs fsi fsx| glsl glsl vert frag| go go| graphql graphql gql|
groovy groovy gradle| haskell hs lhs| haxe hx| hcl tf hcl| html html htm xhtml| idris idr|
java java| javascript js mjs cjs jsx| jinja jinja j2| julia jl| kotlin kt kts| less less|
lisp lisp lsp cl| lua lua| makefile mk mak| markdown md markdown mdx| matlab m| nim nim| nix nix|
objective-c++ mm| ocaml ml mli| pascal pas pp| perl pl pm t| php php| powershell ps1 psm1 psd1|
prolog pro| protobuf proto| python py pyi pyw| r r| racket rkt| rescript res resi|
restructuredtext rst| ruby rb rake gemspec| rust rs| sass sass scss| scala scala sc|
scheme scm ss| solidity sol| sql sql| stan stan| standard-ml sml sig| svelte svelte| swift swift|
systemverilog sv svh| tcl tcl| terra t| tex tex sty cls| thrift thrift| typescript ts tsx mts cts|
verilog v vh| vhdl vhd vhdl| vim-script vim| visual-basic vb bas| vue vue| webassembly wat|
xslt xsl xslt| zig zig
"""
_NAMES = {
    "makefile": "makefile",
    "gnumakefile": "makefile",
    "dockerfile": "dockerfile",
    "cmakelists.txt": "cmake",
    "rakefile": "ruby",
    "gemfile": "ruby",
    "sconstruct": "python",
    "jenkinsfile": "groovy",
    "build.bazel": "starlark",
}
_SHEBANGS = (
    (re.compile(rb"python"), "python"),
    (re.compile(rb"node"), "javascript"),
    (re.compile(rb"perl"), "perl"),
    (re.compile(rb"ruby"), "ruby"),
    (re.compile(rb"php"), "php"),
    (re.compile(rb"Rscript"), "r"),
    (re.compile(rb"tclsh|wish"), "tcl"),
    (re.compile(rb"awk"), "awk"),
    (re.compile(rb"(?:ba|z|k|da)?sh\b"), "shell"),
)
_DATA = {
    *("json", "jsonl", "csv", "tsv", "xml", "yaml", "yml", "toml", "ini", "cfg", "conf", "lock"),
    *("po", "pot", "geojson", "ipynb", "plist", "properties", "dat", "sum", "log", "map", "svg"),
}
_LICENSE_NAME = re.compile(r"\A(?:licen[cs]es?|copying|unlicense)(?:[.-][\w.-]*)?\Z", re.I)


def _languages() -> dict[str, str]:
    table: dict[str, str] = {}
    for entry in _LANGUAGES.split("|"):
        name, *extensions = entry.split()
        for extension in extensions:
            table.setdefault(extension, name)
    return table


LANGUAGES = _languages()


def split_code(path: str, split_bytes: int) -> list[tuple[int, int]]:
    """An archive is read from its start: one piece."""
    return [(0, storage.input_size(path))]


def read_code(path: str, start: int, end: int, config: Code) -> Iterator[Document | Fault]:
    """The files of an archive: a tar's in its order, a zip's by name. Locator: a member's name."""
    if start > 0:
        return
    licenses = _licenses(path, config)
    with storage.open_input(path) as file:
        for item in members(file, _max_read(config)):
            if isinstance(item, Fault):
                yield item
            else:
                yield from _read_file(item, _nearest(item.name, licenses), config)


def _max_read(config: Code) -> int:
    return max(config.max_document_bytes, 1 << 20) + 1


def _read_file(member: Member, license: str | None, config: Code) -> Iterator[Document | Fault]:
    name = member.name.rsplit("/", 1)[-1].lower()
    stem, dot, extension = name.rpartition(".")
    language = _NAMES.get(name) or (LANGUAGES.get(extension) if dot else None)
    rule = None
    if language is None:
        if dot and stem and not (extension.isdigit() or _LICENSE_NAME.match(name)):
            rule = "data_file" if extension in _DATA else "not_code"
        elif not (language := _shebang(member)):
            rule = "not_code"
    if rule:
        yield Document(member.name, "", path=member.name, license=license, rule=rule)
        return
    assert language is not None
    if deadly := quarantine.refusal(member.name):
        yield deadly
        return
    data = read_whole(member, config.max_document_bytes)
    if isinstance(data, Fault):
        yield data
        return
    head = data[:HEAD_BYTES]
    if b"\0" in data and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        yield Fault(member.name, "nul_bytes", f"NUL in a {language} file", head)
        return
    text, note = _decode(data)
    if note:
        yield Fault(member.name, "not_utf8", note, head, lost=False)
    yield Document(
        member.name,
        text,
        path=member.name,
        license=license,
        meta={"language": language},
        rule=None if text.strip() else "no_text",
    )


def _shebang(member: Member) -> str | None:
    """The language of a file without extension, by its first line; nothing of it is consumed."""
    stream = member.stream
    first = stream.peek(128)[:128] if hasattr(stream, "peek") else b""
    line = first.partition(b"\n")[0]
    if not line.startswith(b"#!"):
        return None
    return next((language for pattern, language in _SHEBANGS if pattern.search(line)), None)


def _decode(data: bytes) -> tuple[str, str | None]:
    """(text, what was odd)."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace").replace("\0", ""), "UTF-16"
    try:
        return data.decode("utf-8-sig"), None
    except UnicodeDecodeError as error:
        return data.decode("cp1252", errors="replace"), f"{error}; read as windows-1252"


# --- licences -----------------------------------------------------------------------------------

# A phrase of the text itself, the more specific before the more general (SPDX ids).
_LICENSES = (
    ("Apache-2.0", "Apache License Version 2.0"),
    ("MPL-2.0", "Mozilla Public License Version 2.0"),
    ("AGPL-3.0", "GNU AFFERO GENERAL PUBLIC LICENSE Version 3"),
    ("LGPL-3.0", "GNU LESSER GENERAL PUBLIC LICENSE Version 3"),
    ("LGPL-2.1", "GNU LESSER GENERAL PUBLIC LICENSE Version 2.1"),
    ("GPL-3.0", "GNU GENERAL PUBLIC LICENSE Version 3"),
    ("GPL-2.0", "GNU GENERAL PUBLIC LICENSE Version 2"),
    ("PSF-2.0", "PYTHON SOFTWARE FOUNDATION LICENSE VERSION 2"),
    ("EPL-2.0", "Eclipse Public License - v 2.0"),
    ("BSL-1.0", "Boost Software License - Version 1.0"),
    ("Unlicense", "This is free and unencumbered software released into the public domain"),
    ("CC0-1.0", "CC0 1.0 Universal"),
    ("ISC", "copy, modify, and/or distribute this software for any purpose with or without fee"),
    ("ISC", "copy, modify, and distribute this software for any purpose with or without fee"),
    (
        "MIT",
        "Permission is hereby granted, free of charge, to any person obtaining a copy of",
    ),
    ("Zlib", "This software is provided 'as-is', without any express or implied warranty"),
    (
        "BSD-3-Clause",
        "used to endorse or promote products derived from this software",
    ),
    (
        "BSD-2-Clause",
        "Redistribution and use in source and binary forms, with or without modification",
    ),
)


def recognize_license(text: str) -> str | None:
    """The SPDX id of a licence's text, by a phrase of it; None for one that is not well known."""
    plain = _plain(text[:20_000])
    return next((spdx for spdx, phrase in _LICENSES if _plain(phrase) in plain), None)


def _plain(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def _licenses(path: str, config: Code) -> dict[str, str]:
    """Folder -> licence, for every licence file of the archive that is recognized."""
    found: dict[str, str] = {}
    with storage.open_input(path) as file:
        for item in members(file, _max_read(config)):
            if isinstance(item, Fault):
                continue
            folder, _, name = item.name.rpartition("/")
            if _LICENSE_NAME.match(name):
                text = read_head(item, 20_000).decode("utf-8", errors="replace")
                spdx = recognize_license(text)
                if spdx and folder not in found:
                    found[folder] = spdx
    return found


def _nearest(name: str, licenses: dict[str, str]) -> str | None:
    folder = name
    while "/" in folder:
        folder = folder.rpartition("/")[0]
        if folder in licenses:
            return licenses[folder]
    return licenses.get("")
