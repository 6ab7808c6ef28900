"""Which lines C4's rules leave, and how many sentences lie in them: the kernels of `filters.c4`."""

import numpy as np

from filters.compiled import kernel, uncounted
from filters.kernels import DIGIT, SPACE, decode
from filters.spans import rstrip
from filters.tokens import GLUED, KIND, OPENS_SENTENCE, SYMBOL

LOREM, JAVASCRIPT, POLICY = range(3)  # groups of phrases

COUNTS = (
    "n_lines", "n_kept_lines", "n_long_word_lines", "n_lines_without_end_mark", "n_short_lines",
    "n_javascript_lines", "n_policy_lines", "n_lorem_ipsum_lines", "n_curly_bracket_lines",
    "n_citations",
)  # fmt: skip
LINES, KEPT, LONG_WORD, NO_END, SHORT, SCRIPT, POLICIES, LOREMS, CURLY, CITATIONS = range(10)


@uncounted
def line_words(chars: np.ndarray, kinds: np.ndarray, first: int, last: int) -> tuple[int, int]:
    """(words, characters of the longest) of tokens first to last; white space separates words."""
    n = longest = length = 0
    for t in range(first, last):
        if not kinds[t] & GLUED:
            n += 1
            length = 0
        length += chars[t]
        longest = max(longest, length)
    return n, longest


@uncounted
def _citation(data: np.ndarray, at: int, end: int, classes: np.ndarray) -> int:
    """Where the citation that starts with the [ at data[at] ends; `at` if there is none."""
    for word in (b"edit]", b"citation needed]"):
        if at + 1 + len(word) <= end:
            same = True
            for k in range(len(word)):
                same = same and data[at + 1 + k] == word[k]
            if same:
                return at + 1 + len(word)
    to = at + 1
    while to < end:
        code, width = decode(data, to, end)
        if code == 0x5D:
            return to + 1
        if classes[code] != DIGIT:
            break
        to += width
    return at


@uncounted
def _copy_line(
    data: np.ndarray,
    at: int,
    end: int,
    classes: np.ndarray,
    removes_citations: bool,
    out: np.ndarray,
    to: int,
) -> tuple[int, int]:
    """Copies data[at:end] to out[to:], without citations. (end in `out`, citations)."""
    n = 0
    while at < end:
        if removes_citations and data[at] == 0x5B:
            after = _citation(data, at, end, classes)
            if after > at:
                n += 1
                at = after
                continue
        out[to] = data[at]
        at += 1
        to += 1
    return to, n


@uncounted
def _groups_in(
    data: np.ndarray,
    at: int,
    end: int,
    table: np.ndarray,
    byte_class: np.ndarray,
    groups: np.ndarray,
) -> tuple[int, bool]:
    """(OR of the groups of the phrases in data[at:end], whether there is a curly bracket)."""
    state = found = 0
    curly = False
    for i in range(at, end):
        state = table[state, byte_class[data[i]]]
        found |= groups[state]
        curly |= data[i] == 0x7B
    return found, curly


@kernel
def clean_lines(
    data: np.ndarray,
    offsets: np.ndarray,
    token_last: np.ndarray,
    line_first: np.ndarray,
    line_last: np.ndarray,
    kinds: np.ndarray,
    chars: np.ndarray,
    line_start: np.ndarray,
    line_end: np.ndarray,
    line_token: np.ndarray,
    classes: np.ndarray,
    table: np.ndarray,
    byte_class: np.ndarray,
    groups: np.ndarray,
    end_marks: np.ndarray,
    min_words: int,
    max_chars: int,
    removes_citations: bool,
    removes_javascript: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    needs_end = end_marks.any()
    n_docs = len(offsets) - 1
    out = np.empty(offsets[n_docs] - offsets[0] + n_docs, np.uint8)
    ends = np.zeros(n_docs + 1, np.int32)
    counts = np.zeros((n_docs, 10), np.int64)
    to = 0
    for d in range(n_docs):
        begin, base = to, offsets[d]
        count = counts[d]
        for i in range(line_first[d], line_last[d]):
            count[LINES] += 1
            if (
                needs_end and line_start[i] == line_end[i]
            ):  # of nothing but these there are millions
                count[NO_END] += 1
                continue
            last = line_token[i + 1] if i + 1 < line_last[d] else token_last[d]
            n_words, longest = line_words(chars, kinds, line_token[i], last)
            if longest > max_chars:
                count[LONG_WORD] += 1
                continue
            start, stop = base + line_start[i], base + line_end[i]
            while start < stop:
                code, width = decode(data, start, stop)
                if classes[code] != SPACE:
                    break
                start += width
            stop = rstrip(data, start, stop, classes) if start < stop else stop
            end, n = _copy_line(data, start, stop, classes, removes_citations, out, to)
            count[CITATIONS] += n
            if needs_end and (end == to or not end_marks[out[end - 1]] or _dots(out, to, end)):
                count[NO_END] += 1
                continue
            if n_words < min_words:
                count[SHORT] += 1
                continue
            found, curly = _groups_in(out, to, end, table, byte_class, groups)
            count[LOREMS] += found >> LOREM & 1
            if removes_javascript and found >> JAVASCRIPT & 1:
                count[SCRIPT] += 1
                continue
            count[CURLY] += curly
            if found >> POLICY & 1:
                count[POLICIES] += 1
                continue
            count[KEPT] += 1
            out[end] = 0x0A
            to = end + 1
        to = _strip(out, begin, to, classes)
        ends[d + 1] = to
    return out[:to], ends, counts


@uncounted
def _dots(out: np.ndarray, start: int, end: int) -> bool:
    """Whether out[start:end] ends with three points."""
    if end - start < 3:
        return False
    return out[end - 1] == 0x2E and out[end - 2] == 0x2E and out[end - 3] == 0x2E


@uncounted
def _strip(out: np.ndarray, begin: int, to: int, classes: np.ndarray) -> int:
    """Strips out[begin:to] in place; where it ends then."""
    to = rstrip(out, begin, to, classes)
    start = begin
    while start < to:
        code, width = decode(out, start, to)
        if classes[code] != SPACE:
            break
        start += width
    if start > begin:
        for at in range(start, to):
            out[begin + at - start] = out[at]
    return to - (start - begin)


@kernel
def count_line_sentences(
    token_last: np.ndarray,
    line_first: np.ndarray,
    line_last: np.ndarray,
    line_token: np.ndarray,
    kinds: np.ndarray,
) -> np.ndarray:
    """int64[documents]: sentences, each line that has a token starting a new one."""
    counts = np.zeros(len(line_first), np.int64)
    for d in range(len(counts)):
        for i in range(line_first[d], line_last[d]):
            last = line_token[i + 1] if i + 1 < line_last[d] else token_last[d]
            counts[d] += last > line_token[i]
            n_words = 0
            for t in range(line_token[i], last):
                counts[d] += n_words > 0 and kinds[t] & OPENS_SENTENCE != 0
                n_words += kinds[t] & KIND != SYMBOL
    return counts
