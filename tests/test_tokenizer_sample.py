"""pipeline/tokenizer_sample.py: a tokenizer's sample follows the mixture, and reads little."""

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from filters.kernels import hash_strings
from pipeline.mixture import Mixture, Split
from pipeline.schema import DOCUMENT
from pipeline.tokenizer_sample import Documents, group_shares, group_sizes, sample_texts

BYTES = 100  # of a document


def table(source: str, n: int) -> pa.Table:
    rows = [
        {
            "id": f"{source}/shard/{i}",
            "source": source,
            "text": f"{source} {'en' if i % 4 else 'de'} {i} ".ljust(BYTES, "."),
            "meta": [("lang", "en" if i % 4 else "de")],
        }
        for i in range(n)
    ]
    return pa.Table.from_pylist(rows, schema=DOCUMENT)


@pytest.fixture
def sources(tmp_path) -> list[Documents]:
    found = []
    for source, n in (("web", 4000), ("books", 400)):
        paths = [f"{source}-{part}.parquet" for part in range(2)]
        whole = table(source, n)
        for part, path in enumerate(paths):
            half = whole.slice(part * n // 2, n // 2)
            pq.write_table(half, tmp_path / path, row_group_size=100)
        found.append(Documents(source, paths, n * BYTES))
    return found


def drawn(root, sources, mixture, n_bytes=20_000) -> dict[str, int]:
    """Bytes by source and language."""
    found: dict[str, int] = {}
    for texts in sample_texts(str(root), sources, mixture, n_bytes, seed=5):
        for text in texts.to_pylist():
            name = " ".join(text.split()[:2])
            found[name] = found.get(name, 0) + len(text)
    return found


def by_source(found: dict[str, int]) -> dict[str, int]:
    return {s: sum(n for name, n in found.items() if name.startswith(s)) for s in ("web", "books")}


def test_weights_by_source(tmp_path, sources):
    mixture = Mixture(weights={"web": 0.25, "books": 0.75})
    assert by_source(drawn(tmp_path, sources, mixture)) == {"web": 5000, "books": 15_000}
    plenty = by_source(drawn(tmp_path, sources, mixture, 200_000))
    assert plenty == {"web": 50_000, "books": 40_000}  # all that there is
    by_size = by_source(drawn(tmp_path, sources, None))
    assert by_size == {"web": 18_182, "books": 1818}
    assert by_source(drawn(tmp_path, sources, Mixture(weights={"books": 1.0})))["web"] == 0


def test_weights_by_a_column(tmp_path, sources):
    split = {"web": Split(column="meta.lang")}
    mixture = Mixture(weights={"web/de": 0.6, "web/en": 0.1, "books": 0.3}, split=split)
    found = drawn(tmp_path, sources, mixture)
    assert {"web de": 12_000, "web en": 2000}.items() <= found.items()
    whole = Mixture(weights={"web": 0.8, "books": 0.2}, split=split)
    found = drawn(tmp_path, sources, whole)
    assert {"web de": 4000, "web en": 12_000}.items() <= found.items()
    with pytest.raises(ValueError, match=r"mixture\.weights\.web/fr: no such source or group"):
        drawn(tmp_path, sources, Mixture(weights={"web/fr": 1.0}, split=split))


def test_other_schemes(tmp_path, sources):
    sizes = group_sizes(str(tmp_path), sources, None)
    assert sizes == {"web": 400_000, "books": 40_000}
    hot = group_shares(sizes, Mixture(scheme="temperature", temperature=2.0))
    assert hot["web"] / hot["books"] == pytest.approx(10**0.5)
    even = group_shares(sizes, Mixture(scheme="unimax", tokens=10_000))
    assert even == {"web": 0.5, "books": 0.5}
    capped = group_shares(sizes, Mixture(scheme="unimax", tokens=50_000, max_epochs=1.0))
    assert capped["books"] == pytest.approx(0.2)  # 10,000 tokens, about


def test_any_parts_and_any_order(tmp_path, sources):
    mixture = Mixture(weights={"web": 0.5, "books": 0.5})

    def texts(given) -> list[str]:
        batches = sample_texts(str(tmp_path), given, mixture, 20_000, seed=5)
        return sorted(text for batch in batches for text in batch.to_pylist())

    one = [Documents(s, [f"{s}.parquet"], n * BYTES) for s, n in (("books", 400), ("web", 4000))]
    for documents, n in zip(one, (400, 4000), strict=True):
        pq.write_table(table(documents.source, n), tmp_path / documents.paths[0])
    assert texts(sources) == texts(one)


def test_texts_of_other_row_groups_are_not_read(tmp_path):
    """A row group without a chosen document has its texts overwritten: reading them would fail."""
    rows = table("web", 1000)
    path = tmp_path / "a.parquet"
    pq.write_table(rows, path, row_group_size=10, compression="none", use_dictionary=False)
    place = hash_strings(rows["id"], 5) / 2.0**64
    damaged, data = 0, bytearray(path.read_bytes())
    metadata = pq.read_metadata(path)
    for i in range(metadata.num_row_groups):
        if place[10 * i : 10 * i + 10].min() > 3 * 2000 / (1000 * BYTES):
            column = metadata.row_group(i).column(rows.column_names.index("text"))
            assert column.path_in_schema == "text"
            start = column.data_page_offset
            data[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
            damaged += 1
    path.write_bytes(data)
    assert damaged > 30
    with pytest.raises(OSError):
        pq.read_table(path)
    sources = [Documents("web", ["a.parquet"], 1000 * BYTES)]
    [texts] = sample_texts(str(tmp_path), sources, None, 2000, seed=5)
    assert pc.sum(pc.binary_length(texts)).as_py() == 2000
