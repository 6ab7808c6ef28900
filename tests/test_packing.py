"""Packing: every token once, rows of one length, cuts at row boundaries only, all traceable."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from train import packing
from train.packing import pack, write_packed

SHORTEST_PIECE = 2


def slow_pack(lengths: list[int], width: int) -> list[list[tuple[int, int, int]]]:
    """The rule in plain Python: rows of (document, offset, length)."""
    open_rows: list[list[tuple[int, int, int]]] = []
    touched: list[int] = []
    clock = 0

    def room(row: int) -> int:
        return width - sum(n for _, _, n in open_rows[row])

    def put(row: int, piece: tuple[int, int, int]) -> None:
        nonlocal clock
        open_rows[row].append(piece)
        clock += 1
        touched[row] = clock

    def best(n: int, but: int = -1) -> int | None:
        fitting = [i for i in range(len(open_rows)) if room(i) >= n and i != but]
        return min(fitting, key=lambda i: (room(i), -touched[i])) if fitting else None

    def add(piece: tuple[int, int, int], but: int = -1) -> None:
        row = best(piece[2], but)
        if row is None:
            open_rows.append([])
            touched.append(0)
            row = len(open_rows) - 1
        put(row, piece)

    by_rest = sorted(range(len(lengths)), key=lambda i: -(lengths[i] % width))
    for document in by_rest:
        if 0 < lengths[document] < width:
            add((document, 0, lengths[document]))
    full_rows = []
    for document in by_rest:
        full, rest = divmod(lengths[document], width)
        head = 0
        if full and rest and best(rest) is None:
            heads = [i for i in range(len(open_rows)) if room(i) >= SHORTEST_PIECE]
            heads = [i for i in heads if room(i) <= rest - SHORTEST_PIECE]
            first = max(heads, key=lambda i: (room(i), touched[i]), default=None)
            if first is not None and best(rest - room(first), first) is not None:
                head = room(first)
                put(first, (document, 0, head))
        full_rows += [[(document, head + i * width, width)] for i in range(full)]
        if full and rest:
            add((document, head + full * width, rest - head))
    rows = [sorted(r) for r in full_rows + open_rows]
    return sorted(rows, key=lambda r: r[0][0])


def as_rows(packing) -> list[list[tuple[int, int, int]]]:
    rows: list[list[tuple[int, int, int]]] = [[] for _ in range(packing.n_rows)]
    pieces = zip(packing.row, packing.document, packing.offset, packing.length, strict=True)
    for row, *piece in pieces:
        rows[row].append(tuple(map(int, piece)))
    return rows


@pytest.fixture(autouse=True)
def short_pieces(monkeypatch):
    """Documents of these tests have tens of tokens."""
    monkeypatch.setattr(packing, "SHORTEST_PIECE", SHORTEST_PIECE)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.integers(0, 40), max_size=40), st.integers(1, 16))
def test_the_fast_packer_follows_the_slow_one(lengths, width):
    assert as_rows(pack(np.array(lengths, int), width)) == slow_pack(lengths, width)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 40), max_size=40), st.integers(1, 16))
def test_every_token_is_placed_once_and_cuts_are_at_row_boundaries(lengths, width):
    rows = as_rows(pack(np.array(lengths, int), width))
    covered = sorted((d, o + i) for row in rows for d, o, n in row for i in range(n))
    assert covered == [(d, i) for d, n in enumerate(lengths) for i in range(n)]
    for row in rows:
        assert 0 < sum(n for _, _, n in row) <= width
    for document, n in enumerate(lengths):
        pieces = sorted((o, m) for row in rows for d, o, m in row if d == document)
        between = pieces[1:-1] if pieces and pieces[0][1] < width else pieces[:-1]
        assert all(m == width for _, m in between)
        assert len(pieces) <= (1 if n <= width else n // width + 2)
        if len(pieces) > -(-n // width):  # cut once more, to fill a row up
            assert min(pieces[0][1], pieces[-1][1]) >= SHORTEST_PIECE


def test_a_document_that_is_cut_anyway_fills_a_row_up():
    """15 of 10 tokens a row: nothing has room for the rest of 5, but 3 and 2 have."""
    packed = pack(np.array([7, 8, 15]), 10)
    assert as_rows(packed) == [
        [(0, 0, 7), (2, 0, 3)],
        [(1, 0, 8), (2, 13, 2)],
        [(2, 3, 10)],
    ]


def test_usual_lengths_fill_999_of_1000_slots_and_cut_ten_times_less_than_concatenation():
    draw = np.random.default_rng(0)
    lengths = np.minimum(draw.lognormal(5.8, 1.1, 20_000).astype(int) + 1, 30_000)
    width = 2048
    packing = pack(lengths, width)
    assert lengths.sum() / (packing.n_rows * width) > 0.999
    cut = (np.bincount(packing.document) > 1).sum()
    ends = np.cumsum(lengths)
    cut_by_concatenation = ((ends - 1) // width > (ends - lengths) // width).sum()
    longer = (lengths > width).sum()
    assert cut == longer
    assert cut_by_concatenation - longer > 3000  # those that were cut without need


DOCUMENTS = [("web/a/0", 3), ("web/a/1", 11), ("books/b/0", 0), ("web/a/2", 4), ("web/a/3", 1)]


def tokens(name: str, n: int) -> np.ndarray:
    base = sum(name.encode()) % 50
    return np.arange(base, base + n, dtype=np.uint16)


def written(tmp_path, **changes):
    given = {"vocab_size": 100, "tokenizer_digest": "d1", **changes}
    documents = [(name, name.split("/")[0], tokens(name, n)) for name, n in DOCUMENTS]
    return write_packed(str(tmp_path / "part-00000.arrow"), documents, 4, **given)


def test_rows_lead_back_to_their_documents(tmp_path):
    file = written(tmp_path)
    assert (file.rows, file.documents, file.tokens, file.cut_documents) == (5, 4, 19, 1)
    assert file.fill == 19 / 20
    table = pa.ipc.open_file(file.path).read_all()
    assert table.schema.field("tokens").type.list_size == 4
    assert table.schema.field("tokens").type.value_type == pa.uint16()
    rows = table.to_pylist()
    assert [row["lengths"] for row in rows] == [[3, 1], [4], [4], [3], [4]]
    originals = {name: tokens(name, n).tolist() for name, n in DOCUMENTS}
    seen: dict[str, list[int]] = {name: [] for name, _ in DOCUMENTS}
    at = [0] * len(rows)
    for piece in pq.read_table(file.documents_path).to_pylist():
        row, start = piece["row"], at[piece["row"]]
        got = rows[row]["tokens"][start : start + piece["length"]]
        assert got == originals[piece["id"]][piece["offset"] : piece["offset"] + piece["length"]]
        seen[piece["id"]] += got
        assert piece["source"] == piece["id"].split("/")[0]
        at[row] += piece["length"]
    assert at == [sum(row["lengths"]) for row in rows]
    assert seen == originals
    assert all(not any(r["tokens"][n:]) for r, n in zip(rows, at, strict=True))


def test_the_same_bytes_again_and_no_leftovers(tmp_path):
    first, second = written(tmp_path / "a"), written(tmp_path / "b")
    for one, two in ((first.path, second.path), (first.documents_path, second.documents_path)):
        assert Path(one).read_bytes() == Path(two).read_bytes()
    assert len(list((tmp_path / "a").iterdir())) == 2


def test_windows_do_not_change_what_is_in_the_file(tmp_path):
    whole, windows = written(tmp_path / "a"), written(tmp_path / "b", window_tokens=5)
    assert (windows.tokens, windows.documents, windows.cut_documents) == (19, 4, 1)
    names = [pq.read_table(f.documents_path)["id"].to_pylist() for f in (whole, windows)]
    assert sorted(names[0]) == sorted(names[1])
    last = pq.read_table(windows.documents_path)["row"].to_pylist()
    assert last == sorted(last) and last[-1] == windows.rows - 1


def test_a_large_vocabulary_takes_uint32_and_foreign_ids_are_refused(tmp_path):
    file = written(tmp_path, vocab_size=70_000)
    assert pa.ipc.open_file(file.path).schema.field("tokens").type.value_type == pa.uint32()
    with pytest.raises(ValueError, match=r"token id \d+ is outside the vocabulary of 10"):
        written(tmp_path / "c", vocab_size=10)


def test_no_documents(tmp_path):
    file = write_packed(
        str(tmp_path / "p.arrow"),
        [("a", "s", np.empty(0, int))],
        4,
        vocab_size=9,
        tokenizer_digest="",
    )
    assert (file.rows, file.fill, file.documents) == (0, 0.0, 0)
