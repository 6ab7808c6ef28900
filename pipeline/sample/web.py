"""Web pages for the demo, as a crawler stores them: articles in six layouts with menus, sidebars,
cookie banners and scripts around them, in WARC files of one gzip member a record (ISO 28500)."""

import gzip
import html
import random
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pipeline.sample.prose import Article

Expect = Literal["removed", "kept", "scrubbed", "cut", "error"]


class Mark(NamedTuple):
    """What is known of a record before it has an id; see truth.jsonl in sample.py."""

    component: str
    expect: Expect
    group: str | None = None
    detail: dict[str, Any] = {}  # noqa: RUF012 - never written to


class Page(NamedTuple):
    """One response: an article, or a body of its own."""

    article: Article
    marks: tuple[Mark, ...] = ()
    copy: int = 0  # the same article at another address
    lang: str = "en"
    charset: str | None = None  # how an article is encoded and labelled; None: UTF-8 without label
    body: bytes | None = None
    content_type: str | None = None
    damage: Literal["", "truncated_gzip", "wrong_length"] = ""


SITES = (
    *("The Daily Compiler", "Harbour Notes", "Field Guide Online", "Paper and Code"),
    *("The Quiet Library", "Northern Review", "Open Manual", "Letters from the Lab"),
)
TOPICS = (
    *("Home", "Articles", "Guides", "Archive", "Events", "People", "Reference", "Shop", "Jobs"),
    *("Downloads", "Forum", "Pictures", "Podcast", "Newsletter", "About us", "Contact"),
)
_SCRIPT = """<script>window.dataLayer = window.dataLayer || [];
function track(name) { dataLayer.push({event: name, page: "%s"}); }
if (document.readyState < 3) { track("view"); }</script>"""
_STYLE = "<style>body{font:16px serif}.menu li{display:inline}.side{float:right;width:20em}</style>"
_COOKIES = """<div class="cookie-banner" id="cookie-consent" role="dialog"><p>We and our partners
use cookies to measure our audience. You can accept or refuse them at any time.</p>
<button>Accept all</button><button>Settings</button></div>"""


def render(page: Page) -> str:
    """The page's HTML. It depends on the article's title, not on the address: a copy is equal."""
    title, paragraphs = page.article
    rng = random.Random(f"layout/{title}")
    site = rng.choice(SITES)
    body = "\n".join(_paragraph(p, i, rng) for i, p in enumerate(paragraphs))
    layout = rng.choice(_LAYOUTS)
    label = f'<meta charset="{page.charset}">' if page.charset and rng.random() < 0.5 else ""
    return f"""<!DOCTYPE html>
<html lang="{page.lang}"><head>{label}<title>{html.escape(title)} | {site}</title>
<meta name="viewport" content="width=device-width">{_STYLE}{_SCRIPT % rng.randrange(10**6)}</head>
<body>{_COOKIES if rng.random() < 0.4 else ""}
{layout(f"<h1>{html.escape(title)}</h1>", body, site, rng)}
<script src="/static/app.{rng.randrange(10**6)}.js" async></script></body></html>
"""


def _paragraph(text: str, place: int, rng: random.Random) -> str:
    words = html.escape(text, quote=False).replace("\n", "<br>\n").split(" ")
    if len(words) > 12 and rng.random() < 0.3:
        i = rng.randrange(2, len(words) - 2)
        words[i] = rng.choice(["<em>%s</em>", '<a href="/t/1">%s</a>', "<b>%s</b>"]) % words[i]
    heading = f"<h2>Part {place // 3 + 1}</h2>\n" if place and place % 3 == 0 else ""
    return f"{heading}<p>{' '.join(words)}</p>"


def _menu(rng: random.Random, n: int) -> str:
    items = [f'<li><a href="/{t.lower().replace(" ", "-")}">{t}</a></li>' for t in TOPICS]
    return "<ul class='menu'>" + "".join(rng.sample(items, n)) + "</ul>"


def _footer(site: str, rng: random.Random) -> str:
    return (
        f"<footer class='footer'><p>Copyright {rng.randint(2015, 2025)} {site}. All rights "
        "reserved.</p><p><a href='/terms'>Terms</a> | <a href='/privacy'>Privacy</a></p></footer>"
    )


def _semantic(h1: str, body: str, site: str, rng: random.Random) -> str:
    return f"""<header><a href="/" class="logo">{site}</a><nav>{_menu(rng, 7)}</nav></header>
<main><article>{h1}{body}</article></main>
<aside class="sidebar"><h3>Most read</h3>{_menu(rng, 5)}</aside>{_footer(site, rng)}"""


def _blog(h1: str, body: str, site: str, rng: random.Random) -> str:
    day = f"{rng.randint(1, 28)} March {rng.randint(2015, 2025)}"
    return f"""<div id="header"><h2 class="site-title"><a href="/">{site}</a></h2></div>
<div id="nav" class="navigation">{_menu(rng, 6)}</div><div id="content"><div class="post">{h1}
<div class="post-meta"><span class="date">{day}</span></div><div class="entry-content">{body}</div>
<div class="share-buttons"><a href="#">Share</a> <a href="#">Print</a></div></div></div>
<div id="comments" class="comments"><h3>2 comments</h3><div class="comment">Thanks a lot!</div>
<div class="comment">See my page as well.</div></div>{_footer(site, rng)}"""


def _table(h1: str, body: str, site: str, rng: random.Random) -> str:
    return f"""<table width="100%"><tr><td class="nav" width="15%">{_menu(rng, 8)}</td>
<td class="content">{h1}{body}</td></tr></table><center><font size="1">{site}</font></center>"""


def _docs(h1: str, body: str, site: str, rng: random.Random) -> str:
    return f"""<div class="topbar">{site}</div><div class="breadcrumbs"><a href="/">Home</a> &gt;
<a href="/g">Guides</a></div><div class="sidebar toc">{_menu(rng, 9)}</div>
<div class="document" role="main"><div class="section">{h1}{body}</div></div>
<div class="pagination"><a href="?p=1">Previous</a> <a href="?p=3">Next</a></div>
{_footer(site, rng)}"""


def _magazine(h1: str, body: str, site: str, rng: random.Random) -> str:
    return f"""<header class="site-header"><div class="ad banner">Advertisement</div>{site}
{_menu(rng, 5)}</header><section class="story">{h1}<div class="article-body">{body}</div></section>
<section class="related"><h3>You may also like</h3>{_menu(rng, 6)}</section>
<div class="newsletter-signup"><form><input name="q"><button>Subscribe</button></form></div>
{_footer(site, rng)}"""


def _bare(h1: str, body: str, site: str, rng: random.Random) -> str:
    return f"{h1}{body}<hr><address>{site}</address>"


_LAYOUTS = (_semantic, _blog, _table, _docs, _magazine, _bare)


# --- WARC ---------------------------------------------------------------------------------------


def write_warc(path: Path, pages: Iterable[Page], rng: random.Random) -> list[int]:
    """One shard; returns the offset of each page's gzip member."""
    info = b"software: corpusmill sample\r\nformat: WARC File Format 1.1\r\n"
    members = [_member(_record("warcinfo", None, "application/warc-fields", info, rng))]
    offsets, at = [], len(members[0])
    for i, page in enumerate(pages):
        host = f"{page.article.title[:1].lower()}{len(page.article.title)}.example.org"
        url = f"https://{host}/{'copy' if page.copy else 'page'}/{i}"
        record = _record("response", url, "application/http; msgtype=response", _http(page), rng)
        if page.damage == "wrong_length":
            record = record.replace(b"\r\nContent-Length: ", b"\r\nContent-Length: 9", 1)
        member = _member(record)
        if page.damage == "truncated_gzip":
            member = member[: len(member) * 2 // 3]
        members.append(member)
        offsets.append(at)
        at += len(member)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(members))
    return offsets


def _http(page: Page) -> bytes:
    body = page.body
    content_type = page.content_type
    if body is None:
        body = render(page).encode(page.charset or "utf-8")
    if content_type is None:
        content_type = f"text/html; charset={page.charset}" if page.charset else "text/html"
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Server: demo\r\n\r\n".encode() + body


def _record(
    kind: str, url: str | None, content_type: str, block: bytes, rng: random.Random
) -> bytes:
    lines = ["WARC/1.1", f"WARC-Type: {kind}"]
    lines += [f"WARC-Record-ID: <urn:uuid:{uuid.UUID(int=rng.getrandbits(128), version=4)}>"]
    lines += [f"WARC-Date: 2024-0{rng.randint(1, 9)}-{rng.randint(10, 28)}T12:00:00Z"]
    lines += [f"WARC-Target-URI: {url}"] if url else []
    lines += [f"Content-Type: {content_type}", f"Content-Length: {len(block)}", "", ""]
    return "\r\n".join(lines).encode() + block + b"\r\n\r\n"


def _member(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)
