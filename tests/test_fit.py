"""`corpusmill fit`, the steps with what it makes, and models that a run fits itself."""

import json
import random
import xml.etree.ElementTree as ET
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from filters.cutoffs import load_cutoffs
from pipeline.build_config import ConfigError
from pipeline.cli import main
from pipeline.config import parse
from pipeline.executor import connect
from pipeline.named_files import look_for_files
from pipeline.stages import run_pipeline
from pipeline.storage import expand_names
from tests.test_quality import GOODS, TOPICS


def prose(rng: random.Random) -> str:
    lines = (
        f"The {rng.choice(TOPICS)} lay silent while we considered what the {rng.choice(TOPICS)} "
        f"had meant to her, and whether the {rng.choice(TOPICS)} would be there in the morning."
        for _ in range(6)
    )
    return "\n".join(lines)


def advert(rng: random.Random) -> str:
    return "\n".join(
        f"BUY cheap {rng.choice(GOODS)} online now!!! best {rng.choice(GOODS)} deals click here"
        for _ in range(6)
    )


def write(path: Path, texts: list) -> str:
    rows = [{"id": f"{path.stem}-{i:04d}", "text": text} for i, text in enumerate(texts)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """good.jsonl, bad.jsonl, and mixed.jsonl of both with a German and an empty text."""
    out, rng = tmp_path_factory.mktemp("fit"), random.Random(0)
    write(out / "good.jsonl", [prose(rng) for _ in range(300)])
    write(out / "bad.jsonl", [advert(rng) for _ in range(300)])
    german = "Der alte Mann ging zum Meer und sah den Schiffen nach, die langsam heimkehrten."
    write(out / "mixed.jsonl", [t(rng) for _ in range(40) for t in (prose, advert)] + [german, " "])
    with (out / "good.jsonl").open("a") as file:
        file.write('{"text": broken\n')
    return out


def call(*words: str | Path, capsys: pytest.CaptureFixture[str]) -> dict:
    assert main([*map(str, words), "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def documents(out: Path, table: str = "documents") -> list[dict]:
    return [
        row
        for path in sorted((out / table).rglob("*.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]


def test_perplexity_then_cutoffs_then_the_step(folder: Path, capsys):
    model = folder / "lm" / "en.arpa"
    figures = call(
        "fit", "perplexity", folder / "good.jsonl", "--order", "3", "--out", model,
        "--estimator", "own", capsys=capsys,
    )  # fmt: skip
    assert (figures["documents"], figures["lost"], figures["estimator"]) == (300, 1, "own")
    assert figures["sentences"] == 1800
    made = json.loads(model.with_suffix(".json").read_text())
    assert (made["normalization"], made["tokenizer"]) == ("words", None)
    first = model.read_bytes()
    call("fit", "perplexity", folder / "good.jsonl", "--order", "3", "--out", model, capsys=capsys)
    assert model.read_bytes() == first
    cutoffs = folder / "cutoffs.json"
    by_language = f"perplexity.model={folder}/lm/{{lang}}.arpa"
    figures = call(
        "fit", "cutoffs", folder / "mixed.jsonl", "--step", "perplexity", "--set", by_language,
        "--out", cutoffs, capsys=capsys,
    )  # fmt: skip
    assert figures["n"] == {"*": 80, "en": 80}  # the German text has no model
    out = folder / "filtered"
    call(
        "filter", folder / "mixed.jsonl", "--steps", "language,perplexity", "--out", out,
        "--set", 'language.keep=["en", "de"]', "--set", "language.min_score=0.2",
        "--set", by_language, "--set", f"perplexity.cutoffs={cutoffs}",
        "--set", "perplexity.percentiles=[25, 50]", "--ray", "off", capsys=capsys,
    )  # fmt: skip
    kept = documents(out)
    assert {row["perplexity.bucket"] for row in kept} == {"head", "middle"}
    assert all(row["text"].startswith("The") for row in kept)
    assert len(kept) == pytest.approx(40, abs=1)
    gone = documents(out, "removed")
    rules = [row["rule"] for row in gone if row["stage"] == "filter"]
    assert rules.count("perplexity.no_language_model") == 1
    assert rules.count("perplexity.unwanted_bucket") == 80 - len(kept)


def test_quality_then_the_best_part(folder: Path, capsys):
    out = folder / "quality"
    figures = call(
        "fit", "quality", "--positive", folder / "good.jsonl", "--negative", folder / "bad.jsonl",
        "--reference", folder / "mixed.jsonl", "--out", out, capsys=capsys,
    )  # fmt: skip
    assert figures["auc"] > 0.99
    assert figures["positive_lost"] == 1
    evaluation = json.loads((out / "evaluation.json").read_text())
    assert len(evaluation["curve"]) == 101
    assert sum(evaluation["positive"]) == figures["held_out_positive"]
    drawn = ET.parse(out / "evaluation.svg").getroot()
    assert len(drawn.findall("{http://www.w3.org/2000/svg}polyline")) == 3
    assert load_cutoffs(str(out / "cutoffs.json"), "quality.score").n == {"*": 81}
    call(
        "filter", folder / "mixed.jsonl", "--steps", "quality", "--out", out / "filtered",
        "--set", f"quality.model={out}/model.bin", "--set", f"quality.cutoffs={out}/cutoffs.json",
        "--set", "quality.keep_fraction=0.25", "--ray", "off", capsys=capsys,
    )  # fmt: skip
    kept = documents(out / "filtered")
    assert len(kept) == pytest.approx(20, abs=1)
    assert all(row["text"].startswith("The") for row in kept)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["perplexity", "nowhere.jsonl", "--out", "m.arpa"], "nowhere.jsonl names no file"),
        (["perplexity", "good.jsonl", "--out", "m.arpa", "--prune", "1"], "prune (1,): needs 5"),
        (["perplexity", "good.jsonl", "--out", "m", "--tokenizer", "no.model"], "no such file"),
        (["cutoffs", "good.jsonl", "--step", "quality", "--out", "c.json"], "model: missing"),
        (
            ["cutoffs", "good.jsonl", "--step", "quality", "--out", "c", "--set", "c4.x=1"],
            "'c4' is not a step here. Known: quality.",
        ),
        (
            [
                "cutoffs",
                "good.jsonl",
                "--step",
                "quality",
                "--out",
                "c",
                "--set",
                "quality.model=n",
            ],
            "n names no file",
        ),
    ],
)
def test_mistakes_of_a_call(folder: Path, words, message, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert main(["fit", *words]) == 2
    assert message in capsys.readouterr().err


def source(folder: Path, name: str, *steps: dict) -> dict:
    return {"format": "table", "paths": [str(folder / f"{name}.jsonl")], "steps": [*steps]}


def test_cutoffs_of_models_that_a_run_fits(folder: Path, tmp_path: Path):
    prose_step = {"use": "perplexity", "model": "models.prose", "cutoffs": "models.prose.cutoffs"}
    best = {"use": "quality", "model": "models.good", "cutoffs": "models.good.cutoffs"}
    table = {
        "name": "t",
        "max_error_fraction": 1.0,
        "sources": {
            "good": source(folder, "good"),
            "bad": source(folder, "bad"),
            "mixed": source(folder, "mixed", {**best, "keep_fraction": 0.5}, prose_step),
        },
        "models": {
            "prose": {"fit": "perplexity", "sources": ["good"], "reference": ["mixed"]},
            "good": {"fit": "quality", "positive": ["good"], "negative": ["bad"]},
        },
    }
    with connect("off") as cluster:
        counts = run_pipeline(parse(table), str(tmp_path), cluster)["stages"]["filter"]["mixed"]
    assert counts["in"] == 81
    assert counts["removed"]["quality.low_quality"] >= 20
    # the prose: quality keeps the better half, and perplexity the plainer 60% of the whole
    assert counts["kept"] == pytest.approx(40, abs=2)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"model": "models.nose"}, "no section [models.nose]. Did you mean prose?"),
        ({"model": "models.prose.cutoffs"}, "a model is models.prose"),
        (
            {"model": "models.prose", "cutoffs": "models.prose.cutoffs"},
            "needs models.prose.reference",
        ),
        (
            {"model": "models.prose", "normalization": "ccnet"},
            "models fitted in the run are over words",
        ),
        ({"model": "lm/{lang}.arpa"}, 'need a step { use = "language" } before'),
        ({"model": {"en": "a.arpa"}}, 'need a step { use = "language" } before'),
    ],
)
def test_mistakes_of_a_configuration(folder: Path, step: dict, message: str):
    table = {
        "name": "t",
        "sources": {"mixed": source(folder, "mixed", {"use": "perplexity", **step})},
        "models": {"prose": {"fit": "perplexity", "sources": ["mixed"]}},
    }
    with pytest.raises(ConfigError) as caught:
        parse(table)
    assert message in str(caught.value)


def test_models_are_tried_before_a_run(folder: Path, tmp_path: Path):
    broken = tmp_path / "broken.bin"
    broken.write_bytes(b"nothing of the kind")
    steps = [
        {"use": "language", "keep": ["eng"]},
        {"use": "quality", "model": str(broken)},
        {"use": "perplexity", "model": {"en": str(broken)}},
    ]
    run = parse({"name": "t", "sources": {"mixed": source(folder, "mixed", *steps)}})
    with pytest.raises(ConfigError) as caught:
        look_for_files(run)
    assert [mistake.split(": ")[0] for mistake in caught.value.mistakes] == [
        f"sources.mixed.steps[{i}]" for i in range(3)
    ]
    assert "Did you mean en?" in caught.value.mistakes[0]
    steps[2]["model"] = {"en": str(tmp_path / "nowhere.arpa")}
    run = parse({"name": "t", "sources": {"mixed": source(folder, "mixed", steps[0], steps[2])}})
    with pytest.raises(ConfigError, match=r"model\.en: .*nowhere\.arpa is not there"):
        look_for_files(run)
    (tmp_path / "other.bin").write_bytes(b"x")
    steps[1]["model"] = str(tmp_path / "*.bin")
    run = parse({"name": "t", "sources": {"mixed": source(folder, "mixed", steps[1])}})
    with pytest.raises(ConfigError, match=r"model: .* names 2 files, and one is wanted"):
        look_for_files(run)


def test_names_in_a_pattern(tmp_path: Path):
    for name in ("en.sp.model", "de.sp.model", "de.arpa", "pt-br.sp.model"):
        (tmp_path / name).write_text("")
    found = expand_names(str(tmp_path / "{lang}.sp.model"))
    assert {name: Path(path).name for name, path in found.items()} == {
        "de": "de.sp.model",
        "en": "en.sp.model",
        "pt-br": "pt-br.sp.model",
    }
    (tmp_path / "fr").mkdir()
    (tmp_path / "fr" / "lm.arpa").write_text("")
    assert list(expand_names(str(tmp_path / "{lang}" / "lm.arpa"))) == ["fr"]
    assert expand_names(str(tmp_path / "{lang}.bin")) == {}
