"""pipeline/sources/wikipedia.py: a dump written for the test, whole, split and damaged."""

# ruff: noqa: E501 - wikitext has a paragraph a line

import bz2
import gzip
from html import escape

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.extract.wikitext import Wikitext
from pipeline.schema import Document, Fault
from pipeline.sources.wikipedia import Wikipedia, read_wikipedia, split_wikipedia

HEAD = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="{language}">
  <siteinfo>
    <sitename>Wikipedia</sitename>
    <dbname>{language}wiki</dbname>
    <base>https://{language}.wikipedia.org/wiki/{main}</base>
    <namespaces>
      <namespace key="-2" case="first-letter">Media</namespace>
      <namespace key="0" case="first-letter" />
      <namespace key="6" case="first-letter">{file}</namespace>
      <namespace key="14" case="first-letter">{category}</namespace>
    </namespaces>
  </siteinfo>
"""
ENGLISH = HEAD.format(language="en", main="Main_Page", file="File", category="Category")
BULGARIAN = HEAD.format(language="bg", main="Начална_страница", file="Файл", category="Категория")

OAK = """{{Short description|Genus of trees}}
{{Automatic taxobox
| name = Oak
| image = Quercus robur.jpg
| image_caption = Foliage of [[Quercus robur]]{{efn|In {{lang|la|Dorsetia}}.}}
| fossil_range = {{fossil range|60|0}}
}}
[[File:Oak at Schönsee.jpg|thumb|left|A solitary oak, the [[Netherlands]] {{small|(2003)}}]]
An '''oak''' is a [[hardwood]] [[tree]] or [[shrub]] in the genus '''''Quercus''''' ({{IPAc-en|ˈ|k|w|ɜːr|k|ə|s}}; [[Latin]] "oak tree") of the [[Fagaceae|beech family]].<ref name="flora">{{cite web |url=http://x.org/?a=1&b=2 |title=''Quercus'' [Oaks]}}</ref> There are about 500 [[extant taxon|extant]] species,<ref name="flora" /> up to {{convert|30|to|40|m|ft|0}} high.

== Description ==
Leaves are [[Leaf#Arrangement|arranged]] in a spiral.<!-- a [[comment]] --> The fruit is a [[nut (fruit)|nut]] called an ''acorn'':
* one [[seed]] (rarely two or three)
* {{nowrap|6–18 months}} to mature
{| class="wikitable"
! Species !! Height
|-
| ''[[Quercus alba|Q. alba]]'' || {{convert|24|m}}
|}

=== Chemistry ===
[[Tannin]]s such as {{chem|C|76|H|52|O|46}}, at <math>10^{-3}</math> mol&nbsp;L<sup>−1</sup>.

== Gallery ==
<gallery>
File:Acorns.jpg|[[Acorn]]s
</gallery>

== See also ==
* [[List of Quercus species]]

== References ==
{{Reflist}}

{{Authority control}}
[[Category:Oaks]]"""

OAK_TEXT = """An oak is a hardwood tree or shrub in the genus Quercus (Latin "oak tree") of the beech family. There are about 500 extant species, up to 30 to 40 m high.

Description

Leaves are arranged in a spiral. The fruit is a nut called an acorn:
- one seed (rarely two or three)
- 6–18 months to mature

Chemistry

Tannins such as C76H52O46, at $10^{-3}$ mol L^−1."""

SOFIA = """{{Селище инфо
| име = София
}}
'''Со̀фия''' е [[столица]]та на [[България]].<ref>[http://www.nsi.bg НСИ]</ref> Разположена е в [[Софийска котловина|Софийската котловина]].

[[Файл:Sofia.jpg|мини|Изглед]]
== История ==
Градът е основан от [[Траки|траките]].

== Външни препратки ==
* [http://sofia.bg Сайт]
[[Категория:София]]"""
SOFIA_TEXT = """Со̀фия е столицата на България. Разположена е в Софийската котловина.

История

Градът е основан от траките."""


def page(number, title, source, ns=0, extra="", timestamp="2023-11-01T10:00:00Z"):
    return f"""  <page>
    <title>{escape(title)}</title>
    <ns>{ns}</ns>
    <id>{number}</id>{extra}
    <revision>
      <id>{number * 1000}</id>
      <timestamp>{timestamp}</timestamp>
      <contributor><username>A</username><id>5</id></contributor>
      <model>wikitext</model>
      <format>text/x-wiki</format>
      <text bytes="{len(source.encode())}" xml:space="preserve">{escape(source)}</text>
      <sha1>x</sha1>
    </revision>
  </page>
"""


PAGES = [
    page(10, "AccessibleComputing", "#REDIRECT [[Computer accessibility]]", extra='<redirect title="C" />'),
    page(12, "Oak", OAK),
    page(13, "Talk:Oak", "Is it a tree? " * 20, ns=1),
    page(14, "Mercury", "'''Mercury''' may be:\n* [[Mercury (planet)]]\n{{Disambiguation|geo}}"),
    page(15, "Tiny & co", "A '''tiny''' one.", timestamp="2020-01-01T00:00:00Z"),
    page(16, "AT&T's <x>", "Text " * 50 + "{{unclosed | [[a"),
    page(17, "Empty", "{{Infobox}}"),
]  # fmt: skip
FOOT = "</mediawiki>\n"


def seed() -> bytes:
    """A valid dump: for these tests, and to fuzz from."""
    return (ENGLISH + "".join(PAGES) + FOOT).encode()


def multistream(n_pages: int) -> bytes:
    """The same as Wikimedia compresses it: the head, n pages a stream, the foot."""
    groups = [PAGES[i : i + n_pages] for i in range(0, len(PAGES), n_pages)]
    return b"".join(bz2.compress("".join(g).encode()) for g in [[ENGLISH], *groups, [FOOT]])


def read(path, config=None, split_bytes=1 << 60):
    config = config or Wikipedia()
    ranges = split_wikipedia(str(path), split_bytes)
    return [x for s, e in ranges for x in read_wikipedia(str(path), s, e, config)]


def write(tmp_path, data, name="dump.xml"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def kinds(items):
    return [x.error if isinstance(x, Fault) else (x.rule or x.meta["title"]) for x in items]


def test_a_dump(tmp_path):
    documents = read(write(tmp_path, seed()))
    assert kinds(documents) == [
        "redirect", "Oak", "not_article", "disambiguation", "stub", "AT&T's <x>", "no_text",
    ]  # fmt: skip
    oak, mercury, tiny, odd = (documents[i] for i in (1, 3, 4, 5))
    assert oak.text == OAK_TEXT
    assert oak.url == "https://en.wikipedia.org/wiki/Oak"
    assert (oak.created, oak.license) == ("2023-11-01T10:00:00Z", "CC-BY-SA-4.0")
    assert oak.meta == {"title": "Oak", "page": "12", "language": "en"}
    assert mercury.text == "Mercury may be:\n- Mercury (planet)"
    assert (tiny.text, tiny.license) == ("A tiny one.", "CC-BY-SA-3.0")
    assert tiny.url == "https://en.wikipedia.org/wiki/Tiny_%26_co"
    assert odd.text == "Text " * 50 + "unclosed | a"
    assert odd.url == "https://en.wikipedia.org/wiki/AT%26T's_%3Cx%3E"
    data = seed()
    assert [int(x.locator) for x in documents] == [
        i for i in range(len(data)) if data.startswith(b"<page>", i)
    ]


def test_configuration(tmp_path):
    path = write(tmp_path, seed())
    config = Wikipedia(namespaces=(0, 1), min_chars=0, skip_disambiguation=False)
    expected = ["redirect", "Oak", "Talk:Oak", "Mercury", "Tiny & co", "AT&T's <x>", "no_text"]
    assert kinds(read(path, config)) == expected
    rows = read(path, Wikipedia(extract=Wikitext(tables="rows", math="drop")))[1].text
    assert "- 6–18 months to mature\n\nSpecies | Height\nQ. alba | 24 m\n\nChemistry" in rows
    assert rows.endswith("at mol L^−1.")
    with pytest.raises(ValueError, match="min_chars"):
        Wikipedia(min_chars=-1)


def test_another_script(tmp_path):
    data = BULGARIAN + page(1, "София", SOFIA) + FOOT
    [document] = read(write(tmp_path, data.encode()), Wikipedia(min_chars=20))
    assert document.text == SOFIA_TEXT
    assert document.url == "https://bg.wikipedia.org/wiki/%D0%A1%D0%BE%D1%84%D0%B8%D1%8F"
    assert document.meta["language"] == "bg"


@pytest.mark.parametrize("name", ["plain", "multistream", "pbzip2", "gz", "zst", "bz2"])
def test_compression_and_splits(tmp_path, name):
    data = seed()
    stream = bz2.compress
    packed = {
        "plain": data,
        "multistream": multistream(2),
        # streams that end anywhere, inside a tag too
        "pbzip2": b"".join(stream(data[i : i + 333]) for i in range(0, len(data), 333)),
        "gz": gzip.compress(data[:999]) + gzip.compress(data[999:]),
        "zst": zstandard.compress(data[:999]) + zstandard.compress(data[999:]),
        "bz2": stream(data),
    }[name]
    path = write(tmp_path, packed)
    whole = read(path)
    plain = read(write(tmp_path, data, "plain.xml"))
    assert [x._replace(locator="") for x in whole] == [x._replace(locator="") for x in plain]
    locators = [x.locator for x in whole]
    assert locators == sorted(set(locators))
    for split_bytes in (150, 1000, 2000):
        assert read(path, split_bytes=split_bytes) == whole
    n_ranges = len(split_wikipedia(str(path), 1000))
    assert n_ranges > 1 or name in ("gz", "zst")


PARTS = [*PAGES[3:5], "<page>", "</page>", "<page></page>", " junk ", "<page><title>&lol;</title></page>",
         "<page" + "x" * 90, "<page>" + "y" * 2000 + "</page>", "\n"]  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from(PARTS), max_size=12), st.integers(100, 3000), st.integers(50, 4000))
def test_any_split_of_anything(tmp_path_factory, parts, split_bytes, stream_bytes):
    folder = tmp_path_factory.mktemp("w")
    config = Wikipedia(max_document_bytes=1500)
    data = (ENGLISH + "".join(parts)).encode()
    plain = write(folder, data)
    whole = read(plain, config)
    assert read(plain, config, split_bytes) == whole
    streams = [data[i : i + stream_bytes] for i in range(0, len(data), stream_bytes)]
    packed = write(folder, b"".join(map(bz2.compress, streams)), "b.bz2")
    again = read(packed, config)
    assert kinds(again) == kinds(whole)
    assert read(packed, config, split_bytes) == again
    assert len({x.locator for x in again}) == len(again)


def test_a_broken_page_costs_itself(tmp_path):
    broken = [
        ("bad_xml", "<page><title>A</title><revision><text>&lol9;</text></revision></page>"),
        ("bad_xml", "<page><title>A</titel></page>"),
        ("bad_xml", "<page>" + "<a>" * 5000 + "</page>"),
        ("bad_xml", '<page><!DOCTYPE x [<!ENTITY a "b">]></page>'),
        ("bad_xml", "<page>\x01</page>"),
        ("unclosed_element", "<page><title>A</title><revision>"),
        ("too_large", "<page>" + "x" * 3_000_000 + "</page>"),
    ]
    data = "".join(PAGES[i % 2] + text for i, (_, text) in enumerate(broken)) + PAGES[4]
    doctype = '<!DOCTYPE m [<!ENTITY lol9 "lol">]>\n'
    path = write(tmp_path, (doctype + ENGLISH + data + FOOT).encode())
    items = read(path, Wikipedia(max_document_bytes=1 << 20))
    faults = [x for x in items if isinstance(x, Fault)]
    assert [x.error for x in faults] == [kind for kind, _ in broken]
    assert len(items) == 2 * len(broken) + 1
    assert "undefined entity" in faults[0].message
    assert "3000013 bytes" in faults[-1].message and len(faults[-1].head) <= 4096
    bad_utf8 = write(tmp_path, seed().replace(b"tiny", b"t\xffny"))
    assert kinds(read(bad_utf8))[4] == "bad_xml"


def test_damaged_streams(tmp_path):
    data = bytearray(multistream(1))
    starts = [i for i in range(len(data)) if data.startswith(b"BZh91AY", i)]
    data[starts[3] + 40] ^= 255
    path = write(tmp_path, bytes(data))
    items = read(path)
    expected = ["redirect", "Oak", "bad_bz2", "disambiguation", "stub", "AT&T's <x>", "no_text"]
    assert kinds(items) == expected
    assert items[2].locator == f"{starts[3]:012d}~"
    assert read(path, split_bytes=300) == items
    cut = write(tmp_path, multistream(3)[:-200])
    assert kinds(read(cut))[-1] in ("truncated_bz2", "no_text")
    assert "truncated_bz2" in kinds(read(write(tmp_path, bz2.compress(seed())[:-9])))
    assert kinds(read(write(tmp_path, seed()[:-300])))[-1] == "unclosed_element"
    assert kinds(read(write(tmp_path, gzip.compress(seed())[:-20])))[-1] == "truncated_gzip"
    assert kinds(read(write(tmp_path, zstandard.compress(seed())[:-20]))) == ["truncated_zstd"]


@pytest.mark.parametrize("pack", [bz2.compress, gzip.compress, zstandard.compress])
def test_a_bomb(tmp_path, pack):
    path = write(tmp_path, pack(ENGLISH.encode() + b"<page>" + b"\n" * (40 << 20)))
    items = read(path, Wikipedia(max_document_bytes=1 << 20))
    assert [x.error for x in items] == ["unclosed_element", "bomb"]


def test_no_dump(tmp_path):
    assert kinds(read(write(tmp_path, b""))) == ["empty_file"]
    assert kinds(read(write(tmp_path, b"7z\xbc\xaf\x27\x1c" + b"x" * 99))) == ["seven_zip"]
    assert kinds(read(write(tmp_path, b"some text"), split_bytes=3)) == ["not_a_dump"]
    assert kinds(read(write(tmp_path, seed().decode().encode("utf-16")))) == ["not_utf8"]
    assert read(write(tmp_path, (ENGLISH + FOOT).encode())) == []


def test_of_several_revisions_the_last(tmp_path):
    first = page(1, "T", "old " * 60)
    second = page(1, "T", "new " * 60).partition("<revision>")[2].rpartition("</page>")[0]
    data = first.replace("  </page>", "<revision>" + second + "  </page>")
    [document] = read(write(tmp_path, (ENGLISH + data).encode()))
    assert isinstance(document, Document) and document.text == ("new " * 60).strip()
