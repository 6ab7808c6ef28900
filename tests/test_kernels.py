"""The kernels against plain Python: XXH64, UTF-8, characters."""

import itertools
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.kernels import (
    IDEOGRAPH,
    LETTER,
    UNSPACED,
    character_tables,
    decode,
    hash_strings,
    slot_of,
    table_size,
    text_buffers,
)

patient = settings(deadline=None)  # the first example compiles

SINGLE = (
    "CJK UNIFIED", "CJK COMPATIBILITY", "HIRAGANA", "KATAKANA", "HENTAIGANA", "BOPOMOFO",
    "IDEOGRAPHIC", "HALFWIDTH KATAKANA", "VERTICAL KANA", "VERTICAL IDEOGRAPHIC", "MASU MARK",
)  # fmt: skip
UNSPACED_SCRIPTS = ("THAI ", "LAO ", "MYANMAR ", "KHMER ")


def is_single(char: str) -> bool:
    """Is it a word on its own? By its name: an oracle that knows no code point ranges."""
    name = unicodedata.name(char, "")
    single = name.startswith(SINGLE + UNSPACED_SCRIPTS)
    return single and (unicodedata.category(char)[0] == "L" or char == "〇")


def slow_xxh64(data: bytes, seed: int) -> int:
    """After doc/xxhash_spec.md."""
    p1, p2, p3, p4, p5 = (
        0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63,
        0x27D4EB2F165667C5,
    )  # fmt: skip
    all_bits = 2**64 - 1

    def rotl(x: int, r: int) -> int:
        x &= all_bits
        return (x << r | x >> (64 - r)) & all_bits

    def lane_round(lane: int, word: int) -> int:
        return rotl(lane + word * p2, 31) * p1 & all_bits

    n_striped = len(data) // 32 * 32
    h = seed + p5
    if n_striped:
        lanes = [seed + p1 + p2, seed + p2, seed, seed - p1]
        for at in range(0, n_striped, 8):
            word = int.from_bytes(data[at : at + 8], "little")
            lanes[at // 8 % 4] = lane_round(lanes[at // 8 % 4], word)
        h = sum(rotl(lane, r) for lane, r in zip(lanes, (1, 7, 12, 18), strict=True))
        for lane in lanes:
            h = (h ^ lane_round(0, lane)) * p1 + p4 & all_bits
    h = h + len(data) & all_bits
    rest = data[n_striped:]
    while len(rest) >= 8:
        h = rotl(h ^ lane_round(0, int.from_bytes(rest[:8], "little")), 27) * p1 + p4 & all_bits
        rest = rest[8:]
    if len(rest) >= 4:
        h = rotl(h ^ int.from_bytes(rest[:4], "little") * p1 & all_bits, 23) * p2 + p3 & all_bits
        rest = rest[4:]
    for byte in rest:
        h = rotl(h ^ byte * p5 & all_bits, 11) * p1 & all_bits
    h = (h ^ h >> 33) * p2 & all_bits
    h = (h ^ h >> 29) * p3 & all_bits
    return h ^ h >> 32


# XXH64 test vectors: "" and "a", "abc" with seed 0, as xxhsum prints them.
@pytest.mark.parametrize(
    ("text", "value"),
    [("", 0xEF46DB3751D8E999), ("a", 0xD24EC4F1A98C6E5B), ("abc", 0x44BC2CF5AD770999)],
)
def test_hash_is_xxh64(text: str, value: int) -> None:
    assert hash_strings(pa.array([text]), np.uint64(0)).tolist() == [value]
    assert slow_xxh64(text.encode(), 0) == value


@patient
@given(st.lists(st.binary(max_size=100), max_size=4), st.integers(0, 2**64 - 1))
def test_hash_against_plain_python(values: list[bytes], seed: int) -> None:
    hashes = hash_strings(pa.array(values, pa.binary()), np.uint64(seed))
    assert hashes.tolist() == [slow_xxh64(value, seed) for value in values]


def test_hash_of_a_null_is_that_of_an_empty_text() -> None:
    null, empty, other = hash_strings(pa.array([None, "", "x"]), np.uint64(7))
    assert null == empty != other


@patient
@given(st.characters(exclude_categories=["Cs"]))
def test_decode(char: str) -> None:
    data = np.frombuffer(char.encode(), np.uint8)
    assert decode(data, 0, len(data)) == (ord(char), len(data))


def test_classes_of_scripts_without_spaces() -> None:
    classes = character_tables()[0]
    seen = {IDEOGRAPH: 0, UNSPACED: 0}
    for code in (*range(0xD800), *range(0xE000, 0x40000)):
        char = chr(code)
        kind = classes[code]
        if is_single(char):
            unspaced = unicodedata.name(char).startswith(UNSPACED_SCRIPTS)
            assert kind == (UNSPACED if unspaced else IDEOGRAPH), hex(code)
            seen[kind] += 1
        else:
            assert kind not in seen, hex(code)
    assert seen[IDEOGRAPH] > 80_000 and seen[UNSPACED] > 250
    assert classes[ord("한")] == LETTER  # Korean has spaces


def test_text_buffers_of_a_slice_with_nulls_and_chunks() -> None:
    chunked = pa.chunked_array([pa.array(["x", "ab", None]), pa.array(["", "c"])])
    data, offsets = text_buffers(chunked.slice(1))
    rows = [data[a:b].tobytes() for a, b in itertools.pairwise(offsets)]
    assert rows == [b"ab", b"", b"", b"c"]
    assert data.dtype == np.uint8 and offsets.dtype == np.int32
    data, offsets = text_buffers(pa.chunked_array([], pa.string()))
    assert len(data) == 0 and offsets.tolist() == [0]


def test_the_bytes_under_a_null_are_not_read() -> None:
    buffers = pa.array(["ab", "cd"]).buffers()
    validity = pa.array([True, False]).buffers()[1]
    array = pa.Array.from_buffers(pa.string(), 2, [validity, *buffers[1:]])
    assert array.to_pylist() == ["ab", None]
    assert text_buffers(array)[1].tolist() == [0, 2, 2]


@patient
@given(st.lists(st.integers(1, 2**64 - 1), unique=True, max_size=50))
def test_table_holds_each_key_once(keys: list[int]) -> None:
    slots = np.zeros(table_size(len(keys)), np.uint64)
    for key in [*keys, *keys]:
        slots[slot_of(slots, np.uint64(key))] = key
    assert sorted(slots[slots != 0].tolist()) == sorted(keys)
    assert len(slots) >= 2 * len(keys)
