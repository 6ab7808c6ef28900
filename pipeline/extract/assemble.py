"""Blocks -> text: an empty line between paragraphs, "• " or "1. " before list items, a table's rows
on lines of their own with a tab between cells, <pre> as it is.

A tab rather than " | ", so that a table's text has no words that are none (Gopher counts them). A
row whose cells hold several blocks is layout, not data: its blocks are paragraphs.
"""

from typing import NamedTuple

import numpy as np

from filters.compiled import kernel
from pipeline.extract.html_names import CELL, LIST, TAG, TAG_KIND
from pipeline.extract.markup import Markup

_LI, _OL, _TR, _TABLE, _DL = (TAG[name] for name in ["li", "ol", "tr", "table", "dl"])
_MAX_ROW_BYTES = 2000
_DEEPEST_INDENT = 8


class Layout(NamedTuple):
    """Where each block stands in lists and tables."""

    item: np.ndarray  # its innermost <li>, or -1
    number: np.ndarray  # the place of that <li> in an <ol>, or 0
    depth: np.ndarray  # how many lists it is in
    group: np.ndarray  # the outermost list or the innermost table around it, or -1
    row: np.ndarray  # its <tr> if that is a row of data (two cells or more, a block in each), or -1


def layout_of(markup: Markup) -> Layout:
    return Layout(*_layout(markup.blocks, markup.elements))


def assemble(markup: Markup, keep: np.ndarray) -> str:
    """The text of the blocks where `keep` is true."""
    layout = layout_of(markup)
    text = markup.text.tobytes()
    kept = np.flatnonzero(keep)
    start, end = markup.blocks["start"].tolist(), markup.blocks["end"].tolist()
    item, number, depth, group, row = (column[kept].tolist() for column in layout)
    parts: list[str] = []
    last_group = last_row = -1
    begun: set[int] = set()  # items that have their bullet
    for i, b in enumerate(kept.tolist()):
        block = text[start[b] : end[b]].decode().strip("\n")
        if not block or block.isspace():
            continue
        if row[i] >= 0 and row[i] == last_row:
            parts.append("\t")
        elif parts:
            parts.append("\n" if group[i] >= 0 and group[i] == last_group else "\n\n")
        if item[i] >= 0 and item[i] not in begun:
            begun.add(item[i])
            indent = "  " * min(depth[i] - 1, _DEEPEST_INDENT)
            parts.append(f"{indent}{number[i]}. " if number[i] else f"{indent}• ")
        parts.append(block if row[i] < 0 else " ".join(block.split()))
        last_group, last_row = group[i], row[i]
    return "".join(parts).strip()


@kernel
def _layout(blocks, elements):
    n, m = len(blocks), len(elements)
    item, depth = np.full(m, -1, np.int32), np.zeros(m, np.int32)
    number, n_items = np.zeros(m, np.int32), np.zeros(m, np.int32)
    group, row, cell = np.full(m, -1, np.int32), np.full(m, -1, np.int32), np.full(m, -1, np.int32)
    for e in range(1, m):
        up, tag = elements[e].parent, elements[e].tag
        kind = TAG_KIND[tag]
        item[e], depth[e], group[e], row[e], cell[e] = (
            item[up],
            depth[up],
            group[up],
            row[up],
            cell[up],
        )
        if tag == _TABLE:
            group[e], row[e], cell[e], item[e] = e, -1, -1, -1
        elif tag == _TR:
            row[e], cell[e] = e, -1
        elif kind & CELL:
            cell[e] = e
        elif kind & LIST:
            depth[e] += tag != _DL
            if group[e] < 0 or cell[e] >= 0:
                group[e] = e
        elif tag == _LI:
            item[e] = e
            n_items[up] += 1
            number[e] = n_items[up] if elements[up].tag == _OL else 0
    in_cell, in_row, cells = np.zeros(m, np.int64), np.zeros(m, np.int64), np.zeros(m, np.int64)
    is_data = np.ones(m, np.bool_)
    for b in range(n):
        e = blocks[b].element
        if row[e] >= 0:
            in_row[row[e]] += blocks[b].end - blocks[b].start
            is_data[row[e]] &= in_row[row[e]] <= _MAX_ROW_BYTES
            if cell[e] >= 0:
                in_cell[cell[e]] += 1
                cells[row[e]] += in_cell[cell[e]] == 1
                is_data[row[e]] &= in_cell[cell[e]] == 1
    out = np.zeros((5, n), np.int32)
    for b in range(n):
        e = blocks[b].element
        data_row = row[e] if row[e] >= 0 and is_data[row[e]] and cells[row[e]] > 1 else -1
        in_layout = row[e] >= 0 and data_row < 0 and item[e] < 0
        out[0, b], out[1, b], out[2, b] = item[e], number[max(item[e], 0)], depth[e]
        out[3, b], out[4, b] = -1 if in_layout else group[e], data_row
    return out
