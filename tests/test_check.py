"""`corpusmill check`: the canaries of every step under the user's thresholds."""

import json
from pathlib import Path

import pytest

from filters.canaries import PROSE
from pipeline.cli import main

STEPS = """[
  { use = "language" },
  { use = "gopher_quality", min_words = 1 },
  { use = "starcoder", max_mean_line_length = 5.0 },
  { use = "redpajama" },
]"""


def test_check_names_blind_rules_those_that_always_fire_and_steps_without(
    tmp_path: Path, capsys
) -> None:
    rows = [{"text": f"{PROSE} {i}"} for i in range(12)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = tmp_path / "c.toml"
    paths = f'["{tmp_path}/a.jsonl"]'
    config.write_text(
        f'name = "c"\n[sources.web]\nformat = "table"\npaths = {paths}\nsteps = {STEPS}\n'
    )
    assert main(["check", str(config), "--json"]) == 0
    out = capsys.readouterr().out
    warnings = json.loads(out.splitlines()[-1])["warnings"]
    assert (
        "sources.web.steps[1]: canary of gopher_quality.too_few_words passes with min_words = 1: "
        "this rule no longer catches it"
    ) in warnings
    always = "starcoder.lines_too_long marks a text that it should pass"
    assert [w for w in warnings if always in w and "max_mean_line_length = 5.0" in w]
    assert "sources.web.steps[3]: no canaries of redpajama: its bounds are" in out
    assert not [w for w in warnings if "steps[0]" in w]


def checked(tmp_path: Path, capsys, rows: list[dict], changes: str) -> tuple[str, list[str]]:
    """What `check` prints of a source with these rows, and its warnings."""
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source, _, rest = changes.partition("\n[")
    config = tmp_path / "c.toml"
    steps = 'steps = [{ use = "language" }, { use = "gopher_quality" }]'
    config.write_text(
        f'name = "c"\n[sources.web]\nformat = "table"\npaths = ["{tmp_path}/a.jsonl"]\n{steps}\n'
        f"{source}\n[{rest}"
    )
    assert main(["check", str(config), "--limit", "20", "--json"]) == 0
    out = capsys.readouterr().out
    return out, json.loads(out.splitlines()[-1])["warnings"]


ROWS = [
    {"text": f"{PROSE} {i}", "dump": f"d{i % 3}", "link": f"https://a{i}.org/"} for i in range(12)
]
COLUMNS = """url_column = "lnk"
meta_columns = ["dump", "dmp"]
[dedup]
scope = "meta.dum"
compare_scopes = ["source", "meta.dump"]
prefer_signal = "gopher.n_word"
[dedup.exact]
by = "url"
[tokenizer]
[mixture]
weights = { web = 1.0 }
split = { web = { column = "language.labl" } }
"""


def test_a_column_that_no_document_has_is_named_with_the_nearest(tmp_path: Path, capsys) -> None:
    _, warnings = checked(tmp_path, capsys, ROWS, COLUMNS)
    none = "no document of this trial has"
    assert [w for w in warnings if none in w] == [
        f"sources.web.url_column: {none} 'lnk'. Known: dump.",
        f"sources.web.meta_columns: {none} 'dmp'. Did you mean dump?",
        f"dedup.exact.by: {none} 'url'. Known: id, meta, source, text.",
        f"dedup.prefer_signal: {none} 'gopher.n_word'. Did you mean gopher.n_words?",
        f"dedup.scope: {none} 'meta.dum'. Did you mean meta.dump?",
        f"mixture.split.web.column: {none} 'language.labl'. Did you mean language.label?",
    ]


def test_records_that_cannot_be_read_are_explained(tmp_path: Path, capsys) -> None:
    rows = [*ROWS, {"body": "no text"}]
    _, warnings = checked(tmp_path, capsys, rows, "\n[dedup]\n")
    [lost] = [w for w in warnings if "could not be read" in w]
    assert lost == (
        "sources.web: 1 records could not be read, most to missing_column: no column 'text'; the "
        "line has body; name the right one: text_column"
    )


MIXTURE = """
[tokenizer]
[mixture]
tokens = {tokens}
weights = {{ "web/d0" = 0.5, "web/d1" = 0.25, "web/d2" = 0.25 }}
split = {{ web = {{ column = "meta.dump" }} }}
"""


@pytest.mark.parametrize(("tokens", "short"), [(4000, []), (14_000, ["web/d0"])])
def test_a_budget_that_cannot_be_met_shows_before_the_run(
    tmp_path: Path, capsys, tokens: int, short: list[str]
) -> None:
    """12 documents of 4 * n bytes: a third of them, at 4 epochs, gives 16 n tokens."""
    n = len(ROWS[0]["text"]) // 4
    assert 3000 < 16 * n / 0.5 < 4600
    out, warnings = checked(tmp_path, capsys, ROWS, MIXTURE.format(tokens=tokens))
    assert f"mixture: {tokens:,} tokens; what there is is a guess from the trial" in out
    assert sum("cannot be met" in w for w in warnings) == bool(short)
    weights = [w.partition(":")[0] for w in warnings if w.startswith("mixture.weights.")]
    assert weights[: len(short)] == [f"mixture.weights.{group}" for group in short]


def test_a_budget_is_not_judged_from_shards_that_were_cut_off(tmp_path: Path, capsys) -> None:
    mixture = MIXTURE.format(tokens=1_000_000_000)
    out, warnings = checked(tmp_path, capsys, ROWS * 2, mixture)
    assert "not known of web: none of its shards was read whole; --limit 0 reads" in out
    assert not [w for w in warnings if w.startswith("mixture")]
