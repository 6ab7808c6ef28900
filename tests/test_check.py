"""`corpusmill check`: the canaries of every step under the user's thresholds."""

import bz2
import gzip
import io
import json
import tarfile
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


BODY = {"id": "1", "title": "t", "body": "a text that is longer than the others " * 3}
DUMP = b"<mediawiki><page><title>T</title><ns>0</ns></page></mediawiki>"
WARC = b"WARC/1.0\r\nWARC-Type: warcinfo\r\nContent-Length: 0\r\n\r\n\r\n\r\n"


def packed_tar(name: str) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        tar.addfile(tarfile.TarInfo(name))
    return made.getvalue()


@pytest.mark.parametrize(
    ("format", "name", "data", "error", "mend"),
    [
        ("table", "a.jsonl", json.dumps(BODY).encode(), "missing_column", 'text_column = "body"'),
        ("table", "b.csv", b"x,y\n1,a longer one\n", "missing_column", 'text_column = "y"'),
        (
            "table",
            "nested.jsonl",
            json.dumps({"id": "1", "data": BODY}).encode(),
            "missing_column",
            'text_column = "data.body"',
        ),
        ("code", "a.jsonl", json.dumps(BODY).encode(), "missing_col", 'columns.content = ["body"]'),
        ("warc", "a.jsonl", json.dumps(BODY).encode(), "not_a_record", 'format = "table"'),
        ("dialogue", "d.xml.bz2", bz2.compress(DUMP), "bad_json", 'format = "wikipedia"'),
        ("wikipedia", "w.warc.gz", gzip.compress(WARC, mtime=0), "not_a_dump", 'format = "warc"'),
        ("wikipedia", "a.tar", packed_tar("2401/2401.1.gz"), "not_a_dump", 'format = "arxiv"'),
        (
            "wikipedia",
            "c.tar.gz",
            gzip.compress(packed_tar("a.py"), mtime=0),
            "not",
            'format = "code"',
        ),
        ("wikipedia", "noise.bin", bytes(range(256)), "not_a_dump", ""),
    ],
)
def test_a_wrong_format_or_column_is_a_mistake_of_the_configuration(
    tmp_path: Path, capsys, format: str, name: str, data: bytes, error: str, mend: str
) -> None:
    """Exit status 2, with the right one; of each source. A run that meets it has failed: 1."""
    (tmp_path / name).write_bytes(data)
    source = f'format = "{format}"\npaths = ["{tmp_path}/{name}"]\n'
    config = tmp_path / "c.toml"
    config.write_text(f'name = "c"\n[sources.web]\n{source}[sources.more]\n{source}')
    assert main(["check", str(config)]) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if "corpusmill: " in line]
    for line, which in zip(said, ("more", "web"), strict=True):
        assert line.startswith(f"corpusmill: sources.{which}: all 1 records were lost, most to ")
        assert error in line
        assert line.endswith(f". Did you mean {mend}?") if mend else "Did you" not in line
    assert main(["run", str(config), "--out", str(tmp_path / "out"), "--ray", "off"]) == 1
    assert said[0] in capsys.readouterr().err.splitlines()


def test_shards_of_one_name_in_several_folders_are_tried(tmp_path: Path, capsys) -> None:
    """Their names are those of the whole run, for the mixture's outlook too."""
    for i, folder in enumerate(("a", "b")):
        (tmp_path / folder).mkdir()
        rows = [{"id": f"{folder}{n}", "text": f"{PROSE} {n} {i}"} for n in range(6)]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / folder / "part-0.jsonl").write_text(text)
    config = tmp_path / "c.toml"
    config.write_text(
        f'name = "c"\n[sources.web]\nformat = "table"\npaths = ["{tmp_path}/*/part-0.jsonl"]\n'
        "[tokenizer]\n[mixture]\ntokens = 2000\nweights = { web = 1.0 }\n"
    )
    assert main(["check", str(config)]) == 0
    out = capsys.readouterr().out
    assert "sources.web: 2 shards, 12 records tried, 12 kept" in out
    assert "mixture: 2,000 tokens" in out
    assert main(["plan", str(config)]) == 0


def test_an_id_that_occurs_twice_is_found_before_the_run(tmp_path: Path, capsys) -> None:
    rows = [{"id": "a", "text": PROSE}] * 2
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = tmp_path / "c.toml"
    config.write_text(
        f'name = "c"\n[sources.web]\nformat = "table"\npaths = ["{tmp_path}/a.jsonl"]\n'
    )
    assert main(["check", str(config)]) == 2
    assert 'or set id_column = ""' in capsys.readouterr().err


def test_a_source_without_a_record_is_worth_a_word(tmp_path: Path, capsys) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(BODY))
    config = tmp_path / "c.toml"
    config.write_text(
        f'name = "c"\n[sources.se]\nformat = "stackexchange"\npaths = ["{tmp_path}/a.jsonl"]\n'
    )
    assert main(["check", str(config), "--json"]) == 0
    [warning] = json.loads(capsys.readouterr().out.splitlines()[-1])["warnings"]
    assert warning == (
        f'sources.se: no record at all in {tmp_path}/a.jsonl. Did you mean format = "table"?'
    )
    assert main(["run", str(config), "--out", str(tmp_path / "out"), "--ray", "off"]) == 0
    assert "sources.se: no record at all" in capsys.readouterr().out


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
