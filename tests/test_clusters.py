"""What the texts of a cluster share; components and their names: `test_keepers.py`."""

from hypothesis import given
from hypothesis import strategies as st

from dedup.clusters import WORDS, shared_text
from tests.test_dedup_stages import words

BANNER = "We use cookies, on this site and others; click here to say that you do not mind."


def test_a_banner_is_what_pages_share():
    texts = [f"{' '.join(words(i, 40))}\n{BANNER}\n{' '.join(words(90 + i, 9))}" for i in range(4)]
    found = shared_text(texts)
    assert found.text == BANNER.rstrip(".") and found.words == 17
    windows = (17 - WORDS + 1, 40 + 17 + 9 - WORDS + 1)
    assert found.fraction == windows[0] / windows[1]


def test_what_half_of_them_have_is_shared_though_each_is_changed_somewhere():
    base = words(1, 60)
    texts = [" ".join([*base[: 7 * i], "own", *base[7 * i + 1 :]]) for i in range(8)]
    found = shared_text(texts)
    assert found.text == " ".join(base[1:])  # the first has its own word at the beginning
    assert 0.9 < found.fraction < 1
    assert shared_text(texts[:1]).words == 0  # nobody to share with


def test_case_punctuation_and_empty_texts():
    found = shared_text(["", "A b, c d-e", "x", "a B c. D e f", "a b c d e"])
    assert (found.text, found.words) == ("A b, c d-e", 5)
    assert shared_text([]) == shared_text(["a b c"] * 3) == ("", 0, 0.0)  # too short
    found = shared_text(["\u4e2d\u6587\u5b57\u6c49\u8a9e\u6587"] * 2)
    assert (found.words, found.fraction) == (6, 1.0)


def by_brute_force(texts: list[list[str]]) -> tuple[str, int]:
    sets = [{tuple(t[i : i + WORDS]) for i in range(len(t) - WORDS + 1)} for t in texts]
    held = {w for s in sets for w in s if sum(w in o for o in sets) >= max(2, len(sets) / 2)}
    best: list[str] = []
    for text in texts:
        for i in range(len(text)):
            past = i
            while tuple(text[past : past + WORDS]) in held:
                past += 1
            run = text[i : past + WORDS - 1] if past > i else []
            best = max(best, run, key=len)
    return " ".join(best), len(best)


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=12), max_size=5))
def test_brute_force(texts):
    found = shared_text([" ".join(text) for text in texts])
    assert (found.text, found.words) == by_brute_force(texts)
