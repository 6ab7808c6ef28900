"""filters/link_list.py: one key for equal URLs; lists in every form."""

# ruff: noqa: E501 - a row is a line

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.link_list import LinkList, link_keys, link_list, load_links
from filters.rules import with_removal


def table(urls):
    columns = {"text": pa.array(["x"] * len(urls), pa.string()), "url": pa.array(urls, pa.string())}
    return with_removal(pa.table(columns))


ENTRIES = [("https://www.example.com/a/", 5), ("http://b.org/page?id=1&utm_source=x", 2),
           ("http://example.com/a", 9), ("c.net", 3), ("http://MÜNCHEN.de/Weg", 1)]  # fmt: skip

EQUAL = [
    ("https://example.com/a", "http://www.EXAMPLE.com:80/a/#top", "//example.com/a?", "example.com./a"),
    ("http://a.org", "https://a.org/", "http://u@www.a.org?utm_medium=b&fbclid=c", "a.org//"),
    ("http://a.org/?a=1&b=2", "https://a.org/?utm_x=1&a=1&&b=2&gclid=2#f", "http://a.org?a=1&b=2"),
    ("http://a.org/%7Eb/%41%c3%a9", "http://a.org/~b/Aé"),
    ("http://münchen.de", "xn--mnchen-3ya.de"),
]  # fmt: skip
DIFFERENT = ["http://a.org/", "http://a.org/A", "http://a.org/a", "http://a.org/a?b", "http://b.a.org/a",
             "http://a.org/a?utm=1", "http://a.org/a?b=1&c", "http://a.org/a%2Fb", "http://a.org/a/b",
             "http://www.org/", "http://a.org/a?ref=1"]  # fmt: skip


@pytest.mark.parametrize("urls", EQUAL)
def test_equal_urls(urls):
    keys = link_keys(pa.array(urls))
    assert len(set(keys.tolist())) == 1 and keys[0] != 0


def test_different_urls():
    keys = link_keys(pa.array(DIFFERENT))
    assert len(set(keys.tolist())) == len(DIFFERENT)
    assert link_keys(pa.array(["", None, "mailto:x@y", "http://"], pa.string())).tolist() == [0] * 4


def _lines(separator, header):
    rows = [separator.join(map(str, entry)) + "\n" for entry in ENTRIES]
    return (separator.join(["id", "url", "score"][1:]) + "\n" if header else "") + "".join(rows)


def write(folder, name):
    path = folder / name
    if name.endswith(".parquet"):
        urls, scores = zip(*ENTRIES, strict=True)
        pq.write_table(pa.table({"score": scores, "url": urls}), path)
        return path
    if ".jsonl" in name:
        text = "".join(json.dumps({"url": u, "score": s, "x": None}) + "\n" for u, s in ENTRIES)
    elif name.startswith("plain"):
        text = "".join(f"{url}\n" for url, _ in ENTRIES)
    else:
        text = _lines("," if ".csv" in name else "\t", header="header" in name)
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


URLS = ["http://www.example.com/a", "https://b.org/page?id=1", "https://b.org/page", "http://www.c.net/",
        "http://münchen.de/Weg", "http://münchen.de/weg", None, "no url at all"]  # fmt: skip
LINKED = [True, True, False, True, True, False, False, False]


@pytest.mark.parametrize(
    "name",
    ["header.csv", "a.csv.gz", "header.tsv", "a.tsv", "a.jsonl", "a.jsonl.gz", "a.parquet", "plain.txt", "plain.gz"],
)  # fmt: skip
def test_lists(tmp_path, name):
    path = str(write(tmp_path, name))
    docs = link_list(table(URLS), LinkList(links=(path,)))
    assert docs["link_list.linked"].to_pylist() == LINKED
    assert docs["rule"].to_pylist() == [None if linked else "not_linked" for linked in LINKED]
    if name.startswith("plain"):
        assert docs["link_list.score"].null_count == len(URLS)
        with pytest.raises(ValueError, match="no URL of"):
            load_links(LinkList(links=(path,), min_score=3))
        return
    assert docs["link_list.score"].to_pylist() == [9, 2, None, 3, 1, None, None, None]
    scored = link_list(table(URLS), LinkList(links=(path,), min_score=3))
    assert scored["rule"].to_pylist()[:5] == [
        None, "low_link_score", "not_linked", None, "low_link_score",
    ]  # fmt: skip
    assert scored["value"].to_pylist()[1] == 2 and scored["threshold"].to_pylist()[1] == 3
    assert link_list(table([]), LinkList(links=(path,))).num_rows == 0


def test_mistakes(tmp_path):
    with pytest.raises(ValueError, match="links is empty"):
        LinkList(links=())
    (tmp_path / "a.jsonl").write_text('{"url": "a.com"}\n{"url": \n')
    (tmp_path / "b.jsonl").write_text('{"link": "a.com"}\n')
    (tmp_path / "c.tsv").write_text("a.com\t1\nb.com\t2\t3\n")
    (tmp_path / "d.parquet").write_text("no parquet")
    for name in ("a.jsonl", "b.jsonl", "c.tsv", "d.parquet", "missing.csv"):
        with pytest.raises(ValueError, match=name):
            load_links(LinkList(links=(str(tmp_path / name),)))


@given(st.lists(st.sampled_from(["a.com/1", "a.com/2", "b.com", "c.org/x", "d.net"]), min_size=1),
       st.lists(st.sampled_from(["a.com/1", "a.com/2", "b.com", "c.org/x", "d.net"])))  # fmt: skip
def test_against_a_set(tmp_path_factory, listed, asked):
    name = "-".join(sorted(listed)).replace("/", "_")
    path = tmp_path_factory.getbasetemp() / f"{name[:200]}.txt"
    path.write_text("".join(f"{url}\n" for url in listed))
    docs = link_list(table([f"http://{url}" for url in asked]), LinkList(links=(str(path),)))
    if len(name) <= 200:
        assert docs["link_list.linked"].to_pylist() == [url in set(listed) for url in asked]
