"""pipeline/sources/table.py: Parquet and JSON lines, whole, split and damaged."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.schema import Document, Fault
from pipeline.sources.table import Table, read_table, split_table

ROWS = [{"text": f"Text {i} 日本 " + "word " * (i % 50), "id": f"x{i}", "n": i} for i in range(300)]


def read(path, config=None, split_bytes=1 << 60):
    ranges = split_table(str(path), split_bytes)
    return [x for s, e in ranges for x in read_table(str(path), s, e, config or Table())], ranges


def write(path, rows):
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=17)
        return path
    data = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    if path.suffix == ".gz":
        data = gzip.compress(data)
    if path.suffix == ".zst":
        data = pa.compress(data, "zstd", asbytes=True)
    path.write_bytes(data)
    return path


def kinds(items):
    return [x.error if isinstance(x, Fault) else (x.rule or x.text) for x in items]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.parquet"])
def test_rows(tmp_path, name):
    path = write(tmp_path / name, ROWS)
    whole, _ = read(path)
    assert [(x.text, x.id, x.meta) for x in whole] == [
        (row["text"], row["id"], {"n": str(row["n"])}) for row in ROWS
    ]
    locators = [x.locator for x in whole]
    assert locators == sorted(set(locators))
    for split_bytes in (1, 500, 5000):
        split, ranges = read(path, split_bytes=split_bytes)
        assert split == whole
        assert len(ranges) > 1 or name in ("a.jsonl.gz", "a.jsonl.zst")


@given(
    st.lists(
        st.sampled_from(
            [
                "",
                " ",
                '{"text": "a"}',
                '{"text": "日本"}',
                "bad",
                '{"x": 1}',
                '{"text": "' + "b" * 90 + '"}',
            ]
        )
    ),
    st.sampled_from(["\n", "\r\n"]),
    st.integers(1, 60),
    st.booleans(),
)
def test_any_split_of_lines(tmp_path_factory, lines, newline, split_bytes, last):
    path = tmp_path_factory.mktemp("t") / "a.jsonl"
    path.write_bytes((newline.join(lines) + newline * last).encode())
    config = Table(max_document_bytes=80)
    whole, _ = read(path, config)
    expected = [
        "too_large"
        if len(line) > 80
        else {"bad": "bad_json", '{"x": 1}': "missing_column"}.get(line) or json.loads(line)["text"]
        for line in lines
        if line.strip()
    ]
    assert kinds(whole) == (expected if path.stat().st_size else ["empty_file"])
    assert read(path, config, split_bytes)[0] == whole


def test_columns(tmp_path):
    row = {
        "content": "t",
        "key": 7,
        "url": "http://x",
        "path": "p",
        "created": "2024",
        "license": "MIT",
        "flag": True,
        "score": 0.5,
        "none": None,
        "nested": [1, 2],
        "long": "z" * 5000,
        "meta": {"title": "T"},
    }
    config = Table(text_column="content", id_column="key")
    for name in ("a.jsonl", "a.parquet"):
        [document] = read(write(tmp_path / name, [row]), config)[0]
        assert document[1:6] == ("t", "http://x", "p", "2024", "MIT")
        assert document.id == "7"
        if name == "a.jsonl":
            assert document.meta == {
                "flag": "true",
                "score": "0.5",
                "long": "z" * 1000,
                "title": "T",
            }
        [document] = read(tmp_path / name, Table(text_column="content", id_column=None))[0]
        assert document.id is None and document.meta["key"] == "7"


def test_own_output_can_be_read_again(tmp_path):
    from pipeline.schema import DOCUMENT

    table = pa.Table.from_pylist(
        [{"id": "web/a/0", "text": "t", "url": "u", "meta": [("title", "T")], "source": "web"}],
        DOCUMENT,
    )
    pq.write_table(table, tmp_path / "part-0.parquet")
    [document] = read(tmp_path / "part-0.parquet")[0]
    assert (document.id, document.url, document.meta) == (
        "web/a/0",
        "u",
        {"title": "T", "source": "web"},
    )


def test_bad_rows(tmp_path):
    lines = [
        b'{"text": "ok"}',
        b'{"text": null}',
        b'{"text": ""}',
        b'{"text": 5}',
        b'{"body": "x", "n": 1}',
        b'{"text": "a\\ud800b"}',
        b'{"text": "a\\u0000b"}',
        b'{"text": "caf\xe9"}',
        b'{"text": "x"',
        b"[1]",
        b"[" * 100_000,
        b'{"text": "x", "n": ' + b"9" * 5000 + b"}",
        b'{"text": "' + b"x" * 200_000 + b'"}',
        b'{"text": "end", "\\ud800": "\\ud801"}',
    ]
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join(lines))
    items, _ = read(path, Table(max_document_bytes=150_000))
    assert kinds(items) == [
        "ok",
        "no_text",
        "no_text",
        "wrong_type",
        "missing_column",
        "lone_surrogate",
        "nul_bytes",
        "bad_utf8",
        "bad_json",
        "bad_json",
        "bad_json",
        "bad_json",
        "too_large",
        "end",
    ]
    assert items[4].message == "no column 'text'; the line has body, n"
    assert items[12].head.startswith(b'{"text": "xxx') and len(items[12].head) == 4096
    assert items[13].meta == {"?": "?"}


def test_bad_parquet_rows(tmp_path):
    raw = pa.array([b"ok", b"caf\xe9", None, b"", b"a\0b", b"x" * 200]).cast(pa.binary())
    column = pa.StringArray.from_buffers(6, *raw.buffers()[1:], raw.buffers()[0], raw.null_count)
    pq.write_table(pa.table({"text": column}), tmp_path / "a.parquet")
    items, _ = read(tmp_path / "a.parquet", Table(max_document_bytes=100))
    assert kinds(items) == ["ok", "bad_utf8", "no_text", "no_text", "nul_bytes", "too_large"]


def test_bad_files(tmp_path):
    def fault(name, data):
        path = tmp_path / name
        path.write_bytes(data)
        items, _ = read(path, split_bytes=10)
        return [x.error for x in items if not isinstance(x, Document)]

    assert fault("a.jsonl", b"") == fault("a.parquet", b"") == ["empty_file"]
    assert fault("a.parquet", b"PAR1 nonsense PAR1") == ["bad_parquet"]
    assert fault("a.csv", b"x") == ["unknown_format"]
    good = b"".join(b'{"text": "%d"}\n' % i for i in range(5000))
    packed = gzip.compress(good)
    assert fault("a.jsonl.gz", packed[:-100]) == ["truncated_gzip"]
    assert fault("a.jsonl.gz", b"no gzip") == ["truncated_gzip"]
    zstd = pa.compress(good, "zstd", asbytes=True)
    assert fault("a.jsonl.zst", zstd[:-100])[-1:] in (["truncated_zstd"], ["bad_json"])
    assert fault("a.jsonl.gz", gzip.compress(bytes(100_000_000))) == ["bomb"]
    pq.write_table(pa.table({"body": ["x"], "n": [1]}), tmp_path / "b.parquet")
    [item] = read(tmp_path / "b.parquet")[0]
    assert (item.error, item.message) == (
        "missing_column",
        "no column 'text'; the table has body, n",
    )
    pq.write_table(pa.table({"text": [1]}), tmp_path / "b.parquet")
    assert kinds(read(tmp_path / "b.parquet")[0]) == ["wrong_type"]
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "b.parquet")
    assert read(tmp_path / "b.parquet")[0] == []


def test_damaged_row_group(tmp_path):
    path = write(tmp_path / "a.parquet", [{"text": "words " * 50 + str(i)} for i in range(100)])
    data = bytearray(path.read_bytes())
    data[200:400] = b"\xff" * 200
    path.write_bytes(bytes(data))
    items, _ = read(path, split_bytes=1)
    assert kinds(items).count("bad_parquet") >= 1
    assert len([x for x in items if isinstance(x, Document)]) >= 50


def test_a_line_of_50_mb(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "a"}\n{"text": "' + b"x" * 50_000_000 + b'"}\n{"text": "b"}\n')
    assert kinds(read(path)[0]) == ["a", "too_large", "b"]
    assert kinds(read(path, split_bytes=10_000_000)[0]) == ["a", "too_large", "b"]


def test_real_tables(shared_data):
    items, _ = read(shared_data / "lid/udhr.jsonl.gz")
    assert len(items) == 380 and all(x.rule is None for x in items)
    config = Table(text_column="prompt", id_column="task_id")
    items, _ = read(shared_data / "testsets/humaneval.jsonl", config)
    assert len(items) == 164 and items[0].id == "HumanEval/0"
