"""tokenizer/report.py: counts by group that can be checked by hand; a second tokenizer."""

from xml.etree import ElementTree

import pyarrow as pa
import pytest

from pipeline.schema import DOCUMENT
from tokenizer.report import bars_svg, measure, open_encoder, render
from tokenizer.train import Tokenizer, train_tokenizer

ROWS = [
    ("books", "the fox the fox", [("language.label", "en")]),
    ("books", "über das ☃", [("language.label", "de")]),
    ("code", "fox = 1\n", [("language", "python")]),
    ("code", None, []),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    texts = ["the quick brown fox das über jumps over 1 = 2 " * 3] * 50
    folder = str(tmp_path_factory.mktemp("report"))
    return train_tokenizer([pa.array(texts)], Tokenizer(vocab_size=320), folder)["model"]


def table() -> pa.Table:
    rows = [
        {"id": str(i), "source": s, "text": text, "meta": meta}
        for i, (s, text, meta) in enumerate(ROWS)
    ]
    return pa.Table.from_pylist(rows, schema=DOCUMENT)


def test_groups_and_figures(model):
    encoder = open_encoder(model)
    batches = [table().slice(0, 1), table().slice(1)]  # any split gives the same
    rows = measure(batches, [encoder])
    assert rows == measure([table()], [encoder])
    groups = {(r["by"], r["group"]): r for r in rows}
    assert list(groups) == [
        ("all", ""),
        ("declared language", "python"),
        ("language", "de"),
        ("language", "en"),
        ("source", "books"),
        ("source", "code"),
    ]
    german = groups["language", "de"]
    assert (german["documents"], german["words"], german["bytes"]) == (
        1,
        3,
        len("über das ☃".encode()),
    )
    assert german["fallback_fraction"] == pytest.approx(
        3 / german["tokens"], abs=1e-6
    )  # the snowman
    assert groups["language", "en"]["fallback_fraction"] == 0
    assert groups["source", "code"]["documents"] == 2
    whole = groups["all", ""]
    assert (
        whole["tokens"] == groups["source", "books"]["tokens"] + groups["source", "code"]["tokens"]
    )
    assert whole["bytes_per_token"] == round(whole["bytes"] / whole["tokens"], 4)
    assert 0 < whole["used_fraction"] < 1


def test_beside_its_own_export_the_figures_are_equal(model):
    pytest.importorskip("tokenizers")
    encoders = [
        open_encoder(model),
        open_encoder(model.replace("tokenizer.model", "tokenizer.json")),
    ]
    rows = measure([table()], encoders)
    half = len(rows) // 2
    for ours, theirs in zip(rows[:half], rows[half:], strict=True):
        for name in ("by", "group", "tokens", "fallback_fraction", "bytes_per_token"):
            assert ours[name] == theirs[name]
    text = render(rows)
    assert text.count("language de") == 2 and "tokenizer.json" in text
    assert bars_svg(rows).count("<rect") == 1 + len(rows)


def test_the_plot_has_room_for_long_names():
    row = {"tokenizer": "a.model", "by": "declared language", "group": "x" * 40}
    root = ElementTree.fromstring(bars_svg([row | {"bytes_per_token": 3.2}]))
    frame, bar = root.iter("{http://www.w3.org/2000/svg}rect")
    assert float(bar.get("x")) > 6 * 58  # letters of 6 and less
    assert float(frame.get("width")) > float(bar.get("x")) + float(bar.get("width"))


def test_neither_a_model_nor_a_json(tmp_path):
    for name in ("x.json", "x.model"):
        (tmp_path / name).write_text("{}")
        with pytest.raises(ValueError, match="not a"):
            open_encoder(str(tmp_path / name))
