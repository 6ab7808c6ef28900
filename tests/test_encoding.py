"""pipeline/extract/encoding.py: labels right, wrong and missing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.extract.encoding import decode_html


@pytest.mark.parametrize(
    ("body", "http", "text", "charset"),
    [
        ("naïve".encode(), None, "naïve", "utf-8"),
        (b"\xef\xbb\xbfna\xc3\xafve", "iso-8859-1", "naïve", "utf-8"),  # a BOM wins
        ("naïve".encode("utf-16"), None, "naïve", "utf-16-le"),
        (b"\x93quoted\x94", "latin1", "“quoted”", "cp1252"),  # WHATWG: latin1 is windows-1252
        ("朱镕基".encode("gb18030"), "gb2312", "朱镕基", "gb18030"),
        ("日本語①".encode("cp932"), "Shift_JIS", "日本語①", "cp932"),
        ("Привет".encode("koi8-r"), "koi8-r", "Привет", "koi8-r"),
    ],
)
def test_charset_of_header(body, http, text, charset):
    assert decode_html(body, http) == (text, charset, None)


def test_meta_and_xml_declaration():
    page = '<html><meta http-equiv="Content-Type" content="text/html; charset=windows-1251">Мир'
    assert decode_html(page.encode("cp1251"), None) == (page, "cp1251", None)
    page = "<?xml version='1.0' encoding='iso-8859-2'?><html>łódź"
    assert decode_html(page.encode("iso-8859-2"), None) == (page, "iso8859-2", None)
    # the HTTP header goes before the page's own word
    page = '<meta charset="koi8-r">Мир'
    assert decode_html(page.encode("cp1251"), "windows-1251").text == page
    # a page that can be read as far as its <meta> is not UTF-16
    assert decode_html(b"<meta charset=utf-16>ok", None) == (
        "<meta charset=utf-16>ok",
        "utf-8",
        None,
    )


def test_lying_labels_are_put_right_and_noted():
    page = "<p>Ça va très bien, merci à tous</p>"
    decoded = decode_html(page.encode(), "iso-8859-1")
    assert decoded[:2] == (page, "utf-8")
    assert decoded.note == ("wrong_charset", "labelled cp1252, but it is valid utf-8")
    decoded = decode_html(page.encode("cp1252"), "utf-8")
    assert decoded.note is not None and decoded.note[0] == "wrong_charset"
    decoded = decode_html(page.encode(), "no-such-charset")
    assert decoded[:2] == (page, "utf-8")
    assert decoded.note is not None and decoded.note[0] == "unknown_charset"
    decoded = decode_html(b"\xff\xfe\xfd\x81 \xc3"[2:], "utf-8")
    assert "\x00" not in decoded.text and decoded.note is not None


@given(
    st.binary(max_size=300), st.sampled_from([None, "utf-8", "gbk", "latin1", "x", "iso-2022-jp"])
)
@settings(max_examples=200)
def test_any_bytes_decode(body, label):
    decode_html(body, label).text.encode()  # neither fails, nor holds a lone surrogate
