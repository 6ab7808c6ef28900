"""pipeline/extract/epub.py on books made here, sound and hostile."""

import io
import zipfile

import pytest

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
                archive.writestr(name, text)
    out.seek(0)
    return out


def test_spine_order_notes_once_and_nothing_else():
    found, faults = read_epub(book(), 1 << 20)
    assert faults == []
    assert found.text == "One\n\nFirst para goes\non.\n\nA note.\n\nZweites Kapitel – größer."
    assert found[1:] == ("A Book", "An Author", "en", "CC0")


def test_missing_chapter_is_noted():
    found, faults = read_epub(book(**{"OEBPS/text/two.xhtml": None}), 1 << 20)
    assert found.text.endswith("A note.")
    assert [(f.locator, f.error, f.lost) for f in faults] == [
        ("OEBPS/text/two.xhtml", "bad_epub", False)
    ]


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
        ({"OEBPS/text/two.xhtml": "<div>" * 50_000}, "too_deep"),
    ],
)
def test_hostile_books(changes, error):
    found, faults = read_epub(book(**changes), 1 << 20)
    assert found is None
    assert faults[-1].error == error and faults[-1].lost


def test_bomb_and_outside_names():
    found, faults = read_epub(book(**{"OEBPS/text/two.xhtml": "a" * 30_000_000}), 1 << 30)
    assert [f.error for f in faults] == ["bomb", "bad_epub"] and found is not None
    found, faults = read_epub(book(**{"../../evil.xhtml": "<p>x"}), 1 << 20)
    assert [f.error for f in faults] == ["path_outside"] and "Zweites" in found.text
    assert read_epub(io.BytesIO(b"PK\x03\x04 no zip"), 1 << 20)[1][0].error == "bad_zip"
    assert read_epub(io.BytesIO(b""), 1 << 20)[1][0].error == "empty_file"
