"""filters/url.py: hosts against tldextract, lists against a slow reference, literal rows."""

# ruff: noqa: E501 - a row is a line

import gzip
import importlib.util
from pathlib import Path

import pyarrow as pa
import pytest
import tldextract
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.rules import with_removal
from filters.url import UrlFilter, load_url_lists, measure_urls, url_filter
from filters.url_lists import public_suffixes
from tests.conftest import REPO

EXTRACT = {
    private: tldextract.TLDExtract(
        cache_dir=None, suffix_list_urls=(), include_psl_private_domains=private
    )
    for private in (False, True)
}


def table(urls):
    columns = {"text": pa.array(["x"] * len(urls), pa.string()), "url": pa.array(urls, pa.string())}
    return with_removal(pa.table(columns))


def write(folder, name, *lines):
    path = Path(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return str(path)


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lists")
    return UrlFilter(
        blocklists=(
            write(folder, "adult/domains", "bad.com", "# good.com", "", "Bad.Example.ORG.", "münchen.example", "10.0.0.1"),
            write(folder, "adult/urls.gz", "www.site.com/adult/", "x.co.uk/~a%41?b=1", "straße.de/x"),
            write(folder, "malware/domains", "bad.com", "virus.net\r"),
            write(folder, "adult/usage", "site.com"),
            write(folder, "mine.txt", "http://mine.net/"),
        ),
        allow=(write(folder, "ok", "fine.bad.com", "bad.com/about"),),
        hard_words=(write(folder, "hard", "Hard", "#site"),),
        subwords=(write(folder, "sub", "sub-word"),),
        soft_words=(write(folder, "soft", "soft", "other", "größe"),),
    )  # fmt: skip


# url, rule, what it matched, registered domain
ROWS = [
    ("http://www.Bad.com/x", "blocked_domain", "adult:bad.com", "bad.com"),
    ("https://user:p%40ss@a.b.BAD.example.org.:80/", "blocked_domain", "adult:bad.example.org", "example.org"),
    ("http://notbad.com/bad.com", None, None, "notbad.com"),
    ("http://MÜNCHEN.example/p", "blocked_domain", "adult:xn--mnchen-3ya.example", "xn--mnchen-3ya.example"),
    ("http://m%C3%BCnchen.example", "blocked_domain", "adult:xn--mnchen-3ya.example", "xn--mnchen-3ya.example"),
    ("http://xn--mnchen-3ya.example", "blocked_domain", "adult:xn--mnchen-3ya.example", "xn--mnchen-3ya.example"),
    ("http://10.0.0.1:8080/x", "blocked_domain", "adult:10.0.0.1", "10.0.0.1"),
    ("http://0.0.1/x", "no_url", None, None),
    ("VIRUS.net", "blocked_domain", "malware:virus.net", "virus.net"),
    ("http://sub.mine.net", "blocked_domain", "mine:mine.net", "mine.net"),
    ("http://site.com/adult/x?y", "blocked_url", "adult:site.com/adult", "site.com"),
    ("http://SITE.com/Adult#top", "blocked_url", "adult:site.com/adult", "site.com"),
    ("http://site.com/adulthood", None, None, "site.com"),
    ("http://other.site.com/adult", None, None, "site.com"),
    ("https://x.co.uk/~aa?b=1&c=2", "blocked_url", "adult:x.co.uk/~aa?b=1", "x.co.uk"),
    ("https://straße.de/x/y", "blocked_url", "adult:xn--strae-oqa.de/x", "xn--strae-oqa.de"),
    ("http://ok.com/a-hard-b", "blocked_word", "hard_words:hard", "ok.com"),
    ("http://ok.com/h%61rd", "blocked_word", "hard_words:hard", "ok.com"),
    ("http://ok.com/hardly", None, None, "ok.com"),
    ("http://ok.com/asub/wordb", "blocked_subword", "subwords:subword", "ok.com"),
    ("http://soft.com/OTHER?soft", "too_many_soft_words", None, "soft.com"),
    ("http://soft.com/soft/soft", None, None, "soft.com"),
    ("http://soft.com/gr%C3%B6%C3%9Fe", "too_many_soft_words", None, "soft.com"),
    ("http://fine.bad.com/hard", None, None, "bad.com"),
    ("http://bad.com/about/us", None, None, "bad.com"),
    ("//a.b.co.uk/x", None, None, "b.co.uk"),
    ("http:\\\\a.com\\b", None, None, "a.com"),
    ("a.com:80/x", None, None, "a.com"),
    ("http://co.uk/", None, None, None),
    ("http://localhost/", None, None, None),
    ("http://[2001:db8::1]:80/x", None, None, "[2001:db8::1]"),
    ("http://x.github.io", None, None, "github.io"),
    ("  http://a.com \n", None, None, "a.com"),
    ("http://\u0645\u062b\u0627\u0644.com/", None, None, "xn--mgbh0fb.com"),
    (None, "no_url", None, None),
    ("", "no_url", None, None),
    ("mailto:a@bad.com", "no_url", None, None),
    ("javascript:void(0)", "no_url", None, None),
    ("http://", "no_url", None, None),
    ("http://a..com/", "no_url", None, None),
    ("http://a b.com/", "no_url", None, None),
    ("http://a.com:8x/", "no_url", None, None),
    ("http://1.2.3.400/", "no_url", None, None),
    ("http://" + "a." * 200 + "com", "no_url", None, None),
]  # fmt: skip


def test_literal_rows(lists):
    docs = url_filter(table([url for url, *_ in ROWS]), lists)
    rows = docs.select(["url", "rule", "matched_id", "url.registered_domain"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == ROWS
    soft = docs.filter(pa.compute.equal(docs["rule"], "too_many_soft_words")).to_pylist()
    assert [(row["value"], row["threshold"]) for row in soft] == [(2.0, 1.0), (2.0, 1.0)]
    allowed = [row["url.allowed"] for row in docs.to_pylist()]
    assert [url for (url, *_), a in zip(ROWS, allowed, strict=True) if a] == [
        "http://fine.bad.com/hard", "http://bad.com/about/us",
    ]  # fmt: skip


def test_configuration(lists, tmp_path):
    rules = url_filter(table([None, "x:y"]), UrlFilter(require_url=False))["rule"].to_pylist()
    assert rules == [None, None]
    private = UrlFilter(private_suffixes=True)
    row = url_filter(table(["http://a.x.github.io"]), private)["url.registered_domain"]
    assert row.to_pylist() == ["x.github.io"]
    assert url_filter(table([]), lists).num_rows == 0
    with pytest.raises(ValueError, match="max_soft_words"):
        UrlFilter(max_soft_words=-1)
    for name in ("adult/domains", "adult/domains.gz"):
        with pytest.raises(ValueError, match="domains"):
            load_url_lists(UrlFilter(blocklists=(str(tmp_path / name),)))
    broken = tmp_path / "urls.gz"
    broken.write_bytes(b"no gzip")
    with pytest.raises(ValueError, match="not a list"):
        load_url_lists(UrlFilter(blocklists=(str(broken),)))


def test_any_split_into_batches(lists):
    docs = table([url for url, *_ in ROWS])
    whole = url_filter(docs, lists)
    halves = [url_filter(docs.slice(0, 7), lists), url_filter(docs.slice(7), lists)]
    assert pa.concat_tables(halves).to_pylist() == whole.to_pylist()


def test_the_list_that_ships():
    folder = REPO / "configs" / "blocklists"
    config = UrlFilter(
        blocklists=tuple(str(folder / c / "domains") for c in ("adult", "malware")),
        hard_words=(str(folder / "words" / "hard"),),
        soft_words=(str(folder / "words" / "soft"),),
        subwords=(str(folder / "words" / "subwords"),),
    )
    urls = ["http://a.adult-pictures.example/", "http://203.0.113.7/x", "https://a.org/hot-dating",
            "https://essex.ac.uk/hot", "https://free-toolbar-download.example/"]  # fmt: skip
    docs = url_filter(table(urls), config)
    assert docs["rule"].to_pylist() == [
        "blocked_domain", "blocked_domain", "too_many_soft_words", None, "blocked_domain",
    ]  # fmt: skip
    assert docs["url.category"].to_pylist() == ["adult", "adult", None, None, "malware"]


# --- against slow references --------------------------------------------------------------------


def suffix_rules():
    spec = importlib.util.find_spec("tldextract")
    snapshot = Path(spec.submodule_search_locations[0], ".tld_set_snapshot").read_text("utf-8")
    return [line.strip() for line in snapshot.splitlines() if line and not line.startswith("//")]


@pytest.mark.parametrize("private", [False, True])
def test_registered_domains_are_those_of_tldextract(private):
    hosts = []
    for rule in suffix_rules():
        name = rule.removeprefix("!").replace("*", "wild")
        hosts += [name, f"a.{name}", f"b.a.{name}", f"c.b.a.{name}"]
    hosts = [host for host in hosts if host.isascii()]
    assert len(hosts) > 30_000
    urls = pa.chunked_array([pa.array([f"http://{host}/" for host in hosts])])
    found = measure_urls(urls, load_url_lists(UrlFilter()), private).registered_domain.to_pylist()
    extract = EXTRACT[private]
    wrong = [
        (host, mine, theirs)
        for host, mine in zip(hosts, found, strict=True)
        if (mine or "") != (theirs := extract(host).top_domain_under_public_suffix)
    ]
    assert wrong == []


def test_suffixes_of_other_scripts():
    keys, flags = public_suffixes()
    assert (keys != 0).sum() > 9000 and flags.max() >= 8
    urls = pa.chunked_array([pa.array(["http://a.b.個人.香港/", "http://食狮.公司.cn"])])
    found = measure_urls(urls, load_url_lists(UrlFilter())).registered_domain.to_pylist()
    assert found == ["b.xn--gmqw5a.xn--j6w193g", "xn--85x722f.xn--55qx5d.cn"]


LABELS = st.sampled_from(["a", "www", "bad", "com", "b-c", "x1"])
URL = st.builds(
    lambda scheme, user, host, port, path: (
        scheme + (user if scheme else "") + ".".join(host) + port + path  # u:p@a is of scheme u
    ),
    st.sampled_from(["", "http://", "HTTPS://", "//"]),
    st.sampled_from(["", "u:p@"]),
    st.lists(LABELS, min_size=1, max_size=4),
    st.sampled_from(["", ":80", ".", ".:80"]),
    st.sampled_from(["", "/", "/a", "/a/b?c=d", "/hard", "/a-soft.other", "#x", "?a", "/asubword"]),
)


def slow(url, domains, urls, hard, soft, sub):
    """(entry of a list, hard word, number of soft words, subword), with strings and sets."""
    rest = url.partition("//")[2] if "//" in url else url
    end = min((i for i in map(rest.find, "/?#") if i >= 0), default=len(rest))
    host = rest[:end].rpartition("@")[2].partition(":")[0].rstrip(".").lower()
    path, mark, query = rest[end:].partition("#")[0].lower().partition("?")
    path = (path.rstrip("/") + mark + query).rstrip("/")
    labels = host.split(".")
    entry = next((s for i in range(len(labels)) if (s := ".".join(labels[i:])) in domains), None)
    bare = host.removeprefix("www.") if host.count(".") > 1 else host
    full = bare + path
    ends = [i for i in range(len(bare), len(full) + 1) if i == len(full) or full[i] in "/?&"]
    entry = entry or next((full[:i] for i in ends if full[:i] in urls), None)
    words = "".join(c if c.isalnum() else " " for c in host + path).split()
    letters = "".join(words)
    return (
        entry,
        next((w for w in words if w in hard), None),
        len(set(words) & soft),
        next((w for w in sub if w in letters), None),
    )


@given(st.lists(URL, min_size=1, max_size=20))
@settings(deadline=None)
def test_against_sets(tmp_path_factory, urls):
    folder = tmp_path_factory.getbasetemp() / "against-sets"
    domains, pages = ["bad.com", "x1", "a.b-c"], ["a.com/a", "com?a", "www.com/a/b?c=d"]
    config = UrlFilter(
        blocklists=(write(folder, "c/domains", *domains), write(folder, "c/urls", *pages)),
        hard_words=(write(folder, "hard", "hard", "b"),),
        soft_words=(write(folder, "soft", "soft", "other", "a"),),
        subwords=(write(folder, "sub", "subword", "bw", "x1bad"),),
    )
    found = measure_urls(pa.chunked_array([pa.array(urls)]), load_url_lists(config))
    for i, url in enumerate(urls):
        entry, hard, n_soft, sub = slow(
            url, domains, pages, {"hard", "b"}, {"soft", "other", "a"}, ["subword", "bw", "x1bad"]
        )
        mine = found.entry[i].as_py(), found.hard_word[i].as_py(), int(found.n_soft_words[i])
        assert mine == (entry, hard, n_soft), url
        assert (found.subword[i].as_py() is None) == (sub is None), url


@given(
    st.lists(
        st.text(max_size=60) | st.binary(max_size=60).map(lambda b: "http://" + b.decode("latin-1"))
    )
)
@settings(deadline=None)
def test_anything(urls):
    config = UrlFilter(hard_words=(str(REPO / "configs/blocklists/words/hard"),))
    urls = [url.encode(errors="replace").decode() for url in urls]
    docs = url_filter(table(urls), config)
    docs.validate(full=True)
    assert docs.num_rows == len(urls)


def test_hostile_urls():
    urls = ["http://a.com/" + "/" * 1_000_000, "http://" + "a." * 500_000, "http://" + "ü" * 300_000,
            "http://a.com/?" + "a&" * 500_000, "h" * 1_000_000, "http://" + "@" * 500_000 + "a.com",
            "http://a.com/" + "%" * 500_000]  # fmt: skip
    docs = url_filter(table(urls), UrlFilter())
    assert docs["url.registered_domain"].to_pylist() == [
        "a.com",
        None,
        None,
        "a.com",
        None,
        None,
        "a.com",
    ]
