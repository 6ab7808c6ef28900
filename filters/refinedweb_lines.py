"""Which lines RefinedWeb's corrections remove, and what they cut: the kernel of
`filters.refinedweb`."""

import functools

import numpy as np

from filters.c4_lines import line_words
from filters.characters import ALNUM, DIGIT_SIGN, UPPER, character_traits
from filters.compiled import kernel, uncounted
from filters.kernels import SPACE, decode
from filters.tokens import KIND, SYMBOL

ANYWHERE, END, START = range(3)
COUNTS = (
    "n_words", "n_removed_words", "n_uppercase_lines", "n_numeric_lines", "n_counter_lines",
    "n_one_word_lines", "n_cut_phrases",
)  # fmt: skip
WORDS, REMOVED, UPPERCASE, DIGITS, COUNTER, ONE_WORD, CUT = range(7)


LONG = 0xFF  # of a pair of bytes: a character of three bytes or four begins here


@functools.cache
def pair_traits() -> np.ndarray:
    """`character_traits` by the first two bytes of a character, uint8[256 << 8 | 256]; 0 for what
    is none: every byte can be looked at as if a character began there. To step from one to the next
    takes a branch on its width, which in junk is wrong every other time."""
    traits = character_traits()
    pairs = np.zeros((256, 256), np.uint8)
    pairs[:0x80] = traits[:0x80, None]
    pairs[0xC2:0xE0, 0x80:0xC0] = traits[0x80:0x800].reshape(-1, 64)
    pairs[0xE0:] = LONG
    return pairs.reshape(-1)


@uncounted
def _same(data: np.ndarray, at: int, phrase: np.ndarray) -> bool:
    """Whether data[at:] starts with the phrase, but for the case of ASCII letters."""
    for k in range(len(phrase)):
        byte = data[at + k]
        if 0x41 <= byte <= 0x5A:
            byte |= 0x20
        if byte != phrase[k]:
            return False
    return True


@uncounted
def _skip(data: np.ndarray, at: int, end: int, traits: np.ndarray) -> int:
    """After the characters from data[at] on that are not \\w."""
    while at < end:
        code, width = decode(data, at, end)
        if code == 0x5F or traits[code] & ALNUM:
            break
        at += width
    return at


@uncounted
def _is_counter(
    data: np.ndarray,
    at: int,
    end: int,
    classes: np.ndarray,
    traits: np.ndarray,
    words: np.ndarray,
    word_offsets: np.ndarray,
) -> bool:
    """Whether data[at:end] is a number (1,234 or 1.2k) and one of the words, in other characters
    than \\w."""
    at = _skip(data, at, end, traits)
    first = at
    while at < end and (0x30 <= data[at] <= 0x39 or (at > first and data[at] in (0x2C, 0x2E))):
        at += 1
    if at == first:
        return False
    if at < end and data[at] | 0x20 in (0x6B, 0x6D, 0x62):  # k, m, b
        at += 1
    space = at
    while at < end and classes[decode(data, at, end)[0]] == SPACE:
        at += decode(data, at, end)[1]
    if at == space:
        return False
    for w in range(len(word_offsets) - 1):
        word = words[word_offsets[w] : word_offsets[w + 1]]
        stop = at + len(word)
        if stop <= end and _same(data, at, word) and _skip(data, stop, end, traits) == end:
            return True
    return False


@uncounted
def _cut(out: np.ndarray, start: int, end: int, phrase: np.ndarray, place: int) -> tuple[int, int]:
    """Cuts the phrase, with an ASCII space on its inner side, out of out[start:end]. (end then,
    cuts)."""
    n = len(phrase)
    first = max(start, end - n) if place == END else start
    last = min(start, end - n) if place == START else end - n
    at = first
    while at <= last and not _same(out, at, phrase):
        at += 1
    if at > last:
        return end, 0
    to, cuts = at, 0
    while at < end:
        if first <= at <= last and _same(out, at, phrase):
            at += n
            cuts += 1
            if place == START:
                at += at < end and out[at] in (0x20, 0x09)
            elif to > start and out[to - 1] in (0x20, 0x09):
                to -= 1
        else:
            out[to] = out[at]
            to += 1
            at += 1
    return to, cuts


@uncounted
def _is_blank_bytes(out: np.ndarray, start: int, end: int) -> bool:
    while start < end and out[start] in (0x20, 0x09):
        start += 1
    return start == end


@kernel
def correct_lines(
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
    line_chars: np.ndarray,
    classes: np.ndarray,
    traits: np.ndarray,
    pair_traits: np.ndarray,
    counters: np.ndarray,
    counter_offsets: np.ndarray,
    phrases: np.ndarray,
    phrase_offsets: np.ndarray,
    places: np.ndarray,
    phrase_words: np.ndarray,
    max_uppercase: float,
    max_digits: float,
    min_words: int,
    short: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(data, offsets) of the corrected texts, without white space at their end, and COUNTS for each
    document (int64)."""
    n_docs = len(offsets) - 1
    out = np.empty(offsets[n_docs] - offsets[0], np.uint8)
    ends = np.zeros(n_docs + 1, np.int32)
    counts = np.zeros((n_docs, 7), np.int64)
    to = 0
    for d in range(n_docs):
        begin, count = to, counts[d]
        for i in range(line_first[d], line_last[d]):
            last_line = i + 1 == line_last[d]
            last = token_last[d] if last_line else line_token[i + 1]
            start, stop = offsets[d] + line_start[i], offsets[d] + line_end[i]
            after = offsets[d + 1] if last_line else offsets[d] + line_start[i + 1]
            if start == stop:  # texts of nothing but line ends have millions
                for at in range(stop, after):
                    out[to] = data[at]
                    to += 1
                continue
            n_words = 0
            for t in range(line_token[i], last):
                n_words += kinds[t] & KIND != SYMBOL
            count[WORDS] += n_words
            n_upper = n_digits = 0
            for at in range(start, stop):
                pair = (data[at] + 0) << 8 | data[min(at + 1, stop - 1)]
                trait = pair_traits[pair]
                if trait == LONG:
                    trait = traits[decode(data, at, stop)[0]]
                n_upper += trait & UPPER != 0
                n_digits += trait & DIGIT_SIGN != 0
            n_pieces = line_words(chars, kinds, line_token[i], last)[0]
            fault = -1
            if n_upper > max_uppercase * line_chars[i]:
                fault = UPPERCASE
            elif n_digits > max_digits * line_chars[i]:
                fault = DIGITS
            elif (n_digits and 2 <= n_pieces <= short) and _is_counter(
                data, start, stop, classes, traits, counters, counter_offsets
            ):
                fault = COUNTER
            elif n_pieces < min_words:
                fault = ONE_WORD
            if fault >= 0:
                count[fault] += 1
                count[REMOVED] += n_words
                continue
            end = to + stop - start
            out[to:end] = data[start:stop]
            cuts = 0
            for p in range(len(places)) if n_pieces <= short else range(0):
                phrase = phrases[phrase_offsets[p] : phrase_offsets[p + 1]]
                end, n = _cut(out, to, end, phrase, places[p])
                cuts += n
                count[REMOVED] += n * phrase_words[p]
            count[CUT] += cuts
            if cuts and _is_blank_bytes(out, to, end):
                continue
            out[end : end + after - stop] = data[stop:after]
            to = end + after - stop
        while to > begin and out[to - 1] in (0x20, 0x09, 0x0A, 0x0D):
            to -= 1
        ends[d + 1] = to
    return out[:to], ends, counts
