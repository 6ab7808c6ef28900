"""Fits which blocks of a page are its main text, and says how well that does on pages not seen.

    pip install -e '.[dev,fit]'
    python -m benchmarks.fit_extract [--data DIR] [--folds 10] [--write]

Two sets of pages. The 181 of article-extraction-benchmark have the article that a person marked:
a block belongs to it if its words raise the page's F1. The 340 of a crawl (other pages, checked;
many languages, forums, shops, manuals) have no such label: what trafilatura 2.3.1 takes counts, at
half weight. They teach what pages are like: without them the held-out F1 was .950, with them .967
(before the rules of main_content.choose; .973 with them). Those rules and the features were made
while looking at the labelled pages, all of them; only the trees are held out.

The score that counts is held out: folds by site, and pages of the crawl from a held-out site are
left out too; the second model learns from scores of the first that are held out themselves. Scores
come from the model as it is written. --write fits on all pages and writes
pipeline/extract/main_content.txt and the figures, benchmarks/results/fit_extract.json.
"""

import argparse
import hashlib
import json
import os
import re
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np

from benchmarks.extract import RESULTS, labelled_pages, page_score, score, shingles
from pipeline.extract.blocks import FEATURES
from pipeline.extract.encoding import decode_html
from pipeline.extract.main_content import (
    MODEL,
    Trees,
    choose,
    features,
    parse_trees,
    predict,
    read_page,
)  # fmt: skip
from pipeline.extract.markup import Markup
from pipeline.extract.surroundings import CONTEXT, context

REPO = Path(__file__).resolve().parent.parent
PARAMETERS = {
    "objective": "binary", "learning_rate": 0.08, "num_leaves": 15, "min_data_in_leaf": 40,
    "feature_fraction": 0.3, "bagging_fraction": 0.7, "bagging_freq": 1, "lambda_l2": 5,
    "seed": 0, "num_threads": 1, "deterministic": True, "force_row_wise": True, "verbose": -1,
}  # fmt: skip
TREES = 90
INNER_FOLDS = 4
CRAWL_WEIGHT = 0.5


class Example(NamedTuple):
    """A page, its blocks described and labelled."""

    site: str
    markup: Markup
    x: np.ndarray  # (blocks, FEATURES)
    label: np.ndarray  # bool
    weight: np.ndarray  # of a block: its share in the page's words
    texts: list[str]
    wanted: Counter


def example(site: str, html: str, wanted: str, weight: float) -> Example:
    page = read_page(html)
    markup = page.markup
    text = markup.text.tobytes()
    texts = [text[b["start"] : b["end"]].decode() for b in markup.blocks]
    words = [re.findall(r"\w+", t) for t in texts]
    label = belongs(words, shingles(wanted))
    n = np.array([len(w) for w in words], float)
    share = np.minimum(n / max(n[label].sum(), 1), 0.5) + 0.0005
    return Example(site, markup, features(page), label, weight * share, texts, shingles(wanted))


def belongs(blocks: list[list[str]], wanted: Counter) -> np.ndarray:
    """Which blocks make the page's F1 highest: those with half their 4-grams in the wanted text,
    then one after the other is taken in or out while that helps."""
    keep = np.array([_mostly(words, wanted) for words in blocks], bool)
    found = Counter(_grams([w for words, k in zip(blocks, keep, strict=True) if k for w in words]))
    n_found, n_wanted = found.total(), wanted.total()
    n_both = (found & wanted).total()
    for _ in range(3):
        changed = False
        for b, words in enumerate(blocks):
            before, after = _around(blocks, keep, b)
            here, gone = Counter(_grams(before + words + after)), Counter(_grams(before + after))
            old, new = (here, gone) if keep[b] else (gone, here)
            both = sum(
                min(found[g] + new[g] - old[g], wanted[g]) - min(found[g], wanted[g])
                for g in old.keys() | new.keys()
            )
            more = new.total() - old.total()
            gain = (n_both + both) * (n_found + n_wanted) - n_both * (n_found + more + n_wanted)
            if gain > 0:
                keep[b], changed = not keep[b], True
                found.update(new)
                found.subtract(old)
                n_found, n_both = n_found + more, n_both + both
        if not changed:
            break
    return keep


def _mostly(words: list[str], wanted: Counter) -> bool:
    grams = _grams(words)
    return bool(grams) and sum(g in wanted for g in grams) >= len(grams) / 2


def _grams(words: list[str]) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + 4]) for i in range(len(words) - 3)]


def _around(blocks: list[list[str]], keep: np.ndarray, b: int) -> tuple[list[str], list[str]]:
    """The three words that are kept before block b, and after it."""
    before: list[str] = []
    for i in range(b - 1, -1, -1):
        if len(before) >= 3:
            break
        if keep[i]:
            before = blocks[i] + before
    after: list[str] = []
    for i in range(b + 1, len(blocks)):
        if len(after) >= 3:
            break
        if keep[i]:
            after = after + blocks[i]
    return before[-3:], after[:3]


def crawl_examples(data: Path) -> list[Example]:
    """The crawl's pages with what trafilatura takes of them, if that is 60 words or more."""
    import trafilatura
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    found = []
    for shard in sorted(data.glob("web/pages-*.warc.gz")):
        with shard.open("rb") as file:
            for record in ArchiveIterator(file, record_types=WarcRecordType.response):
                html = decode_html(record.reader.read(), None).text
                wanted = trafilatura.extract(html, include_comments=False) or ""
                url = record.headers["WARC-Target-URI"]
                if len(re.findall(r"\w+", wanted)) >= 60:
                    found.append(example(urlsplit(url).netloc, html, wanted, CRAWL_WEIGHT))
    return found


def site_of(url: str) -> str:
    parts = urlsplit(url).netloc.split(":")[0].split(".")
    n = 3 if len(parts) > 2 and len(parts[-1]) == 2 and len(parts[-2]) <= 3 else 2
    return ".".join(parts[-n:])


def fold_of(site: str, folds: int, salt: str) -> int:
    return int(hashlib.md5(f"{salt}/{site}".encode()).hexdigest(), 16) % folds


def boost(parts: list[tuple[np.ndarray, Example]]) -> tuple[Trees, list[str]]:
    """Boosted trees, as they are read from the model's file, and their lines in it."""
    import lightgbm

    weight = np.concatenate([e.weight for _, e in parts])
    data = lightgbm.Dataset(
        np.concatenate([x for x, _ in parts]),
        np.concatenate([e.label for _, e in parts]).astype(float),
        weight=weight / weight.mean(),
    )
    fitted = lightgbm.train(PARAMETERS, data, TREES).dump_model()
    lines = [" ".join(_preorder(tree["tree_structure"])) for tree in fitted["tree_info"]]
    return parse_trees(lines), lines


def _preorder(node: dict) -> list[str]:
    if "leaf_value" in node:
        return [f"={node['leaf_value']:.4g}"]
    split = f"{node['split_feature']}<{node['threshold']:.6g}"
    return [split, *_preorder(node["left_child"]), *_preorder(node["right_child"])]


def with_context(e: Example, scores: np.ndarray) -> np.ndarray:
    return np.hstack([e.x, context(e.markup.blocks, e.markup.elements, scores)])


def fit(examples: list[Example], salt: str) -> tuple[Trees, Trees, list[str]]:
    """Both models, and the file's text."""
    held_out: dict[int, np.ndarray] = {}
    for fold in range(INNER_FOLDS):
        seen = [e for e in examples if fold_of(e.site, INNER_FOLDS, salt) != fold]
        trees, _ = boost([(e.x, e) for e in seen])
        for e in examples:
            if fold_of(e.site, INNER_FOLDS, salt) == fold:
                held_out[id(e)] = predict(e.x, *trees)
    first, first_lines = boost([(e.x, e) for e in examples])
    second, second_lines = boost([(with_context(e, held_out[id(e)]), e) for e in examples])
    return first, second, [*first_lines, "", *second_lines]


def kept_text(e: Example, first: Trees, second: Trees) -> str:
    keep = choose(e.markup, predict(with_context(e, predict(e.x, *first)), *second))
    return "\n".join(t for t, k in zip(e.texts, keep, strict=True) if k)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    default = os.environ.get("CORPUSMILL_DATA", str(REPO.parent / "shared" / "data"))
    parser.add_argument("--data", default=default, help="directory with extraction/ and web/")
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--only", type=int, default=99, help="only the first so many folds")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    pages = labelled_pages(Path(args.data))
    if not pages:
        sys.exit(f"{args.data}/extraction: no labelled pages; give --data")
    labelled = [
        example(site_of(p.url), decode_html(p.body, None).text, p.wanted, 1.0) for p in pages
    ]
    crawl = crawl_examples(Path(args.data))
    print(f"{len(labelled)} labelled pages, {len(crawl)} of the crawl", flush=True)
    best = [
        page_score("\n".join(t for t, k in zip(e.texts, e.label, strict=True) if k), e.wanted)
        for e in labelled
    ]
    print("best choice of blocks  F1 {:.4f}  P {:.4f}  R {:.4f}".format(*score(best)))
    results: dict[int, tuple] = {}
    held_out: list[tuple[int, int, int]] = []
    for fold in range(min(args.folds, args.only)):
        out = [e for e in labelled if fold_of(e.site, args.folds, "sites") == fold]
        sites = {e.site for e in out}
        seen = [e for e in labelled if e.site not in sites]
        seen += [e for e in crawl if not any(e.site.startswith(s) for s in sites)]
        first, second, _ = fit(seen, f"fold {fold}")
        found = [page_score(kept_text(e, first, second), e.wanted) for e in out]
        held_out += found
        results[fold] = score(found)
        print(f"fold {fold}: {len(out):3} pages  F1 {results[fold][0]:.4f}", flush=True)
    print("held out  F1 {:.4f}  P {:.4f}  R {:.4f}".format(*score(held_out)))
    if args.write:
        write(labelled, crawl, results, held_out)


def write(labelled: list[Example], crawl: list[Example], folds: dict, held_out: list) -> None:
    first, second, lines = fit([*labelled, *crawl], "all")
    in_sample = [page_score(kept_text(e, first, second), e.wanted) for e in labelled]
    figures = {
        name: dict(zip(("f1", "precision", "recall"), (round(v, 4) for v in values), strict=True))
        for name, values in (("held_out", score(held_out)), ("in_sample", score(in_sample)))
    }
    figures["held_out"]["f1_by_fold"] = [round(s[0], 4) for s in folds.values()]
    head = (
        f"corpusmill main content 1: {len(FEATURES)} features of a block, then {len(CONTEXT)} of "
        "its context.\nMade by benchmarks/fit_extract.py; held-out F1 "
        f"{figures['held_out']['f1']}, in-sample F1 {figures['in_sample']['f1']}.\n"
        'A tree a line, in preorder: "feature<value" is a split (true: the next node), "=value" '
        "a leaf."
    )
    MODEL.write_text("\n".join([head, "", *lines, ""]))
    RESULTS.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps({"name": "fit_extract", "figures": figures}))


if __name__ == "__main__":
    main()
