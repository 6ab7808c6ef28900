"""pipeline/extract/metadata.py: what pages say of themselves, and hostile ones."""

# ruff: noqa: E501 - a page is a line

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.extract.metadata import find_tags, opt_outs, page_metadata, spdx_of


@pytest.mark.parametrize(
    ("page", "meta"),
    [
        ('<meta property="article:published_time" content="2024-05-01T10:00:00Z">',
         {"date": "2024-05-01T10:00:00Z"}),
        ("<META CONTENT='2024/05/01' NAME=date>", {"date": "2024-05-01"}),
        ('<meta name="dc.date" content="20240501">', {"date": "2024-05-01"}),
        ('<meta name="date" content="Wed, 01 May 2024 10:00:00 GMT">', {"date": "2024-05-01"}),
        ('<meta name="date" content="last Tuesday">', {}),
        ('<meta name="date" content="2024-15-01">', {}),
        ("<time datetime=2024-05-01 itemprop=datePublished>x</time>", {"date": "2024-05-01"}),
        ("<time>1 May</time><time datetime='2023-01-01T05:06'>x</time>",
         {"date": "2023-01-01T05:06"}),
        ('<script type="application/ld+json">{"a": 1, "datePublished" : "2022-02-02"}</script>',
         {"date": "2022-02-02"}),
        ('<script>var x = {"datePublished": "2022-02-02"}</script>', {}),
        # a page's own word goes before a mere <time>, wherever it stands
        ("<time datetime=2020-01-01></time><meta name=pubdate content=2021-01-01>",
         {"date": "2021-01-01"}),
        ("<html lang='de-AT'><meta property=og:locale content=en_GB>", {"html_lang": "de-AT"}),
        ("<meta property=og:locale content=en_GB>", {"html_lang": "en_GB"}),
        ("<meta http-equiv=Content-Language content=fr><meta property=og:locale content=en>",
         {"html_lang": "fr"}),
        ('<meta name="robots" content="noindex,&#32;noai">', {"robots": "noindex, noai"}),
        ('<meta name="tdm-reservation" content="1"><meta name="tdm-policy" content="https://p/">',
         {"tdm_reservation": "1", "tdm_policy": "https://p/"}),
        ("<!-- <meta name=robots content=noai> --><textarea><meta name=robots content=x></textarea>",
         {}),
        ("<style><meta name=robots content=x></style><meta name=robots content=all>",
         {"robots": "all"}),
        ("<meta name=author content=date>", {}),
        ("<meta name=keywords content='name=robots'>", {}),
        ("<metadata name=robots content=x>", {}),
        ("<p>nothing", {}),
        ("", {}),
    ],
)  # fmt: skip
def test_metadata(page, meta):
    assert page_metadata(page.encode()) == (meta, None)


BY = "https://creativecommons.org/licenses/by/4.0/"


@pytest.mark.parametrize(
    ("page", "license", "meta"),
    [
        (f'<a rel="license" href="{BY}">', "CC-BY-4.0", {"license_url": BY}),
        (f"<link href='{BY}' rel='copyright LICENSE'>", "CC-BY-4.0", {"license_url": BY}),
        (f'<meta name="dcterms.license" content="{BY}">', "CC-BY-4.0", {"license_url": BY}),
        ("<a rel=license href=https://creativecommons.org/licenses/by-sa/3.0/de/legalcode>",
         "CC-BY-SA-3.0-DE",
         {"license_url": "https://creativecommons.org/licenses/by-sa/3.0/de/legalcode"}),
        # a mere link may speak of another page
        (f'<a href="{BY}">', None, {"license_link": "CC-BY-4.0"}),
        ("<a rel=license href=https://example.org/terms>", None,
         {"license_url": "https://example.org/terms"}),
        (f"<a rel=license href={BY}>"
     "<a rel=license href=http://creativecommons.org/licenses/by-nc/2.0>",
         None, {"license_url": BY}),  # which of the two?
        ("<a class=license href=/x>", None, {}),
    ],
)  # fmt: skip
def test_licences(page, license, meta):
    assert page_metadata(page.encode()) == (meta, license)


def test_spdx():
    for url, spdx in [
        ("//creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0"),
        ("http://www.creativecommons.org/publicdomain/mark/1.0/deed.de", "CC-PDM-1.0"),
        ("https://creativecommons.org/licenses/by-nc-nd/4.0/deed.en", "CC-BY-NC-ND-4.0"),
        ("https://creativecommons.org/licenses/by/3.0/igo/", "CC-BY-3.0-IGO"),
        ("https://creativecommons.org/licenses/by-sa/", "CC-BY-SA"),
        ("https://creativecommons.org/about", None),
        ("https://example.org/licenses/by/4.0", None),
    ]:
        assert spdx_of(url) == spdx, url


def test_opt_outs():
    assert opt_outs("noindex, NoAI", "bot: noimageai; x") == "noai,noimageai"
    assert opt_outs("noaim, index", "") == ""


def test_values_are_clean_and_bounded():
    meta, _ = page_metadata(b'<meta name=robots content="' + b"a\0 b&amp;&#0;" * 200 + b'">')
    assert meta["robots"].startswith("a b&") and len(meta["robots"]) <= 200
    assert "\0" not in meta["robots"]
    meta["robots"].encode()


@pytest.mark.parametrize(
    "evil",
    [b"<" * 2_000_000, b"<meta " * 300_000, b"<!--" * 500_000, b"<script>" * 300_000,
     b"<script>" + b"<" * 2_000_000, b"<meta content='" * 150_000, b"<a icens <a " * 200_000,
     b"<html " + b"a=" * 1_000_000, b'<meta name="date" content="' + b"&" * 2_000_000,
     b"<time datetime=2020-01-01>" * 100_000, b"<a rel=license href=x>" * 100_000,
     b"<script type=application/ld+json>" * 50_000, b"<meta name=date content=2020-01-01>" * 50_000],
)  # fmt: skip
def test_hostile_pages_are_bounded(evil):
    """Each took under .1 s when it was measured; quadratic work would take minutes."""
    page_metadata(evil)
    assert len(find_tags(evil)) <= 1200


_SLOW = re.compile(
    rb"<!--(?:>|->|.*?(?:--!?>|\Z))|<(script|style|textarea)(?![a-z]).*?(?:(?=</\1)|\Z)"
    rb"|(<(?:meta|html|time)(?![a-z]))(?:='[^']*'|[^>])*+",  # a < in a tag is that tag's
    re.S | re.I,
)
_PIECES = [
    *(b"<meta name=robots content=x>", b"<html lang=a>", b"<html ", b"<time datetime=2020-01-01>"),
    *(b"<!--", b"-->", b"<script>", b"</script", b"<style a='>'>", b"</style>", b"<p>"),
    *(b"<", b">", b"-", b"!", b"x"),
]


@example(b"<!--><meta name=robots content=x>")  # an empty comment
@example(b"<!---><meta name=robots content=x>")
@example(b"<!--x--!><meta name=robots content=x>")
@example(b"<!--!><meta name=robots content=x>")  # an open one
@given(st.lists(st.sampled_from(_PIECES), max_size=12).map(b"".join))
def test_tags_are_the_pattern(page):
    page += b"    "
    fast = [start for _, start, _ in find_tags(page)]
    assert fast == [m.end(2) for m in _SLOW.finditer(page) if m[2]]


@given(st.binary(max_size=300))
def test_any_bytes(page):
    meta, license = page_metadata(page)
    assert license is None or "license_url" in meta
    "".join(meta.values()).encode()
