"""Known truth for the demo: documents that a stage has to find, or has to leave alone.

Each function takes articles from a pool of good ones and gives pages that carry their marks. The
near duplicates replace a share of the words; of texts in which a share r of the words is replaced
at random, (1 - r)^5 / (2 - (1 - r)^5) is the expected Jaccard similarity of word 5-grams: .91,
.82, .75, .63, .42 and .20 at the rates below. The true one is recorded.
"""

import random
import string
from collections.abc import Iterator, Sequence
from itertools import islice

from pipeline.sample.languages import SENTENCES
from pipeline.sample.plant_strings import (
    LOOKALIKES,
    PII,
    Item,
    personal_string,
    random_word,
    reworded,
    spam_sentences,
)
from pipeline.sample.prose import Article, words
from pipeline.sample.web import Expect, Mark, Page, render

EDIT_RATES = (0.01, 0.02, 0.03, 0.05, 0.10, 0.20)
SHINGLE_WORDS = 5

Pool = Iterator[Article]


def jaccard(a: str, b: str) -> float:
    """Similarity of two texts' sets of word 5-grams, by definition; the stages are faster."""
    sets = []
    for text in (a, b):
        parts = words(text)
        n = len(parts) - SHINGLE_WORDS + 1
        sets.append({tuple(parts[i : i + SHINGLE_WORDS]) for i in range(n)})
    union = sets[0] | sets[1]
    return len(sets[0] & sets[1]) / len(union) if union else 1.0


# --- duplicates ---------------------------------------------------------------------------------


def exact_duplicates(pool: Pool, n: int) -> list[Page]:
    """n pages, each at two addresses."""
    pages = []
    for i, article in enumerate(islice(pool, n)):
        mark = (Mark("exact_duplicate", "removed", f"exact/{i}"),)
        pages += [Page(article, mark), Page(article, mark, copy=1)]
    return pages


def near_duplicates(pool: Pool, rng: random.Random, n: int) -> list[Page]:
    """n pairs at each edit rate."""
    pages = []
    for rate in EDIT_RATES:
        for i, article in enumerate(islice(pool, n)):
            other = edited(article, rate, rng)
            detail = {"rate": rate, "jaccard": round(jaccard(text_of(article), text_of(other)), 4)}
            mark = (Mark("near_duplicate", "removed", f"near/{rate}/{i}", detail),)
            pages += [Page(article, mark), Page(other, mark, copy=1)]
    return pages


def edited(article: Article, rate: float, rng: random.Random) -> Article:
    """The article with a share of its words, at random places, replaced by others of it."""
    parts = [p.split(" ") for p in article.paragraphs]
    places = [(i, j) for i, p in enumerate(parts) for j in range(len(p)) if p[j].isalpha()]
    vocabulary = sorted({parts[i][j] for i, j in places})
    n = max(1, round(rate * article.n_words))
    for i, j in rng.sample(places, min(n, len(places))):
        parts[i][j] = rng.choice([w for w in vocabulary if w.lower() != parts[i][j].lower()])
    return Article(article.title, tuple(" ".join(p) for p in parts))


def text_of(article: Article) -> str:
    return "\n".join([article.title, *article.paragraphs])


def ngram_repeats(pool: Pool, rng: random.Random, n: int) -> list[Page]:
    """n passages of 80 to 140 words, each in the article that it is from and in two others."""
    pages = []
    for i in range(n):
        origin = next(pool)
        text, n_words = " ".join(origin.paragraphs).split(" "), rng.randint(80, 140)
        passage, rest = " ".join(text[:n_words]), " ".join(text[n_words:])
        mark = (Mark("ngram_repeat", "cut", f"ngram/{i}", {"passage": passage}),)
        pages.append(Page(Article(origin.title, (passage, rest)), mark))
        for host in islice(pool, 2):
            pages.append(Page(with_paragraph(host, passage), mark))
    return pages


def with_paragraph(article: Article, paragraph: str) -> Article:
    middle = len(article.paragraphs) // 2
    body = (*article.paragraphs[:middle], paragraph, *article.paragraphs[middle:])
    return Article(article.title, body)


# --- what the filters are for -------------------------------------------------------------------


def other_languages(pool: Pool, rng: random.Random, n: int) -> list[Page]:
    """n pages in other languages, and for every sixth an English page that quotes one."""
    pages = []
    for i in range(n):
        language = sorted(SENTENCES)[i % len(SENTENCES)]
        charset, sentences = SENTENCES[language]
        chosen = rng.sample(sentences, 6)
        between = "" if language in ("zh", "ja") else " "
        body = (between.join(chosen[:3]), between.join(chosen[3:]))
        mark = Mark("language", "removed", None, {"language": language})
        article = Article(chosen[0].strip("。."), body)
        pages.append(Page(article, (mark,), lang=language, charset=charset))
        if i % 6 == 0:
            detail = {"quotes": language}
            host = next(pool)
            quoting = Article(host.title, (*host.paragraphs, chosen[1]))
            pages.append(Page(quoting, (Mark("language", "kept", None, detail),), charset="utf-8"))
    return pages


def gibberish(pool: Sequence[Article], rng: random.Random, n: int) -> list[Page]:
    """Made-up words, keys struck at random, and the words of an article in no order, of which only
    the perplexity can tell."""
    pages = []
    for i in range(n):
        kind = ("letters", "keys", "word_salad")[i % 3]
        if kind == "letters":
            made = [random_word(rng, string.ascii_lowercase) for _ in range(180)]
        elif kind == "keys":
            made = [random_word(rng, "asdfjkl;ghqweruiop") for _ in range(180)]
        else:
            article = rng.choice(pool)
            made = [word for word in words(text_of(article)) if word.isalpha()]
            rng.shuffle(made)
        lines = range(0, len(made), 45)
        body = tuple(" ".join(made[j : j + 45]).capitalize() + "." for j in lines)
        mark = Mark("gibberish", "removed", None, {"kind": kind})
        pages.append(Page(Article(" ".join(made[:4]), body), (mark,)))
    return pages


def spam(rng: random.Random, n: int) -> list[Page]:
    """Advertisements in sentences with the usual words, of which only a classifier can tell."""
    pages = []
    for _ in range(n):
        sentences = spam_sentences(rng)
        body = tuple(" ".join(sentences[i : i + 4]) for i in range(1, len(sentences), 4))
        mark = Mark("spam", "removed")
        pages.append(Page(Article(sentences[0].rstrip(".!?"), body), (mark,)))
    return pages


def repetition(pool: Pool, rng: random.Random, n: int) -> list[Page]:
    """One line again and again, one phrase again and again, paragraphs that come twice."""
    pages = []
    for i in range(n):
        kind = ("lines", "phrases", "paragraphs")[i % 3]
        article = next(pool)
        if kind == "lines":
            line = " ".join(article.paragraphs[0].split(" ")[:14])
            body = (line,) * 20 + article.paragraphs[:1]
        elif kind == "phrases":
            phrase = " ".join(article.paragraphs[0].split(" ")[:4])
            body = (f"{phrase} " * 50, article.paragraphs[0])
        else:
            body = article.paragraphs[:4] * 3
        mark = Mark("repetition", "removed", None, {"kind": kind})
        pages.append(Page(Article(article.title, body), (mark,)))
    return pages


def too_short(pool: Pool, rng: random.Random, n: int) -> list[Page]:
    """Five to twenty words of good English."""
    pages = []
    for article in islice(pool, n):
        body = " ".join(article.paragraphs[0].split(" ")[: rng.randint(5, 14)])
        short = Article(body.split(" ")[0], (body,))
        pages.append(Page(short, (Mark("too_short", "removed"),)))
    return pages


# --- short texts in good pages -------------------------------------------------------------------


def personal_data(pool: Pool, rng: random.Random, n: int) -> list[Page]:
    """n pages with a string of each kind of personal data, n // 2 with each that only looks so."""
    pages = []
    planted: tuple[tuple[dict, str, Expect, int], ...] = (
        (PII, "pii", "scrubbed", n),
        (LOOKALIKES, "pii_lookalike", "kept", n // 2),
    )
    for kinds, component, expect, each in planted:
        for kind, sentences in kinds.items():
            for i, host in enumerate(islice(pool, each)):
                made = personal_string(kind, rng)
                sentence = sentences[i % len(sentences)].format(made)
                mark = Mark(component, expect, None, {"kind": kind, "string": made})
                pages.append(Page(with_paragraph(host, sentence), (mark,)))
    return pages


def contaminated(pool: Pool, items: list[Item], rng: random.Random) -> list[Page]:
    """Every item once: as it is, wrapped and written otherwise, or inside a paragraph."""
    pages = []
    for i, (item, host) in enumerate(zip(items, pool, strict=False)):
        kind = ("verbatim", "reworded", "embedded")[i % 3]
        if kind == "verbatim":
            page = with_paragraph(host, item.question)
        elif kind == "reworded":
            page = with_paragraph(host, reworded(item.question, rng))
        else:
            first, *rest = host.paragraphs
            page = Article(host.title, (f"{first} {item.question} Or so they say.", *rest))
        mark = Mark("decontamination", "removed", None, {"kind": kind, "item": item.name})
        pages.append(Page(page, (mark,)))
    return pages


def retold(pool: Pool, items: list[Item]) -> list[Page]:
    """Pages that tell an item in other words."""
    pages = []
    for item, host in zip(items, pool, strict=False):
        mark = Mark("decontamination", "kept", None, {"kind": "retold", "item": item.name})
        pages.append(Page(with_paragraph(host, item.retold), (mark,)))
    return pages


# --- faults -------------------------------------------------------------------------------------

ACCENTS = "A naïve visitor paid £5 for a café crème and a piñata."


def fault(expect: Expect, kind: str, *names: str, contains: str = "") -> Mark:
    """`names`: the errors or rules that may stand for it; `contains`: what the text has to hold."""
    detail = {"kind": kind, "names": list(names)} | ({"contains": contains} if contains else {})
    return Mark("fault", expect, None, detail)


def broken_pages(pool: Pool) -> list[Page]:
    """Responses that are damaged, mislabelled, or no pages."""

    def body(article: Article, charset: str) -> bytes:
        return render(Page(with_paragraph(article, ACCENTS))).encode(charset)

    a, b, c, d, e = islice(pool, 5)
    nothing = Article("nothing", ())
    utf8, png = "text/html; charset=utf-8", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4
    bad_bytes = body(c, "utf-8").replace(b"<p>", b"<p>\xff\xfe\xc3 ", 1)
    truncated = fault("error", "truncated_member", "truncated_gzip")
    wrong_length = fault("error", "wrong_length", "wrong_length")
    bad_utf8 = fault("kept", "bad_utf8", contains=c.paragraphs[-1])
    label = fault("kept", "wrong_charset", contains=ACCENTS)
    unknown = fault("kept", "unknown_charset", contains=ACCENTS)
    image = fault("removed", "image", "ingest.not_text")
    nul = fault("removed", "nul_page", "ingest.no_text", "ingest.not_text")
    return [
        Page(a, (truncated,), damage="truncated_gzip"),
        Page(b, (wrong_length,), damage="wrong_length"),
        Page(c, (bad_utf8,), body=bad_bytes, content_type=utf8),
        Page(d, (label,), body=body(d, "windows-1252"), content_type=utf8),
        Page(e, (unknown,), body=body(e, "utf-8"), content_type="text/html; charset=x-foo"),
        Page(nothing, (image,), body=png, content_type="image/png"),
        Page(nothing, (nul,), body=bytes(5000), content_type="text/html"),
    ]
