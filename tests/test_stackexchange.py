"""pipeline/sources/stackexchange.py: a Posts.xml written for the test."""

# ruff: noqa: E501 - a row is a line
import gzip
from html import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.schema import Fault
from pipeline.sources.grouping import BUCKETS, MAX_RANGES
from pipeline.sources.stackexchange import StackExchange, read_stackexchange, split_stackexchange

HEAD = '\ufeff<?xml version="1.0" encoding="utf-8"?>\n<posts>\n'
FOOT = "</posts>\n"


def post(number, kind, body, parent=None, score=0, date="2020-01-02T03:04:05.678", **more):
    fields = {"Id": number, "PostTypeId": kind, "ParentId": parent, "CreationDate": date}
    fields |= {"Score": score, "Body": body} | more
    text = " ".join(
        f'{k}="{escape(str(v)).replace(chr(10), "&#xA;")}"'
        for k, v in fields.items()
        if v is not None
    )
    return f"  <row {text} />\n"


BODY = '<p>How do I read a <code>file</code> &amp; its <a href="http://x.org">lines</a>?</p>\n<pre><code>with open(f) as g:\n    g.read()\n</code></pre>\n'
ROWS = [
    post(4, 1, BODY, score=7, AcceptedAnswerId=9, Title="Read a file & more", Tags="<python><file-io>",
         ContentLicense="CC BY-SA 4.0"),
    post(5, 1, "<p>Nobody knows?</p>", score=-2, Title="Unanswered", Tags="|c++|"),
    post(7, 2, "<p>Use <b>pathlib</b>.</p>", parent=4, score=12, ContentLicense="CC BY-SA 3.0"),
    post(8, 2, "<p>No idea.</p>", parent=4, score=-3),
    post(9, 2, "<p>Iterate:</p>\n<pre><code>for line in g:\n    print(line)</code></pre>", parent=4, score=3),
    post(10, 4, "", Title="tag wiki"),
    post(11, 2, "<p>An answer to what was deleted.</p>", parent=999, score=1),
    post(12, 1, "<p>Old one</p>", score=1, date="2010-01-01T00:00:00.000", Title="Old"),
    post(13, 2, "<p>Old answer &lt;b&gt;</p>", parent=12, score=1, date="2012-01-01T00:00:00.000"),
]  # fmt: skip

CODE = "with open(f) as g:\n    g.read()"
LOOP = "for line in g:\n    print(line)"
QUESTION = f"Q: Read a file & more\n\nHow do I read a file & its lines?\n\n{CODE}"


def seed() -> bytes:
    """A valid Posts.xml: for these tests, and to fuzz from."""
    return (HEAD + "".join(ROWS) + FOOT).encode()


def write(tmp_path, data, name="math.stackexchange.com/Posts.xml"):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def read(path, config=None, split_bytes=1 << 60):
    config = config or StackExchange()
    ranges = split_stackexchange(str(path), split_bytes)
    return [x for s, e in ranges for x in read_stackexchange(str(path), s, e, config)]


def by_locator(items):
    return {x.locator: (x.error if isinstance(x, Fault) else x.rule) for x in items}


def test_questions_with_their_answers(tmp_path):
    items = read(write(tmp_path, seed()))
    assert by_locator(items) == {
        "0000000004": None,
        "0000000005": "unanswered",
        f"0000000010@{seed().index(b'<row Id=' + chr(34).encode() + b'10'):012d}": "not_a_question",
        "0000000999/0000000011": "orphan_answer",
        "0000000012": None,
    }
    first, old = (next(x for x in items if x.locator.endswith(n)) for n in ("04", "12"))
    assert first.text == f"{QUESTION}\n\nA: Use pathlib.\n\nA: Iterate:\n\n{LOOP}\n\nA: No idea."
    assert first.url == "https://math.stackexchange.com/questions/4"
    assert first.created == "2020-01-02T03:04:05.678"
    assert first.license == "CC-BY-SA-3.0 AND CC-BY-SA-4.0"
    assert first.meta == {
        "title": "Read a file & more", "site": "math.stackexchange.com", "tags": "python file-io",
        "score": "7", "answer_scores": "12 3 -3", "n_answers": "3",
    }  # fmt: skip
    assert old.text == "Q: Old\n\nOld one\n\nA: Old answer <b>"
    assert old.license == "CC-BY-SA-2.5 AND CC-BY-SA-3.0"
    [orphan] = [x for x in items if not isinstance(x, Fault) and x.rule == "orphan_answer"]
    assert (orphan.text, orphan.meta) == ("An answer to what was deleted.", {"question": "999"})


def test_thresholds_and_the_accepted_answer(tmp_path):
    path = write(tmp_path, seed())

    def fourth(**config):
        return next(x for x in read(path, StackExchange(**config)) if x.locator == "0000000004")

    scored = fourth(min_answer_score=0, max_answers=1)
    assert scored.text == f"{QUESTION}\n\nA: Use pathlib."
    assert (scored.meta["n_answers_low_score"], scored.meta["n_answers_over_most"]) == ("1", "1")
    first = fourth(accepted="first", max_answers=2)
    assert first.text == f"{QUESTION}\n\nA: Iterate:\n\n{LOOP}\n\nA: Use pathlib."
    marked = fourth(accepted="marked", question_label="", answer_label="", max_answers=2)
    assert marked.text == f"{QUESTION[3:]}\n\nUse pathlib.\n\nA (accepted): Iterate:\n\n{LOOP}"
    rules = by_locator(read(path, StackExchange(min_question_score=2, min_answers=0)))
    assert rules["0000000005"] == rules["0000000012"] == "low_score"
    assert by_locator(read(path, StackExchange(min_answers=0)))["0000000005"] is None
    assert fourth(site="s.org").url == "https://s.org/questions/4"
    with pytest.raises(ValueError, match="max_answers"):
        StackExchange(max_answers=-1)


def key(item):
    return item.locator


@given(st.permutations([*ROWS, ROWS[0], ROWS[2], "<row Id='1'/>", "<row />", '<row Id="3" x']),
       st.integers(1, 3000), st.booleans())  # fmt: skip
@settings(deadline=None, max_examples=25)
def test_any_order_and_any_split(tmp_path_factory, rows, split_bytes, packed):
    folder = tmp_path_factory.mktemp("s")
    data = (HEAD + "".join(rows) + FOOT).encode()
    path = write(folder, gzip.compress(data) if packed else data)
    whole = read(path)
    split = read(path, split_bytes=split_bytes)
    assert sorted(split, key=key) == sorted(whole, key=key)
    documents = [x for x in whole if not isinstance(x, Fault)]
    assert [x for x in split if not isinstance(x, Fault)] == documents
    assert len({x.locator for x in whole}) == len(whole)
    assert sum(not isinstance(x, Fault) and x.rule == "duplicate_id" for x in whole) == 2
    texts = {x.locator: x.text for x in documents}
    assert texts["0000000004"].startswith(QUESTION)
    assert texts["0000000004"].index("pathlib") < texts["0000000004"].index("Iterate")


def test_ranges_are_of_buckets(tmp_path):
    path = write(tmp_path, seed())
    assert split_stackexchange(str(path), 1 << 30) == [(0, BUCKETS)]
    ranges = split_stackexchange(str(path), 100)
    assert len(ranges) == MAX_RANGES
    assert [s for s, _ in ranges][1:] == [e for _, e in ranges][:-1]
    assert (ranges[0][0], ranges[-1][1]) == (0, BUCKETS)


def test_bad_rows(tmp_path):
    rows = [
        ("bad_xml", '<row Id="20" PostTypeId="1" Body="&lol;" />'),
        ("bad_xml", '<row Id="21" PostTypeId="1" Body=unquoted />'),
        ("bad_xml", '<row Id="22" PostTypeId="1" Body="&#0;" />'),
        ("bad_row", '<row PostTypeId="1" Body="x" />'),
        ("bad_row", '<row Id="x" PostTypeId="1" />'),
        ("bad_xml", '<row Id="24" PostTypeId="1" Id="y" />'),
        ("unclosed_element", '<row Id="25" PostTypeId="1" Body="x'),
        ("too_large", f'<row Id="26" PostTypeId="1" Body="{"x" * 9000}" />'),
        ("bad_xml", '<row Id="27" PostTypeId="1" Title="\udcff" />'),
    ]
    doctype = '<!DOCTYPE p [<!ENTITY lol "lol">]>'
    data = HEAD + doctype + "".join(r + "\n" for _, r in rows) + ROWS[4] + FOOT
    path = write(tmp_path, data.encode(errors="surrogateescape"))
    items = read(path, StackExchange(max_document_bytes=5000))
    faults = {x.locator: x.error for x in items if isinstance(x, Fault)}
    assert [faults[k] for k in sorted(faults)] == [kind for kind, _ in rows]
    assert len(items) == len(rows) + 1
    # a question with more than can be held
    many = HEAD + "".join(post(i, 2, "x" * 100, parent=4) for i in range(30, 60)) + ROWS[0]
    items = read(write(tmp_path, many.encode()), StackExchange(max_document_bytes=2000))
    assert by_locator(items) == {"0000000004": "too_large"}
    assert "31 posts" in items[0].message
    assert by_locator(read(write(tmp_path, b""), split_bytes=1)) == {"": "empty_file"}
    assert by_locator(read(write(tmp_path, b"7z\xbc\xaf\x27\x1c"))) == {"": "seven_zip"}
    cut = read(write(tmp_path, gzip.compress(seed())[:-30]))
    assert "truncated_gzip" in by_locator(cut).values()
