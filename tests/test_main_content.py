"""pipeline/extract/main_content.py on small pages of many kinds, and its trees."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.extract import main_content
from pipeline.extract.blocks import FEATURES, N_FEATURES
from pipeline.extract.html import html_to_text
from pipeline.extract.main_content import features, main_blocks, parse_trees, predict, read_page
from pipeline.extract.surroundings import CONTEXT, N_CONTEXT

HEAD = """<header><a href="/">Site</a><nav><ul><li><a href="/n">News</a></li>
<li><a href="/s">Sports</a></li><li><a href="/f">Forum</a></li><li><a href="/d">Shop</a></li>
<li><a href="/a">About</a></li><li><a href="/c">Contact</a></li></ul></nav></header>"""
FOOT = """<footer class="footer"><p>Copyright 2024 Site. All rights reserved.
<a href="/t">Terms</a> <a href="/p">Privacy</a></p></footer>"""
MET = (
    "The committee met on Tuesday for the first time since the summer, and it found that most of "
    "the work which was promised in spring had not been begun."
)
CHAIR = (
    "Its chair, a former engineer, said that the delay was hard to explain to people who had paid "
    "for the bridge, and that a second report would follow in May."
)
MINISTRY = (
    "No one from the ministry was there to answer, although three letters had been sent, so the "
    "members went through the figures one by one until the evening."
)


def extract(body: str, title: str) -> str:
    """The page's text without its headline, which may be there or not: it is the title."""
    page = f"<html><head><title>{title}</title></head><body>{HEAD}{body}{FOOT}</body></html>"
    return html_to_text(page)[0].removeprefix(title).strip()


def test_news():
    body = f"""<main><article><h1>Bridge is late</h1><div class="byline">By A. Writer</div>
    <p>{MET}</p><figure><img src="x"><figcaption>The bridge. Photo: N. N.</figcaption></figure>
    <p>{CHAIR}</p><h2>No answer</h2><p>{MINISTRY}</p></article><aside class="related">
    <h3>Related</h3><ul><li><a href="a">Another bridge closes for repairs</a>
    <li><a href="b">Ministry names new head</a></ul></aside><div id="comments" class="comments">
    <h3>2 comments</h3><div class="comment"><p>I drove over that bridge for twenty years and it was
    always being repaired.</p></div></div></main>"""
    assert extract(body, "Bridge is late") == f"{MET}\n\n{CHAIR}\n\nNo answer\n\n{MINISTRY}"


def test_forum():
    posts = (
        "My pump has made a grinding noise since last week, and the pressure falls when two taps "
        "are open. Has anyone had this before?",
        "I had the same with a pump of that age. In my case a bearing was worn, which you can hear "
        "best when you hold a screwdriver to the housing.",
        "Thank you, that was it. I ordered a new bearing for nine euros and it took me about an "
        "hour to put it in.",
    )
    body = "".join(
        f"""<div class="post" id="p{i}"><div class="author"><a href="/u/{i}">anna{i}</a> <span
        class="date">3 May 2021</span></div><div class="postbody">{post}</div><div
        class="postfooter"><a href="#">Reply</a> <a href="#">Quote</a></div></div>"""
        for i, post in enumerate(posts)
    )
    text = extract(f'<div class="thread"><h1>Pump makes a noise</h1>{body}</div>', "Pump")
    assert [line for line in text.split("\n\n") if len(line) > 40] == list(posts)


def test_questions_and_answers():
    body = """<div id="question"><h1>Sort a list</h1><div class="post-text"><p>I have a list of
    names and want them in the order of their length. What is the shortest way to do this in
    Python?</p></div></div><div id="answers"><h2>2 Answers</h2><div class="answer"><div
    class="vote">12</div><div class="post-text"><p>Give the function a key, which is called for each
    of the names:</p><pre><code>names.sort(key=len)
  # in place</code></pre><p>The sort is stable, so names of equal length stay in the order in which
    they were.</p></div></div></div>"""
    text = extract(body, "Sort a list")
    assert "What is the shortest way to do this in Python?" in text
    assert "each of the names:\n\nnames.sort(key=len)\n  # in place\n\nThe sort" in text
    assert "News" not in text and "Copyright" not in text


def test_documentation():
    body = """<div class="sidebar"><ul><li><a href="1">Install</a><li><a href="2">Usage</a>
    <li><a href="3">API</a></ul></div><div class="document" role="main"><h1>copy()</h1><p>Copies a
    file from one place to another and returns the new path. It raises an error when the source is
    not there.</p><pre>def copy(a, b):
    with open(a) as f:
        return f.read()</pre><h2>Parameters</h2><table><tr><th>Name<th>Type<th>Meaning<tr><td>a
    <td>str<td>The file to be read<tr><td>b<td>str<td>Where the copy is written</table><p>The
    function does not follow symbolic links, because on some systems that would copy whole
    directories.</p></div>"""
    assert extract(body, "copy()") == (
        "Copies a file from one place to another and returns the new path. It raises an error when "
        "the source is not there.\n\ndef copy(a, b):\n    with open(a) as f:\n        return "
        "f.read()\n\nParameters\n\nName\tType\tMeaning\na\tstr\tThe file to be read\nb\tstr\tWhere "
        "the copy is written\n\nThe function does not follow symbolic links, because on some "
        "systems that would copy whole directories."
    )


def test_product():
    body = """<div class="breadcrumb"><a href="1">Tools</a> &gt; <a href="2">Drills</a></div>
    <div class="product"><h1>Cordless drill</h1><span class="price">89.00</span><button>Add to cart
    </button><div class="description"><p>A light drill for wood and soft metal with two gears and a
    lamp that shows where you drill. The battery is charged in an hour and lasts for about eighty
    holes.</p><ul><li>Weight 1.2 kg with the battery</li><li>Two gears, up to 1,400 turns a
    minute</li><li>Comes with a case and six bits</li></ul></div></div><div class="recommendations">
    <h3>Customers also bought</h3><a href="a">Drill bits</a> <a href="b">Safety goggles</a></div>"""
    assert extract(body, "Cordless drill") == (
        "A light drill for wood and soft metal with two gears and a lamp that shows where you "
        "drill. The battery is charged in an hour and lasts for about eighty holes.\n\n"
        "• Weight 1.2 kg with the battery\n• Two gears, up to 1,400 turns a minute\n"
        "• Comes with a case and six bits"
    )


def test_wiki():
    body = """<div id="content"><h1>Lake Orta</h1><p><b>Lake Orta</b> is a lake in the north of
    <a href="/I">Italy</a>, west of <a href="/LM">Lake Maggiore</a>. It has been called so since the
    16th century; earlier it was named after a saint of the island.</p><h2>History</h2><p>A mill on
    its north shore let copper and ammonia into the water from 1926 on, so that within two years the
    fish had died. The lake was limed in 1989 and is clean again.</p></div>"""
    assert extract(body, "Lake Orta") == (
        "Lake Orta is a lake in the north of Italy, west of Lake Maggiore. It has been called so "
        "since the 16th century; earlier it was named after a saint of the island.\n\nHistory\n\n"
        "A mill on its north shore let copper and ammonia into the water from 1926 on, so that "
        "within two years the fish had died. The lake was limed in 1989 and is clean again."
    )


def test_a_wikis_tables():
    body = """<div id="content" class="mw-body"><h1>Rhone</h1><div class="mw-parser-output">
    <table class="infobox"><tr><th>Length<td>812 km<tr><th>Source<td>Rhone Glacier</table><p>The
    <b>Rhone</b> is a major river in <a href="/F">France</a> and <a href="/S">Switzerland</a>,
    rising in the Alps and flowing west and south through Lake Geneva before discharging into the
    sea.</p><h2>Tributaries</h2><table class="wikitable"><tr><th>River<th>Length<th>Mouth<tr><td>
    Arve<td>108 km<td>Geneva<tr><td>Isere<td>286 km<td>Valence</table><p>The largest of these by
    discharge is the Saone, which joins it in the middle of Lyon.</p></div></div>"""
    assert extract(body, "Rhone") == (
        "Length\t812 km\nSource\tRhone Glacier\n\nThe Rhone is a major river in France and "
        "Switzerland, rising in the Alps and flowing west and south through Lake Geneva before "
        "discharging into the sea.\n\nTributaries\n\nRiver\tLength\tMouth\nArve\t108 km\tGeneva\n"
        "Isere\t286 km\tValence\n\nThe largest of these by discharge is the Saone, which joins it "
        "in the middle of Lyon."
    )


def test_recipe():
    body = """<article><h1>Potato soup</h1><p>This soup is what my grandmother made on cold days,
    and it tastes even better when it is warmed up again on the next.</p><h2>Ingredients</h2><ul>
    <li>1 kg potatoes</li><li>2 onions</li><li>1 l broth</li></ul><h2>Method</h2><ol><li>Peel the
    potatoes and cut them into small pieces.</li><li>Fry the onions in a little butter until they
    are golden.</li></ol></article>"""
    assert extract(body, "Potato soup") == (
        "This soup is what my grandmother made on cold days, and it tastes even better when it is "
        "warmed up again on the next.\n\nIngredients\n\n• 1 kg potatoes\n• 2 onions\n• 1 l broth"
        "\n\nMethod\n\n1. Peel the potatoes and cut them into small pieces.\n2. Fry the onions in "
        "a little butter until they are golden."
    )


def test_around_a_blog_post():
    body = f"""<div id="cookie-banner" class="cookie-consent"><p>We use cookies and similar
    technologies to measure our audience and to show you advertisements.</p><button>Accept all
    </button></div><div class="post"><h1>Bridge is late</h1><div class="entry-content"><p>{MET}</p>
    <p>{CHAIR}</p></div><div class="share-buttons"><a href="f">Share on Facebook</a></div>
    <div class="newsletter"><p>Subscribe to our newsletter and get the best stories of the week by
    e-mail.</p></div></div>"""
    assert extract(body, "Bridge is late") == f"{MET}\n\n{CHAIR}"


SCRIPTS = {
    "大桥延期": (
        "委员会周二举行了自夏天以来的第一次会议，发现春天所承诺的大部分工作尚未开始，预算却已经用去了一半以上。",
        "主席曾是一名工程师，他说很难向为这座桥付钱的人们解释这种拖延，第二份报告将于五月发布，届时会公布全部数字。",
    ),
    "橋の完成が遅れる": (
        "委員会は火曜日に夏以来初めての会合を開き、春に約束された工事のほとんどがまだ始まっていないことを明らかにした。",
        "元技術者の委員長は、橋のために費用を負担した人々に遅れを説明するのは難しいと述べ、五月に報告書を出すと語った。",
    ),
    "تأخر الجسر": (
        "اجتمعت اللجنة يوم الثلاثاء لأول مرة منذ الصيف، ووجدت أن معظم العمل لم يبدأ بعد.",
        "وقال رئيسها، وهو مهندس سابق، إن من الصعب شرح التأخير للناس الذين دفعوا ثمن الجسر.",
    ),
    "สะพานล่าช้า": (
        "คณะกรรมการประชุมกันเมื่อวันอังคารเป็นครั้งแรกตั้งแต่ฤดูร้อน และพบว่างานส่วนใหญ่ยังไม่ได้เริ่มต้น",
        "ประธานซึ่งเคยเป็นวิศวกรกล่าวว่าเป็นเรื่องยากที่จะอธิบายความล่าช้าให้กับผู้ที่จ่ายเงินค่าสะพาน",
    ),
}  # fmt: skip


@pytest.mark.parametrize("title", SCRIPTS)
def test_scripts(title):
    first, second = SCRIPTS[title]
    body = f'<div class="content"><h1>{title}</h1><p>{first}</p><p>{second}</p></div>'
    assert extract(body, title) == f"{first}\n\n{second}"


def test_text_without_paragraphs():
    body = f'<div id="text"><b>Bridge is late</b><br><br>{MET}<br><br>{CHAIR}<br>{MINISTRY}</div>'
    assert extract(body, "Bridge is late") == f"{MET}\n\n{CHAIR}\n{MINISTRY}"


def test_layout_by_tables():
    page = f"""<title>Bridge</title><body><table width=100%><tr><td class=nav><a href=1>Home</a><br>
    <a href=2>Archive</a><br><a href=3>Links</a><td><font size=2><h1>Bridge</h1><p>{MET}<p>{CHAIR}
    <p>{MINISTRY}</font></table><center>Last updated 3 May 1999</center>"""
    text = html_to_text(page)[0].removeprefix("Bridge").strip()
    assert text == f"{MET}\n\n{CHAIR}\n\n{MINISTRY}"


def test_poem():
    body = """<div class="poem"><h1>Evening</h1><p>The lamps go out along the quay,<br>the boats lie
    still, the water too,<br>and what the wind has said to me<br>I would have said, tonight, to
    you.</p></div>"""
    assert extract(body, "Evening") == (
        "The lamps go out along the quay,\nthe boats lie still, the water too,\nand what the wind "
        "has said to me\nI would have said, tonight, to you."
    )


def test_navigation_alone_is_nothing():
    cards = ("Bridge is late again", "Mayor resigns", "Snow in the north", "Prices rise")
    body = "".join(
        f'<div class="card"><a href="{i}"><h3>{card}</h3></a></div>' for i, card in enumerate(cards)
    )
    assert extract(f'<div class="grid">{body}</div>', "Site") == ""
    assert extract("", "Site") == ""


@pytest.mark.parametrize(
    "names",
    ["首页 新闻 桥梁再次关闭维修 市长宣布辞职", "ホーム 橋が再び閉鎖 市長が辞任を表明",
     "الرئيسية أخبار رياضة", "หน้าแรก ข่าว สะพานปิดซ่อมอีกครั้ง"],
    ids=["zh", "ja", "ar", "th"],
)  # fmt: skip
def test_navigation_alone_is_nothing_in_any_script(names):
    items = "".join(f'<li><a href="/{i}">{name}</a></li>' for i, name in enumerate(names.split()))
    page = f"<nav><ul>{items}</ul></nav><div class='list'><ul>{items}</ul></div>"
    assert html_to_text(f"<title>x</title><body>{page}")[0] == ""


def test_a_page_without_links_is_text():
    assert html_to_text("<p>A few words.")[0] == "A few words."
    assert html_to_text("<p>One<p hidden>no<p>Two")[0] == "One\n\nTwo"


def test_hidden_text_counts_where_nothing_else_does():
    body = "<div class='post'><p>{}</p><div {}><p>{}</p></div></div>"
    for hidden in ("hidden", "style='display:none'"):
        assert extract(body.format(MET, hidden, CHAIR), "Bridge") == MET
    copy = f"<noscript><div class='post'><p>{MET}</p><p>{CHAIR}</p></div></noscript>"
    assert extract(copy, "Bridge") == f"{MET}\n\n{CHAIR}"
    assert extract(f"<p>{MET}</p><p>{CHAIR}</p>{copy}", "Bridge") == f"{MET}\n\n{CHAIR}"


def test_many_blocks_are_described_in_parts(monkeypatch):
    """The same number of rows, whatever is described at a time; what is far away counts less."""
    page = read_page(HEAD + f"<p>{MET}</p><p>{CHAIR}</p><p>{MINISTRY}</p>" * 40 + FOOT)
    whole = main_blocks(page)
    monkeypatch.setattr(main_content, "MAX_BLOCKS", 50)
    parts = main_blocks(page)
    assert len(whole) == len(parts) == 128 and whole.sum() == 120
    assert np.mean(whole == parts) > 0.9


def test_features():
    page = read_page(
        "<title>Lake Orta</title><meta name=description content='in Italy'><h1>Lake Orta</h1>"
        "<div class=comments><p>Is it in <a href=x>Italy</a>, or not?</p><p>Is it in Italy, or not?"
        "<p>© 2024. <b>Yes</b> 12"
    )
    x = features(page)
    assert x.shape == (4, len(FEATURES)) and len(FEATURES) == N_FEATURES
    assert len(CONTEXT) == N_CONTEXT
    named = {name: x[:, k].tolist() for k, name in enumerate(FEATURES)}
    assert named["words"] == [2, 6, 6, 3]
    assert named["of_title"] == [1, 0, 0, 0]
    assert named["in_description"] == pytest.approx([0, 1 / 3, 1 / 3, 0])
    assert named["copies"] == [1, 2, 2, 1]
    assert named["copyright"] == [0, 0, 0, 1]
    assert named["link_density"][1] == pytest.approx(5 / 23)
    assert named["ends_sentence"] == [0, 1, 1, 0]
    assert named["heading"] == [1, 0, 0, 0]
    assert named["to_comment"] == [15, 1, 1, 1]
    assert named["since_heading"] == [-1, 1, 2, 3]
    assert not np.isnan(features(read_page("<p>x<p>" + "y" * 10_000))).any()
    assert features(read_page("")).shape == (0, N_FEATURES)


def _slowly(tree: list[str], row: list[float]) -> float:
    """A tree's value for a row, read from its preorder."""
    node = tree.pop(0)
    if node.startswith("="):
        return float(node[1:])
    feature, threshold = node.split("<")
    left = _slowly(tree, row)
    right = _slowly(tree, row)
    return left if row[int(feature)] <= np.float32(float(threshold)) else right


_TREE = st.recursive(
    st.floats(-2, 2, width=16).map(lambda v: [f"={v}"]),
    lambda inner: st.builds(
        lambda f, t, a, b: [f"{f}<{t}", *a, *b],
        st.integers(0, 2), st.floats(-1, 1, width=16), inner, inner,
    ),
)  # fmt: skip


@given(st.lists(_TREE, max_size=4), st.lists(st.floats(-1, 1, width=16), min_size=3, max_size=3))
def test_trees(trees, row):
    total = sum(_slowly(list(tree), row) for tree in trees)
    found = predict(np.array([row], np.float32), *parse_trees([" ".join(t) for t in trees]))
    assert found.tolist() == pytest.approx([1 / (1 + np.exp(-total))], rel=1e-4)
