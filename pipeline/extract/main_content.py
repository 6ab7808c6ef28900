"""Which blocks of a page are its main text: two small sets of boosted trees, one after the other.

The first scores each block by what `describe` knows of it, the second by that and by the first's
scores of its surroundings (`context`), so that a comment among comments or a caption in an article
is judged with its neighbours. `main_content.txt` holds both, one tree a line; benchmarks/
fit_extract.py makes it and prints how good it is on pages that it has not seen.
"""

import functools
from html import unescape
from pathlib import Path
from typing import NamedTuple

import numpy as np

from filters.compiled import kernel
from pipeline.extract.assemble import layout_of
from pipeline.extract.blocks import describe
from pipeline.extract.html_names import BIT, HEADING, TAG_KIND
from pipeline.extract.markup import DESCRIPTION, TITLE, Markup, read_markup
from pipeline.extract.surroundings import context

MODEL = Path(__file__).with_name("main_content.txt")
KEEP = 0.5
MAX_BLOCKS = 20_000  # are described at a time, in 32 MB; the largest of 521 real pages has 1,500
KEEP_GROUP = 0.35  # of the mean of a table's cells or a list's items: one alone looks like a menu's
KEEP_HEADING = 0.25  # of one that stands right before what is kept


class Trees(NamedTuple):
    """Nodes of all trees. x[feature] <= value: on to the next node, else to `right`. A leaf has
    feature -1 and adds its value."""

    feature: np.ndarray  # int16
    value: np.ndarray  # float32
    right: np.ndarray  # int32
    root: np.ndarray  # int32, a tree each


def parse_trees(lines: list[str]) -> Trees:
    """Trees written in preorder, "feature<value" for a split and "=value" for a leaf."""
    feature: list[int] = []
    value: list[float] = []
    right: list[int] = []
    root: list[int] = []
    for line in lines:
        root.append(len(feature))
        waiting: list[int] = []  # splits whose left side is being read
        for node in line.split():
            name, _, number = node.replace("=", "<").partition("<")
            feature.append(int(name or -1))
            value.append(float(number))
            right.append(0)
            if name:
                waiting.append(len(feature) - 1)
            elif waiting:
                right[waiting.pop()] = len(feature)
    return Trees(
        np.array(feature, np.int16),
        np.array(value, np.float32),
        np.array(right, np.int32),
        np.array(root, np.int32),
    )


class Page(NamedTuple):
    markup: Markup
    title: str
    description: str


def read_page(html: str) -> Page:
    """A page's blocks and what its head says of it. NUL is left out, lone surrogates become "?"."""
    data = html.replace("\0", "").encode(errors="replace")
    markup = read_markup(data)
    texts: dict[int, str] = {}
    for what, start, end in markup.spans.tolist():
        texts.setdefault(what, unescape(data[start:end].decode()).replace("\0", ""))
    title = " ".join(texts.get(TITLE, "").encode(errors="replace").decode().split())
    return Page(markup, title, texts.get(DESCRIPTION, ""))


def features(page: Page) -> np.ndarray:
    """float32 (blocks, FEATURES)."""
    return describe(page.markup, page.title.encode(), page.description.encode(errors="replace"))


@functools.cache
def model() -> tuple[Trees, Trees]:
    first, second = MODEL.read_text().split("\n\n")[1:3]
    return parse_trees(first.splitlines()), parse_trees(second.splitlines())


@kernel
def predict(x, feature, value, right, root):
    """The probability of each row of x."""
    score = np.zeros(len(x))
    for b in range(len(x)):
        total = 0.0
        for at in root:
            while feature[at] >= 0:
                at = at + 1 if x[b, feature[at]] <= value[at] else right[at]
            total += value[at]
        score[b] = 1 / (1 + np.exp(-total))
    return score


def main_blocks(page: Page) -> np.ndarray:
    """Which blocks are main text: bool (blocks). A page without any link has no navigation: all of
    it is text if nothing stands out."""
    first, second = model()
    parts = []
    for start in range(0, len(page.markup.blocks), MAX_BLOCKS):
        blocks = page.markup.blocks[start : start + MAX_BLOCKS]
        part = page._replace(markup=page.markup._replace(blocks=blocks))
        x = features(part)
        around = context(blocks, page.markup.elements, predict(x, *first))
        parts.append(choose(part.markup, predict(np.hstack((x, around)), *second)))
    keep = np.concatenate(parts) if parts else np.zeros(0, bool)
    if not keep.any() and not page.markup.blocks["n_links"].any():
        return all_blocks(page.markup)
    return keep


def choose(markup: Markup, scores: np.ndarray) -> np.ndarray:
    """Which blocks scores of the second model keep. The rows of a table stand or fall together, and
    so do the items of a list that are a block each (larger ones may be posts); a heading stays with
    what is below it: held out, recall rose from .932 to .937 on pages of the crawl and from .988 to
    .990 on labelled ones, and precision stayed. What is hidden or in <noscript> is most often a
    copy: it counts where it is two thirds of the text. Text that is mostly links is none: every
    page that the model was fitted on has an article, so it looks for one on a list of them too."""
    keep = scores >= KEEP
    layout = layout_of(markup)
    for together in (layout.row >= 0, (layout.row < 0) & _fills_item(layout.item)):
        _keep_together(np.flatnonzero(together & (layout.group >= 0)), layout.group, scores, keep)
    tags = markup.elements["tag"][markup.blocks["element"]]
    headings = (TAG_KIND[tags[:-1]] & HEADING != 0) & (scores[:-1] >= KEEP_HEADING)
    for b in np.flatnonzero(headings)[::-1]:
        keep[b] |= keep[b + 1]
    size = markup.blocks["end"] - markup.blocks["start"]
    seen = keep & all_blocks(markup)
    if 3 * size[seen].sum() > size[keep].sum():
        keep = seen
    is_navigation = 2 * markup.blocks["link_bytes"][keep].sum() > size[keep].sum()
    return np.zeros(len(keep), bool) if is_navigation else keep


def _fills_item(item: np.ndarray) -> np.ndarray:
    """Which blocks are the only one of their <li>."""
    return (item >= 0) & (np.bincount(item + 1)[item + 1] == 1) if len(item) else item >= 0


def _keep_together(at: np.ndarray, group: np.ndarray, scores: np.ndarray, keep: np.ndarray) -> None:
    """Of the blocks `at` these places all of a group are kept, or none; one alone stays as is."""
    if len(at):
        mine = group[at]
        n = np.bincount(mine)
        mean = np.bincount(mine, scores[at]) / np.maximum(n, 1)
        keep[at] = np.where(n[mine] > 1, mean[mine] >= KEEP_GROUP, keep[at])


def all_blocks(markup: Markup) -> np.ndarray:
    """Which blocks a reader sees: bool (blocks)."""
    return ~_is_within(markup.blocks, markup.elements, np.uint64(_UNSEEN))


_UNSEEN = BIT["hidden"] | BIT["noscript"]


@kernel
def _is_within(blocks, elements, purposes):
    within = np.zeros(len(elements), np.bool_)
    for e in range(1, len(elements)):
        within[e] = within[elements[e].parent] or elements[e].mask & purposes != 0
    found = np.zeros(len(blocks), np.bool_)
    for b in range(len(blocks)):
        found[b] = within[blocks[b].element] or blocks[b].inline_mask & purposes != 0
    return found
