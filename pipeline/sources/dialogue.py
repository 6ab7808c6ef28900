"""Reddit's dumps (Pushshift JSON lines: .zst with windows up to 2 GiB, .gz, .xz, .bz2, plain) ->
linear conversations.

The comments of a submission form a tree. `paths` gives one conversation for each way from the
submission down to a comment without replies (they share their beginnings: look for runs of words
seen before, [dedup.ngrams]); `best` gives one for a submission, which follows the reply of the best
score each time. Comments and submissions of a thread lie far apart: they are brought together by
`grouping.py`, and every range reads the whole file.

Format: Baumgartner et al. 2020, arXiv 2001.08435.
"""

import html
import json
import re
from collections.abc import Iterator

from pipeline import quarantine
from pipeline.schema import HEAD_BYTES, Document, Fault
from pipeline.sources.conversations import Dialogue, Post, read_thread
from pipeline.sources.grouping import Group, Row, bucket, grouped, split_by_key
from pipeline.sources.streams import lines, whole_file_fault

_LINK = re.compile(rb'"link_id"\s*:\s*"t3_([0-9a-zA-Z]{1,12})"')
_ID = re.compile(r"[0-9a-zA-Z]{1,12}")
_PARENT = re.compile(r"t[13]_[0-9a-zA-Z]{1,12}")
_GONE = re.compile(r"(?:\[ ?(?:deleted|removed)\b[^\]]{0,60}\])?", re.I)


def split_dialogue(path: str, split_bytes: int) -> list[tuple[int, int]]:
    """Ranges of hashes of submission ids."""
    return split_by_key(path, split_bytes)


def read_dialogue(path: str, start: int, end: int, config: Dialogue) -> Iterator[Document | Fault]:
    """The conversations about the submissions of a range of buckets. Locator: the submission's id /
    the id of the last comment; of a line that cannot be read, `@` and its offset."""
    if fault := whole_file_fault(path):
        if start == 0:
            yield fault
        return
    for group in grouped(_rows(path, start, end, config), start, end, config.max_thread_bytes):
        if isinstance(group, Fault):
            yield group
            continue
        locator = group.key.decode()
        if group.rows is None:
            message = (
                f"{group.n_rows} lines of {group.n_bytes} bytes (max_thread_bytes "
                f"{config.max_thread_bytes})"
            )
            yield Fault(locator, "too_large", message)
        elif deadly := quarantine.refusal(locator):
            yield deadly
        else:
            yield from _read_thread(locator, group, config)


def _rows(path: str, start: int, end: int, config: Dialogue) -> Iterator[tuple[bytes, Row] | Fault]:
    """(submission's id, line). Lines of other files come first, their locators start with `+`. What
    is wrong with a file is a fault of the first range, with a line, of that of its offset's hash;
    with another file's, of each range that wants them."""
    limit = config.max_document_bytes
    for number, name in enumerate([*config.submissions, path]):
        prefix = f"+{number}." if number < len(config.submissions) else ""
        for item in lines(name, limit):
            if isinstance(item, Fault):
                if start == 0:
                    yield item._replace(locator=f"@{prefix}{item.locator}")
                continue
            fault = None
            key = None
            if item.length > limit:
                message = f"a line of {item.length} bytes (max_document_bytes {limit})"
                fault = Fault("", "too_large", message)
            else:
                key, fault = _key(item.data)
            locator = f"{prefix}{item.locator}"
            if key is not None:
                yield key, Row(locator, item.data)
            elif fault and start <= bucket(locator.encode()) < end:
                yield fault._replace(locator=f"@{locator}", head=item.data[:HEAD_BYTES])


def _key(line: bytes) -> tuple[bytes | None, Fault | None]:
    """The id of the submission that a line is, or is about; read without parsing the line where it
    can be: a quote inside a string is escaped, so the pattern is met in a key only."""
    found = _LINK.findall(line)
    if len(found) == 1 and line.count(b'"link_id"') == 1:
        return found[0].lower(), None
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return None, Fault("", "bad_json", f"{type(error).__name__}: {error}"[:500])
    if not isinstance(row, dict):
        return None, Fault("", "bad_json", f"a line holds an object, not {type(row).__name__}")
    name = str(row.get("link_id", "")).removeprefix("t3_") if "link_id" in row else row.get("id")
    if not isinstance(name, str) or not _ID.fullmatch(name):
        return None, Fault("", "bad_row", "no id or link_id; a comment or a submission has one")
    return name.lower().encode(), None


def _parse(row: Row, key: str) -> Post | Fault:
    """A comment or a submission."""
    fault = Fault(f"@{row.locator}", "bad_json", "", row.data[:HEAD_BYTES])
    try:
        values = json.loads(row.data)
    except (ValueError, RecursionError) as error:
        return fault._replace(message=f"{type(error).__name__}: {error}"[:500])
    if not isinstance(values, dict):
        return fault._replace(message="a line holds an object")

    def string(name: str) -> str:
        value = values.get(name)
        value = value if isinstance(value, str) else ""
        return html.unescape(value.encode("utf-8", "replace").decode()).replace("\0", "").strip()

    def number(name: str) -> int:
        value = values.get(name)
        try:
            return int(value) if isinstance(value, (int, float, str)) else 0
        except (ValueError, OverflowError):
            return 0

    is_comment = "link_id" in values or "parent_id" in values
    body = string("body" if is_comment else "selftext")
    title = "" if is_comment else string("title")
    post = Post(
        id=string("id").lower(),
        parent=string("parent_id").lower() if is_comment else "",
        author=string("author"),
        text="" if _GONE.fullmatch(body) else body,
        score=number("score"),
        created=number("created_utc"),
        title="" if _GONE.fullmatch(title) else title,
        subreddit=string("subreddit"),
        link=string("permalink"),
    )
    if not _ID.fullmatch(post.id) or (is_comment and not _PARENT.fullmatch(post.parent)):
        return fault._replace(error="bad_row", message="no id, or a comment without a parent_id")
    if not is_comment and post.id != key:
        return fault._replace(error="bad_row", message=f"id {post.id!r} in the thread of {key!r}")
    return post


def _read_thread(key: str, group: Group, config: Dialogue) -> Iterator[Document | Fault]:
    submission: Post | None = None
    of_this_file = False
    comments: dict[str, Post] = {}
    for row in group.rows or ():
        post = _parse(row, key)
        other = row.locator.startswith("+")
        if isinstance(post, Fault):
            yield post
        elif post.parent and other:
            continue  # a file of submissions has none but theirs
        elif (comments.get(post.id) if post.parent else submission) is not None:
            if not other:
                yield Document(f"{key}/{post.id}@{row.locator}", post.text, rule="duplicate_id")
        elif post.parent:
            comments[post.id] = post
        else:
            submission, of_this_file = post, not other
    if comments or of_this_file:  # or else nobody here has replied to another file's submission
        yield from read_thread(key, submission, comments, config)
