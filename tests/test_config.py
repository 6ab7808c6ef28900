"""A mistake in a configuration is one line with its place and its mend, before any work."""

import tomllib

import pytest

from pipeline.build_config import ConfigError
from pipeline.config import load, parse, parse_steps, resolved

GOOD = """
name = "t"
[sources.web]
format = "warc"
paths = ["web-*.warc.gz"]
steps = [
  { use = "language", keep = ["en", "fr"] },
  { use = "gopher_quality", min_words = 10 },
  { use = "perplexity", model = "models.wiki" },
]
[models.wiki]
fit = "perplexity"
sources = ["web"]
[dedup.minhash]
similarity = 0.75
"""


def test_a_configuration_becomes_dataclasses_with_every_default():
    run = parse(tomllib.loads(GOOD))
    steps = run.sources["web"].steps
    assert [use.name for use in steps] == ["language", "gopher_quality", "perplexity"]
    assert steps[0].config.keep == ("en", "fr")
    assert steps[1].config.min_words == 10
    assert run.dedup.minhash.similarity == 0.75
    assert run.dedup.exact is None
    plain = resolved(run)
    assert plain["sources"]["web"]["steps"][1]["use"] == "gopher_quality"
    assert plain["sources"]["web"]["steps"][1]["max_words"] == 100_000


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "min_words = 10",
            "min_word = 10",
            "sources.web.steps[1].min_word: gopher_quality has no such key. Did you mean min_w",
        ),
        (
            '"gopher_quality"',
            '"gopher_qualty"',
            "sources.web.steps[1].use: no such step 'gopher_qualty'. Did you mean gopher_quality?",
        ),
        ("min_words = 10", 'min_words = "10"', "sources.web.steps[1].min_words: '10' is not int"),
        ('format = "warc"', 'format = "war"', "sources.web.format: no such format 'war'."),
        ("[dedup.minhash]", "[dedup.minhsh]", "dedup.minhsh: dedup has no such key."),
        (
            'model = "models.wiki"',
            'model = "models.wikipedia"',
            "sources.web.steps[2].model: no section [models.wikipedia]. Did you mean wiki?",
        ),
        (
            'sources = ["web"]',
            'sources = ["books"]',
            "models.wiki.sources: no such source 'books'. Known: web.",
        ),
        ('name = "t"', 'nam = "t"', "nam: a run has no such key. Did you mean name?"),
        ('name = "t"', "", "name: missing; it has no default"),
        ("similarity = 0.75", "similarity = 7.5", "dedup.minhash: similarity"),
        ('paths = ["web-*.warc.gz"]', "paths = []", "sources.web.paths: empty"),
        ('paths = ["web-*.warc.gz"]', "", "sources.web.paths: missing; a list of files or patte"),
        (
            "paths =",
            "path =",
            "sources.web.paths: missing; a list of files or patterns. Is it path",
        ),
        ('format = "warc"', 'format = ["warc"]', "sources.web.format: no such format ['warc']."),
        ('"gopher_quality"', "1", "sources.web.steps[1].use: no such step 1."),
        ("[sources.web]", "[source.web]", "source: a run has no such key. Did you mean sources?"),
        ("[models.wiki]", "[model.wiki]", "model: a run has no such key. Did you mean models?"),
        ('fit = "perplexity"', 'fit = "perplex"', "models.wiki.fit: 'perplex' is not one of"),
        ('"language"', '"langage"', "sources.web.steps[0].use: no such step 'langage'."),
        ("[dedup.minhash]", '[dedup]\nprefer_signal = "c4.x"\n[dedup.minhash]', "dedup.prefer_si"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_mend(old, new, line):
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        parse(tomllib.loads(GOOD.replace(old, new)))
    [mistake] = caught.value.mistakes  # and no other, which would follow from it
    assert mistake.startswith(line)


LARGE = (
    GOOD.replace(
        "[dedup.minhash]",
        '[dedup]\nprefer = ["web"]\nprefer_signal = "gopher.n_words"\n[dedup.minhash]',
    )
    + """
[tokenizer]
vocab_size = 1024
[mixture]
weights = { web = 1.0 }
[train]
steps = 30
"""
)


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        (
            [("min_words", "min_word"), ("similarity", "similarty")],
            ["sources.web.steps[1].min_word", "dedup.minhash.similarty"],
        ),
        (  # a mistake of a type, and three that the whole shows
            [
                ("vocab_size = 1024", 'vocab_size = "1024"'),
                ("{ web =", "{ wbe ="),
                ('sources = ["web"]', 'sources = ["book"]'),
                ('"models.wiki"', '"models.wik"'),
            ],
            [
                "tokenizer.vocab_size",
                "sources.web.steps[2].model",
                "models.wiki.sources",
                "mixture.weights",
            ],
        ),
        # what was written wrong is not missing as well
        ([("[tokenizer]", "[tokeniser]")], ["tokeniser"]),
        ([("[mixture]", "[mixtures]")], ["mixtures"]),
        ([("weights = {", "weight = {")], ["mixture.weight"]),
        ([('use = "gopher_quality"', 'use = "gopher_qualiti"')], ["sources.web.steps[1].use"]),
        ([("paths =", "pathes =")], ["sources.web.paths"]),
        ([('format = "warc"', "")], ["sources.web.format"]),
        ([('fit = "perplexity"', "fit = 3")], ["models.wiki.fit"]),
        (
            [("gopher.n_words", "gophr.n_words"), ("steps = 30", "stepz = 30")],
            ["train.stepz", "dedup.prefer_signal"],
        ),
        # a step that could not be read may be the one that the signal is of
        (
            [('"gopher_quality"', '"x"'), ("gopher.n_words", "y.n_words")],
            ["sources.web.steps[1].use"],
        ),
    ],
)
def test_every_mistake_is_reported_at_once_and_once(changes, lines):
    parse(tomllib.loads(text := LARGE))
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    with pytest.raises(ConfigError) as caught:
        parse(tomllib.loads(text))
    assert [m.partition(": ")[0] for m in caught.value.mistakes] == lines


def test_a_file_that_is_missing_or_no_toml(tmp_path):
    with pytest.raises(ConfigError, match="check the path"):
        load(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("name = \n")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load(tmp_path / "bad.toml")
    (tmp_path / "twice.toml").write_text('name = "a"\nname = "b"\n')
    with pytest.raises(ConfigError, match="not valid TOML"):
        load(tmp_path / "twice.toml")


def test_overrides(tmp_path):
    path = tmp_path / "good.toml"
    path.write_text(GOOD)
    changes = [
        "seed=7",
        "name=other",
        "dedup.minhash.similarity=0.9",
        "sources.web.steps[1].min_words=3",
    ]
    run = load(path, changes)
    assert (run.seed, run.name) == (7, "other")
    assert run.dedup.minhash.similarity == 0.9
    assert run.sources["web"].steps[1].config.min_words == 3
    with pytest.raises(ConfigError, match="key=value"):
        load(path, ["seed"])
    with pytest.raises(ConfigError, match="no such key"):
        load(path, ["sed=1"])


def test_a_step_that_stands_twice_needs_a_name() -> None:
    words = {"use": "keywords", "lists": ["a.txt"]}
    for name, message in (
        ({}, "steps[1]: keywords stands at steps[0] too, and this one would overwrite its signals"),
        ({"name": "gopher"}, "steps[1].name: 'gopher' is not a new name"),
        ({"name": "text"}, "steps[1].name: 'text' is not a new name"),
        ({"name": "A b"}, "steps[1].name: 'A b' is not a new name"),
        ({"name": 3}, "steps[1].name: 3 is not a new name"),
    ):
        with pytest.raises(ConfigError) as caught:
            parse_steps([words, words | name], "steps")
        assert caught.value.mistakes[0].startswith(message)
    first, second = parse_steps([words, words | {"name": "adult"}], "steps")
    assert (first.label, second.label, second.prefix) == ("keywords", "adult", "adult")
