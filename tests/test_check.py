"""`corpusmill check`: the canaries of every step under the user's thresholds."""

import json
from pathlib import Path

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
