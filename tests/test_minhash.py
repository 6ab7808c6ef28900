"""Signatures bit for bit those of datasketch; sketches and the whole chain by brute force."""

import gzip
import re

import datasketch
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedup.keepers import choose_keepers
from dedup.lsh import candidates, choose_bands
from dedup.minhash import TILE, MinHash, permutations, sign, sketch
from dedup.verify import similar_pairs

CONFIG = MinHash()


def documents(texts: list[str | None], orders: list[int] | None = None) -> pa.Table:
    n = len(texts)
    return pa.table(
        {
            "id": pa.array([f"id{i}" for i in range(n)], pa.string()),
            "text": pa.array(texts, pa.string()),
            "doc": pa.array(range(n), pa.uint64()),
            "order": pa.array(orders or [0] * n, pa.uint64()),
        }
    )


def reference(shingles: np.ndarray, config: MinHash) -> np.ndarray:
    scheme, low = f"affine{config.bits}", (1 << config.bits) - 1
    peer = datasketch.MinHash(
        config.permutations, config.seed, scheme=scheme, hashfunc=lambda h: h & low
    )
    peer.update_batch(int(s) for s in shingles)
    return peer.hashvalues


def assert_as_datasketch(texts: list[str], config: MinHash) -> int:
    """Returns how many texts had shingles."""
    signed = sign(pa.array(texts, pa.string()), config, config.permutations)
    assert signed.signatures.dtype == (np.uint32 if config.bits == 32 else np.uint64)
    for d, signature in enumerate(signed.signatures):
        shingles = signed.shingles[signed.offsets[d] : signed.offsets[d + 1]]
        assert signature.tobytes() == reference(shingles, config).tobytes()
    return int((np.diff(signed.offsets) > 0).sum())


@settings(deadline=None)  # kernels are compiled at the first call
@given(
    st.lists(st.text(st.sampled_from("ab1É中ก́𐐀 .\r\n\0"), max_size=60), max_size=6),
    st.sampled_from([1, 64, 100, 128, 256]),
    st.integers(0, 2**32 - 1),
    st.integers(1, 6),
    st.sampled_from([0, 1, 5]),
    st.sampled_from([32, 64]),
)
def test_signatures_are_those_of_datasketch(texts, n, seed, words, characters, bits):
    config = MinHash(permutations=n, seed=seed, words=words, characters=characters, bits=bits)
    assert_as_datasketch(texts, config)


@pytest.mark.parametrize("n_words", [4, 5, 35, 36, 37, TILE + 3, TILE + 4, TILE + 5, 3 * TILE])
def test_signatures_at_the_edges_of_tiles(n_words):
    text = " ".join(str(i * i) for i in range(n_words))
    assert assert_as_datasketch([text, text], CONFIG) == (0 if n_words < 5 else 2)


@pytest.mark.parametrize("bits", [32, 64])
def test_permutations_are_those_of_datasketch(bits):
    a, b = permutations(1024, 7, bits)
    peer = datasketch.MinHash(1024, 7, scheme=f"affine{bits}")
    assert np.array_equal(peer.permutations, np.array([a, b]))


def test_fewer_permutations_are_the_first_of_more():
    texts = pa.array(["one two three four five six seven"])
    some, every = sign(texts, CONFIG, 91).signatures, sign(texts, CONFIG, 128).signatures
    assert np.array_equal(some, every[:, :91])


@settings(deadline=None)  # kernels are compiled at the first call
@given(st.lists(st.sampled_from(["a", "B", "b", "7", "中"]), max_size=300), st.integers(1, 4))
def test_shingles_are_the_distinct_runs_of_words_sorted(tokens, words):
    signed = sign(pa.array([", ".join(tokens)]), MinHash(words=words), 1)
    folded = [token.lower() for token in tokens]
    runs = {tuple(folded[i : i + words]) for i in range(len(folded) - words + 1)}
    assert len(signed.shingles) == len(runs)
    assert np.all(signed.shingles[1:] > signed.shingles[:-1])


def test_equal_runs_are_equal_shingles_wherever_they_stand():
    texts = pa.array(["x a b c d e y", "A, b; c d-e", "e d c b a", "a b c d f"])
    signed = sign(texts, CONFIG, 1)
    sets = [set(signed.shingles[i:j]) for i, j in zip(signed.offsets, signed.offsets[1:])]  # noqa: B905
    assert [len(s) for s in sets] == [3, 1, 1, 1]
    assert sets[1] < sets[0]
    assert len(set.union(*sets)) == 5


def sizes(text: str, **config) -> int:
    return len(sign(pa.array([text]), MinHash(**config), 1).shingles)


def test_shingles_of_characters():
    assert sizes("abcde", characters=5) == sizes("AB, cd", characters=5) == 1
    assert sizes("abcd", characters=5) == 0
    assert sizes("  ab -- cd!", characters=2) == 4  # ab, b_, _c, cd
    signed = sign(pa.array(["ab, cd", "AB\nCD", "abcd"]), MinHash(characters=3), 8).signatures
    assert np.array_equal(signed[0], signed[1]) and not np.array_equal(signed[0], signed[2])


@pytest.mark.parametrize(
    ("first", "second", "choice"),
    [
        ("one two", "One Two", {"lowercase": True}),
        ("one, two!", "one two", {"punctuation": False}),
        ("caf\u00e9 noir", "cafe\u0301 noir", {"unicode": "nfc"}),
        ("\ufb01ne day", "fine day", {"unicode": "nfkc"}),
    ],
)
def test_normalisation_is_chosen(first, second, choice):
    other = {"lowercase": False, "punctuation": True, "unicode": "as_is"}
    name = next(iter(choice))
    for chosen, same in ((choice, True), ({name: other[name]}, False)):
        signed = sign(pa.array([first, second]), MinHash(words=2, **chosen), 16)
        assert np.array_equal(*signed.signatures) == same
        assert np.diff(signed.offsets).min() > 0
    assert sizes("list of 2019", words=3) and not np.array_equal(
        *sign(pa.array(["list of 2019", "list of 2024"]), MinHash(words=3), 16).signatures
    )


def test_the_same_word_a_million_times_is_one_shingle():
    signed = sign(pa.array(["spam " * 1_000_000, "spam eggs " * 500_000]), CONFIG, 8)
    assert np.diff(signed.offsets).tolist() == [1, 2]


def test_tables_of_a_sketch():
    docs = documents(
        ["a b c d e f", "too short to count", None, "", "A b c d e F!", "日本語文字列"]
    )
    bands, shingles = sketch(docs, CONFIG, 13, 7)
    uint64 = pa.uint64()
    assert bands.schema == pa.schema([("key", uint64), ("doc", uint64), ("order", uint64)])
    assert shingles.schema == pa.schema(
        [("doc", uint64), ("order", uint64), ("id", pa.string()), ("shingles", pa.list_(uint64))]
    )
    assert bands["doc"].to_pylist() == [0] * 13 + [4] * 13 + [5] * 13
    keys = bands["key"].to_numpy().reshape(3, 13)
    assert np.array_equal(keys[0], keys[1])  # the same words
    assert len(set(keys.ravel())) == 26  # the key tells the bands apart
    assert shingles["id"].to_pylist() == ["id0", "id4", "id5"]
    assert [len(s) for s in shingles["shingles"].to_pylist()] == [2, 2, 2]


def test_a_band_is_shared_where_all_its_rows_are_equal():
    texts = [" ".join(map(str, range(200))), " ".join(map(str, range(10, 210)))]
    for bands, rows in ((16, 8), (128, 1), (1, 128)):
        made, _ = sketch(documents(texts), CONFIG, bands, rows)
        keys = made["key"].to_numpy().reshape(2, bands)
        signatures = sign(pa.array(texts), CONFIG, bands * rows).signatures.reshape(2, bands, rows)
        equal = (signatures[0] == signatures[1]).all(axis=1)
        assert np.array_equal(keys[0] == keys[1], equal)
        if rows == 1:
            assert 64 < equal.sum() < 128  # of a Jaccard similarity of .9


@settings(deadline=None)  # kernels are compiled at the first call
@given(st.lists(st.text("ab \n", max_size=30) | st.none(), max_size=8), st.data())
def test_any_split_into_batches_gives_the_same_tables(texts, data):
    docs, config = documents(texts), MinHash(words=2)
    at = data.draw(st.integers(0, len(texts)))
    parts = [sketch(docs.slice(0, at), config, 4, 2), sketch(docs.slice(at), config, 4, 2)]
    for whole, first, second in zip(sketch(docs, config, 4, 2), *parts, strict=True):
        assert pa.concat_tables([first, second]).combine_chunks().equals(whole.combine_chunks())


@pytest.mark.parametrize(
    ("key", "value"),
    [("similarity", 0.0), ("similarity", 1.5), ("recall", 1.0), ("permutations", 0), ("words", 0),
     ("seed", -1), ("max_bucket", 1), ("characters", -1)],
)  # fmt: skip
def test_a_config_that_cannot_work_is_refused(key, value):
    with pytest.raises(ValueError, match=f"^{key} {re.escape(str(value))} "):
        MinHash(**{key: value})


def deduplicate(docs: pa.Table, config: MinHash, bands: int, rows: int, partitions: int) -> dict:
    """The whole chain as the stages run it: {removed doc: (keeper, similarity)}."""
    band_rows, shingles = sketch(docs, config, bands, rows)
    part = band_rows["key"].to_numpy() % partitions
    proposed = [
        candidates(band_rows.filter(pa.array(part == p)), config.max_bucket)
        for p in range(partitions)
    ]
    pairs = pa.concat_tables(proposed).group_by(["a", "b"]).aggregate([])
    edges = similar_pairs(pairs, shingles, config.similarity)
    nodes = shingles.select(["doc", "order", "id"]).combine_chunks()
    fates = choose_keepers(edges, nodes, config.similarity)
    columns = (fates[name].to_pylist() for name in ("doc", "matched_id", "similarity"))
    return {doc: (matched, s) for doc, matched, s in zip(*columns, strict=True)}


def by_brute_force(texts: list[str], orders: list[int], config: MinHash) -> dict:
    sets = []
    for text in texts:
        words = text.split()
        runs = range(len(words) - config.words + 1)
        sets.append({tuple(words[i : i + config.words]) for i in runs})
    kept: list[int] = []
    removed = {}
    for doc in sorted(range(len(texts)), key=lambda d: (orders[d], d)):
        near = []
        for keeper in kept:
            union = sets[doc] | sets[keeper]
            jaccard = len(sets[doc] & sets[keeper]) / len(union) if union else 0.0
            if jaccard >= config.similarity:
                near.append((-jaccard, orders[keeper], keeper))
        if near:
            best = min(near)
            removed[doc] = (f"id{best[2]}", -best[0])
        else:
            kept.append(doc)
    return removed


@settings(deadline=None)  # kernels are compiled at the first call
@given(
    st.lists(st.lists(st.sampled_from("abcd"), max_size=14).map(" ".join), min_size=2, max_size=12),
    st.floats(0.4, 1),
    st.integers(1, 5),
)
def test_the_chain_gives_the_keepers_of_brute_force(texts, similarity, partitions):
    # 256 bands of one row miss a pair of similarity .4 with probability 10^-57
    config = MinHash(similarity=similarity, words=2, permutations=256)
    orders = [len(text) % 4 for text in texts]
    expected = by_brute_force(texts, orders, config)
    assert deduplicate(documents(texts, orders), config, 256, 1, partitions) == expected


def test_editions_of_a_book_fall_to_one_and_nothing_else(shared_data):
    paths = sorted((shared_data / "books").glob("*.txt.gz"))
    encodings = ["latin1" if "latin1" in path.name else "utf-8" for path in paths]
    texts = [
        gzip.decompress(path.read_bytes()).decode(encoding, "replace")
        for path, encoding in zip(paths, encodings, strict=True)
    ]
    bands, rows = choose_bands(CONFIG.similarity, CONFIG.recall, CONFIG.permutations)
    removed = deduplicate(documents(texts), CONFIG, bands, rows, 3)
    books = [path.name.split("_")[0] for path in paths]
    kept = [book for doc, book in enumerate(books) if doc not in removed]
    assert kept == sorted(set(books))
    assert len(removed) == 5  # three of Frankenstein, one of Moby Dick, one of Sherlock Holmes
    for doc, (keeper, similarity) in removed.items():
        assert books[doc] == books[int(keeper.removeprefix("id"))]
        assert 0.92 < similarity < 1
