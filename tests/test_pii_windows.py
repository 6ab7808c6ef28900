"""Which places of a text may be personal data: the kernels against plain Python."""

import re

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.kernels import text_buffers
from filters.pii import (
    ENTITIES,
)
from filters.pii_numbers import (
    CARD,
    CARD_WORDS,
    EMAIL,
    IBAN,
    IPV4,
    IPV6,
    PHONE,
    PHONE_WORDS,
    SSN,
    SSN_WORDS,
    TOKEN,
)
from filters.pii_rules import judge, luhn
from filters.pii_windows import find_windows

DIGITS = re.compile(rb"[0-9]+")
GAP = re.compile(rb"(?:[ \-.()/]|\xc2\xa0|\xe2\x80[\x90-\x94\xaf])*")
LOCAL = re.compile(rb"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~.]{1,64}\Z")
DOMAIN = re.compile(rb"[A-Za-z0-9.-]{1,253}")
IBAN_START = re.compile(rb"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9](?=[0-9])")
IBAN_BODY = re.compile(rb"[A-Za-z0-9](?:[ -]?[A-Za-z0-9]){0,31}")


def number_run(text: bytes, i: int) -> tuple[int, int]:
    """Where the digits and separators from the digit at i start, with `+` and `(`, and end."""
    end = DIGITS.match(text, i).end()
    while (
        (gap := GAP.match(text, end)[0])
        and len(gap) <= 4
        and (more := DIGITS.match(text, end + len(gap)))
    ):
        end = more.end()
    start = i
    while start and i - start < 3 and text[start - 1 : start] in (b"+", b"("):
        start -= 1
    return start, end


def reference_windows(text: bytes) -> list[tuple[int, int, int]]:
    """The kernel's walk over one text, by regular expressions: (start, end, kind)."""
    found = []
    i = 0
    while i < len(text):
        resume = i + 1
        if text[i : i + 1].isdigit():
            iban = IBAN_START.match(text, i - 2) if i >= 2 else None
            body = IBAN_BODY.match(text, i)
            if iban and body and len(re.sub(rb"[ -]", b"", body[0])) + 2 >= 15:
                found.append((i - 2, body.end(), IBAN))
            start, resume = number_run(text, i)
            run = text[i:resume]
            is_long = len(re.findall(rb"[0-9]", run)) >= 7 or run.count(b".") >= 3
            if is_long and (kinds := reference_kinds(text, start, i, resume)):
                found.append((start, resume, kinds))
        elif text[i : i + 1] == b"@":
            left, right = LOCAL.search(text[:i]), DOMAIN.match(text, i + 1)
            if left and right and b"." in right[0]:
                found.append((left.start(), right.end(), EMAIL))
        elif text[i : i + 1] == b":":
            colons = re.match(rb":(?:[0-9A-Fa-f]{0,4}:){0,7}", text[i : i + 45])[0]
            right = re.match(
                rb"(?:[0-9A-Fa-f]{0,4}\.){0,4}[0-9A-Fa-f]{0,4}", text[i + len(colons) :]
            )
            left = re.search(rb"[0-9A-Fa-f]{0,4}\Z", text[:i])[0]
            n, double = colons.count(b":"), b"::" in text[max(0, i - 1) : i + len(colons)]
            resume = i + len(colons)
            if n == 7 or (double and n < 8):
                resume = min(resume + len(right[0]), i + 45)
                found.append((i - len(left), resume, IPV6))
        i = resume
    return found + reference_tokens(text)


EARLY_DATE = re.compile(
    rb"(?<![-./])[0-9]{1,2}[-./] ?[0-9]{1,2}[-./] ?(?:(?:1[0-9]|20)[0-9]{2}|[0-9]{2})(?![-./0-9])"
)


def reference_kinds(text: bytes, left: int, first: int, right: int) -> int:
    """`number_kinds` over the groups of digits after the dates at the start."""
    run, at = text[first:right], 0
    while text[left : left + 1] != b"+" and (date := EARLY_DATE.match(run, at)):
        at = re.compile(rb"[^0-9]*").match(run, date.end()).end()
    groups = list(DIGITS.finditer(run, at))
    if left == first and run.isdigit() and re.search(rb"\w\Z", text[:left]):
        return 0
    lengths = [len(group[0]) for group in groups]
    pointed = [bool(re.search(rb"[0-9]\.\Z", run[: group.start()])) for group in groups]

    def in_a_row(*wanted: int) -> list[int]:
        n = len(wanted)
        return [i for i in range(len(lengths)) if tuple(lengths[i : i + n]) == wanted]

    octets = [len(group[0]) <= 3 and int(group[0]) < 256 for group in groups]
    kinds = 0
    for i in range(len(groups) - 3):
        if all(octets[i : i + 4]) and all(pointed[i + 1 : i + 4]):
            kinds |= IPV4
    if in_a_row(4, 4, 4, 4) or in_a_row(4, 6, 4) or in_a_row(4, 6, 5):
        kinds |= CARD
    kinds |= SSN if in_a_row(3, 2, 4) else 0
    around = text[max(0, left - 48) : left].lower(), text[right : right + 24].lower()

    def near(words: list[str]) -> bool:
        return any(word.encode() in part for word in words for part in around)

    for group in groups:
        if 12 <= len(group[0]) <= 19 and luhn(group[0].decode()):
            kinds |= CARD if len(group[0]) >= 14 or near(CARD_WORDS.split()) else 0
    kinds |= SSN if 9 in lengths and near(SSN_WORDS.split("|")) else 0
    is_phone = b"+" in text[left:first] or any(
        run[groups[i].start()] > 49 for i in in_a_row(3, 3, 4)
    )
    for group, after, decimal in zip(groups, groups[1:], pointed, strict=False):
        trunk = group[0][0] == 48 and 2 <= len(group[0]) <= 5 and not decimal
        is_phone |= trunk and len(run) - after.start() >= 6
    if (is_phone or near(PHONE_WORDS.split())) and right - left <= 64:
        kinds |= PHONE
    return kinds


TOKENS = re.compile(rb"[A-Za-z0-9_-]{10,}")
PREFIXES = re.compile(rb"(?:AK|AS|g[hil]|x[oa]|AI|GO|sk|rk|wh|np|py|hf|do|ey|bc|BC|0x|0X)")


def reference_tokens(text: bytes) -> list[tuple[int, int, int]]:
    found = []
    for run in TOKENS.finditer(text):
        token = run[0]
        starts = [0, *(i + 1 for i, byte in enumerate(token) if byte in b"-_")]
        long = 20 <= len(token) <= 8192 and (
            text[: run.start()].endswith((b"SG.", b"29."))
            or (26 <= len(token) <= 35 and token[:1] in (b"1", b"3"))
            or any(PREFIXES.match(token, i) for i in starts if i <= len(token) - 20)
        )
        if long or (len(token) <= 8192 and token[0:1] == token[4:5] == b"-"):
            found.append((*run.span(), TOKEN))
    return found


TEXT = st.lists(
    st.one_of(
        st.sampled_from("0123456789 .-()/+@:aZf\u00a0\u2013\n\x00é中😀"),
        st.sampled_from(
            ["sk_live_", "ghp_", "-----BEGIN ", "SG.", "a1B2c3D4e5F6g7H8i9J0", "1Boat"]
        ),
        st.characters(codec="utf-8"),
    ),
    max_size=80,
).map("".join)


def windows(texts: list[str]) -> list[tuple[int, int, int, int]]:
    data, offsets = text_buffers(pa.array(texts, pa.string()))
    return [tuple(map(int, w)) for w in zip(*find_windows(data, offsets), strict=True)]


@settings(max_examples=500, deadline=None, derandomize=True)
@given(st.lists(TEXT, max_size=4))
def test_windows_are_those_of_the_reference(texts: list[str]):
    expected = [(i, *w) for i, text in enumerate(texts) for w in reference_windows(text.encode())]
    assert windows(texts) == expected


NUMBERS = (
    "4111 1111 1111 1111|378282246310005|503802053770|3782-822463-10005|460-89-9847|460899847|"
    "460 89 9847|8.8.8.8|41.173.96.26|1.2.3.4.5|905-674-3793|(905) 674-3793|+46 (0)8 928 571 38|"
    "030 78 95 47 78|467 3395|31.12.2024|1/2/99|2024-05-17|1914-18|0.05|01 42|20|+|(|)| | |-|.|/|x"
)
NUMERIC = st.lists(
    st.one_of(
        st.sampled_from(NUMBERS.split("|")),
        st.sampled_from(["\u00a0", "\u2011", "\n", *PHONE_WORDS.split(), *SSN_WORDS.split("|")]),
        st.sampled_from(CARD_WORDS.split()),
        st.text("0123456789 -./", max_size=8),
    ),
    max_size=12,
).map("".join)


@settings(max_examples=1000, deadline=None, derandomize=True)
@given(NUMERIC)
def test_a_number_that_a_rule_takes_is_never_left_out(text: str):
    encoded, entities = text.encode(), frozenset(ENTITIES)
    kept = {(start, end): kinds for _, start, end, kinds in windows([text]) if kinds >= IPV4}
    at = 0
    while digit := DIGITS.search(encoded, at):
        start, end = number_run(encoded, digit.start())
        at, kinds = end, kept.get((start, end), 0)
        every = set(judge(encoded, start, end, IPV4 | CARD | SSN | PHONE, entities, True))
        assert set(judge(encoded, start, end, kinds, entities, True)) == every
