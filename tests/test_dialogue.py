"""pipeline/sources/dialogue.py: a Reddit thread written for the test."""

# ruff: noqa: E501 - a comment is a line
import gzip
import json

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.build_config import ConfigError
from pipeline.config import parse
from pipeline.executor import connect
from pipeline.schema import Fault
from pipeline.sources.conversations import Dialogue
from pipeline.sources.dialogue import read_dialogue, split_dialogue
from pipeline.stages import run_pipeline

SUBMISSION = {
    "id": "abc", "author": "ann", "title": "Why do cats purr?", "selftext": "Mine does &amp; I wonder.",
    "score": 50, "created_utc": 1672531200, "subreddit": "cats", "permalink": "/r/cats/comments/abc/why/",
}  # fmt: skip


def comment(name, parent, body, score=1, author=None, link="abc", **more):
    row = {"id": name, "parent_id": parent, "link_id": f"t3_{link}", "body": body, "score": score}
    row |= {"author": author or f"user_{name}", "created_utc": 1672531200 + len(name) * 60}
    return row | {"subreddit": "cats", "permalink": f"/r/cats/comments/{link}/why/{name}/"} | more


THREAD = [
    SUBMISSION,
    comment("c1", "t3_abc", "They are happy.", 10, "bob"),
    comment("c2", "t3_abc", "It heals bones.\n\n> citation\n\nReally.", 20),
    comment("c3", "t1_c1", "Not always!", 5, "ann"),
    comment("c4", "t1_c3", "True: also in pain.", 7, "bob", created_utc="1672540000"),
    comment("c5", "t1_c3", "\"link_id\": \"t3_zzz\" is no link", 1, "carl"),
    comment("c6", "t1_c2", "[deleted]", 3, "[deleted]"),
    comment("c7", "t1_c6", "What was that?", 4),
    comment("c8", "t3_abc", "I am a bot, beep", 2, "AutoModerator"),
    comment("c9", "t3_abc", "Convert units", 2, "units_bot"),
    comment("d1", "t1_gone", "Lost my parent", 2),
    comment("d2", "t1_d1", "Me too", 2),
]  # fmt: skip
TITLE = "Why do cats purr?\n\nMine does & I wonder."
HEALS = f"A: {TITLE}\n\nB: It heals bones.\n\n> citation\n\nReally."
HAPPY = f"A: {TITLE}\n\nB: They are happy.\n\nA: Not always!"


def dump(rows) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def seed() -> bytes:
    """A valid file: for these tests, and to fuzz from."""
    return dump(THREAD)


def write(tmp_path, data, name="RC_2023-01"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def read(path, config=None, split_bytes=1 << 60):
    config = config or Dialogue()
    ranges = split_dialogue(str(path), split_bytes)
    return [x for s, e in ranges for x in read_dialogue(str(path), s, e, config)]


def fates(items):
    return {x.locator: (x.error if isinstance(x, Fault) else x.rule) for x in items}


def texts(items):
    return {x.locator: x.text for x in items if not isinstance(x, Fault) and x.rule is None}


def test_a_conversation_for_each_path(tmp_path):
    items = read(write(tmp_path, seed()))
    assert texts(items) == {
        "abc/c2": HEALS,  # below it one is deleted, and the reply to that goes with it
        "abc/c4": f"{HAPPY}\n\nB: True: also in pain.",
        "abc/c5": f'{HAPPY}\n\nC: "link_id": "t3_zzz" is no link',
    }
    assert [x.locator for x in items if x.rule is None] == ["abc/c2", "abc/c4", "abc/c5"]
    assert fates(items)["abc/d1"] == "missing_parent"
    [lost] = [x for x in items if x.rule]
    assert (lost.text, lost.meta) == ("Lost my parent", {"n_comments": "2", "parent": "t1_gone"})
    fourth = next(x for x in items if x.locator == "abc/c4")
    assert fourth.url == "https://www.reddit.com/r/cats/comments/abc/why/c4/"
    assert fourth.created == "2023-01-01T02:26:40Z"
    assert fourth.meta == {
        "subreddit": "cats", "title": "Why do cats purr?", "score": "7", "submission_score": "50",
        "n_turns": "4", "n_speakers": "2", "n_comments": "11", "n_dropped": "6",
    }  # fmt: skip


def test_configuration(tmp_path):
    path = write(tmp_path, seed())
    assert texts(read(path, Dialogue(conversations="best"))) == {"abc/c2": HEALS}
    assert list(texts(read(path, Dialogue(max_conversations=2)))) == ["abc/c2", "abc/c4"]
    assert list(texts(read(path, Dialogue(min_score=6)))) == ["abc/c2", "abc/c1"]
    assert fates(read(path, Dialogue(min_submission_score=51)))["abc/c2"] == "low_score"
    assert fates(read(path, Dialogue(min_turns=4)))["abc/c2"] == "too_few_turns"
    named = texts(read(path, Dialogue(speakers="names")))["abc/c4"]
    assert named.startswith("ann: Why") and "\n\nbob: They" in named
    assert texts(read(path, Dialogue(speakers="none")))["abc/c4"].startswith("Why")
    # who follows a bot's comment
    none = Dialogue(bots=())
    assert "abc/c8" in texts(read(path, none)) and "abc/c9" not in texts(read(path, none))
    for wrong in ("max_conversations", "min_turns"):
        with pytest.raises(ValueError, match=wrong):
            Dialogue(**{wrong: 0})


def test_submissions_in_a_file_of_their_own(tmp_path):
    other = {**SUBMISSION, "id": "zzz"}
    submissions = write(tmp_path, zstandard.compress(dump([other, SUBMISSION])), "RS_2023-01.zst")
    comments = write(tmp_path, gzip.compress(dump(THREAD[1:])), "RC.gz")
    config = Dialogue(submissions=(str(submissions),))
    assert texts(read(comments, config)) == texts(read(write(tmp_path, seed())))
    without = fates(read(comments))
    assert set(without.values()) == {"missing_submission", "missing_parent"}
    kept = texts(read(comments, Dialogue(need_submission=False)))
    assert kept["abc/c4"].startswith("A: They are happy.\n\nB: Not")
    # alone, a file of submissions has nothing but their texts
    assert fates(read(submissions)) == {"abc": "too_few_turns", "zzz": "too_few_turns"}
    long = zstandard.ZstdCompressionParameters(window_log=28, enable_ldm=True)
    data = zstandard.ZstdCompressor(compression_params=long).compress(seed() * 3000)
    assert fates(read(write(tmp_path, data, "long.zst"), Dialogue(max_thread_bytes=99))) == {
        "abc": "too_large"
    }


def test_trees_that_are_none(tmp_path):
    rows = [
        SUBMISSION,
        comment("a1", "t1_a3", "circle"), comment("a2", "t1_a1", "circle"), comment("a3", "t1_a2", "circle"),
        comment("a4", "t1_a2", "hangs on it"),
        comment("a5", "t1_a5", "its own parent"),
        comment("abc", "t3_abc", "has the submission's id", 3),
        comment("b1", "t1_abc", "below it", 3),
        comment("b2", "t3_other", "another submission's", 3),
        comment("abc", "t3_abc", "again", 3),
        SUBMISSION,
    ]  # fmt: skip
    data = dump(rows)
    items = read(write(tmp_path, data))
    again = [
        f"{data.rfind(b'{' + name):012d}"
        for name in (b'"id": "abc", "parent', b'"id": "abc", "author')
    ]
    assert fates(items) == {
        "abc/a1": "reply_cycle", "abc/a5": "reply_cycle", "abc/b2": "missing_parent", "abc/b1": None,
        f"abc/abc@{again[0]}": "duplicate_id", f"abc/abc@{again[1]}": "duplicate_id",
    }  # fmt: skip
    assert "3 comments" in next(x for x in items if x.locator == "abc/a1").message
    gone = [{**SUBMISSION, "title": "[removed]", "selftext": "[deleted by user]"},
            comment("x1", "t3_abc", "[removed]")]  # fmt: skip
    assert fates(read(write(tmp_path, dump(gone)))) == {"abc": "no_text"}
    assert fates(read(write(tmp_path, dump(gone[1:])))) == {"abc": "no_text"}


def test_deep_and_wide_trees_are_bounded(tmp_path):
    deep = [comment(f"n{i}", f"t1_n{i - 1}" if i else "t3_abc", "deep " * 10) for i in range(5000)]
    wide = [comment(f"w{i}", "t1_n4999", "wide") for i in range(500)]
    path = write(tmp_path, dump([SUBMISSION, *deep, *wide]))
    items = read(path, Dialogue(max_conversations=3))
    assert len(items) == 3 and all(x.meta["n_turns"] == "5002" for x in items)
    assert items[0].meta["n_conversations"] == "500"
    assert items[0].text.count("\n\nZZ: ") == 1
    assert set(fates(read(path, Dialogue(max_document_bytes=100_000))).values()) == {"too_large"}
    assert fates(read(path, Dialogue(max_thread_bytes=1000))) == {"abc": "too_large"}


BAD = [
    (b"not json", "bad_json"),
    (b'{"id": "x"' + b"[" * 20_000, "bad_json"),
    (b"[" * 200_000, "bad_json"),
    (b'["a list"]', "bad_json"),
    (b'{"link_id": "t3_abc", "id": "q1"}', "bad_row"),
    (b'{"link_id": "t3_abc", "id": 5, "parent_id": "t3_abc"}', "bad_row"),
    (b'{"link_id": 7, "body": "x"}', "bad_row"),
    (b'{"title": "no id"}', "bad_row"),
    (b'{"id": "' + b"x" * 300_000 + b'"}', "too_large"),
    (b'{"id": "\xff"}', "bad_json"),
    (b'{"id": ' + b"9" * 5000 + b"}", "bad_json"),
]


def test_bad_lines(tmp_path):
    data = seed() + b"\n\n".join(line for line, _ in BAD)
    items = read(write(tmp_path, data), Dialogue(max_document_bytes=250_000))
    faults = sorted((x for x in items if isinstance(x, Fault)), key=lambda x: x.locator)
    assert [x.error for x in faults] == [kind for _, kind in BAD]
    assert len(texts(items)) == 3
    odd = comment("o1", "t3_abc", "a\0b \ud800 &#0;", score=1e400, created_utc="x", author=None)
    [item] = read(write(tmp_path, dump([SUBMISSION, odd])))
    assert item.text.endswith("B: ab ? \ufffd") and item.created is None
    assert fates(read(write(tmp_path, b""))) == {"": "empty_file"}
    cut = fates(read(write(tmp_path, gzip.compress(seed())[:-20])))
    assert "truncated_gzip" in cut.values() or "abc/c2" in cut


@given(st.permutations([*THREAD, comment("e1", "t3_eee", "Hi", link="eee"), {"id": 1}, SUBMISSION]),
       st.integers(1, 4000), st.booleans())  # fmt: skip
@settings(deadline=None, max_examples=25)
def test_any_order_and_any_split(tmp_path_factory, rows, split_bytes, packed):
    data = dump(rows)
    path = write(tmp_path_factory.mktemp("d"), zstandard.compress(data) if packed else data)
    whole, split = read(path), read(path, split_bytes=split_bytes)
    assert sorted(split, key=lambda x: x.locator) == sorted(whole, key=lambda x: x.locator)
    assert len({x.locator for x in whole}) == len(whole)
    found = texts(whole)
    assert found["abc/c2"] == HEALS and set(found) == {"abc/c2", "abc/c4", "abc/c5"}


def test_other_files_are_part_of_the_identity_of_a_run(tmp_path):
    write(tmp_path, dump(THREAD[1:]), "RC")
    submissions = write(tmp_path, dump([SUBMISSION]), "RS_1")
    source = {"format": "dialogue", "paths": ["RC"], "submissions": ["RS_*"], "steps": []}
    run = parse({"name": "t", "root": str(tmp_path), "sources": {"talk": source}})
    with connect("off") as cluster:
        first = run_pipeline(run, str(tmp_path / "out"), cluster)
        again = run_pipeline(run, str(tmp_path / "out"), cluster)
        submissions.write_bytes(dump([{**SUBMISSION, "title": "Another title"}]))
        changed = run_pipeline(run, str(tmp_path / "out"), cluster)
        submissions.unlink()
        with pytest.raises(ConfigError, match=r"sources\.talk\.submissions\[0\].*names no file"):
            run_pipeline(run, str(tmp_path / "out"), cluster)
    assert first["stages"]["ingest"]["talk"]["kept"] == 3
    assert first["corpus_digest"] == again["corpus_digest"] != changed["corpus_digest"]
