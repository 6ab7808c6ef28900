"""The n-gram estimator against a slow reference, through the ARPA file and kenlm; and against
lmplz's own figures."""

import itertools
import random
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import kenlm
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.fit_perplexity import find_lmplz, fit_perplexity
from filters.kneser_ney import FALLBACK_DISCOUNTS, discounts_of

Gram = tuple[str, ...]


def reference(
    sentences: list[list[str]], order: int, vocabulary: set[str], prune: tuple[int, ...]
) -> Callable[[Gram, str], float]:
    """Modified Kneser-Ney as in Heafield et al. 2013, section 3, one dictionary look-up at a
    time."""
    raw: list[Counter[Gram]] = [Counter() for _ in range(order + 1)]
    for words in sentences:
        padded = ["<s>", *words, "</s>"]
        for n in range(1, order + 1):
            for i in range(len(padded) - n + 1):
                raw[n][tuple(padded[i : i + n])] += 1
    del raw[1][("<s>",)]
    adjusted: list[dict[Gram, int]] = [{} for _ in range(order + 1)]
    followers: dict[Gram, list[Gram]] = defaultdict(list)
    discounts: list[tuple[float, ...]] = [()]
    for n in range(1, order + 1):
        before: dict[Gram, set[str]] = defaultdict(set)
        if n < order:
            for gram in raw[n + 1]:
                before[gram[1:]].add(gram[0])
        for gram in raw[n]:
            whole = n == order or gram[0] == "<s>"
            adjusted[n][gram] = raw[n][gram] if whole else len(before[gram])
            followers[gram[:-1]].append(gram)
        discounts.append(reference_discounts(list(adjusted[n].values())))
    size = len(vocabulary) + 2  # </s> and <unk>
    known = vocabulary | {"<s>", "</s>"}

    def probability(context: Gram, word: str) -> float:
        n = len(context) + 1
        lower = probability(context[1:], word) if context else 1.0 / size
        total = sum(adjusted[n][gram] for gram in followers[context])
        if not total:
            return lower
        seen = left = 0.0
        for gram in followers[context]:
            count = adjusted[n][gram]
            kept = known.issuperset(gram) and (n == 1 or raw[n][gram] > prune[n - 1])
            taken = discounts[n][min(count, 3) - 1] if kept else count
            left += taken
            if gram[-1] == word and kept:
                seen = count - taken
        return (seen + left * lower) / total

    return probability


def reference_discounts(counts: list[int]) -> tuple[float, ...]:
    t = [counts.count(k) for k in range(5)]
    if 0 in t[1:4]:
        return FALLBACK_DISCOUNTS
    y = t[1] / (t[1] + 2 * t[2])
    d = tuple(k - (k + 1) * y * t[k + 1] / t[k] for k in (1, 2, 3))
    return d if all(0 <= d[k - 1] <= k for k in (1, 2, 3)) else FALLBACK_DISCOUNTS


def kenlm_probability(model: kenlm.Model, context: Gram, word: str) -> float:
    state, after = kenlm.State(), kenlm.State()
    if context[:1] == ("<s>",):
        model.BeginSentenceWrite(state)
        context = context[1:]
    else:
        model.NullContextWrite(state)
    for previous in context:
        model.BaseScore(state, previous, after)
        state, after = after, state
    return 10 ** model.BaseScore(state, word, after)


def check_against_reference(
    sentences: list[list[str]], order: int, vocabulary: int, prune: tuple[int, ...], every: int = 1
) -> int:
    """Compares each `every`th (context, word) and each sum; returns how many were compared."""
    text = "\n".join(" ".join(words) for words in sentences)
    counts = Counter(word for words in sentences for word in words)
    ranked = sorted(counts, key=lambda word: (-counts[word], word))[:vocabulary]
    expected = reference(sentences, order, set(ranked), prune)
    with tempfile.TemporaryDirectory() as place:
        path = str(Path(place) / "model.arpa")
        # runs of 7 tokens, so that they have to be merged
        fit_perplexity(
            [pa.array([text])], path, order=order, vocabulary=vocabulary, prune=prune, chunk=7
        )
        model = kenlm.Model(path)
    outcomes = [*ranked, "</s>", "<unk>"]
    contexts = [c for n in range(order) for c in itertools.product(ranked, repeat=n)]
    contexts += [("<s>", *c) for c in contexts if len(c) < order - 1]
    for context in contexts[::every]:
        got = [kenlm_probability(model, context, word) for word in outcomes]
        want = [expected(context, word) for word in outcomes]
        assert got == pytest.approx(want, rel=1e-5), context
        assert sum(got) == pytest.approx(1.0, abs=1e-5), context
    return len(contexts[::every]) * len(outcomes)


WORDS = st.sampled_from(["a", "b", "c", "dd"])
SENTENCES = st.lists(st.lists(WORDS, min_size=1, max_size=6), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(SENTENCES, st.integers(2, 4), st.integers(1, 5))
def test_small_corpora(sentences: list[list[str]], order: int, vocabulary: int):
    assert check_against_reference(sentences, order, vocabulary, (0,) * order) > 0


@pytest.mark.parametrize(
    ("order", "vocabulary", "prune"),
    [
        (2, 99, (0, 0)),
        (3, 99, (0, 0, 0)),
        (3, 12, (0, 0, 1)),
        (4, 9, (0, 0, 1, 2)),
        (5, 7, (0,) * 5),
    ],
)
def test_a_corpus_with_discounts_of_its_own(order: int, vocabulary: int, prune: tuple[int, ...]):
    # Zipf-like words that follow each other unevenly, so that counts of one to four all occur.
    rng = random.Random(7)
    words = [chr(97 + i) * 2 for i in range(16)]
    weights = [1 / (i + 1) for i in range(16)]
    sentences = []
    for _ in range(150):
        sentence = rng.choices(words, weights, k=rng.randint(1, 9))
        sentences.append([w for pair in itertools.pairwise(sentence) for w in pair])
    sentences = [s for s in sentences if s]
    bigrams = Counter(g for s in sentences for g in itertools.pairwise(["<s>", *s, "</s>"]))
    assert reference_discounts(list(bigrams.values())) != FALLBACK_DISCOUNTS
    assert (
        check_against_reference(
            sentences, order, vocabulary, prune, every=1 if order == 2 else 3 * order
        )
        > 200
    )


def test_discounts_of_known_counts_of_counts():
    counts = np.repeat([1, 2, 3, 4, 9], [40, 20, 10, 5, 3])
    y = 40 / (40 + 2 * 20)
    expected = (1 - 2 * y * 20 / 40, 2 - 3 * y * 10 / 20, 3 - 4 * y * 5 / 10)
    assert discounts_of(counts) == pytest.approx(expected)
    assert discounts_of(np.repeat([1, 2, 3], [40, 20, 10]))[2] == 3  # nothing occurs four times
    assert discounts_of(np.repeat([1, 2, 4], 9)) == FALLBACK_DISCOUNTS  # nor three times
    assert discounts_of(np.array([], dtype=int)) == FALLBACK_DISCOUNTS


# What lmplz of kenlm 0.3.0 wrote for `drawn()`: lmplz -o 5, and -o 4 --prune 0 0 1 1
# --limit_vocab_file with the 100 most frequent words; --discount_fallback both times. log10
# probability and backoff weight.
UNPRUNED = {
    "<unk>": (-3.8741689, 0.0),
    "<s>": (0.0, -0.58352864),
    "</s>": (-1.2750516, 0.0),
    "ge": (-2.9357035, -0.15096736),
    "ss": (-2.903513, -0.14671911),
    "<s> aa": (-3.3370993, -0.011704192),
    "lx kw": (-1.0760734, -0.011704219),
    "so fs": (-2.1257775, -0.011704192),
    "<s> aa cr": (-1.4288381, -0.30103),
    "kn hx </s>": (-0.84387505, 0.0),
    "rv ek nf": (-0.54576313, -0.30103),
    "<s> aa cr lc": (-0.28640667, -0.30103),
    "ke ht am ib": (-0.28632134, -0.30103),
    "<s> aa cr lc jo": (-0.109080404,),
    "bq gb sr gb </s>": (-0.10608524,),
    "rj ib yi xd tj": (-0.1004229,),
}
PRUNED = {
    "<unk>": (-2.1231387, 0.0),
    "<s>": (0.0, -0.07502581),
    "</s>": (-1.2183906, 0.0),
    "jx": (-2.0413218, -0.11012036),
    "<s> an": (-2.0263531, 0.0),
    "hk yh": (-1.8193474, 0.0),
    "<s> be dm": (-0.94210494, 0.0),
    "bv fn </s>": (-0.5305011, 0.0),
    "kx ht </s>": (-0.6388246, 0.0),
}


def drawn() -> str:
    """2,000 sentences of words that follow each other unevenly, by a linear congruential
    generator."""
    state, word, lines = 1, 0, []
    for n in range(2000):
        line = []
        for _ in range(3 + n % 9):
            state = (state * 1103515245 + 12345) % 2**31
            step = (state >> 12) % 4096
            word = (word * 3 + step * step * step // 2**28) % 625  # small steps are the rule
            line.append(chr(97 + word // 25) + chr(97 + word % 25))
        lines.append(" ".join(line))
    return "\n".join(lines)


def read_arpa(path: Path) -> dict[str, tuple[float, ...]]:
    rows = [line.split("\t") for line in path.read_text().splitlines() if "\t" in line]
    return {row[1]: tuple(map(float, [row[0], *row[2:]])) for row in rows}


@pytest.mark.parametrize("chunk", [1000, 1 << 22])
@pytest.mark.parametrize(
    ("expected", "prune", "vocabulary", "sizes"),
    [
        (UNPRUNED, (0, 0, 0, 0, 0), None, [628, 11209, 13753, 11987, 9992]),
        (PRUNED, (0, 0, 1, 1), 100, [103, 610, 19, 0]),
    ],
)
def test_the_figures_of_lmplz(
    expected: dict, prune: tuple[int, ...], vocabulary: int, sizes: list[int], chunk: int, tmp_path
):
    path = tmp_path / "m.arpa"
    figures = fit_perplexity(
        [pa.array([drawn()])],
        str(path),
        order=len(prune),
        prune=prune,
        vocabulary=vocabulary,
        chunk=chunk,
    )
    assert [figures[f"ngrams_{n}"] for n in range(1, len(prune) + 1)] == sizes
    got = read_arpa(path)
    assert {ngram: got[ngram] for ngram in expected} == {
        ngram: pytest.approx(values, abs=1e-4) for ngram, values in expected.items()
    }
    assert [p.name for p in tmp_path.iterdir()] == ["m.arpa"]


def test_a_unigram_model(tmp_path: Path):
    path = tmp_path / "m.arpa"
    assert fit_perplexity([pa.array(["a b\na"])], str(path), order=1)["ngrams_1"] == 5
    total = sum(10**p for word, (p,) in read_arpa(path).items() if word != "<s>")
    assert total == pytest.approx(1, abs=1e-5)


def test_lmplz_where_it_is_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A stand-in for lmplz, which no package brings: it notes how it was called."""
    program = tmp_path / "bin" / "lmplz"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/called\ncat "$4" > {tmp_path}/text\n'
        "printf '\\\\data\\\\\\nngram 1=5\\nngram 2=4\\n\\n' > \"$6\"\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    found = find_lmplz("auto")
    assert found == str(program)
    assert find_lmplz("own") is None
    texts = [pa.array(["A b!\nB c.", None])]
    figures = fit_perplexity(
        texts, str(tmp_path / "m.arpa"), order=2, prune=(0, 1), vocabulary=2, lmplz=found
    )
    assert figures == {"words": 4, "sentences": 2, "ngrams_1": 5, "ngrams_2": 4}
    assert (tmp_path / "text").read_text() == "a b\nb c\n"
    called = (tmp_path / "called").read_text()
    assert "--order 2 " in called
    assert "--prune 0 1 " in called
    assert "--limit_vocab_file" in called
    program.write_text("#!/bin/sh\necho no such option >&2\nexit 1\n")
    with pytest.raises(ValueError, match="lmplz failed: no such option"):
        fit_perplexity(texts, str(tmp_path / "m.arpa"), lmplz=found)
    monkeypatch.setenv("PATH", "/nowhere")
    assert find_lmplz("auto") is None
    with pytest.raises(ValueError, match="no such program on the path"):
        find_lmplz("lmplz")
