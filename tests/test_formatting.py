"""URLs and line ends in texts: literal rows, and a reference by regular expressions."""

import re

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.formatting import Formatting, formatting, measure

SCHEME = re.compile(r"(?:https?|ftp)://|www\.", re.IGNORECASE | re.ASCII)


def left(text: str, **options) -> str:
    return measure(pa.chunked_array([[text]]), Formatting(**options))[1][0].as_py()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("See https://a.org/b?c=d&e for more.", "See for more."),
        ("See (HTTP://A.org/b), or www.b.de!", "See (), or!"),
        ("At\twww.a.org\nand", "At\nand"),
        ("ftp://a.org/x", ""),
        ('<a href="https://a.org">', '<a href="">'),
        ("Node.js, setup.py, a.org and x@b.com stay.", None),
        ("A www. alone, http:// and xhttp://a.org stay.", None),
        ("éwww.a.org 1www.a.org stay.", None),
        ("漢字 http://漢字.jp/漢 漢字", "漢字 漢字"),
        ("", None),
    ],
)
def test_urls(text: str, wanted: str | None) -> None:
    assert left(text) == (text if wanted is None else wanted)


def test_line_ends() -> None:
    assert left("a\n\n\n\nb\n\n\n") == "a\n\nb\n\n"
    assert left("a\n\n\nb", max_line_ends=1) == "a\nb"
    assert left("a\n\n\nb", max_line_ends=0) == "a\n\n\nb"
    assert left("a\n\n www.a.org\n\n\nb") == "a\n\nb"
    assert left("a www.a.org\nb", remove_urls=False) == "a www.a.org\nb"


def test_signals_and_the_rule() -> None:
    texts = ["www.a.org and http://b.org", "www.a.org\n", None, "", "a\n\n\n\nb", "日本。"]
    docs = pa.table({"text": pa.array(texts, pa.string())})
    out = formatting(docs, Formatting(min_chars=2))
    assert out["formatting.n_urls"].to_pylist() == [2, 1, None, 0, 0, 0]
    assert out["formatting.n_removed_line_ends"].to_pylist() == [0, 0, None, 0, 2, 0]
    assert out["formatting.n_chars"].to_pylist() == [4, 1, None, 0, 4, 3]
    few = "too_few_chars"
    assert out["rule"].to_pylist() == [None, few, few, few, None, None]
    assert out["text"].to_pylist() == [" and", "www.a.org\n", None, "", "a\n\nb", "日本。"]
    for cut in range(docs.num_rows + 1):
        parts = [docs.slice(0, cut), docs.slice(cut)]
        done = [formatting(part, Formatting(min_chars=2)) for part in parts]
        assert pa.concat_tables(done).to_pylist() == out.to_pylist()


PIECES = ["http://", "HTTPS://", "ftp://", "www.", "a", "é", "_", ".", "!", " ", "\t", "\n", "漢"]


@given(st.lists(st.sampled_from([*PIECES, "\u0301", '"', "w", "://", "\U0001f600"]), max_size=30))
def test_against_the_reference(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert left(text, max_line_ends=0) == reference(text)


def reference(text: str) -> str:
    out, at = "", 0
    while at < len(text):
        before = text[at - 1] if at else " "
        inside = before.isalnum() and before != "漢"  # whose words have no spaces between them
        found = None if inside else SCHEME.match(text[at:])
        chunk = re.match(r'[^\s"<>]*', text[at + found.end() :])[0] if found else ""
        name = re.sub(r"[!'),.:;?\]]+\Z", "", chunk)
        if found and name:
            out = out.rstrip(" \t")
            at += found.end() + len(name)
        else:
            out += text[at]
            at += 1
    return out


def test_config_mistakes() -> None:
    with pytest.raises(ValueError, match="min_chars -1 is below 0"):
        Formatting(min_chars=-1)
