"""pipeline/sources/code.py on archives made here and on the standard library."""

import gzip
import io
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from pipeline.schema import Document, Fault
from pipeline.sources.code import LANGUAGES, Code, read_code, recognize_license, split_code
from tests.test_arxiv import tar

MIT = """MIT License

Copyright (c) 2024 Someone

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
"""
APACHE = "                Apache License\n           Version 2.0, January 2004\n"
FILES = {
    "repo/src/a.py": "print('ü')\n",
    "repo/src/b.rs": "fn main() {}\n",
    "repo/run": "#!/usr/bin/env python3\nprint(1)\n",
    "repo/install": "#!/bin/sh -e\necho 1\n",
    "repo/notes": "no shebang\n",
    "repo/LICENSE": MIT,
    "repo/vendor/x/LICENSE.txt": APACHE,
    "repo/vendor/x/c.c": "int main;\n",
    "repo/data.json": "{}",
    "repo/logo.png": b"\x89PNG\0",
    "repo/empty/__init__.py": "",
    "repo/Makefile": "all:\n\techo\n",
    "repo/old.py": b"# caf\xe9\n",
    "repo/bad.c": b"int\0x;",
    "other/d.go": "package d\n",
}
EXPECTED = {
    "other/d.go": ("go", None),
    "repo/Makefile": ("makefile", "MIT"),
    "repo/install": ("shell", "MIT"),
    "repo/old.py": ("python", "MIT"),
    "repo/run": ("python", "MIT"),
    "repo/src/a.py": ("python", "MIT"),
    "repo/src/b.rs": ("rust", "MIT"),
    "repo/vendor/x/c.c": ("c", "Apache-2.0"),
}


def pack(name: str, files=FILES) -> bytes:
    if name.endswith(".zip"):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, data in files.items():
                archive.writestr(member, data)
        return out.getvalue()
    return gzip.compress(tar(files)) if name.endswith("gz") else tar(files)


def read(tmp_path, name, data, config=None):
    path = tmp_path / name
    path.write_bytes(data)
    [(start, end)] = split_code(str(path), 10)
    return list(read_code(str(path), start, end, config or Code()))


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "a.tar", "a.zip"])
def test_repositories(tmp_path, name):
    items = read(tmp_path, name, pack(name))
    documents = {x.locator: x for x in items if isinstance(x, Document)}
    kept = {k: (x.meta["language"], x.license) for k, x in documents.items() if x.rule is None}
    assert kept == EXPECTED
    assert documents["repo/src/a.py"].text == "print('ü')\n"
    assert documents["repo/src/a.py"].path == "repo/src/a.py"
    assert documents["repo/old.py"].text == "# café\n"
    assert {k: x.rule for k, x in documents.items() if x.rule} == {
        "repo/notes": "not_code",
        "repo/LICENSE": "not_code",
        "repo/vendor/x/LICENSE.txt": "not_code",
        "repo/data.json": "data_file",
        "repo/logo.png": "not_code",
        "repo/empty/__init__.py": "no_text",
    }
    faults = {(x.locator, x.error, x.lost) for x in items if isinstance(x, Fault)}
    assert faults == {("repo/bad.c", "nul_bytes", True), ("repo/old.py", "not_utf8", False)}
    order = [x.locator for x in items if not isinstance(x, Fault) or x.lost]
    assert order == (sorted(FILES) if name == "a.zip" else list(FILES))


def test_members_that_point_elsewhere(tmp_path):
    files = {
        "../evil.py": "x",
        "/abs.py": "x",
        "a/../../b.py": "x",
        "link.py": None,
        "ok.py": "x = 1",
    }
    items = read(tmp_path, "a.tar", tar(files))
    assert [x.error if isinstance(x, Fault) else x.text for x in items] == [
        "path_outside",
        "path_outside",
        "path_outside",
        "link",
        "x = 1",
    ]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("..\\evil.py", "x")
        archive.writestr("../evil.py", "x")
    assert [x.error for x in read(tmp_path, "a.zip", out.getvalue())] == ["path_outside"] * 2


def test_bombs_and_large_members(tmp_path):
    config = Code(max_document_bytes=1000)
    files = {"a.py": "x = 1", "big.py": "y" * 1001, "zero.bin": bytes(60_000_000), "b.py": "z = 1"}
    kinds = [
        x.error if isinstance(x, Fault) else x.rule
        for x in read(tmp_path, "a.tgz", pack("a.tgz", files), config)
    ]
    assert kinds == [None, "too_large", "not_code", "bomb"]
    zipped = read(tmp_path, "a.zip", pack("a.zip", files), config)
    assert [(x.locator, x.error if isinstance(x, Fault) else x.rule) for x in zipped] == [
        ("a.py", None),
        ("b.py", None),
        ("big.py", "too_large"),
        ("zero.bin", "bomb"),
    ]
    inner = pack("a.zip", {"deep.py": "x = 1"})  # nested archives are not opened
    [document] = read(tmp_path, "b.zip", pack("b.zip", {"inner.zip": inner}))
    assert document.rule == "not_code"


def test_a_pax_header_cannot_take_memory(tmp_path):
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 1 << 40
    data = info.tobuf(tarfile.USTAR_FORMAT if info.size < 8**11 else tarfile.GNU_FORMAT)
    [fault] = read(tmp_path, "a.tar", data + bytes(10_000))
    assert fault.error == "bomb"


def test_damaged_archives(tmp_path):
    def kinds(name, data):
        return [x.error for x in read(tmp_path, name, data) if isinstance(x, Fault) and x.lost]

    good = {f"f{i}.py": f"x = {'y' * 3000}{i}" for i in range(9)}
    packed = gzip.compress(tar(good), mtime=0)
    assert kinds("a.tgz", packed[:-30]) == ["truncated_gzip"]
    items = read(tmp_path, "a.tgz", packed[: len(packed) // 2])
    assert isinstance(items[-1], Fault) and len(items) < 9
    assert kinds("a.zip", pack("a.zip", good)[:-40]) == ["bad_zip"]
    damaged = bytearray(pack("a.zip", good))
    damaged[60] ^= 0xFF
    assert kinds("a.zip", bytes(damaged)) == ["bad_member"]
    assert kinds("a.zip", b"") == ["empty_file"]
    twice = tar({"a.py": "x = 1"})[:1024] + tar({"a.py": "x = 2"})
    assert kinds("a.tar", twice) == ["duplicate_member"]


def test_licenses():
    assert recognize_license(MIT) == "MIT"
    assert recognize_license(APACHE) == "Apache-2.0"
    assert (
        recognize_license("GNU LESSER GENERAL PUBLIC LICENSE\n Version 2.1, February 1999")
        == "LGPL-2.1"
    )
    bsd = "Redistribution and use in source and binary forms, with or\nwithout modification"
    assert recognize_license(bsd) == "BSD-2-Clause"
    names = "Neither may be used to endorse or promote products derived from this software without"
    assert recognize_license(bsd + names) == "BSD-3-Clause"
    assert recognize_license("All rights reserved.") is None
    assert recognize_license("") is None


def test_language_table():
    assert len(LANGUAGES) > 150
    assert (LANGUAGES["py"], LANGUAGES["h"], LANGUAGES["tsx"], LANGUAGES["sh"]) == (
        "python",
        "c",
        "typescript",
        "shell",
    )


def test_the_standard_library(tmp_path):
    stdlib = Path(sysconfig.get_paths()["stdlib"])
    path = tmp_path / "stdlib.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for folder in ("json", "email", "collections"):
            archive.add(stdlib / folder, f"python/{folder}")
        archive.add(
            stdlib / "LICENSE.txt" if (stdlib / "LICENSE.txt").exists() else stdlib / "os.py",
            "python/LICENSE.txt",
        )
    items = list(read_code(str(path), 0, path.stat().st_size, Code()))
    documents = [x for x in items if x.rule is None]
    assert len(documents) > 25 and all(
        x.meta["language"] == "python" for x in documents if x.path.endswith(".py")
    )
    assert any("class JSONDecoder" in x.text for x in documents)
