"""Real tasks on a real local Ray: deaths, errors, resume. Task functions live at module level: Ray
imports them."""

import os
import signal
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline import quarantine
from pipeline.executor import StageError, connect, make_task, run_stage
from pipeline.parts import read_tables
from pipeline.storage import list_files, read_json

NUMBERS = pa.schema([("id", pa.string()), ("n", pa.int64())])


@pytest.fixture(scope="module")
def cluster():
    with connect(workers=2) as cluster:
        yield cluster


def squares(part, start, marker=""):
    """A task; what it does besides depends on the marker file's name."""
    if marker and _first_time(marker):
        if "raise" in marker:
            raise ValueError("this part is bad today")
        os.kill(os.getpid(), signal.SIGKILL)
    writer = part.table("documents", "documents/s", NUMBERS)
    rows = [{"id": f"{start + i:04d}", "n": (start + i) ** 2} for i in range(10)]
    writer.write(pa.Table.from_pylist(rows, schema=NUMBERS))
    return {"s": {"in": 10, "kept": 10, "removed": {}, "lost": 0}}


def poisoned(part, ids, deadly):
    """Dies on some records whenever it is allowed to touch them."""
    writer = part.table("documents", "documents/s", NUMBERS)
    faults = []
    for i in ids:
        if fault := quarantine.refusal(i):
            faults.append(("ingest", fault))
            continue
        if i in deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        writer.write(pa.Table.from_pylist([{"id": i, "n": 1}], schema=NUMBERS))
    part.faults("s", "shard", faults)
    return {"s": {"in": len(ids), "kept": writer.rows, "removed": {}, "lost": len(faults)}}


def always_raises(part):
    part.table("documents", "documents/s", NUMBERS).write(
        pa.Table.from_pylist([{"id": "x", "n": 1}] * 100_000, schema=NUMBERS)
    )
    raise ValueError("no such luck")


def _first_time(marker: str) -> bool:
    try:
        Path(marker).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _tasks(markers=()):
    markers = dict(markers)
    return [
        make_task(f"s/{i}", squares, {"start": i * 10, "marker": markers.get(i, "")}, i)
        for i in range(4)
    ]


def _rows(root, records):
    paths = [r["files"]["documents"]["path"] for r in records]
    return [row for path in paths for table in read_tables(root, path) for row in table.to_pylist()]


@pytest.mark.ray
def test_ray_and_a_plain_loop_write_the_same_bytes(cluster, tmp_path):
    on_ray = run_stage(cluster, str(tmp_path / "ray"), "stage", _tasks())
    with connect("off") as loop:
        in_process = run_stage(loop, str(tmp_path / "loop"), "stage", _tasks())
    assert [r["files"] for r in on_ray] == [r["files"] for r in in_process]
    assert _rows(str(tmp_path / "ray"), on_ray) == [
        {"id": f"{n:04d}", "n": n * n} for n in range(40)
    ]


@pytest.mark.ray
@pytest.mark.parametrize("how", ["raise", "die"])
def test_a_part_that_fails_once_is_retried(cluster, tmp_path, how):
    marker = str(tmp_path / how)
    records = run_stage(cluster, str(tmp_path / "out"), "stage", _tasks({2: marker}))
    assert Path(marker).exists()  # it did fail
    assert len(_rows(str(tmp_path / "out"), records)) == 40
    assert not [p for p in list_files(str(tmp_path / "out")) if ".tmp-" in p and how == "raise"]


@pytest.mark.ray
def test_records_that_kill_their_worker_are_isolated(cluster, tmp_path):
    ids = [f"r{i}" for i in range(12)]
    args = {"ids": ids, "deadly": ["r3", "r7"]}
    tasks = [make_task("s/poison", poisoned, args), *_tasks()]
    records = run_stage(cluster, str(tmp_path), "stage", tasks)
    kept = [row["id"] for row in _rows(str(tmp_path), records[:1])]
    assert kept == [i for i in ids if i not in ("r3", "r7")]
    [table] = read_tables(str(tmp_path), records[0]["files"]["errors"]["path"])
    errors = table.to_pylist()
    assert [(e["locator"], e["error"]) for e in errors] == [
        ("r3", "killed_worker"),
        ("r7", "killed_worker"),
    ]
    assert len(_rows(str(tmp_path), records[1:])) == 40


@pytest.mark.ray
def test_a_failed_part_fails_the_stage_with_its_name_and_the_others_finish(cluster, tmp_path):
    tasks = [make_task("s/unlucky", always_raises, {}), *_tasks()]
    with pytest.raises(StageError, match=r"stage: s/unlucky: ValueError: no such luck"):
        run_stage(cluster, str(tmp_path), "stage", tasks)
    records = [read_json(p) for p in list_files(str(tmp_path / "_parts"))]
    assert sorted(r["label"] for r in records) == ["s/0", "s/1", "s/2", "s/3"]
    assert not [p for p in list_files(str(tmp_path)) if ".tmp-" in p]


def test_only_unfinished_work_is_done(tmp_path):
    root = str(tmp_path)
    with connect("off") as loop:
        first = run_stage(loop, root, "stage", _tasks())
        before = {p: Path(p).stat().st_mtime_ns for p in list_files(root)}
        Path(root, first[1]["files"]["documents"]["path"]).unlink()  # a lost file is made again
        Path(
            root, "_parts", "stage", f"{first[2]['key']}.json"
        ).unlink()  # so is a part without record
        second = run_stage(loop, root, "stage", _tasks())
    assert [r["files"] for r in first] == [r["files"] for r in second]
    after = {p: Path(p).stat().st_mtime_ns for p in list_files(root)}
    changed = {p for p in before if before[p] != after[p]}
    expected = {first[i]["files"]["documents"]["path"] for i in (1, 2)}
    expected |= {f"_parts/stage/{first[i]['key']}.json" for i in (1, 2)}
    assert {str(Path(p).relative_to(root)) for p in changed} == expected


def test_what_is_damaged_is_made_again(tmp_path):
    """A file that a full disk cut off, and a record of which nothing can be read."""
    root = str(tmp_path)
    with connect("off") as loop:
        first = run_stage(loop, root, "stage", _tasks())
        cut = Path(root, first[1]["files"]["documents"]["path"])
        whole = cut.read_bytes()
        cut.write_bytes(whole[:-1])
        record = Path(root, "_parts", "stage", f"{first[2]['key']}.json")
        record.write_text("{")
        with pytest.raises(ValueError, match=rf"{first[2]['key']}\.json: damaged: "):
            read_json(str(record))
        second = run_stage(loop, root, "stage", _tasks())
    assert [r["files"] for r in first] == [r["files"] for r in second]
    assert cut.read_bytes() == whole
    assert read_json(str(record))["files"] == first[2]["files"]


def test_a_key_depends_on_everything_named_and_on_nothing_else():
    base = make_task("s/0", squares, {"start": 0}, "input", {"min": 1})
    assert base.key == make_task("s/0", squares, {"start": 99}, "input", {"min": 1}).key
    assert base.key != make_task("s/0", squares, {"start": 0}, "input", {"min": 2}).key
    assert base.key != make_task("s/0", squares, {"start": 0}, "other", {"min": 1}).key
