"""filters/code.py: the kernels against Python's own re, splitlines and isalpha, and each rule."""

import re
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.code import (
    LlamaCode,
    StarCoder,
    StarCoder2,
    llama_code,
    measure_code,
    starcoder,
    starcoder2,
)
from filters.code_counts import visible_chars
from filters.kernels import text_buffers
from pipeline.apply import apply
from pipeline.schema import DOCUMENT
from pipeline.steps import Use

PUBLISHED = (
    r"[a-zA-Z0-9+/\n=]{64,}",
    r"(?:\b(?:0x|\\x)?[0-9a-fA-F]{2}(?:,|\b\s*)){8,}",
    r"(?:\\u[0-9a-fA-F]{4}){8,}",
)
CODE = "def area(width, height):\n    return width * height\n"


def table(*rows: tuple[str | None, str]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {"id": str(i), "text": text, "meta": [("language", language)] if language else []}
            for i, (text, language) in enumerate(rows)
        ],
        DOCUMENT,
    )


def rules(step, config, *rows):
    return step(table(*rows), config)["rule"].to_pylist()


def slow(text: str) -> dict[str, float | None]:
    lines = [len(line) for line in text.splitlines()]
    spans = [match.span() for pattern in PUBLISHED for match in re.finditer(pattern, text)]
    covered = {i for start, end in spans for i in range(start, end)}
    alpha = sum(map(str.isalpha, text))
    tokens = re.findall(r"[^\W\d_]+|\d+|(?:[^\w\s]|_)+", text)
    return {
        "n_chars": len(text),
        "n_lines": len(lines),
        "max_line_length": max(lines, default=0),
        "mean_line_length": sum(lines) / len(lines) if lines else None,
        "alphanumeric_fraction": sum(map(str.isalnum, text)) / len(text) if text else None,
        "alpha_fraction": alpha / len(text) if text else None,
        "alpha_token_ratio": alpha / len(tokens) if tokens else None,
        "encoded_run": max((end - start for start, end in spans), default=0),
        "encoded_fraction": len(covered) / len(text) if text else None,
        "xml_header": "<?xml version=" in text[:100],
    }


def fast(text: str) -> dict[str, float | None]:
    columns = measure_code(pa.chunked_array([pa.array([text])]))
    return {name: column[0].as_py() for name, column in columns.items()}


PIECES = st.sampled_from(
    [*("A" * 40, "b" * 23, "\n", "=", "48 31 c0 ", "0x48,", "0x48, ", "\\x48", "ff\n", "é", "_"),
     *("0x", "\\u00e9", "\\u12", "日本", " ", "\t", "\r\n", "\x85", "\u2028", "12,", "zz,", "+/"),
     *("..", "a1")]
)  # fmt: skip


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.tuples(PIECES, st.integers(1, 12)), max_size=12))
def test_kernels_agree_with_the_published_expressions(pieces):
    text = "".join(piece * times for piece, times in pieces)
    assert fast(text) == pytest.approx(slow(text))


@settings(deadline=None)  # the first call compiles
@given(st.text(max_size=60))
def test_kernels_agree_on_any_text(text):
    # Marks and numbers apart: isalnum knows some that the tables of kernels.py class otherwise.
    text = "".join(c for c in text if c.isascii() or c.isalpha() or c.isspace())
    text = text.replace("〇", "").encode("utf-8", "ignore").decode()
    found, expected = fast(text), slow(text)
    del expected["alpha_token_ratio"], found["alpha_token_ratio"]
    assert found == pytest.approx(expected)


def test_literal_signals():
    assert fast("ab 12\n\nx") == {
        "n_chars": 8,
        "n_lines": 3,
        "max_line_length": 5,
        "mean_line_length": 2.0,
        "alphanumeric_fraction": 5 / 8,
        "alpha_fraction": 3 / 8,
        "alpha_token_ratio": 1.0,
        "encoded_run": 0,
        "encoded_fraction": 0.0,
        "xml_header": False,
    }
    assert fast("x" * 64)["encoded_run"] == 64 and fast("x" * 63)["encoded_run"] == 0
    assert fast("48 31 c0 50 68 2f 2f 73")["encoded_run"] == 23
    assert fast('"' + "\\x48" * 9 + '"')["encoded_run"] == 32  # the first byte is no word
    assert fast("\\u00e9" * 8)["encoded_run"] == 48
    assert fast("0x48, 0x31, " * 40)["encoded_run"] == 0  # the published expression misses it
    spaced = measure_code(pa.chunked_array([["0x48, 0x31, " * 40]]), spaced_hex=True)
    assert spaced["encoded_run"][0].as_py() == 480


def test_llama_code():
    assert rules(
        llama_code,
        LlamaCode(),
        (CODE, ""),
        ("x" * 1001 + "\n" + CODE, ""),
        (("word " * 21 + "\n") * 9, ""),
        ("{ ( ; ) } - + * / \n" * 9, ""),
        ("a = 1 + 2\n" * 9, ""),
        ("", ""),
        (None, ""),
        ("# 長方形の面積を計算して返す関数です\n", ""),
    ) == [
        None,
        "line_too_long",
        "lines_too_long",
        "too_few_alphanumerics",
        "too_few_letters",
        "lines_too_long",
        "line_too_long",
        None,
    ]


def test_starcoder():
    page = "<html><head><script>\n" + "var a = 1;\n" * 20 + "</script></head><body>{}</body></html>"
    long = "x" * 1500 + "\n"
    assert rules(
        starcoder,
        StarCoder(),
        (CODE, "python"),
        (long, "python"),
        (long, "markdown"),
        ("1 2 3 4\n" * 50 + "abc", "matlab"),
        ("1 2 3 4\n" * 50 + "abc", "python"),
        ('<?xml version="1.0"?>\n<some>words here</some>', "svg"),
        ('<?xml version="1.0"?>\n<xsl:template>words</xsl:template>', "xslt"),
        (page.replace("{}", "Words to read.\n" * 10), "html"),
        (page.replace("{}", "Words."), "html"),
        ("<p>Some words.</p>", "html"),
        ('{"key": "value"}', "json"),
        ('{"keys": ["' + "value" * 20 + '"]}', "json"),
        ('{"keys": [' + "1, " * 60 + "2]}", "json"),
        ("key: value\n" * 500, "yaml"),
    ) == [
        None,
        "line_too_long",
        None,
        "too_few_letters",
        None,
        "xml_header",
        None,
        None,
        "little_visible_text",
        "visible_text_too_short",
        "data_too_short",
        None,
        "too_few_letters_in_data",
        "data_too_long",
    ]


def test_starcoder2():
    assert rules(
        starcoder2,
        StarCoder2(),
        (CODE, "python"),
        ("\n" * 100_001, "python"),
        ("x y " * 300, "python"),
        ("x y " * 300, "markdown"),
        ("x y " * 30_000, "tex"),
        ("# This file is Automatically Generated\n" + CODE, "python"),
        (CODE * 3 + "# automatically generated\n", "python"),
        ("(+ 1 2 3)\n" * 9, "scheme"),
        ("(i32 1234)\n" * 9, "wasm-text"),
        (CODE + 'KEY = """' + "QUJD\n" * 300 + '"""', "python"),
        ("k = '" + ("A" * 90 + "\n") * 5 + "'", "python"),
        ("key: value\n" * 513, "yaml"),
        ("key: value\n" * 513, "python"),
        ("<p>" + "word " * 30 + "</p>", "html"),
    ) == [
        None,
        "too_many_lines",
        "line_too_long",
        None,
        "line_far_too_long",
        "generated",
        None,
        "too_few_letters",
        None,
        "encoded_run",
        "mostly_encoded",
        "data_too_long",
        None,
        None,
    ]


def test_value_and_threshold_are_on_record():
    docs = starcoder2(table(("x " * 600, "python")), StarCoder2())
    assert docs.select(["rule", "value", "threshold"]).to_pylist() == [
        {"rule": "line_too_long", "value": 1200.0, "threshold": 1000.0}
    ]


class _Visible(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=False)
        self.n, self.inside = 0, 0

    def handle_starttag(self, tag, attrs):
        self.inside += tag in ("script", "style")

    def handle_endtag(self, tag):
        self.inside -= tag in ("script", "style")

    def handle_data(self, data):
        self.n += 0 if self.inside else len(data)

    def handle_entityref(self, name):
        self.n += 0 if self.inside else 1

    handle_charref = handle_entityref


def test_visible_text_is_what_the_html_parser_sees():
    page = """<!DOCTYPE html><!-- a > b --><html><head><style>p > a { x: y }</style>
    <script type="x">if (a < b) { "</p>" }</script><title>Title &amp; more</title></head>
    <body><p class="a>b" id='c'>Text &lt; &#233; 日本 x &lt y</p><br/>
    <style>b</style>end</body></html>"""
    parser = _Visible()
    parser.feed(page)
    parser.close()
    data, offsets = text_buffers(pa.array([page]))
    [found] = visible_chars(data, offsets, np.array([True]))
    # html.parser takes "&lt " without its semicolon for an entity, and gives back its space
    assert abs(int(found) - parser.n) <= 3 and parser.n > 40


def test_any_split_gives_the_same():
    rows = [(CODE, "python"), (None, "html"), ("", ""), ("<p>x</p>", "html"), ("x" * 2000, "c")] * 3
    whole = table(*rows)
    steps = [
        Use("llama_code", LlamaCode()),
        Use("starcoder", StarCoder()),
        Use("starcoder2", StarCoder2()),
    ]
    together = apply(whole, steps, 1.0)[0].to_pylist()
    apart = [
        row
        for at in range(whole.num_rows)
        for row in apply(whole.slice(at, 1).combine_chunks(), steps, 1.0)[0].to_pylist()
    ]
    assert together == apart
    assert {row["rule"] for row in together} >= {None, "llama_code.line_too_long"}
    assert apply(whole.slice(0, 0), steps, 0.0)[0].num_rows == 0


@pytest.mark.parametrize("piece", ["0x48", "<", "&", "\\u", "<script>", "48 ", "A", "\\u00e9"])
def test_hostile_texts_end(piece):
    docs = starcoder2(table((piece * (1_000_000 // len(piece)), "html")), StarCoder2())
    assert docs["rule"][0].as_py() is not None


def test_configs_are_checked():
    for wrong in ({"max_encoded_fraction": 1.5}, {"max_lines": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            StarCoder2(**wrong)
    with pytest.raises(ValueError, match="min_alphanumeric_fraction"):
        LlamaCode(min_alphanumeric_fraction=2)
