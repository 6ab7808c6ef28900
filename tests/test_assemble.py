"""pipeline/extract/assemble.py: how blocks become text."""

import numpy as np
import pytest

from pipeline.extract.assemble import assemble
from pipeline.extract.markup import read_markup


def text(html: str) -> str:
    markup = read_markup(html.encode())
    return assemble(markup, np.ones(len(markup.blocks), bool))


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<h1>a</h1><p>b<p>c<br>d", "a\n\nb\n\nc\nd"),
        ("<p>a<ul><li>b<li>c</ul><p>d", "a\n\n• b\n• c\n\nd"),
        ("<ol><li>a<ul><li>b<ol><li>c</ol></ul><li>d</ol>", "1. a\n  • b\n    1. c\n2. d"),
        ("<ul><li><p>a<p>b</li><li>c</ul><ul><li>d</ul>", "• a\nb\n• c\n\n• d"),
        ("<dl><dt>a<dd>b<dt>c<dd>d</dl>", "a\nb\nc\nd"),
        ("<table><tr><th>a<th>b<tr><td>1<br>x<td><p>2</table>c", "a\tb\n1 x\t2\n\nc"),
        ("<table><tr><td>a<td><p>b<p>c</table>", "a\n\nb\n\nc"),  # layout
        ("<table><tr><td>a<tr><td>b</table>", "a\n\nb"),
        ("<td>a<td>b", "a\n\nb"),
        ("<p>a<pre>  b\n\n    c</pre>d", "a\n\n  b\n\n    c\n\nd"),
        ("<table><tr><td>a<td><table><tr><td>1<td>2</table></table>", "a\n\n1\t2"),
        ("", ""),
        ("<pre> \n </pre>", ""),
    ],
)
def test_text(html, expected):
    assert text(html) == expected


def test_only_what_is_kept():
    markup = read_markup(b"<ul><li><b>a</b><p>b<li>c</ul><table><tr><td>1<td>2<td>3</table>")
    keep = np.array([False, True, True, True, False, True])
    assert assemble(markup, keep) == "• b\n• c\n\n1\t3"
    assert assemble(markup, np.zeros(6, bool)) == ""
