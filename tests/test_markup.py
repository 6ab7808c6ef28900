"""pipeline/extract/markup.py and what it is made of: which text is a block, where it stands."""

from html import unescape
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.extract.html_names import PURPOSES, TAGS, UNKNOWN
from pipeline.extract.markup import DESCRIPTION, MAX_DEPTH, TITLE, read_markup


def blocks(html: str) -> list[str]:
    markup = read_markup(html.encode())
    return [markup.text[b["start"] : b["end"]].tobytes().decode() for b in markup.blocks]


def path(html: str, block: int = 0) -> list[str]:
    """The tags around a block, innermost first."""
    markup = read_markup(html.encode())
    found, e = [], markup.blocks[block]["element"]
    while e > 0:
        tag = markup.elements[e]["tag"]
        found.append(TAGS[tag] if tag < UNKNOWN else "?")
        e = markup.elements[e]["parent"]
    return found


def purposes(html: str) -> set[str]:
    mask = int(read_markup(html.encode()).elements["mask"][-1])
    return {name for k, name in enumerate(PURPOSES) if mask >> k & 1}


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("", []),
        ("<p> One\n two </p><p>three", ["One two", "three"]),
        ("H<sub>2</sub>O and <b>wo</b>rd<i>s</i>", ["H2O and words"]),
        ("a<br>b<br>\n<br>c<br><br><p>d", ["a\nb", "c", "d"]),
        ("<a href=x>Home</a><a href=y>News</a>", ["Home News"]),
        ("a<wbr>b&shy;c\u00add&nbsp;&nbsp;e", ["abcd e"]),
        ("<pre>\n  a\n\n    b &lt;\n</pre>", ["  a\n\n    b <"]),
        ("a<img>b", ["a b"]),
        ("<div>a<div>b</div>c</div>d", ["a", "b", "c", "d"]),
        ("<ul><li>a<li>b<ul><li>c</ul>d</ul>e", ["a", "b", "c", "d", "e"]),
        ("<table><tr><td>1<td>2<tr><th>3</table>4", ["1", "2", "3", "4"]),
        ("<dl><dt>a<dd>b<dt>c</dl>", ["a", "b", "c"]),
        ("a<script>b<p>c</script>d<style>e</style>f", ["adf"]),
        ("a<!-- b > -->c<!--->d<!-- e --!>f<!x>g<?y?>h</3>i", ["acdfghi"]),
        ("a < b <3 &amp;c", ["a < b <3 &c"]),
        ("<select><option>a</select><svg><text>b</svg><template>c</template>d", ["d"]),
        ("<svg><title/><style/><path d='x'/></svg>a<svg/>b", ["a b"]),
        ("<video>no video</video>a<ruby>漢<rp>(</rp><rt>かん</rt></ruby>", ["a漢"]),
        ("<p>a <a title='>' href=\"x>y\" b=c>d</a>", ["a d"]),
        ("<p a='b", []),
        ("a</p>b", ["a", "b"]),
        ("<my-card>a</my-card>b<blink>c</blink>", ["a", "bc"]),
        ("<textarea>a</textarea><iframe>b</iframe><xmp>c</xmp>d", ["d"]),
        ("日本語の<b>テキスト</b>。", ["日本語のテキスト。"]),
    ],
)
def test_blocks(html, expected):
    assert blocks(html) == expected


@pytest.mark.parametrize(
    ("html", "block", "expected"),
    [
        ("<div><p>a<div>b", 1, ["div", "div"]),  # a <div> ends a <p>
        ("<ul><li>a<ul><li>b</ul><li>c", 2, ["li", "ul"]),
        ("<table><tr><td>a<table><tr><td>b</table>c", 2, ["td", "tr", "table"]),
        ("<div><table><tr><td></div>a", 0, ["td", "tr", "table", "div"]),  # not past a cell
        ("<div><b><p>a</b>b</div>c", 0, ["p", "div"]),  # </b> does not end a <p>
        ("<h2>a<h3>b", 1, ["h3"]),
        ("<section><h2>a</h3>b", 1, ["section"]),
        ("<x-a><p>a</x-a>b", 1, []),
        ("<p>a<svg><p>b</svg>c", 0, ["p"]),
        ("<div>" * 2000 + "a", 0, ["div"] * MAX_DEPTH),
    ],
)
def test_where_blocks_stand(html, block, expected):
    assert path(html, block) == expected


def test_links_and_bold():
    markup = read_markup(b"<p>ab <a href=x>cd</a> <a name=y>ef</a> <b>gh <i>ij</i></b></p><p>kl")
    assert markup.blocks["link_bytes"].tolist() == [2, 0]
    assert markup.blocks["n_links"].tolist() == [1, 0]
    assert markup.blocks["bold_bytes"].tolist() == [4, 0]
    unclosed = read_markup(b"<div><a href=x>ab</div>cd<p><a href=y>ef<a href=z>gh</a>ij")
    assert unclosed.blocks["link_bytes"].tolist() == [2, 0, 4]


def test_purposes():
    assert purposes("<div class='articleBody'>") == {"article", "body", "article_body"}
    assert purposes("<div id=article-body>") == {"article", "body", "article_body"}
    assert purposes("<div class='address x-ad'>") == {"promo"}  # "ad" only as a whole word
    assert purposes("<div class='SideBar comments-list'>") == {"side", "comment", "list"}
    assert purposes("<nav role=navigation>") == {"nav"}
    assert purposes("<div hidden>") == purposes("<div style='a: b;display:NONE'>") == {"hidden"}
    assert purposes("<div style='display: block'>") == set()
    assert purposes("<div aria-hidden=true>") == {"concealed"}


def test_title_and_description():
    html = b"<title>a</title><meta name='Description' content='b c'><svg><title>no</title></svg>"
    spans = read_markup(html).spans.tolist()
    assert [(what, html[start:end]) for what, start, end in spans] == [
        (TITLE, b"a"),
        (DESCRIPTION, b"b c"),
    ]


_REFERENCES = st.sampled_from(
    (
        *("&", "&#", "&#x", "amp", "lt", ";", "notin", "not", "hellip", "nGt", "65", "80", "x41"),
        *("zz", "&eacute", "&lang;", "&CounterClockwiseContourIntegral;", "D800", "110000"),
        *("&#0;", "é"),
    )
)


@given(st.lists(_REFERENCES, max_size=12).map("".join))
def test_character_references(text):
    expected = " ".join(unescape(text).replace("\ufeff", "").replace("\xad", "").split())
    assert " ".join(blocks(text)).split() == expected.replace("\x00", " ").split()


class _Text(HTMLParser):
    """The text outside <script>, by the standard library."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.depth = 0

    def handle_starttag(self, tag, attrs):
        self.depth += tag == "script"

    def handle_endtag(self, tag):
        self.depth -= tag == "script"

    def handle_data(self, data):
        if not self.depth:
            self.parts.append(data)


_SOUND = st.recursive(
    st.sampled_from(["word", " two words ", "x&lt;y", "<br>", "<!-- c -->", "日本", "<img a='>'>"]),
    lambda inner: (
        st.builds(
            lambda tag, parts: f"<{tag} class='a b'>{''.join(parts)}</{tag}>",
            st.sampled_from(["p", "div", "b", "a", "ul", "li", "table", "td", "em", "h2", "x-y"]),
            st.lists(inner, max_size=4),
        )
        | st.just("<script>if (a<b) x</script>")
    ),
)


@given(st.lists(_SOUND, max_size=8).map("".join))
def test_no_character_is_lost(html):
    reference = _Text()
    reference.feed(html)
    reference.close()
    assert "".join("".join(blocks(html)).split()) == "".join("".join(reference.parts).split())
