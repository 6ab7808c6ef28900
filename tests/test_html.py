"""pipeline/extract/html.py: text, and pages made to be slow."""

import gzip
import json
import re
import zipfile
from collections import Counter

import numpy as np
import pytest

from pipeline.extract.encoding import decode_html
from pipeline.extract.html import MAX_DEPTH, ExtractError, html_to_text, nesting


def test_text_and_title():
    html = (
        "<html><head><title> The\n title &amp; more</title></head><body><nav>menu</nav>"
        "<h1>Head</h1><p>One<br>two <a href='x'>link</a></p><ul><li>a</li><li>b</li></ul>"
        "<img alt='picture'><script>var x = '<p>no</p>'</script></body></html>"
    )
    text, title = html_to_text(html)
    assert title == "The title & more"
    assert text == "Head\n\nOne\ntwo link"  # the short list is no main content
    whole = html_to_text(html, main_content=False)[0]
    assert whole == "menu\n\nHead\n\nOne\ntwo link\n\n  • a\n  • b"
    assert html_to_text("") == ("", "")
    assert html_to_text("<p>日本語のテキスト。</p>")[0] == "日本語のテキスト。"
    assert html_to_text("<p>a\0b\ud800c</p>")[0] == "ab?c"


@pytest.mark.parametrize(
    "html",
    [
        "<div>" * 100_000,
        "<div></x>" * 100_000,  # end tags of what was never opened
        "</div>" * 100_000 + "<div>" * 100_000,
        "".join(f"<p><b id={i}>" for i in range(900)) + "<p>x" * 20_000,
        "<select>" + "<option>x" * 50_000,
        "<ul><li>" * 100_000,
        "<DIV a='b'>" * 100_000,
    ],
)
def test_hostile_nesting_is_refused(html):
    with pytest.raises(ExtractError) as caught:
        html_to_text(html)
    assert caught.value.kind == "too_deep"


@pytest.mark.parametrize(
    "html",
    [
        "<p>word</p>" * 50_000,
        "<p>word" * 50_000,
        "<ul>" + "<li>word" * 50_000,
        "<b>word</b> " * 50_000,
        "<script>" + "if (a<b) c<d;" * 50_000 + "</script><p>word</p>",
        "<!-- " + "<div>" * 50_000 + " --><p>word</p>",
        "<div>" * 300 + "word" + "</div>" * 300,
        "a < b word " * 50_000,
    ],
)
def test_long_honest_pages_are_not(html):
    assert "word" in html_to_text(html, main_content=False)[0]


def test_depth_of_a_page():
    page = b"<html><body><div><p>a<p>b<br><span>c</span></div><b>d</b><i>e"
    assert nesting(np.frombuffer(page, np.uint8))[0] == 2  # div > span; then i
    assert nesting(np.zeros(0, np.uint8)) == (0, 0, 0)
    assert nesting(np.frombuffer(b"<div>" * 5000, np.uint8))[0] == MAX_DEPTH + 1


def test_labelled_pages(shared_data):
    """The score of the data's README: resiliparse has .916 there."""
    packed = (shared_data / "extraction/ground-truth.json.gz").read_bytes()
    truth = json.loads(gzip.decompress(packed))

    def shingles(text):
        words = re.findall(r"\w+", text)
        if 0 < len(words) < 4:
            return Counter([tuple(words)])
        return Counter(tuple(words[i : i + 4]) for i in range(len(words) - 3))

    precisions, recalls = [], []
    with zipfile.ZipFile(shared_data / "extraction/pages.zip") as pages:
        names = {name.rsplit("/", 1)[-1].split(".")[0]: name for name in pages.namelist()}
        for key, page in truth.items():
            body = pages.read(names[key])
            body = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
            found = shingles(html_to_text(decode_html(body, None).text)[0])
            wanted = shingles(page["articleBody"])
            tp = sum((found & wanted).values())
            if found or not wanted:
                precisions.append(tp / sum(found.values()) if found else 1.0)
            if wanted or not found:
                recalls.append(tp / sum(wanted.values()) if wanted else 1.0)
    assert len(truth) == 181
    precision, recall = np.mean(precisions), np.mean(recalls)
    assert 2 * precision * recall / (precision + recall) > 0.90
