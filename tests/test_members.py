"""pipeline/extract/members.py: archives that nobody vouches for."""

import gzip
import io
import random
import struct
import tarfile
import zipfile

import pytest

from pipeline.extract.members import ZIP_DIRECTORY, Bounded, members, read_whole
from pipeline.schema import Fault


def tar_of(names, kind=None):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.type = kind or info.type
            info.linkname = "/etc/passwd" if kind else ""
            info.size = 0 if kind else 4
            archive.addfile(info, io.BytesIO(b"text"))
    return out.getvalue()


def zip_of(files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def read(data, limit=1 << 20):
    return [
        (item.locator, item.error)
        if isinstance(item, Fault)
        else (
            item.name,
            found.error if isinstance(found := read_whole(item, limit), Fault) else found,
        )
        for item in members(io.BytesIO(data), limit)
    ]


@pytest.mark.parametrize(
    "pack",
    [
        tar_of,
        lambda names: zip_of(dict.fromkeys(names, b"text")),
        lambda names: gzip.compress(tar_of(names)),
    ],
)
def test_names(pack):
    names = ["./a/b.txt", "../up", "/abs", "C:\\x", "a/../../x", "..\\x", "é", "a..b"]
    faults = {"../up", "/abs", "C:\\x", "a/../../x", "..\\x"}
    found = dict(read(pack(names)))
    assert {name for name, what in found.items() if what == "path_outside"} == faults
    assert found["a/b.txt"] == found["é"] == found["a..b"] == b"text" and len(found) == 8


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (tarfile.SYMTYPE, "link"),
        (tarfile.LNKTYPE, "link"),
        (tarfile.CHRTYPE, "not_a_file"),
        (tarfile.FIFOTYPE, "not_a_file"),
    ],
)
def test_links_and_devices_are_not_followed(kind, error):
    assert read(tar_of(["x"], kind)) == [("x", error)]
    link = zipfile.ZipInfo("x")
    link.external_attr = 0o120777 << 16
    assert read(zip_of({link: b"/etc/passwd"})) == [("x", "link")]


def test_bombs():
    zeros = bytes(40 << 20)
    assert read(zip_of({"x": zeros}), 1 << 30) == [("x", "bomb")]
    info = tarfile.TarInfo("big")
    info.size = 1 << 30  # says so; 40 MiB of it are there, in 40 kB
    found = read(gzip.compress(info.tobuf() + zeros), 2 << 30)
    assert found[0] == ("big", "bomb")
    assert read(zip_of({"x": random.Random(1).randbytes(2 << 20)}), 1 << 20) == [("x", "too_large")]
    data = bytearray(zip_of({"x": b"text"}))
    at = data.rfind(b"PK\x05\x06")
    data[at + 12 : at + 16] = struct.pack("<I", ZIP_DIRECTORY + 1)
    assert read(bytes(data)) == [("", "bomb")]


def test_a_lying_size_in_a_zip():
    """The Fifield bomb's entries and sizes that are not true end in a fault or in few bytes."""
    data = bytearray(zip_of({"x": b"a" * 5000}))
    at = data.rfind(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", 10)
    assert read(bytes(data)) in ([("x", "bad_member")], [("x", b"a" * 10)])


def test_same_name_twice():
    with pytest.warns(UserWarning):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("x", b"text")
            archive.writestr("x", b"other")
    assert [what for _, what in read(out.getvalue())] == [b"text", "duplicate_member"] or [
        what for _, what in read(out.getvalue())
    ] == [b"other", "duplicate_member"]
    assert read(tar_of(["x", "x"])) == [("x", b"text"), ("x#2", "duplicate_member")]


def test_what_is_no_archive():
    assert read(b"") == [("", "empty_file")]
    assert read(b"PK\x03\x04 no zip") == [("", "bad_zip")]
    assert [what for _, what in read(b"no tar at all" * 99)] == ["damaged_tar"]
    assert [what for _, what in read(gzip.compress(tar_of(["x"]))[:-30])][-1] == "truncated_gzip"


@pytest.mark.parametrize(
    "seed",
    [tar_of(["a", "b"]), zip_of({"a": b"text" * 99, "b": b""}), gzip.compress(tar_of(["a"]))],
    ids=["tar", "zip", "tgz"],
)
def test_mutations_are_faults_or_members(seed):
    random.seed(11)
    for _ in range(1000):
        data = bytearray(seed)
        for _ in range(random.randint(1, 8)):
            data[random.randrange(len(data))] = random.choice([0, 255, random.randrange(256)])
        data = data[: random.choice([len(data), len(data), random.randrange(len(data))])]
        for name, what in read(bytes(data)):
            assert isinstance(name, str) and (isinstance(what, str) or len(what) <= 1 << 20)


def test_one_read_is_bounded():
    stream = Bounded(io.BytesIO(b"x" * 100), None, 10)
    assert stream.read(10) == b"x" * 10
    with pytest.raises(ValueError, match="of 11 bytes"):
        stream.read(11)
