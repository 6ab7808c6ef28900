"""pipeline/extract/epub.py on books made here, sound and hostile."""

import io
import random
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.extract.chapters import take_marks
from pipeline.extract.epub import read_epub

CONTAINER = """<?xml version="1.0"?><container
 xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0"><rootfiles>
<rootfile full-path="OEBPS/book.opf"
 media-type="application/oebps-package+xml"/></rootfiles></container>"""
OPF = """<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>A  Book</dc:title>
<dc:creator>An Author</dc:creator><dc:language>en</dc:language><dc:rights>CC0</dc:rights></metadata>
<manifest><item id="n" href="nav.xhtml" properties="nav"/><item id="t" href="title.xhtml"/>
<item id="b" href="text/two.xhtml"/><item id="a" href="text/one%20.xhtml"/></manifest>
<spine><itemref idref="n"/><itemref idref="t"/><itemref idref="a"/><itemref idref="b"/>
<itemref idref="a"/><itemref idref="gone"/></spine></package>"""
ONE = """<?xml version="1.0" encoding="utf-8"?><html xmlns="http://www.w3.org/1999/xhtml"
 xmlns:epub="http://www.idpf.org/2007/ops"><head><title/><script src="x"/></head>
<body epub:type="bodymatter">
<h1>One</h1><p>First<a id="x"/> para<a href="#n1" epub:type="noteref">1</a> goes<br/>on.</p>
<script>alert(1)</script><aside epub:type="footnote" id="n1"><p>A note.</p></aside></body></html>"""
TWO = "<html><body><p>Zweites Kapitel – größer.</p></body></html>"
TITLE = """<html><body epub:type="frontmatter"><section epub:type="titlepage"><h1>T</h1></section>
</body></html>"""


def book(**changes) -> io.BytesIO:
    files = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": CONTAINER,
        "OEBPS/book.opf": OPF,
        "OEBPS/nav.xhtml": "<html><body><nav>Contents</nav></body></html>",
        "OEBPS/title.xhtml": TITLE,
        "OEBPS/text/one .xhtml": ONE,
        "OEBPS/text/two.xhtml": TWO,
        "OEBPS/image.png": "\x89PNG",
        **changes,
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            if text is not None:
                how = zipfile.ZIP_STORED if name == "mimetype" else None
                archive.writestr(name, text, how)
    out.seek(0)
    return out


def test_spine_order_notes_once_and_nothing_else():
    found, faults = read_epub(book(), 1 << 20)
    assert faults == []
    text, chapters = take_marks(found.text, found.titles)
    assert text == "One\n\nFirst para goes\non.\n\nA note.\n\nZweites Kapitel – größer."
    assert chapters == [("One", 0)]  # no table of contents: its headings
    assert found[1:] == (["One"], "A Book", "An Author", "en", "CC0")


def test_missing_chapter_is_noted():
    found, faults = read_epub(book(**{"OEBPS/text/two.xhtml": None}), 1 << 20)
    assert found.text.endswith("A note.")
    assert [(f.locator, f.error, f.lost) for f in faults] == [
        ("OEBPS/text/two.xhtml", "bad_epub", False)
    ]


ENCRYPTION = """<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container"
 xmlns:enc="http://www.w3.org/2001/04/xmlenc#"><enc:EncryptedData><enc:CipherData>
<enc:CipherReference URI="%s"/></enc:CipherData></enc:EncryptedData></encryption>"""
BOMB = """<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>"""


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"META-INF/container.xml": BOMB + CONTAINER[21:]}, "xml_entities"),
        ({"OEBPS/book.opf": BOMB + OPF[21:]}, "xml_entities"),
        ({"OEBPS/text/two.xhtml": BOMB + "<html><body>&b;</body></html>"}, "xml_entities"),
        ({"OEBPS/book.opf": OPF[:300]}, "bad_xml"),
        ({"OEBPS/book.opf": None}, "bad_epub"),
        ({"META-INF/container.xml": None}, "bad_epub"),
        ({"OEBPS/text/two.xhtml": "<p>" + "".join(map(str, range(300_000)))}, "too_large"),
        ({"META-INF/encryption.xml": ENCRYPTION % "OEBPS/text/two.xhtml"}, "encrypted"),
        ({"META-INF/encryption.xml": BOMB + "<encryption/>"}, "xml_entities"),
        ({"META-INF/container.xml": "<?xml version='1.0' encoding='no-such'?><a/>"}, "bad_xml"),
    ],
)
def test_hostile_books(changes, error):
    found, faults = read_epub(book(**changes), 1 << 20)
    assert found is None
    assert faults[-1].error == error and faults[-1].lost


def test_deep_nesting_is_read_or_refused():
    found, faults = read_epub(book(**{"OEBPS/text/two.xhtml": "<div>" * 50_000 + "deep"}), 1 << 20)
    assert found.text.endswith("deep") if found else faults[-1].error == "too_deep"


def test_bomb_and_outside_names():
    found, faults = read_epub(book(**{"OEBPS/text/two.xhtml": "a" * 30_000_000}), 1 << 30)
    assert [f.error for f in faults] == ["bomb", "bad_epub"] and found is not None
    found, faults = read_epub(book(**{"../../evil.xhtml": "<p>x"}), 1 << 20)
    assert [f.error for f in faults] == ["path_outside"] and "Zweites" in found.text
    assert read_epub(io.BytesIO(b"no zip"), 1 << 20)[1][0].error == "bad_epub"
    assert read_epub(io.BytesIO(b"PK\x03\x04 no zip"), 1 << 20)[1][0].error == "bad_zip"
    assert read_epub(io.BytesIO(b""), 1 << 20)[1][0].error == "empty_file"


NAV = """<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops"><body>
<nav epub:type="landmarks"><a href="title.xhtml">Cover</a></nav>
<nav epub:type="toc"><ol><li><a href="title.xhtml">Title page</a></li>
<li><a href="text/one%20.xhtml">One &amp; <b>only</b></a>
<ol><li><a href="text/one%20.xhtml#x">Part</a></li><li><a href="text/one%20.xhtml#gone">Gone</a>
</li></ol></li><li><a href="text/two.xhtml">Zwei</a></li></ol></nav></body></html>"""
NCX = """<ncx xmlns="http://www.daisy.org/z3986/2005/ncx/"><navMap>
<navPoint><navLabel><text>Eins</text></navLabel><content src="text/one%20.xhtml#n1"/></navPoint>
<navPoint><navLabel><text>Zwei</text></navLabel><content src="text/two.xhtml"/></navPoint>
</navMap></ncx>"""


def chapters(**changes):
    found, _ = read_epub(book(**changes), 1 << 20)
    text, places = take_marks(found.text, found.titles)
    return [(title, text[at : at + 8]) for title, at in places]


def test_chapters_from_the_table_of_contents():
    assert chapters(**{"OEBPS/nav.xhtml": NAV}) == [
        ("One & only", "One\n\nFir"),
        ("Part", "para goe"),
        ("Zwei", "Zweites "),
    ]
    epub2 = (
        OPF.replace(' properties="nav"', "")
        .replace('<itemref idref="n"/>', "")
        .replace("<manifest>", '<manifest><item id="ncx" href="toc.ncx"/>')
        .replace("<spine>", '<spine toc="ncx">')
    )
    assert chapters(**{"OEBPS/book.opf": epub2, "OEBPS/toc.ncx": NCX}) == [
        ("Eins", "A note.\n"),
        ("Zwei", "Zweites "),
    ]


def texts(**changes):
    found, _ = read_epub(book(**changes), 1 << 20)
    return take_marks(found.text, found.titles)[0]


def test_what_is_no_prose_goes():
    guide = "</spine><guide><reference type='toc' href='text/two.xhtml#a'/></guide></package>"
    assert texts(**{"OEBPS/book.opf": OPF.replace("</spine></package>", guide)}).endswith("A note.")
    auxiliary = OPF.replace('<itemref idref="b"/>', '<itemref idref="b" linear="no"/>')
    assert texts(**{"OEBPS/book.opf": auxiliary}).endswith("A note.")
    notes = TWO.replace("<body>", "<body epub:type='endnotes'>")
    assert "Zweites" in texts(**{"OEBPS/book.opf": auxiliary, "OEBPS/text/two.xhtml": notes})


@pytest.mark.parametrize(
    "reference",
    [
        '<a epub:type="noteref" href="n.xhtml#1"><sup>12</sup></a>',
        '<sup><a href="#fn1">1</a></sup>',
        '<a href="#fn1" id="r1"><sup class="x">[1]</sup></a>',
        '<a role="doc-backlink" href="#r1">↩</a>',
    ],
)
def test_note_references_go(reference):
    page = f"<html><p>So{reference} it is. x<sup>2</sup> <a href='#a'>see 1</a></p></html>"
    assert texts(**{"OEBPS/text/two.xhtml": page}).endswith("So it is. x2 see 1")


def test_fonts_may_be_obfuscated():
    changes = {"META-INF/encryption.xml": ENCRYPTION % "OEBPS/font.otf"}
    assert "Zweites" in texts(**changes)


def test_a_zip_under_a_password():
    data = bytearray(book().getvalue())
    for magic, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # bit 0 in both headers
        at = data.find(magic, data.find(b"OEBPS/text/two.xhtml") - 60 if magic[2] == 3 else 0)
        while at >= 0:
            data[at + flags] |= 1
            at = data.find(magic, at + 4)
    found, faults = read_epub(io.BytesIO(bytes(data)), 1 << 20)
    assert found is None and faults[-1].error == "encrypted"


MARKUP = [
    "<p>",
    "</p>",
    "<h1>",
    "<a id='x'>",
    "<a epub:type='noteref",
    "<br/>",
    "&amp;",
    "<!--",
    "]]>",
    "<sup><a href='#1'>1</a></sup>",
    "<section epub:type='toc'>",
    "\ufdd0",
    "text",
    "<",
    "<i/>",
]


@settings(max_examples=50)
@given(st.lists(st.sampled_from(MARKUP), max_size=60))
def test_any_chapter(pieces):
    found, faults = read_epub(book(**{"OEBPS/text/two.xhtml": "".join(pieces)}), 1 << 20)
    assert found is not None or faults[-1].lost
    assert found is None or len(found.text) < 3 * sum(map(len, pieces)) + 1000


def test_mutations():
    random.seed(7)
    seed = book(**{"OEBPS/nav.xhtml": NAV, "OEBPS/toc.ncx": NCX}).getvalue()
    for _ in range(300):
        data = bytearray(seed)
        for _ in range(random.randint(1, 20)):
            data[random.randrange(len(data))] = random.randrange(256)
        data = data[: random.choice([len(data), random.randrange(len(data))])]
        found, faults = read_epub(io.BytesIO(bytes(data)), 1 << 20)
        assert (found is None) == any(fault.lost for fault in faults) or faults
        assert found is None or len(found.text) < 1 << 20


@pytest.mark.parametrize(
    "piece", ["<a ", "<a epub:type='", "<sup><a href='#", "<i ", "<p id='", "<h1"]
)
def test_long_hostile_chapters_take_linear_work(piece):
    found, faults = read_epub(book(**{"OEBPS/text/two.xhtml": piece * 100_000}), 8 << 20)
    assert found is not None or faults[-1].lost


def test_the_real_epub(shared_data):
    with (shared_data / "books/sherlock_standard-ebooks.epub").open("rb") as file:
        found, faults = read_epub(file, 8 << 20)
    text, places = take_marks(found.text, found.titles)
    assert faults == [] and found.title == "The Adventures of Sherlock Holmes"
    assert [title for title, _ in places][:6] == [
        "A Scandal in Bohemia",
        "I",
        "II",
        "III",
        "The Redheaded League",
        "A Case of Identity",
    ]
    assert text.startswith(
        "A Scandal in Bohemia\n\nI\n\nTo Sherlock Holmes she is always the woman."
    )
    assert text.endswith("I believe that she has met with considerable success.")
    assert text[dict(places)["The Five Orange Pips"] :].startswith(
        "The Five Orange Pips\n\nWhen I glance over my notes"
    )
