"""Each preset says what it lacks, and runs on a small sample once it is there."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from filters.canaries import CANARIES, PROSE
from pipeline.build_config import ConfigError
from pipeline.config import load, parse
from pipeline.executor import connect
from pipeline.named_files import look_for_files
from pipeline.stages import run_pipeline

PRESETS = Path(__file__).resolve().parent.parent / "configs" / "presets"
NAMES = ("c4", "ccnet", "dclm", "dolma", "fineweb", "gopher", "llama1", "refinedweb")
MODELS = ("model", "tokenizer", "cutoffs", "normalization", "sentence", "positive_label")


def missing(name: str, root: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        look_for_files(load(PRESETS / f"{name}.toml", [f"root={root}"]))
    return caught.value.mistakes


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_names_every_file_that_it_lacks(name: str, tmp_path: Path) -> None:
    found = missing(name, tmp_path)
    assert all(line.endswith(" names no file") for line in found)
    text = (PRESETS / f"{name}.toml").read_text()
    sources = tomllib.loads(text)["sources"]
    keys = (
        "model",
        "tokenizer",
        "cutoffs",
        "lists",
        "against",
        "blocklists",
        "cursed",
        "cursed_patterns",
        "hard_words",
    )
    wanted = sum(
        1 for s in sources.values() for step in s.get("steps", []) for k in keys if k in step
    )
    named = [line.split(":")[0] for line in found if ".steps[" in line]
    assert len({place for place in named if place.rsplit(".", 1)[1] in keys}) == wanted
    assert len([line for line in found if ".paths[" in line]) == len(sources)


def test_what_dclm_lacks(tmp_path: Path) -> None:
    lists = "refinedweb_banned_{}_reverse_engineered.txt"
    model = "models/openhermes_reddit_eli5_vs_rw_v2_bigram_200k_train.bin"
    assert sorted(missing("dclm", tmp_path)) == sorted(
        [
            f"sources.web.paths[0]: {tmp_path}/web/*.warc.gz names no file",
            f"sources.web.steps[0].blocklists: {tmp_path}/lists/"
            "refinedweb_banned_domains_curated.txt names no file",
            *(
                f"sources.web.steps[0].{key}: {tmp_path}/lists/{lists.format(words)} names no file"
                for key, words in (
                    ("hard_words", "words_hard"),
                    ("subwords", "words_strict"),
                    ("soft_words", "words_soft"),
                )
            ),
            f"sources.web.steps[6].model: {tmp_path}/{model} names no file",
        ]
    )


def sample(folder: Path) -> None:
    """40 pages: prose of different words, canaries, and the files that the presets' keys name."""
    rows = []
    for i in range(24):
        text = PROSE.replace("harbour", f"harbour{i}").replace("fog", f"fog number {i}")
        text = "\n".join(f"{line} {n * i} words more." for n, line in enumerate(text.split("\n")))
        rows.append({"id": f"p{i}", "text": text, "url": f"https://site{i}.org/{i}"})
    for i, (name, (trips, _)) in enumerate(CANARIES.items()):
        if len(trips) < 10_000 and i % 3 == 0:
            rows.append({"id": name, "text": trips, "url": f"https://other{i}.org/"})
    rows.append({"id": "adult", "text": PROSE, "url": "https://blocked.example/x"})
    (folder / "pages.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "item.jsonl").write_text(json.dumps({"question": " ".join(["nothing"] * 20)}) + "\n")
    (folder / "list").write_text("blocked.example\n")


def runnable(name: str, folder: Path) -> dict[str, Any]:
    """The preset with small inputs, its lists in one file, its models fitted in the run."""
    table = tomllib.loads((PRESETS / f"{name}.toml").read_text())
    table["root"] = str(folder)
    table.pop("mixture", None), table.pop("tokenizer", None)
    table["dedup"]["partitions"] = 2
    for source in table["sources"].values():
        for step in source.get("steps", []):
            words = ("hard_words", "soft_words", "subwords", "cursed", "cursed_patterns")
            for key in ("blocklists", "lists", *words):
                if key in step:
                    step[key] = ["list"]
            if "against" in step:
                step["against"] = ["item.jsonl"]
            if "model" in step:
                fitted = f"models.{step['use']}"
                kept = {k: v for k, v in step.items() if k not in MODELS}
                step.clear()
                step.update(kept, model=fitted)
                if "percentiles" in kept or "keep" in kept:
                    step["cutoffs"] = f"{fitted}.cutoffs"
        steps = source.get("steps", [])
        source.clear()
        source.update(format="table", id_column="", paths=["pages.jsonl"], steps=steps)
    names = list(table["sources"])
    uses = {step["use"] for s in table["sources"].values() for step in s["steps"]}
    fits = {
        "perplexity": {
            "fit": "perplexity",
            "sources": names[:1],
            "reference": names[:1],
            "order": 2,
        },
        "quality": {"fit": "quality", "positive": names[:1], "negative": names[:1]},
    }
    table["models"] = {use: fits[use] for use in fits if use in uses}
    return table


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_runs(name: str, tmp_path: Path) -> None:
    sample(tmp_path)
    run = parse(runnable(name, tmp_path))
    with connect("off") as cluster:
        manifest = run_pipeline(run, str(tmp_path / "out"), cluster, "dedup")
    counts = manifest["stages"]["filter"]
    steps = {step.name for source in run.sources.values() for step in source.steps}
    assert all(c["kept"] > 0 for c in counts.values())
    removed = {rule.split(".")[0] for c in counts.values() for rule in c["removed"]}
    assert removed and removed <= steps
    if "url_filter" in steps:
        assert "url_filter" in removed
