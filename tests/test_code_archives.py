"""pipeline/sources/code.py on archives and directories that nobody vouches for."""

import io
import os
import struct
import tarfile
import zipfile

import pytest

from pipeline.extract.members import ZIP_DIRECTORY
from pipeline.schema import Fault
from pipeline.sources.code import Code
from tests.test_arxiv import tar
from tests.test_code import errors, kept, pack, read, read_all, removed, unpack


def test_members_that_point_elsewhere(tmp_path):
    files = {
        "../evil.py": "x",
        "/abs.py": "x",
        "a/../../b.py": "x",
        "link.py": None,
        "ok.py": "x = 1",
    }
    keep = Code(unknown_license="keep")
    items = read(tmp_path, "a.tar", tar(files), keep)
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


def test_directories_do_not_lead_elsewhere(tmp_path):
    secret = tmp_path / "secret.py"
    secret.write_text("password = 1")
    shard = unpack(tmp_path / "shard", {"r/a.py": "x = 1", "r/.git/hooks/b.py": "y = 1"})
    (shard / "r/link.py").symlink_to(secret)
    (shard / "r/up").symlink_to(tmp_path)
    (shard / "r/loop").symlink_to(shard)
    os.mkfifo(shard / "r/pipe.py")
    items = read_all(shard, Code(unknown_license="keep"))
    assert set(kept(items)) == {"r/a.py"}
    assert errors(items) == {
        ("r/link.py", "link", False),
        ("r/up", "link", False),
        ("r/loop", "link", False),
        ("r/pipe.py", "not_a_file", True),
    }
    deep = shard
    for _ in range(200):
        deep = deep / "d"
    deep.mkdir(parents=True)
    (deep / "z.py").write_text("z = 1")
    assert len(kept(read_all(shard, Code(unknown_license="keep")))) == 2


def test_bombs_and_large_members(tmp_path):
    config = Code(max_document_bytes=1000, unknown_license="keep")
    big = "y = 1\n" * 10_000
    files = {"a.py": "x = 1", "big.py": big, "zero.bin": bytes(40_000_000), "b.py": "z = 1"}
    kinds = [
        x.error if isinstance(x, Fault) else x.rule
        for x in read(tmp_path, "a.tgz", pack("a.tgz", files), config)
    ]
    assert kinds == [None, "too_large", "not_code", "bomb"]
    for name in ("a.tar.xz", "a.tar.bz2", "a.tar.zst"):
        items = read(tmp_path, name, pack(name, files), config)
        assert [x.error for x in items if isinstance(x, Fault)] == ["too_large", "bomb"]
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


@pytest.mark.slow
def test_a_member_of_a_gigabyte_is_not_read(tmp_path):
    with (tmp_path / "huge.tar").open("wb") as file:
        for name, size in (("r/huge.py", 1 << 30), ("r/a.py", 5)):
            info = tarfile.TarInfo(name)
            info.size = size
            file.write(info.tobuf())
            file.write(b"x = 1" if size == 5 else b"y = 1")
            file.seek((size + 511) // 512 * 512 - 5, 1)  # a hole
        file.truncate(file.tell() + 1024)
    items = read_all(tmp_path / "huge.tar", Code(unknown_license="keep"))
    assert removed(items) == {"r/huge.py": "binary"}
    assert set(kept(items)) == {"r/a.py"}


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
    for name, error in (("a.tgz", "gzip"), ("a.tar.xz", "xz"), ("a.tar.bz2", "bz2")):
        packed = pack(name, good)
        assert kinds(name, packed[: len(packed) // 2])[-1] == f"truncated_{error}"
    assert kinds("a.zip", pack("a.zip", good)[:-40]) == ["bad_zip"]
    damaged = bytearray(pack("a.zip", good))
    damaged[60] ^= 0xFF
    assert kinds("a.zip", bytes(damaged)) == ["bad_member"]
    assert kinds("a.zip", b"") == ["empty_file"]
    large = bytearray(pack("a.zip", good))
    at = large.rfind(b"PK\x05\x06")
    large[at + 12 : at + 16] = struct.pack("<I", ZIP_DIRECTORY + 1)  # never read into memory
    assert kinds("a.zip", bytes(large)) == ["bomb"]
    twice = tar({"a.py": "x = 1"})[:1024] + tar({"a.py": "x = 2"})
    assert kinds("a.tar", twice) == ["duplicate_member"]
