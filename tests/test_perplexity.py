"""Perplexity: the step, its text, its buckets."""

import itertools
import math
import random
import unicodedata
from pathlib import Path

import kenlm
import pyarrow as pa
import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.cutoffs import cutoffs_of, load_cutoffs, write_cutoffs
from filters.fit_perplexity import fit_perplexity
from filters.perplexity import Perplexity, load_kenlm, perplexity
from filters.perplexity_text import PUNCTUATION, Ccnet, Units, normalized_lines, sentences
from pipeline.schema import DOCUMENT


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


# --- CCNet ---


def ccnet_reference(line: str) -> str:
    """cc_net/text_normalizer.py: normalize, in its order, a character at a time."""
    line = unicodedata.normalize("NFD", line.strip().lower())
    out = []
    for char in line:
        if unicodedata.category(char) == "Mn":
            continue
        char = "0" if unicodedata.category(char) == "Nd" else char
        char = PUNCTUATION.get(char, char)
        out.append("" if len(char) == 1 and (ord(char) < 32 or 127 <= ord(char) < 160) else char)
    return "".join(out)


def ccnet(text: str, **options) -> list[str]:
    return sentences(pa.array([text]), Units(normalization="ccnet", **options))


def test_ccnet_text():
    text = " L’Été 1984 — «naïve»…\x07 Ürün\t%\n\nΣΑΣ，二０２４。"
    assert ccnet(text) == ['l\'ete 0000 - "naive"... urun%\nσας,二000.']
    assert ccnet(text, sentence="text") == ['l\'ete 0000 - "naive"... urun%σας,二000.']
    kept = Ccnet(lower=False, strip_accents=False, zero_digits=False, map_punctuation=False)
    assert ccnet("É１9「a」\x80", ccnet=kept) == ["É１9「a」"]
    assert ccnet("a <s> b </s> <unk> c<s>") == ["a b c<s>"]
    assert sentences(pa.array([None, "", " \n"]), Units(normalization="ccnet")) == ["", "", ""]
    assert len(PUNCTUATION) == 33


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<〈"), max_size=40))
def test_ccnet_text_is_the_reference_s(text: str):
    """But for what may look like <s>."""
    expected = [" ".join(ccnet_reference(line).split()) for line in text.split("\n")]
    assert ccnet(text) == ["\n".join(e for e in expected if e)]


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A SentencePiece model and an n-gram model over its pieces."""
    folder = tmp_path_factory.mktemp("ccnet")
    draw = random.Random(0)
    words = [w for text in GOOD for w in text.lower().split()]
    lines = [" ".join(draw.choices(words, k=9)) for _ in range(200)]
    prefix = folder / "en.sp"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_prefix=str(prefix), vocab_size=40, minloglevel=2
    )
    tokenizer, path = f"{prefix}.model", str(folder / "en.arpa")
    units = Units(normalization="ccnet", tokenizer=tokenizer)
    figures = fit_perplexity([pa.array(GOOD)], path, order=5, units=units)
    assert figures["words"] > 90
    return tokenizer, path


def test_pieces_are_scored_as_in_ccnet(pieces: tuple[str, str]):
    tokenizer, path = pieces
    processor = sentencepiece.SentencePieceProcessor(model_file=tokenizer)
    scorer = kenlm.Model(path)
    text = "The Old man’s boat:\n\ncame in 1984, calm."
    config = Perplexity(
        model=path, tokenizer=tokenizer, normalization="ccnet", max_line_perplexity=1e-9
    )
    log10 = length = 0
    lines = []
    for line in text.split("\n"):
        if line:
            tokenized = processor.encode_as_pieces(ccnet_reference(line))
            score, n = scorer.score(" ".join(tokenized)), len(tokenized) + 1
            lines.append(10 ** (-score / n))
            log10, length = log10 + score, length + n
    row = perplexity(table([text]), config).to_pylist()[0]
    assert row["perplexity.value"] == pytest.approx(10 ** (-log10 / length))
    assert row["perplexity.worst_line"] == pytest.approx(max(lines))
    assert row["perplexity.surprising_fraction"] == 1.0
    whole = Perplexity(model=path, tokenizer=tokenizer, normalization="ccnet", sentence="text")
    tokenized = processor.encode_as_pieces(ccnet_reference(text))  # cc_net glues the lines
    expected = 10 ** (-scorer.score(" ".join(tokenized)) / (len(tokenized) + 1))
    got = perplexity(table([text]), whole)["perplexity.value"].to_pylist()
    assert got == [pytest.approx(expected)]


def test_surprising_lines(model: str):
    texts = ["The old man walked to the sea.\nzz qq vv kk ww\nzz", "zz", "", None]
    config = Perplexity(
        model=model, max_perplexity=1e9, max_line_perplexity=30.0, max_surprising_fraction=0.3
    )
    rows = perplexity(table(texts), config).to_pylist()
    plain, odd = "the old man walked to the sea", "zz qq vv kk ww"
    share = len(odd) / (len(plain) + len(odd))
    assert rows[0]["perplexity.surprising_fraction"] == pytest.approx(share)
    assert (rows[0]["rule"], rows[0]["threshold"]) == ("surprising_lines", 0.3)
    assert rows[0]["perplexity.worst_line"] > 30
    assert (rows[1]["rule"], rows[1]["perplexity.surprising_fraction"]) == (None, 0.0)
    assert rows[1]["perplexity.worst_line"] is None
    assert [row["rule"] for row in rows[2:]] == ["high_perplexity"] * 2


# --- models and cut-offs by language ---


def labelled(rows: list[tuple[str | None, str | None]]) -> pa.Table:
    docs = table([text for text, _ in rows])
    return docs.append_column("language.label", pa.array([name for _, name in rows], pa.string()))


def test_cutoffs_by_language(model: str, tmp_path: Path):
    path = str(tmp_path / "cutoffs.json")
    scores = [float(i) for i in range(101)]
    both = cutoffs_of("perplexity.value", [*scores, 7.0, None], ["en"] * 101 + ["de", "de"])
    write_cutoffs(both, path)
    loaded = load_cutoffs(path, "perplexity.value")
    assert loaded == both
    assert loaded.n == {"*": 102, "en": 101, "de": 1}
    assert [loaded.at(f, "en") for f in (0, 0.3, 0.605, 1)] == pytest.approx([0, 30, 60.5, 100])
    assert loaded.at(0.3, "fr") is None
    with pytest.raises(ValueError, match=r"cut-offs of perplexity.value, and quality"):
        load_cutoffs(path, "quality.score")
    with pytest.raises(ValueError, match="no document of the sample has a score"):
        cutoffs_of("x", [None])
    for text in ("[]", "{", '{"signal": "s", "n": {}, "quantiles": {"*": [1]}}'):
        (tmp_path / "bad.json").write_text(text)
        load_cutoffs.cache_clear()
        with pytest.raises(ValueError, match="not a file of cut-offs"):
            load_cutoffs(str(tmp_path / "bad.json"), "s")


def test_head_middle_and_tail(model: str, tmp_path: Path):
    path = str(tmp_path / "cutoffs.json")
    plain = "The old man walked to the sea."
    middle, odd = "The old man walked to the zebra crossing.", "xqv zzkw bnnt plorf gnarz"
    loose = Perplexity(model=model, max_perplexity=1e9)
    values = perplexity(table([plain, middle, odd]), loose)["perplexity.value"].to_pylist()
    assert values == sorted(values)
    cuts = [(a + b) / 2 for a, b in itertools.pairwise(values)]
    # 30% of the sample lie below the first cut, 60% below the second
    sample = [0.0] * 300 + [cuts[0]] * 1 + [cuts[0] + 1e-6] * 299 + [cuts[1]] + [1e9] * 400
    write_cutoffs(cutoffs_of("perplexity.value", sample, ["en"] * len(sample)), path)
    docs = labelled(
        [(plain, "en"), (middle, "en"), (odd, "en"), (plain, "fr"), ("", None), ("!", "en")]
    )
    config = Perplexity(model=model, cutoffs=path)
    rows = perplexity(docs, config).to_pylist()
    buckets = [row["perplexity.bucket"] for row in rows]
    assert buckets == ["head", "middle", "tail", "all", "all", None]
    assert [row["rule"] for row in rows] == [
        None,
        None,
        "unwanted_bucket",
        "no_language_model",
        "no_language_model",
        "unwanted_bucket",
    ]
    assert (rows[2]["value"], rows[2]["threshold"]) == (values[2], pytest.approx(cuts[1], abs=1e-3))
    rows = perplexity(docs, Perplexity(model=model, cutoffs=path, keep=("tail", "all"))).to_pylist()
    assert [row["rule"] for row in rows[:5]] == ["unwanted_bucket"] * 2 + [None] * 3
    assert rows[0]["threshold"] == pytest.approx(cuts[1], abs=1e-3)
    for cut in range(docs.num_rows + 1):
        parts = [docs.slice(0, cut), docs.slice(cut)]
        done = [perplexity(part.combine_chunks(), config) for part in parts]
        assert pa.concat_tables(done).to_pylist() == perplexity(docs, config).to_pylist()


def test_a_model_for_each_language(model: str, tmp_path: Path):
    german = str(tmp_path / "de.arpa")
    fit_perplexity([pa.array(["Der alte Mann ging zum Meer."] * 5)], german)
    config = Perplexity(model={"en": model, "de": german}, max_perplexity=30)
    text = "Der alte Mann ging zum Meer."
    rows = perplexity(labelled([(text, "de"), (text, "en"), (text, "fr")]), config).to_pylist()
    assert [row["rule"] for row in rows] == [None, "high_perplexity", "high_perplexity"]
    assert rows[2]["perplexity.value"] is None
    with pytest.raises(ValueError, match="before this one"):
        perplexity(table([text]), config)


@pytest.mark.parametrize("text", ["x" * 10_000_000, "\0 a" * 1000, "́" * 100_000, "<s> " * 9000])
@pytest.mark.parametrize("normalization", ["words", "ccnet"])
def test_hostile_texts_have_signals(model: str, text: str, normalization: str):
    config = Perplexity(model=model, normalization=normalization, prefix_chars=20_000_000)
    value = perplexity(table([text]), config)["perplexity.value"].to_pylist()[0]
    assert value is None or 1 < value <= 1e300


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cutoffs": "c.json", "max_perplexity": 9.0}, "exclude each other"),
        ({"percentiles": (60.0, 30.0)}, "two of 0..100, rising"),
        ({"keep": ()}, "keep is empty"),
        ({"max_surprising_fraction": 0.1}, "needs max_line_perplexity"),
        ({"prefix_chars": 0}, "have to be 1 or more"),
    ],
)
def test_config_mistakes(change: dict, message: str):
    with pytest.raises(ValueError, match=message):
        Perplexity(model="m", **change)
