"""pipeline/sources/table.py: every kind of table, whole, split and damaged."""

import bz2
import csv
import gzip
import io
import json
import lzma

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.schema import Document, Fault
from pipeline.sources.table import Table, read_table, split_table
from pipeline.storage import expand

ROWS = [{"text": f"Text {i} 日本 " + "word " * (i % 50), "id": f"x{i}", "n": i} for i in range(300)]


def read(path, config=None, split_bytes=1 << 60):
    ranges = split_table(str(path), split_bytes)
    return [x for s, e in ranges for x in read_table(str(path), s, e, config or Table())], ranges


def lz4(data):
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "lz4") as packed:
        packed.write(data)
    return out.getvalue().to_pybytes()


PACK = {
    ".gz": gzip.compress,
    ".zst": lambda data: pa.compress(data, "zstd", asbytes=True),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".lz4": lz4,
}


def write(path, rows):
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=17)
        return path
    if path.suffix in (".arrow", ".arrows"):
        table = pa.Table.from_pylist(rows)
        new = pa.ipc.new_file if path.suffix == ".arrow" else pa.ipc.new_stream
        with new(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=17)
        return path
    if ".csv" in path.name or ".tsv" in path.name:
        text = io.StringIO()
        delimiter = "\t" if ".tsv" in path.name else ","
        writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
        data = text.getvalue().encode()
    else:
        data = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    path.write_bytes(PACK.get(path.suffix, bytes)(data))
    return path


def kinds(items):
    return [x.error if isinstance(x, Fault) else (x.rule or x.text) for x in items]


NAMES = ["a.jsonl", "a.parquet", "a.arrow", "a.arrows", "a.csv", "a.tsv", "a.csv.gz"]
NAMES += [f"a.jsonl{ending}" for ending in PACK]


@pytest.mark.parametrize("name", NAMES)
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
        assert len(ranges) > 1 or name not in ("a.jsonl", "a.parquet", "a.arrow")


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
    assert (
        items[4].message
        == "no column 'text'; the line has body, n; name the right one: text_column"
    )
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
    for write, name in ((pq.write_table, "a.parquet"), (pa.feather.write_feather, "a.arrow")):
        write(pa.table({"text": ["a"], "number": [1]}), tmp_path / name)
        damaged = (tmp_path / name).read_bytes().replace(b"number", b"num\x82er")
        assert fault(name, damaged) == ["bad_parquet" if name == "a.parquet" else "bad_arrow"]
    assert fault("a.md", b"x") == fault("a.parquet.gz", b"x") == ["unknown_format"]
    array = tmp_path / "a.json"
    array.write_bytes(b'[\n{"text": "a"},\n{"text": "b"}\n]')
    assert kinds(read(array)[0]) == ["json_array"]
    assert fault("a.arrow", b"ARROW1 nonsense") == fault("a.arrow", b"nonsense") == ["bad_arrow"]
    good = b"".join(b'{"text": "%d"}\n' % i for i in range(5000))
    packed = gzip.compress(good)
    assert fault("a.jsonl.gz", packed[:-100]) == ["truncated_gzip"]
    assert fault("a.jsonl.gz", b"no gzip") == ["truncated_gzip"]
    zstd = pa.compress(good, "zstd", asbytes=True)
    assert fault("a.jsonl.zst", zstd[:-100]) == ["truncated_zstd"]
    assert fault("a.jsonl.xz", lzma.compress(good)[:-100]) == ["truncated_xz"]
    assert fault("a.jsonl.bz2", bz2.compress(good)[:-100]) == ["truncated_bz2"]
    assert fault("a.jsonl.lz4", lz4(good)[:-100]) == ["truncated_lz4"]
    assert fault("a.csv.gz", gzip.compress(b"text\n" + good)[:-100]) == ["truncated_gzip"]
    assert fault("a.jsonl.gz", gzip.compress(bytes(100_000_000))) == ["bomb"]
    assert fault("a.jsonl.xz", lzma.compress(bytes(50_000_000), preset=0)) == ["bomb"]
    assert fault("a.csv.gz", gzip.compress(b"text\n" + (b"x" * 2000 + b"\n") * 30_000)) == ["bomb"]
    pq.write_table(pa.table({"body": ["x"], "n": [1]}), tmp_path / "b.parquet")
    [item] = read(tmp_path / "b.parquet")[0]
    assert (item.error, item.message) == (
        "missing_column",
        "no column 'text'; the table has body, n; name the right one: text_column",
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


def test_csv(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(
        b'\xef\xbb\xbfid,text,score\r\n1,"two\nlines, and ""quotes""",0.5\r\n\r\n2,plain,\r\n'
        b"3,too,many,fields\r\n4,caf\xe9,1\r\n5,,1\r\n6,\x00,1\r\n7,last,1"
    )
    items, _ = read(path)
    assert kinds(items) == [
        'two\nlines, and "quotes"',
        "plain",
        "wrong_field_count",
        "bad_utf8",
        "no_text",
        "nul_bytes",
        "last",
    ]
    assert (items[0].locator, items[0].id, items[0].meta) == ("000000000018", "1", {"score": "0.5"})
    assert items[2].message == (
        "4 fields, and the table has 3 columns; where another character divides them, set delimiter"
    )
    path.write_text("1;'a;b'\n2;c\n")
    config = Table(delimiter=";", quote="'", header=("id", "text"))
    assert [(x.id, x.text) for x in read(path, config)[0]] == [("1", "a;b"), ("2", "c")]
    tsv = tmp_path / "b.tsv"
    tsv.write_text('text\tn\n"odd\t1\nend"\t2\n')
    assert kinds(read(tsv, Table(quote=""))[0]) == ['"odd', 'end"']
    assert kinds(read(tsv)[0]) == ["odd\t1\nend"]


def test_a_quote_that_is_never_closed(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('text,n\nbefore,1\n"open,2\n' + "line,3\n" * 200)
    items, _ = read(path, Table(max_document_bytes=300))
    found = kinds(items)
    assert found[:2] == ["before", "too_large"] and found[2:] == ["line"] * len(found[2:])
    assert len(found) > 150 and "quote not closed" in items[1].message
    path.write_text("text,n\n" + "x" * 1000 + ",1\nafter,2\n")
    assert kinds(read(path, Table(max_document_bytes=300))[0]) == ["too_large", "after"]


def test_nested_columns(tmp_path):
    row = {"data": {"body": "words", "info": {"url": "u"}}, "license": "MIT", "n": 1, "x": "y"}
    config = Table(
        text_column="data.body", url_column="data.info.url", meta_columns=("n", "data.no")
    )
    for name in ("a.jsonl", "a.parquet", "a.arrow", "a.arrows"):
        [document] = read(write(tmp_path / name, [row]), config)[0]
        assert document[1:6] == ("words", "u", None, None, "MIT") and document.meta == {"n": "1"}
    missing = read(tmp_path / "a.parquet", Table(text_column="data.text"))[0]
    assert (missing[0].error, missing[0].message) == (
        "missing_column",
        "no column 'data.text'; the table has data, license, n, x; name the right one: text_column",
    )


def test_arrow_types(tmp_path):
    texts = ["a", "日本", None]
    for column in (
        pa.array(texts, pa.large_string()),
        pa.array(texts, pa.string_view()),
        pa.array(texts).dictionary_encode(),
    ):
        with pa.ipc.new_file(tmp_path / "a.arrow", pa.schema([("text", column.type)])) as writer:
            writer.write_batch(pa.record_batch([column], names=["text"]))
        assert kinds(read(tmp_path / "a.arrow")[0]) == ["a", "日本", "no_text"]
    for column in (pa.array([1, 2]), pa.array([["a"], ["b"]]), pa.array([b"a", b"b"])):
        for name, new in (("a.arrow", pa.ipc.new_file), ("a.arrows", pa.ipc.new_stream)):
            with new(tmp_path / name, pa.schema([("text", column.type)])) as writer:
                writer.write_batch(pa.record_batch([column], names=["text"]))
            assert kinds(read(tmp_path / name)[0]) == ["wrong_type"]


@pytest.mark.parametrize("name", ["a.arrow", "a.arrows", "a.parquet"])
def test_damaged_bytes_never_end_the_process(tmp_path, name):
    good = write(tmp_path / name, ROWS).read_bytes()
    seen = set()
    for at in range(0, len(good), max(1, len(good) // 50)):
        damaged = bytearray(good)
        damaged[at : at + 4] = b"\xff\xff\xff\x7f"
        (tmp_path / name).write_bytes(bytes(damaged))
        items, _ = read(tmp_path / name, split_bytes=500)
        seen |= {x.error for x in items if isinstance(x, Fault)}
    assert {"bad_arrow", "bad_parquet"} & seen


def test_a_hugging_face_directory(tmp_path):
    for path in (
        "en/train-00000-of-00002",
        "en/train-00001-of-00002",
        "en/test-00000",
        "de/train-0",
    ):
        (tmp_path / "set/data" / path).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / f"set/data/{path}.parquet", [{"text": path}])
    (tmp_path / "set/README.md").write_text("---\n")

    def shards(pattern):
        return [name for _, name in expand(str(tmp_path / pattern))]

    assert shards("set/data/en/train-*.parquet") == [
        "train-00000-of-00002.parquet",
        "train-00001-of-00002.parquet",
    ]
    assert shards("set/**/train-*.parquet") == [
        "data/de/train-0.parquet",
        "data/en/train-00000-of-00002.parquet",
        "data/en/train-00001-of-00002.parquet",
    ]


def test_configs_are_checked():
    for wrong, message in (
        ({"delimiter": "||"}, "delimiter"),
        ({"quote": "\n"}, "quote"),
        ({"header": ("a",)}, "header has no text_column 'text'"),
        ({"max_document_bytes": 0}, "max_document_bytes"),
    ):
        with pytest.raises(ValueError, match=message):
            Table(**wrong)


def test_real_tables(shared_data):
    items, _ = read(shared_data / "lid/udhr.jsonl.gz")
    assert len(items) == 380 and all(x.rule is None for x in items)
    config = Table(text_column="prompt", id_column="task_id")
    items, _ = read(shared_data / "testsets/humaneval.jsonl", config)
    assert len(items) == 164 and items[0].id == "HumanEval/0"
