"""pipeline/extract/wikitext.py: markup in, literal text out; hostile markup in linear time."""

# ruff: noqa: E501 - wikitext has a paragraph a line

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.extract import wikitext
from pipeline.extract.html import ExtractError
from pipeline.extract.wikitext import Site, Wikitext, wikitext_to_text
from pipeline.extract.wikitext_names import TEMPLATES

CASES = [
    # links
    ("[[Tree]]s and [[Root|roots]], [[:Category:Plants]]", "Trees and roots, Category:Plants"),
    ("A [[File:Oak.jpg|thumb|An [[oak]] in {{lang|de|Wien}}]]tree.", "A tree."),
    ("Text.[[Category:Trees]]\n[[de:Baum]]\n[[zh-min-nan:Chhiū-á]]", "Text."),
    ("See [https://example.org/a the page], [//x.org] or https://b.org.", "See the page, or https://b.org."),
    ("[[Not a link\nat all|x]] text", "Not a link\nat all|x text"),
    # templates
    ("{{Infobox tree|name=Oak|image=[[File:a.jpg]]|x={{nowrap|y}}}}Text.", "Text."),
    ("It is {{convert|3|to|5|km|mi|abbr=on}} long.", "It is 3 to 5 km long."),
    ("It is {{convert|12|m}} high.", "It is 12 m high."),
    ("The {{lang|fr|{{nowrap|bon ''mot''}}}} of {{circa|1850}}.", "The bon mot of c. 1850."),
    ("{{nihongo|Tokyo|東京|Tōkyō}} {{frac|2|3}}", "Tokyo (東京, Tōkyō) 2/3"),
    ("{{chem|H|2|O}}, {{quote|text=Be.|author=X}}", "H2O, Be."),
    ("Paris ({{IPA|fr|paʁi}}; {{lang|la|}}) is.", "Paris is."),
    ("Paris ({{IPA|x}}, old ''Lutetia'') is.", "Paris (old Lutetia) is."),
    ("{{{1|default}}} and {{{{{x}}}}} end", "default and end"),
    ("{{unknown|{{a|{{b}}}}|[[c|d]]}}Text", "Text"),
    # unbalanced
    ("An {{open template | hides = nothing. [[Link]] 'end'", "An open template | hides = nothing. Link 'end'"),
    ("A [[half link and {{nowrap|a [[b}} text]] end", "A half link and a b text end"),
    ("a }} b ]] c |} d", "a b c |} d"),
    # tables, tags
    ("Before\n{| class=x\n|-\n| a || {{b|{{c}}}}\n{|\n| in\n|}\n|}\nAfter", "Before\n\nAfter"),
    ("A<ref name=x>{{cite|a=[[b]]}}</ref> b<ref name=x /> c<ref>", "A b c"),
    ("x<!-- {{ --> y\n<!-- line -->\nz<!-- open {{ [[", "x y\nz"),
    ("1<br>2<br/>3 H<sub>2</sub>O 10<sup>6</sup> 19<sup>th</sup>", "1\n2\n3 H2O 10^6 19th"),
    ("<nowiki>[[a]] ''b'' {{c}} &amp;</nowiki> <stdio.h>", "[[a]] ''b'' {{c}} & <stdio.h>"),
    ("Area: <math>\\pi\n r^{2}</math>.", "Area: $\\pi r^{2}$."),
    ("<syntaxhighlight lang=c>\n  if (a) {{\n    b;\n  }}\n</syntaxhighlight>Text", "  if (a) {{\n    b;\n  }}\n\nText".strip()),
    ("<gallery>\nA.jpg|[[b]]\n</gallery>Text <blockquote>Said.</blockquote>", "Text\nSaid."),
    ("<table><tr><td>x</td></tr></table>Text<span style='a'>s</span>", "Texts"),
    # lines
    ("* a\n** b\n# c\n; term\n: def\n----\n::: d", "- a\n- b\n- c\nterm\ndef\n\nd"),
    ("a\n== H ==\nb\n=== Empty ===\n== I ==\nc", "a\n\nH\n\nb\n\nI\n\nc"),
    ("a\n== See also ==\n* b\n=== Sub ===\nc\n== Next ==\nd", "a\n\nNext\n\nd"),
    ("__NOTOC__\n'''Bold''' ''it'' '''''both''''' ''''q''''", "Bold it both 'q'"),
    ("L'''Avion'' est", "L'Avion est"),
    ("a&nbsp;&ndash; b &lt;ref&gt; &#x41;&#0;", "a – b <ref> A\ufffd"),
    ("-{zh-hans:计算机; zh-hant:電腦}-和-{T|x}--{中}-", "计算机和中"),
    ("", ""),
    ("{{stub}}\n[[Category:X]]", ""),
]  # fmt: skip


@pytest.mark.parametrize(("source", "expected"), CASES)
def test_literal(source, expected):
    assert wikitext_to_text(source) == expected


def test_tables_as_rows():
    table = (
        'Text\n{| class="wikitable"\n|+ Of trees\n! Name !! style="a" | Height\n|-\n| [[Oak|oak]]\n'
        "| {{convert|30|m}}\n|- valign=top\n| ''elm'' || 20<ref>x</ref>\n|more\n|}\nEnd"
    )
    expected = "Text\n\nOf trees\nName | Height\noak | 30 m\nelm | 20 | more\n\nEnd"
    assert wikitext_to_text(table, Wikitext(tables="rows")) == expected
    assert wikitext_to_text(table) == "Text\n\nEnd"


def test_languages():
    site = Site("de", frozenset({"datei", "kategorie"}))
    source = "Der [[Baum]].[[Datei:a.jpg|mini|Eiche]]\n== Weblinks ==\n* x\n== See also ==\ny"
    assert wikitext_to_text(source, site=site) == "Der Baum.\n\nSee also\n\ny"
    other = Site("xx")  # a language that is not in the table takes the English names
    assert wikitext_to_text("a\n== References ==\nb", site=other) == "a"
    config = Wikitext(drop_sections={"en": ("Plot",)}, templates={"my": "<$1/$named>|-"})
    assert wikitext_to_text("{{my|a|named=b}} {{My|c}}\n== plot ==\nx", config) == "<a/b> -"
    assert wikitext_to_text("a <math>x</math>", Wikitext(math="drop")) == "a"


def test_patterns_of_templates_have_no_bar_of_their_own():
    assert all("||" not in pattern and pattern for pattern in TEMPLATES.values())


PIECES = ["{{", "}}", "{{{", "}}}", "[[", "]]", "\n{|", "\n|}", "|", "<ref>", "</ref>", "<ref/>", "<!--",
          "-->", "<b>", "<table>", "</table>", "''", "'''", "\n== a ==\n", "\n* ", "a", " ", "日", "lang|a|",
          "nowrap|", "File:", "[http://a ", "]", "<nowiki>", "</nowiki>", "-{", "}-", "&lt;", "\x01", "\x02",
          "0\x02", "=", "<math>", "</math>"]  # fmt: skip


@given(
    st.lists(st.sampled_from(PIECES), max_size=60).map("".join), st.sampled_from(["drop", "rows"])
)
def test_any_markup(source, tables):
    text = wikitext_to_text(source, Wikitext(tables=tables))
    assert not set(text) & set("\x01\x02\x03")
    assert len(text) <= 20 * len(source) + 10


@pytest.mark.parametrize("unit", [*PIECES, "{{lang|a|", "[[http://a b|", "( ", "{{a|b=[[c|d]]}}"])
def test_hostile_nesting_takes_linear_work(unit):
    """Whatever is repeated 20,000 times: a quadratic step would take minutes."""
    closing = {"{{lang|a|": "}}", "[[": "]]", "{{": "}}", "{{{": "}}}", "\n{|": "\n|}"}.get(
        unit, ""
    )
    wikitext_to_text(unit * 20_000 + closing * 20_000, Wikitext(tables="rows"))


def test_more_brackets_than_any_page_has(monkeypatch):
    monkeypatch.setattr(wikitext, "MAX_TOKENS", 100)
    assert wikitext_to_text("[[a" * 100) == "a" * 100
    with pytest.raises(ExtractError) as raised:
        wikitext_to_text("[[a" * 102)
    assert raised.value.kind == "too_much_markup"
