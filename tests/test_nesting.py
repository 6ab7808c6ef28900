"""pipeline/extract/nesting.py: pages that resiliparse and trafilatura must not see."""

import numpy as np
import pytest

from pipeline.extract.html import Extract, ExtractError, html_to_text
from pipeline.extract.nesting import MAX_DEPTH, nesting


@pytest.mark.parametrize("engine", ["resiliparse", "trafilatura"])
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
def test_hostile_nesting_is_refused(engine, html):
    with pytest.raises(ExtractError) as caught:
        html_to_text(html, Extract(engine=engine))
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
    text, _ = html_to_text(html, Extract(engine="resiliparse"), main_content=False)
    assert "word" in text


def test_depth_of_a_page():
    page = b"<html><body><div><p>a<p>b<br><span>c</span></div><b>d</b><i>e"
    assert nesting(np.frombuffer(page, np.uint8))[0] == 2  # div > span; then i
    assert nesting(np.zeros(0, np.uint8)) == (0, 0, 0)
    assert nesting(np.frombuffer(b"<div>" * 5000, np.uint8))[0] == MAX_DEPTH + 1
