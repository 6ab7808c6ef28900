"""The n-gram estimator against a slow reference, through the ARPA file and kenlm; and the step."""

import itertools
import math
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

from filters.fit_perplexity import fit_perplexity
from filters.kneser_ney import FALLBACK_DISCOUNTS, discounts_of
from filters.perplexity import Perplexity, load_kenlm, perplexity
from filters.perplexity_text import normalized_lines
from pipeline.schema import DOCUMENT

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
        fit_perplexity([pa.array([text])], path, order=order, vocabulary=vocabulary, prune=prune)
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


def test_normalized_lines():
    texts = [
        "It's  1984,\tSTRASSE\n\n \nÉtude № 7!",
        "東京に行く。ok",
        "\r\n--\n",
        "",
        None,
        "naïve\u00a0x",
    ]
    assert normalized_lines(pa.array(texts)).to_pylist() == [
        "it s 0000 strasse\nétude 0",
        "東 京 に 行 く ok",
        "",
        "",
        None,
        "naïve x",
    ]


def table(texts: list[str | None]) -> pa.Table:
    rows = [{"id": f"t/{i}", "text": text} for i, text in enumerate(texts)]
    return pa.Table.from_pylist(rows, schema=DOCUMENT)


GOOD = ["The old man walked to the sea.\nThe sea was calm, and the man sat down."] * 3 + [
    "A boat came in from the sea with two men in it.\nThe old man called to the boat."
]
TEXTS = [
    "The old man sat down.\n\nThe boat was calm!",
    "xqv zzkw bnnt plorf gnarz",
    "",
    None,
    "...",
    "人人都去海边",
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("perplexity") / "models" / "good.arpa")
    figures = fit_perplexity([pa.array(GOOD), pa.array([None, ""])], path)
    assert figures["words"] == 3 * 16 + 19
    assert figures["sentences"] == 8
    assert figures["ngrams_1"] == 21 + 3  # words, <unk>, <s>, </s>
    return path


def test_perplexity_and_rules(model: str):
    docs = perplexity(table(TEXTS), Perplexity(model=model, max_perplexity=30)).to_pylist()
    scorer = kenlm.Model(model)
    log10 = scorer.score("the old man sat down") + scorer.score("the boat was calm")
    assert docs[0]["perplexity.value"] == pytest.approx(10 ** (-log10 / (5 + 4 + 2)))
    assert docs[0]["rule"] is None
    assert docs[1]["rule"] == "high_perplexity"
    assert docs[1]["value"] == docs[1]["perplexity.value"] > 30 == docs[1]["threshold"]
    for empty in docs[2:5]:
        assert (empty["rule"], empty["value"]) == ("high_perplexity", None)
        assert empty["perplexity.value"] is None
    assert docs[5]["perplexity.value"] > 30


def test_a_text_too_plain_is_marked_where_asked(model: str):
    config = Perplexity(model=model, max_perplexity=1e9, min_perplexity=1e6)
    docs = perplexity(table(TEXTS[:1]), config).to_pylist()
    assert (docs[0]["rule"], docs[0]["threshold"]) == ("low_perplexity", 1e6)


def test_any_split_into_batches_gives_the_same_rows(model: str):
    config = Perplexity(model=model)
    whole = perplexity(table(TEXTS), config)
    for cut in range(len(TEXTS) + 1):
        parts = [table(TEXTS).slice(0, cut), table(TEXTS).slice(cut)]
        done = [perplexity(part.combine_chunks(), config) for part in parts]
        assert done[0].schema == done[1].schema == whole.schema
        assert pa.concat_tables(done).to_pylist() == whole.to_pylist()


def test_only_the_start_of_the_text_is_scored(model: str):
    start = "The old man walked to the sea. "
    config = Perplexity(model=model, prefix_chars=len(start))
    docs = perplexity(table([start, start + "zzz " * 100_000]), config)
    values = docs["perplexity.value"].to_pylist()
    assert values[0] == values[1]
    assert math.isfinite(values[0])


def test_rare_words_are_unknown_and_stay_unlikely(tmp_path: Path):
    path = str(tmp_path / "m.arpa")
    rare = [f"word{chr(97 + i)}{chr(97 + j)}" for i in range(20) for j in range(20)]
    text = "\n".join(f"the old man saw the {word}" for word in rare)
    assert fit_perplexity([pa.array([text])], path, vocabulary=4)["ngrams_1"] == 4 + 3
    scorer = load_kenlm(path)
    assert scorer.score("the old man saw the") > scorer.score("worda worda worda worda worda") + 2


def test_same_bytes_for_any_batches_and_nothing_left_behind(tmp_path: Path):
    first, second = tmp_path / "a.arpa", tmp_path / "b.arpa"
    fit_perplexity([pa.array(GOOD)], str(first))
    fit_perplexity([pa.array([text]) for text in GOOD], str(second))
    assert first.read_bytes() == second.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.arpa", "b.arpa"]


def test_mistakes_are_named(tmp_path: Path, model: str):
    path = str(tmp_path / "m.arpa")
    with pytest.raises(ValueError, match=r"order 6 is not within 1\.\.5"):
        fit_perplexity([pa.array(GOOD)], path, order=6)
    with pytest.raises(ValueError, match="needs 3 numbers, the first 0"):
        fit_perplexity([pa.array(GOOD)], path, prune=(1, 1, 1))
    with pytest.raises(ValueError, match="no words"):
        fit_perplexity([pa.array(["...", None])], path)
    with pytest.raises(ValueError, match="no such file"):
        perplexity(table(TEXTS), Perplexity(model=path))
    broken = tmp_path / "broken.arpa"
    broken.write_text("nothing of the kind")
    with pytest.raises(ValueError, match="not a kenlm model"):
        perplexity(table(TEXTS), Perplexity(model=str(broken)))
    with pytest.raises(ValueError, match="max_perplexity 5 is not above"):
        Perplexity(model=model, max_perplexity=5, min_perplexity=9)
