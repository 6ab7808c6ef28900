import json
import re

import pytest

from pipeline.cli import main
from pipeline.config import parse
from pipeline.plan import plan_training, render_training
from train.scaling import effective_tokens


def config(**mixture):
    table = {
        "name": "t",
        "sources": {"web": {"format": "table", "paths": ["a"]},
                    "books": {"format": "table", "paths": ["b"]}},
        "tokenizer": {"vocab_size": 1024},
    }  # fmt: skip
    if mixture:
        table["mixture"] = {"tokens": 10, "weights": {"web": 0.75, "books": 0.25}} | mixture
    return parse(table)


@pytest.fixture
def out(tmp_path):
    rows = {"web": 9_000_000, "books": 500_000}
    manifest = {
        "tokenizer": {"vocab_size": 512},
        "mixture": {name: {"available_tokens": n} for name, n in rows.items()},
        "config": {},
        "stages": {},
    }
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    return str(tmp_path)


def plan(run, out, flops):
    return plan_training(run, out, flops, "besiroglu", 0.4, 989.0)


# 1e12 operations ask for 2.5 M tokens, 1e14 for 23 M, 1e16 for 219 M.


def test_the_corpus_has_them(out):
    found = plan(config(max_epochs=4), out, 1e12)
    tokens = found.optimum.n_tokens
    assert tokens == pytest.approx(2.46e6, rel=0.02)
    by_name = {s.group: s for s in found.sources}
    assert by_name["web"].needed == pytest.approx(0.75 * tokens, abs=1)
    assert by_name["web"].epochs == pytest.approx(0.75 * tokens / 9e6)
    assert by_name["books"].epochs == pytest.approx(0.25 * tokens / 5e5)
    assert by_name["books"].allowed == 4
    assert found.most_tokens == pytest.approx(4 * 5e5 / 0.25)  # books give out first
    assert found.enough()
    assert found.shape.vocab_size == 512
    assert "the corpus has the tokens" in render_training(found, 80, 2048)


def test_the_corpus_does_not_have_them(out):
    found = plan(config(max_epochs=4), out, 1e14)
    assert not found.enough()
    assert [s.group for s in found.sources if not s.enough] == ["books"]
    worth = sum(effective_tokens(s.available, s.needed) for s in found.sources)
    assert worth < found.optimum.n_tokens
    assert found.repeated_loss > found.optimum.loss
    text = render_training(found, 80, 2048)
    assert "it gives 8 M within the epochs allowed" in text
    assert "too few" in text
    assert all(len(line) <= 100 for line in text.splitlines())


def test_caps_by_source_move_it(out):
    assert plan(config(max_epochs=4, epochs={"books": 20}), out, 1e14).enough()


def test_groups_that_are_short_are_topped_up_where_the_mixture_says_so(out):
    found = plan(config(max_epochs=4, when_short="redistribute"), out, 1e14)
    by_name = {s.group: s for s in found.sources}
    assert by_name["books"].epochs == pytest.approx(4)
    assert by_name["web"].needed == pytest.approx(found.optimum.n_tokens - 2e6, abs=2)
    assert found.enough()
    assert found.most_tokens == 4 * 9_500_000
    short = plan(config(max_epochs=4, when_short="redistribute"), out, 1e16)
    assert not short.enough()
    assert sum(s.needed for s in short.sources) == 4 * 9_500_000


def test_without_a_mixture_sources_count_by_size(out):
    found = plan(config(), out, 1e12)
    assert [s.weight for s in found.sources] == pytest.approx([0.5 / 9.5, 9 / 9.5])


def test_without_a_run_only_the_arithmetic(out):
    found = plan(config(max_epochs=4), None, 1e21)
    assert found.sources == [] and found.most_tokens is None and not found.enough()
    assert found.gpu_hours == pytest.approx(1e21 / (0.4 * 989e12 * 3600))
    assert "--out" in render_training(found, 80, 2048)


def test_mistakes(out, tmp_path):
    with pytest.raises(ValueError, match=r"no manifest\.json"):
        plan(config(), str(tmp_path / "nothing"), 1e12)
    (tmp_path / "manifest.json").write_text(json.dumps({"config": {}, "stages": {"ingest": {}}}))
    with pytest.raises(ValueError, match="no tokens yet"):
        plan(config(), out, 1e12)


def test_the_command(out, tmp_path, capsys):
    path = tmp_path / "c.toml"
    path.write_text(
        'name = "t"\n[sources.web]\nformat = "table"\npaths = ["a"]\n'
        "[tokenizer]\nvocab_size = 1024\n"
        "[mixture]\ntokens = 10\nweights = { web = 1.0 }\n"
    )
    assert main(["plan", str(path), "--flops", "1e12", "--out", out, "--json"]) == 0
    text, _, last = capsys.readouterr().out.strip().rpartition("\n")
    found = json.loads(last)
    assert found["ok"] and found["enough"]
    assert found["sources"]["web"]["available"] == 9_000_000
    assert re.search(r"GPU-hours +7\.022e-07, at 40% of a peak of 989 TFLOP/s", text)
    assert main(["plan", str(path), "--flops", "1e12", "--out", str(tmp_path / "none")]) == 2
    with pytest.raises(SystemExit):
        main(["plan", str(path), "--flops", "-1"])
