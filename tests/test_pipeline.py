"""The whole DAG over small tables: conservation, the same bytes whatever the way, resume, extend,
why."""

import json
import random
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.build_config import ConfigError
from pipeline.cli import main
from pipeline.config import parse
from pipeline.executor import StageError, connect
from pipeline.named_files import look_for_files
from pipeline.parts import read_tables
from pipeline.stages import run_pipeline
from pipeline.storage import list_files
from pipeline.why import explain, find

WORDS = (Path(__file__).read_text() + Path(__file__).with_name("conftest.py").read_text()).split()
WORDS = sorted({word for word in WORDS if word.isalpha()})


def prose(seed: int, n: int = 120) -> str:
    """n words with stop words among them, so that the Gopher rules are content."""
    rng = random.Random(seed)
    words = [
        rng.choice(("the", "of", "and", "that")) if i % 4 == 0 else rng.choice(WORDS)
        for i in range(n)
    ]
    return " ".join(words) + "."


def edited(text: str, every: int) -> str:
    words = text.split()
    return " ".join("changed" if i % every == 7 else word for i, word in enumerate(words))


def write_jsonl(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    """Three shards: 30 good documents, one exact and one near duplicate of document 0 in each of
    the last two, a short document, a broken line and an empty text."""
    root = tmp_path_factory.mktemp("shards")
    base = prose(0, 300)
    for s in range(3):
        rows = [
            {"text": prose(100 * s + i), "url": f"https://example.org/{s}/{i}"}
            for i in range(1, 11)
        ]
        rows.append({"text": base if s < 2 else edited(base, 100)})
        rows.append({"text": "too short"})
        rows.append({"text": ""})
        rows.append({"text": prose(7000 + s, 60) + " " + " ".join(base.split()[10:106])})
        write_jsonl(root / f"part-{s}.jsonl", rows)
        with (root / f"part-{s}.jsonl").open("a") as file:
            file.write('{"text": broken\n')
    return root


def config(shards: Path, **changes):
    paths = changes.pop("paths", [str(shards / "part-*.jsonl")])
    min_words = changes.pop("min_words", 50)
    table = {
        "name": "t",
        "sources": {
            "web": {
                "format": "table",
                "paths": paths,
                "steps": [
                    {"use": "gopher_quality", "min_words": min_words, "max_mean_word_length": 99}
                ],
            }
        },
        "dedup": {
            "exact": {},
            "minhash": {"similarity": 0.8},
            "ngrams": {"words": 50},
            "partitions": 3,
        },
    }
    return parse(table | changes)


def run(shards: Path, out: Path, cluster, **changes) -> dict:
    return run_pipeline(config(shards, **changes), str(out), cluster)


def contents(out: Path) -> dict[str, bytes]:
    """Every data file, by path. Records are left out: they hold timings."""
    folders = ("documents", "removed", "errors", "work", "manifest.json")
    return {
        p[len(str(out)) :]: Path(p).read_bytes()
        for f in folders[:4]
        for p in list_files(f"{out}/{f}")
    } | {"manifest": (out / "manifest.json").read_bytes()}


@pytest.fixture(scope="module")
def finished(shards, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("finished")
    with connect("off") as loop:
        run(shards, out, loop)
    return out


def rows_of(out: Path, folder: str) -> list[dict]:
    return [
        row
        for path in list_files(f"{out}/{folder}")
        for table in read_tables("", path)
        for row in table.to_pylist()
    ]


def test_every_document_is_kept_removed_or_an_error(finished):
    kept, removed, errors = (rows_of(finished, f) for f in ("documents", "removed", "errors"))
    assert len(kept) + len(removed) + len(errors) == 45
    assert len(errors) == 3 and {e["error"] for e in errors} == {"bad_json"}
    rules = sorted(row["rule"] for row in removed)
    assert rules.count("gopher_quality.too_few_words") == 3
    assert rules.count("ingest.no_text") == 3
    assert rules.count("dedup.exact_duplicate") == 1
    assert rules.count("dedup.near_duplicate") == 1
    assert len({row["id"] for row in kept + removed}) == len(kept) + len(removed)


def test_a_duplicate_names_a_document_that_is_kept(finished):
    kept = {row["id"] for row in rows_of(finished, "documents")}
    duplicates = [r for r in rows_of(finished, "removed") if r["rule"].startswith("dedup.")]
    assert duplicates
    for row in duplicates:
        assert row["matched_id"] in kept
        assert row["similarity"] >= 0.8


def test_a_repeated_passage_is_cut_from_all_but_one_document(finished):
    base = prose(0, 300)
    passage = " ".join(base.split()[10:106])
    holders = [row for row in rows_of(finished, "documents") if passage in row["text"]]
    removed = {row["matched_id"] for row in rows_of(finished, "removed")}
    assert [row["id"] in removed for row in holders] == [True]  # the keeper of base's duplicates
    cut = [row for row in rows_of(finished, "documents") if 50 <= len(row["text"].split()) < 100]
    assert len(cut) == 3  # those that had the passage besides 60 words of their own


def test_one_worker_or_two_and_any_order_of_inputs(finished, shards, tmp_path):
    paths = [str(shards / f"part-{s}.jsonl") for s in (2, 0, 1)]
    with connect(workers=2) as cluster:
        run(shards, tmp_path / "ray", cluster)
        run(shards, tmp_path / "reversed", cluster, paths=paths)
    expected = contents(finished)
    assert contents(tmp_path / "ray") == expected
    reversed_ = contents(tmp_path / "reversed")
    assert {k: v for k, v in reversed_.items() if k != "manifest"} == {
        k: v for k, v in expected.items() if k != "manifest"
    }
    assert len(expected) > 10


def test_a_second_run_does_nothing(finished, shards):
    before = {p: Path(p).stat().st_mtime_ns for p in list_files(f"{finished}/documents")}
    before |= {p: Path(p).stat().st_mtime_ns for p in list_files(f"{finished}/_parts")}
    with connect("off") as loop:
        run(shards, finished, loop)
    after = {p: Path(p).stat().st_mtime_ns for p in before}
    assert {Path(p).name for p in before if before[p] != after[p]} <= {"inputs.json"}


def made_again(before: list[str], after: list[str]) -> list[str]:
    return sorted(set(after) - set(before))


def test_a_changed_threshold_reads_no_shard_again(shards, tmp_path):
    with connect("off") as loop:
        run(shards, tmp_path, loop)
        ingested = list_files(f"{tmp_path}/_parts/ingest")
        filtered = list_files(f"{tmp_path}/_parts/filter")
        run(shards, tmp_path, loop, min_words=2)
    assert list_files(f"{tmp_path}/_parts/ingest") == ingested
    assert len(made_again(filtered, list_files(f"{tmp_path}/_parts/filter"))) == 3
    rules = {row["rule"] for row in rows_of(tmp_path, "removed")}
    assert "gopher_quality.too_few_words" not in rules  # stale files are gone
    with connect("off") as loop:
        run(shards, tmp_path / "fresh", loop, min_words=2)
    assert contents(tmp_path)["manifest"] == contents(tmp_path / "fresh")["manifest"]


def test_a_new_shard_is_all_that_is_read(finished, shards, tmp_path):
    two = [str(shards / "part-0.jsonl"), str(shards / "part-2.jsonl")]
    with connect("off") as loop:
        run(shards, tmp_path, loop, paths=two)
        signed = list_files(f"{tmp_path}/_parts/sign")
        run(shards, tmp_path, loop)
    # part-1 sorts between the others: what was signed stays valid although the parts' numbers
    # changed
    assert len(made_again(signed, list_files(f"{tmp_path}/_parts/sign"))) == 1
    new, all_at_once = contents(tmp_path), contents(finished)
    assert {k: v for k, v in new.items() if k.startswith("/documents")} == {
        k: v for k, v in all_at_once.items() if k.startswith("/documents")
    }
    assert new["manifest"] == all_at_once["manifest"]


def test_a_run_that_stops_early_keeps_what_later_stages_made(shards, tmp_path):
    more = {"tokenizer": {"vocab_size": 512}, "mixture": {"tokens": 5000, "weights": {"web": 1.0}}}
    with connect("off") as loop:
        run(shards, tmp_path, loop, **more)
        made = list_files(f"{tmp_path}/tokens") + list_files(f"{tmp_path}/packed")
        run_pipeline(config(shards, **more), str(tmp_path), loop, until="dedup")
    assert len(made) > 4
    assert list_files(f"{tmp_path}/tokens") + list_files(f"{tmp_path}/packed") == made


def test_too_many_errors_stop_the_run(shards, tmp_path):
    write_jsonl(
        tmp_path / "bad.jsonl", [{"txt": "no text column"}] * 30 + [{"text": prose(1)}] * 10
    )
    with (
        connect("off") as loop,
        pytest.raises(StageError, match=r"web/bad.jsonl: 30 of 40 records"),
    ):
        run(tmp_path, tmp_path / "out", loop, paths=[str(tmp_path / "bad.jsonl")])


def test_a_source_that_is_lost_as_a_whole_stops_the_run(tmp_path):
    write_jsonl(tmp_path / "bad.jsonl", [{"body": prose(i)} for i in range(3)])
    message = r"sources.web: all 3 records were lost, most to missing_column: no column 'text'"
    with connect("off") as loop, pytest.raises(StageError, match=message):
        run(tmp_path, tmp_path / "out", loop, paths=[str(tmp_path / "bad.jsonl")])


def test_after_a_run_that_failed_nothing_looks_finished_or_counts_twice(shards, tmp_path):
    with connect("off") as loop:
        run(shards, tmp_path, loop)
        broken = {"tokenizer": {"vocab_size": 64000}}
        with pytest.raises(StageError, match="more than the sample supports"):
            run(shards, tmp_path, loop, min_words=2, **broken)
    assert not (tmp_path / "manifest.json").exists()
    rows = rows_of(tmp_path, "documents") + rows_of(tmp_path, "removed")
    removed = [row["id"] for row in rows_of(tmp_path, "removed")]
    assert len(removed) == len(set(removed)) > 3
    assert "gopher_quality.too_few_words" not in {row.get("rule") for row in rows}


@pytest.mark.ray
def test_a_cluster_that_does_not_answer_is_named(shards, tmp_path, capsys):
    command = ["extract", f"{shards}/part-0.jsonl", "--format", "table", "--out", str(tmp_path)]
    assert main([*command, "--ray", "127.0.0.1:1"]) == 1
    assert "nothing answers there" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["--workers", "0"], ["--out", ""], ["--out", __file__]])
def test_a_call_that_cannot_work_is_refused_at_once(shards, tmp_path, wrong, capsys):
    command = ["extract", f"{shards}/part-0.jsonl", "--format", "table", "--out", str(tmp_path)]
    with pytest.raises(SystemExit) as caught:
        main([*command, *wrong])
    assert caught.value.code == 2
    assert wrong[0] in capsys.readouterr().err


def test_missing_shards_are_named(shards, tmp_path):
    with (
        connect("off") as loop,
        pytest.raises(ConfigError, match=r"sources.web.paths\[0\]: .* names no"),
    ):
        run(shards, tmp_path, loop, paths=[str(tmp_path / "none-*.jsonl")])


def test_an_id_that_occurs_twice_is_an_error(tmp_path):
    rows = [{"id": "x", "text": prose(i)} for i in range(2)]
    write_jsonl(tmp_path / "twice.jsonl", rows)
    with connect("off") as loop, pytest.raises(StageError, match="the id 'x' occurs twice"):
        run(tmp_path, tmp_path / "out", loop, paths=[str(tmp_path / "twice.jsonl")])


def test_why_finds_by_id_and_by_url(finished):
    [kept] = find(str(finished), "https://example.org/0/1")
    assert kept["table"] == "documents" and "gopher.n_words" in explain(kept)
    duplicate = next(r for r in rows_of(finished, "removed") if r["rule"] == "dedup.near_duplicate")
    [row] = find(str(finished), duplicate["id"])
    assert f"matches {duplicate['matched_id']}" in explain(row)
    error = rows_of(finished, "errors")[0]
    [row] = find(str(finished), f"web/{error['shard']}/{error['locator']}")
    assert "bad_json" in explain(row)
    assert find(str(finished), "web/part-0.jsonl/none") == []


def test_why_finds_a_document_among_large_ones(tmp_path):
    """A row group with more text than is read at once elsewhere."""
    (tmp_path / "documents/web").mkdir(parents=True)
    rows = [{"id": f"d{i}", "text": "x" * (9 << 20), "url": None} for i in range(5)]
    table = pa.Table.from_pylist([row | {"source": "web"} for row in rows])
    pq.write_table(table, tmp_path / "documents/web/part-0.parquet", compression="zstd")
    [row] = find(str(tmp_path), "d4")
    assert (row["id"], len(row["text"])) == ("d4", 9 << 20)


def test_single_stage_commands_take_each_others_output(shards, tmp_path, capsys):
    pattern = str(shards / "part-*.jsonl")
    out = {name: str(tmp_path / name) for name in ("extract", "filter", "dedup", "scrub", "clean")}
    testset = tmp_path / "tests.jsonl"
    write_jsonl(testset, [{"question": prose(101, 40)}])
    off = ["--ray", "off"]
    assert (
        main(
            [
                "extract",
                pattern,
                "--format",
                "table",
                "--source",
                "web",
                "--out",
                out["extract"],
                *off,
            ]
        )
        == 0
    )
    assert (
        main(["filter", out["extract"], "--steps", "gopher_quality", "--out", out["filter"], *off])
        == 0
    )
    assert main(["dedup", out["filter"], "--out", out["dedup"], *off]) == 0
    assert main(["scrub", out["dedup"], "--out", out["scrub"], *off]) == 0
    command = ["decontaminate", out["scrub"], "--against", str(testset), "--out", out["clean"]]
    assert main([*command, *off, "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["ok"] is True
    assert {Path(p).parent.name for p in list_files(f"{out['clean']}/documents")} == {"web"}
    assert len(rows_of(tmp_path / "clean", "documents")) > 5


def test_only_a_finished_run_is_input(finished, tmp_path, capsys):
    """Its documents, whole or by source, and never where they would be written over."""
    run, off = tmp_path / "run", ["--ray", "off"]
    web = run / "documents/web"
    shutil.copytree(finished, run)
    for i, named in enumerate((run, web, next(web.iterdir()))):
        out = tmp_path / str(i)
        assert main(["filter", str(named), "--steps", "fineweb", "--out", str(out), *off]) == 0
        assert [path.name for path in (out / "documents").iterdir()] == ["web"]
    capsys.readouterr()
    assert main(["filter", str(run), "--steps", "fineweb", "--out", f"{run}/", *off]) == 2
    assert "sources.web.paths: from" in (said := capsys.readouterr().err)
    assert "where this run would write; give another --out" in said
    table = {"format": "table", "paths": [str(run)]}
    with pytest.raises(ConfigError, match=f"{run}: a run, .* name {run}/documents, or a source th"):
        look_for_files(parse({"name": "t", "sources": {"docs": table}}))
    files = list_files(f"{run}/documents")
    (run / "manifest.json").unlink()
    mistake = f"{run}: an unfinished run (no manifest.json); finish it"
    assert main(["scrub", str(run), "--out", str(tmp_path / "none"), *off]) == 2
    assert capsys.readouterr().err.startswith(f"corpusmill: {mistake}")
    for pattern in (str(run), f"{run}/documents/web", f"{run}/documents/*/*.parquet", files[0]):
        source = {"format": "table", "paths": [pattern]}
        with pytest.raises(ConfigError) as caught:
            look_for_files(parse({"name": "t", "sources": {"docs": source}}))
        assert caught.value.mistakes[0].startswith(f"sources.docs.paths[0]: {mistake}")
    assert main(["fit", "perplexity", files[0], "--out", f"{tmp_path}/a.arpa"]) == 2
    assert files == list_files(f"{run}/documents")


def test_a_run_that_kept_nothing_is_no_input(finished, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    shutil.rmtree(run / "documents")
    assert main(["scrub", str(run), "--out", str(tmp_path / "none"), "--ray", "off"]) == 2
    assert "has no documents" in capsys.readouterr().err


def test_exit_codes_and_messages(shards, tmp_path, capsys):
    assert main(["run", str(tmp_path / "none.toml")]) == 2
    (tmp_path / "typo.toml").write_text(
        'name = "t"\n[sources.web]\nformat = "tabel"\npaths = ["x"]\n'
    )
    assert main(["run", str(tmp_path / "typo.toml")]) == 2
    assert "Did you mean table?" in capsys.readouterr().err
    (tmp_path / "gone.toml").write_text(
        'name = "t"\n[sources.web]\nformat = "table"\npaths = ["x"]\n'
    )
    gone = ["run", str(tmp_path / "gone.toml"), "--ray", "off", "--out", str(tmp_path / "o")]
    assert main(gone) == 2
    assert "names no file" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main(["run", "--no-such-flag"])
    assert caught.value.code == 2


def test_check_reports_rules_and_finds_what_is_missing(shards, tmp_path, capsys):
    text = f"""
name = "t"
[sources.web]
format = "table"
paths = ["{shards}/part-*.jsonl"]
steps = [
  {{ use = "gopher_quality" }},
  {{ use = "decontaminate", against = ["{tmp_path}/none.jsonl"] }},
]
"""
    (tmp_path / "c.toml").write_text(text)
    assert main(["check", str(tmp_path / "c.toml")]) == 2
    assert main(["run", str(tmp_path / "c.toml"), "--out", str(tmp_path / "never")]) == 2
    assert not (tmp_path / "never").exists()  # before any work
    assert "sources.web.steps[1].against" in capsys.readouterr().err
    write_jsonl(tmp_path / "tests.jsonl", [{"question": prose(3)}])
    (tmp_path / "c.toml").write_text(text.replace("none.jsonl", "tests.jsonl"))
    assert main(["check", str(tmp_path / "c.toml")]) == 0
    out = capsys.readouterr().out
    assert "gopher_quality.too_few_words" in out and "3 shards" in out


def test_a_parquet_table_of_signals_is_readable_with_plain_pyarrow(finished):
    path = list_files(f"{finished}/documents/web")[0]
    table = pq.read_table(path)
    assert isinstance(table, pa.Table) and "gopher.n_words" in table.column_names


def test_a_mixture_by_language_with_documents_held_out(tmp_path):
    """Groups of one source by a column, a validation split by duplicate cluster, and the table."""
    rows = [
        {"id": f"d{i:03d}", "text": prose(i) + f" page {i}", "kind": "good" if i % 3 else "fair"}
        for i in range(60)
    ]
    write_jsonl(tmp_path / "in.jsonl", rows)
    split = {"web": {"column": "meta.kind"}}
    mixture = {"tokens": 6000, "weights": {"web/good": 0.9, "web/fair": 0.1}, "split": split}
    mixture |= {"validation_tokens": 1500, "sequence_length": 256, "max_epochs": 1.0}
    more = {"tokenizer": {"vocab_size": 512}, "mixture": mixture, "dedup": {}}
    with connect("off") as loop:
        paths = [str(tmp_path / "in.jsonl")]
        manifest = run(tmp_path, tmp_path / "out", loop, paths=paths, **more)
    table = manifest["mixture"]
    assert list(table) == ["web/good", "web/fair"]
    assert table["web/good"]["weight"] == 0.9 and table["web/fair"]["documents"] > 0
    packed = sorted((tmp_path / "out/packed").rglob("*.documents.parquet"))
    held, trained = (
        {row["id"] for path in packed if ("validation" in str(path)) == wanted
         for row in pq.read_table(path).to_pylist()}
        for wanted in (True, False)
    )  # fmt: skip
    assert held and trained and not held & trained
    kinds = {row["id"]: row["kind"] for row in rows}
    assert sum(kinds[i] == "good" for i in trained) == table["web/good"]["documents"]
    left = sum(table[group]["available_documents"] for group in table)
    assert left == 60 - len(held)
