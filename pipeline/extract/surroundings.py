"""Where a block stands: its containers, the best container of the page, neighbours, the purposes of
the elements around it; and what the scores of a first model say of all that."""

import numpy as np

from filters.compiled import kernel, uncounted
from pipeline.extract.html_names import N_TAGS, PURPOSES, TAG

_U = np.uint64
_OWN = """
    bytes words sentences commas upper digits boilerplate boilerplate_fraction link_density links
    bold ends_sentence starts_upper ends_colon lines bytes_per_word kind heading depth in_title
    of_title in_description copies copyright
"""
OWN = tuple(_OWN.split())
N_OWN = len(OWN)
_BYTES, _LINK, _KIND_OF = OWN.index("bytes"), OWN.index("link_density"), OWN.index("kind")
_HEADING, _OF_TITLE = OWN.index("heading"), OWN.index("of_title")
_BOILER_FRACTION = OWN.index("boilerplate_fraction")
_PLACE = (
    *("order", "order_fraction", "bytes_before", "prose_before", "prose_after", "since_heading"),
    *("gap", "list_item"),
)
_LEVEL = (
    *("bytes", "link_density", "prose_fraction", "blocks", "prose_share", "bytes_per_block"),
    "steps",
)
_TOP = ("in_top", "top_share", "top_before", "top_after", "top_steps")
_NEAR = ("bytes", "link_density", "prose", "kind", "same_parent", "boilerplate")
_WINDOW = ("to_prose_before", "to_prose_after", "prose_near", "bytes_near", "link_near")
_LEVELS = 4
SURROUNDINGS = (
    *_PLACE,
    *(f"{name}_{level}" for level in range(1, _LEVELS + 1) for name in _LEVEL),
    *_TOP,
    *(f"{name}_{side}" for side in ("before_2", "before", "after", "after_2") for name in _NEAR),
    *_WINDOW,
    *(f"to_{name}" for name in PURPOSES),
    *(f"inline_{name}" for name in PURPOSES),
)
N_SURROUNDINGS = len(SURROUNDINGS)
_AT_LEVEL = N_OWN + len(_PLACE)
_AT_TOP = _AT_LEVEL + _LEVELS * len(_LEVEL)
_AT_NEAR = _AT_TOP + len(_TOP)
_AT_WINDOW = _AT_NEAR + 4 * len(_NEAR)
_AT_PURPOSE = _AT_WINDOW + len(_WINDOW)
_AT_INLINE = _AT_PURPOSE + len(PURPOSES)
_N_LEVEL, _N_NEAR, _N_PURPOSES = len(_LEVEL), len(_NEAR), len(PURPOSES)
_FAR = 15  # ancestors that are looked at
_LI, _H1_KIND = TAG["li"], 2


@kernel
def surroundings(blocks, elements, prose, x):
    """Fills in the SURROUNDINGS of the rows of x, whose OWN are there."""
    if len(blocks) == 0:
        return
    totals = np.zeros((len(elements), 4))  # bytes, link bytes, prose, blocks
    for b in range(len(blocks)):
        block = blocks[b]
        total = totals[block.element]
        total[0] += block.end - block.start
        total[1] += block.link_bytes
        total[2] += prose[b]
        total[3] += 1
    growing = _add_up(elements, totals)
    _places(blocks, elements, prose, totals, x)
    _containers(blocks, elements, growing, totals, x)
    _best_container(blocks, elements, prose, growing, totals, x)
    _neighbours(blocks, elements, prose, x)
    _windows(blocks, prose, x)
    _purposes_around(blocks, elements, x)


@kernel
def _add_up(elements, totals):
    """Adds children to parents; returns the next element up that holds more blocks (the last
    column)."""
    blocks = totals.shape[1] - 1
    for e in range(len(elements) - 1, 0, -1):
        totals[elements[e].parent] += totals[e]
    growing = np.zeros(len(elements), np.int64)
    for e in range(1, len(elements)):
        up = elements[e].parent
        growing[e] = up if totals[up, blocks] > totals[e, blocks] else growing[up]
    return growing


@uncounted
def _places(blocks, elements, prose, totals, x):
    bytes_before = prose_before = 0.0
    heading = -1
    all_bytes, all_prose = max(totals[0, 0], 1.0), max(totals[0, 2], 1.0)
    for b in range(len(blocks)):
        row = x[b]
        place = row[N_OWN:]
        place[0] = b
        place[1] = b / len(blocks)
        place[2] = bytes_before / all_bytes
        place[3] = prose_before / all_prose
        place[4] = (totals[0, 2] - prose_before - prose[b]) / all_prose
        place[5] = b - heading if heading >= 0 else -1
        place[6] = blocks[b].at - (blocks[b - 1].at + x[b - 1, _BYTES] if b else 0)
        e = blocks[b].element
        place[7] = elements[e].tag == _LI or elements[max(elements[e].parent, 0)].tag == _LI
        bytes_before += row[_BYTES]
        prose_before += prose[b]
        if row[_KIND_OF] == _H1_KIND or (row[_HEADING] and row[_OF_TITLE] > 0.6):
            heading = b


@uncounted
def _containers(blocks, elements, growing, totals, x):
    """The elements around each block in which it is less and less alone."""
    all_prose = max(totals[0, 2], 1.0)
    for b in range(len(blocks)):
        e = blocks[b].element
        depth = elements[e].depth
        if totals[e, 3] == 1:
            e = growing[e]
        for level in range(_LEVELS):
            at = x[b, _AT_LEVEL + level * _N_LEVEL :]
            n_bytes = max(totals[e, 0], 1.0)
            at[0] = totals[e, 0]
            at[1] = totals[e, 1] / n_bytes
            at[2] = totals[e, 2] / n_bytes
            at[3] = totals[e, 3]
            at[4] = totals[e, 2] / all_prose
            at[5] = totals[e, 0] / max(totals[e, 3], 1)
            at[6] = depth - elements[e].depth
            e = growing[e]


@kernel
def _best_container(blocks, elements, prose, growing, totals, x):
    """Readability's choice: prose counts for the container it is in, half for the next, ..."""
    n, m = len(blocks), len(elements)
    score = np.zeros(m)
    first = np.full(m, n)
    last = np.full(m, -1)
    for b in range(n):
        e = blocks[b].element
        first[e] = min(first[e], b)
        last[e] = b
        if prose[b] == 0:
            continue
        if totals[e, 3] == 1:
            e = growing[e]
        share = prose[b]
        for _ in range(3):
            score[e] += share * (1 - totals[e, 1] / max(totals[e, 0], 1))
            share /= 2
            if e == 0:
                break
            e = growing[e]
    for e in range(m - 1, 0, -1):
        up = elements[e].parent
        first[up] = min(first[up], first[e])
        last[up] = max(last[up], last[e])
    top = np.argmax(score)
    inside = np.full(m, -1)  # steps up to the top container's line
    steps = np.zeros(m)
    e = top
    while e >= 0:
        inside[e] = e
        e = elements[e].parent
    for e in range(1, m):
        if inside[e] < 0:
            up = elements[e].parent
            inside[e] = inside[up]
            steps[e] = steps[up] + 1 if inside[up] != top else 0
    for b in range(n):
        e = blocks[b].element
        row = x[b]
        row[_AT_TOP] = inside[e] == top
        row[_AT_TOP + 1] = totals[top, 2] / max(totals[0, 2], 1)
        row[_AT_TOP + 2] = max(first[top] - b, 0)
        row[_AT_TOP + 3] = max(b - last[top], 0)
        row[_AT_TOP + 4] = elements[top].depth - elements[inside[e]].depth


@uncounted
def _neighbours(blocks, elements, prose, x):
    """Two blocks before and two after."""
    for b in range(len(blocks)):
        for k in range(4):
            at = x[b, _AT_NEAR + k * _N_NEAR :]
            other = b + (k - 2 if k < 2 else k - 1)
            if not 0 <= other < len(blocks):
                at[0] = -1
                continue
            e, f = blocks[b].element, blocks[other].element
            at[0] = x[other, _BYTES]
            at[1] = x[other, _LINK]
            at[2] = prose[other]
            at[3] = x[other, _KIND_OF]
            at[4] = (e == f) + (elements[e].parent == elements[f].parent)
            at[5] = x[other, _BOILER_FRACTION]


@uncounted
def _windows(blocks, prose, x):
    """How far the next prose is, and five blocks on either side."""
    n = len(blocks)
    far = 50
    for b in range(n):
        x[b, _AT_WINDOW] = min(far, 50)
        far = 0 if prose[b] > 0 else far + 1
    far = 50
    for b in range(n - 1, -1, -1):
        x[b, _AT_WINDOW + 1] = min(far, 50)
        far = 0 if prose[b] > 0 else far + 1
    for b in range(n):
        prose_near = bytes_near = link_near = 0.0
        for other in range(max(b - 5, 0), min(b + 6, n)):
            if other != b:
                prose_near += prose[other]
                bytes_near += x[other, _BYTES]
                link_near += blocks[other].link_bytes
        x[b, _AT_WINDOW + 2] = prose_near
        x[b, _AT_WINDOW + 3] = bytes_near
        x[b, _AT_WINDOW + 4] = link_near / max(bytes_near, 1.0)


@uncounted
def _purposes_around(blocks, elements, x):
    """How many elements up the nearest one of each purpose is, _FAR if there is none."""
    for b in range(len(blocks)):
        row = x[b]
        row[_AT_PURPOSE : _AT_PURPOSE + _N_PURPOSES] = _FAR
        seen = _U(0)
        e = blocks[b].element
        far = 0
        while e >= 0 and far < _FAR:
            new = elements[e].mask & ~seen
            seen |= new
            k = 0
            while new:
                if new & _U(1):
                    row[_AT_PURPOSE + k] = far
                new >>= _U(1)
                k += 1
            e = elements[e].parent
            far += 1
        inline = blocks[b].inline_mask
        for k in range(_N_PURPOSES):
            row[_AT_INLINE + k] = np.float32((inline >> _U(k)) & _U(1))


_CONTEXT = """
    score share_before share_after kept_bytes kept_fraction longest_run run before_3 before_2
    before after after_2 after_3 near_2 near_5 near_10 container_1 container_2 container_3
    container_4 share_1 share_2 share_3 share_4 same_tag kept_before
"""
CONTEXT = tuple(_CONTEXT.split())
N_CONTEXT = len(CONTEXT)


@kernel
def context(blocks, elements, score):
    """float32 (blocks, CONTEXT): what a first model's scores say of a block's surroundings."""
    n = len(blocks)
    x = np.zeros((n, N_CONTEXT), np.float32)
    if n == 0:
        return x
    size, kept = np.zeros(n + 1), np.zeros(n + 1)  # before each block
    totals = np.zeros((len(elements), 3))
    by_tag = np.zeros((N_TAGS, 2))
    for b in range(n):
        n_bytes = np.float64(blocks[b].end - blocks[b].start)
        size[b + 1] = size[b] + n_bytes
        kept[b + 1] = kept[b] + n_bytes * score[b]
        e = blocks[b].element
        totals[e, 0] += n_bytes
        totals[e, 1] += n_bytes * score[b]
        totals[e, 2] += 1
        by_tag[elements[e].tag, 0] += n_bytes
        by_tag[elements[e].tag, 1] += n_bytes * score[b]
    growing = _add_up(elements, totals)
    all_kept = max(kept[n], 1.0)
    run, longest, weight = _runs(score, kept)
    above = 0
    for b in range(n):
        row = x[b]
        own, own_kept = size[b + 1] - size[b], kept[b + 1] - kept[b]
        row[0] = score[b]
        row[1] = kept[b] / all_kept
        row[2] = (kept[n] - kept[b + 1]) / all_kept
        row[3] = kept[n]
        row[4] = kept[n] / size[n]
        row[5] = weight / all_kept
        row[6] = 1 if run[b] == longest else (0 if run[b] < longest else 2)
        for k in range(6):
            other = b + (k - 3 if k < 3 else k - 2)
            row[7 + k] = score[other] if 0 <= other < n else -1
        for k in range(3):
            reach = 2 if k == 0 else 5 if k == 1 else 10
            low, high = max(b - reach, 0), min(b + reach + 1, n)
            others = max(size[high] - size[low] - own, 1.0)
            row[13 + k] = (kept[high] - kept[low] - own_kept) / others
        row[25] = above
        above += score[b] >= 0.5
        if totals[e, 2] == 1:
            e = growing[e]
        for level in range(_LEVELS):
            row[16 + level] = (totals[e, 1] - own_kept) / max(totals[e, 0] - own, 1.0)
            row[20 + level] = totals[e, 1] / all_kept
            e = growing[e]
    return x


@kernel
def _runs(score, kept):
    """Runs of blocks with a score over a half, interrupted by three others at most: (the number of
    each block's run, or of the run before it; the heaviest run; its kept bytes)."""
    n = len(score)
    run = np.zeros(n, np.int64)
    weight = np.zeros(n + 1)
    current, gap = 0, 99
    for b in range(n):
        if score[b] >= 0.5:
            current += gap > 3
            gap = 0
            weight[current] += kept[b + 1] - kept[b]
        else:
            gap += 1
        run[b] = current
    longest = np.argmax(weight)
    return run, longest, weight[longest]
