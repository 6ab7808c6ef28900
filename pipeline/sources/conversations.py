"""The reply tree of a submission -> linear conversations.

A comment that is left out (deleted, by a bot, below min_score) takes the replies to it along: an
answer to what is not there is no dialogue. No recursion: a tree may be as deep as it has comments.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from pipeline.schema import HEAD_BYTES, Document, Fault


@dataclass(frozen=True, kw_only=True)
class Dialogue:
    """Conversations out of comments, and of the submissions that they are about."""

    submissions: tuple[str, ...] = ()
    """Files with the submissions where the shard has only comments (RS_2023-01.zst beside
    RC_2023-01.zst). Each range of each shard reads all of them, so name only those of its time."""
    conversations: Literal["paths", "best"] = "paths"
    max_conversations: int = 16
    """paths: of a submission, those with the best-scored last comments."""
    min_turns: int = 2
    """A conversation with fewer, the submission being the first, is marked too_few_turns."""
    min_score: int | None = None
    """A comment below is left out, with all replies to it. Unset: none is."""
    min_submission_score: int | None = None
    """The conversations about a submission below are marked low_score."""
    need_submission: bool = True
    """Mark conversations about a submission that is not in the files: missing_submission."""
    bots: tuple[str, ...] = ("AutoModerator", "RemindMeBot", "RepostSleuthBot", "sneakpeekbot")
    """Authors whose comments are left out with all replies, and every name that ends in `_bot`,
    `-bot` or `Bot`."""
    speakers: Literal["letters", "names", "none"] = "letters"
    """What stands before a turn: A, B, C ... by first appearance, the user names, or nothing."""
    max_document_bytes: int = 4 << 20
    """A longer line or conversation is an error."""
    max_thread_bytes: int = 64 << 20
    """A submission whose comments have more JSON is an error; about three times that is held."""

    def __post_init__(self) -> None:
        for name in ("max_conversations", "min_turns"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} is below 1")


class Post(NamedTuple):
    """A submission (`parent` is "") or a comment."""

    id: str
    parent: str  # t1_ or t3_ and an id
    author: str
    text: str  # "" where it was deleted
    score: int
    created: int  # seconds since 1970
    title: str = ""
    subreddit: str = ""
    link: str = ""


class _Thread(NamedTuple):
    key: str  # the submission's id
    submission: Post | None
    comments: dict[str, Post]
    replies: dict[str, list[Post]]  # by t1_ or t3_ and an id: those kept, in the order of _rank


_BOT = re.compile(r"(?:[_-]bot|[_-]BOT|Bot)$")


def read_thread(
    key: str, submission: Post | None, comments: dict[str, Post], config: Dialogue
) -> Iterator[Document | Fault]:
    """The conversations about one submission, and what of its comments belongs to none."""
    kept = {name: comment for name, comment in comments.items() if not _dropped(comment, config)}
    replies: dict[str, list[Post]] = {}
    for comment in kept.values():
        replies.setdefault(comment.parent, []).append(comment)
    for found in replies.values():
        found.sort(key=_rank)
    thread = _Thread(key, submission, comments, replies)
    leaves, reached = _leaves(thread)
    yield from _unreached(thread, {name: c for name, c in kept.items() if name not in reached})
    counts = {"n_comments": str(len(comments)), "n_dropped": str(len(comments) - len(reached))}
    if config.conversations == "best":
        leaves = _best(thread)
    else:
        if len(leaves) > config.max_conversations:
            counts["n_conversations"] = str(len(leaves))
        leaves = sorted(leaves, key=_rank)[: config.max_conversations]
    for leaf in leaves:
        yield _conversation(f"{key}/{leaf.id}", _way_to(leaf, thread), counts, thread, config)
    if not leaves:
        turns = [submission] if submission and (submission.title or submission.text) else []
        yield _conversation(key, turns, counts, thread, config)


def _rank(post: Post) -> tuple[int, int, str]:
    return -post.score, post.created, post.id


def _dropped(comment: Post, config: Dialogue) -> bool:
    if not comment.text or (config.min_score is not None and comment.score < config.min_score):
        return True
    name = comment.author
    return bool(_BOT.search(name)) or name.lower() in {bot.lower() for bot in config.bots}


def _leaves(thread: _Thread) -> tuple[list[Post], set[str]]:
    """The comments without replies that hang on the submission, and all comments that do."""
    reached: set[str] = set()
    leaves: list[Post] = []
    stack = list(thread.replies.get(f"t3_{thread.key}", ()))
    while stack:
        comment = stack.pop()
        reached.add(comment.id)
        below = thread.replies.get(f"t1_{comment.id}")
        if below:
            stack += below
        else:
            leaves.append(comment)
    return leaves, reached


def _best(thread: _Thread) -> list[Post]:
    """The end of the way that takes the first reply each time."""
    last: list[Post] = []
    found = thread.replies.get(f"t3_{thread.key}")
    while found:
        last = found[:1]
        found = thread.replies.get(f"t1_{last[0].id}")
    return last


def _unreached(thread: _Thread, left: dict[str, Post]) -> Iterator[Document | Fault]:
    """Of the kept comments that do not hang on the submission: those whose parent is nowhere, each
    with the number of comments on it, and circles. The others hang on one that was left out."""

    def is_there(parent: str) -> bool:
        return parent.startswith("t1_") and parent[3:] in thread.comments

    for name in sorted(name for name, c in left.items() if not is_there(c.parent)):
        head = left[name]
        stack, n = [head], 0
        while stack:
            comment = stack.pop()
            left.pop(comment.id)
            n += 1
            stack += thread.replies.get(f"t1_{comment.id}", ())
        meta = {"n_comments": str(n), "parent": head.parent}
        yield Document(f"{thread.key}/{name}", head.text, meta=meta, rule="missing_parent")
    walks: dict[str, int] = {}  # in which walk up the tree a comment was met
    for walk, name in enumerate(sorted(left)):
        way: list[str] = []
        while name in left and name not in walks:
            walks[name] = walk
            way.append(name)
            name = left[name].parent[3:]
        if walks.get(name) == walk and name in left:
            circle = way[way.index(name) :]
            message = f"{len(circle)} comments are replies to one another: {' '.join(circle[:10])}"
            yield Fault(f"{thread.key}/{min(circle)}", "reply_cycle", message)


def _way_to(leaf: Post, thread: _Thread) -> list[Post]:
    """From the submission, where there is one, to a comment."""
    turns = [leaf]
    while turns[-1].parent.startswith("t1_"):
        turns.append(thread.comments[turns[-1].parent[3:]])
    if thread.submission and (thread.submission.title or thread.submission.text):
        turns.append(thread.submission)
    return turns[::-1]


def _conversation(
    locator: str, turns: list[Post], counts: dict[str, str], thread: _Thread, config: Dialogue
) -> Document | Fault:
    text = _write(turns, config)
    n_bytes = len(text.encode())
    if n_bytes > config.max_document_bytes:
        message = f"{len(turns)} turns of {n_bytes} bytes (max_document_bytes)"
        return Fault(locator, "too_large", message, text[:HEAD_BYTES].encode()[:HEAD_BYTES])
    submission = thread.submission
    meta = {
        **counts,
        "subreddit": next((post.subreddit for post in turns if post.subreddit), ""),
        "title": submission.title if submission else "",
        "score": str(turns[-1].score) if turns else "",
        "submission_score": str(submission.score) if submission else "",
        "n_turns": str(len(turns)),
        "n_speakers": str(len({turn.author for turn in turns})),
    }
    links = [post.link for post in reversed(turns) if post.link.startswith("/r/")]
    return Document(
        locator,
        text,
        url=f"https://www.reddit.com{links[0]}" if links else None,
        created=_time(turns[-1].created) if turns else None,
        meta={key: value for key, value in meta.items() if value},
        rule=_rule(turns, submission, config),
    )


def _rule(turns: list[Post], submission: Post | None, config: Dialogue) -> str | None:
    least = config.min_submission_score
    if not turns:
        return "no_text"
    if config.need_submission and submission is None:
        return "missing_submission"
    if submission and least is not None and submission.score < least:
        return "low_score"
    return "too_few_turns" if len(turns) < config.min_turns else None


def _write(turns: list[Post], config: Dialogue) -> str:
    letters: dict[str, str] = {}
    out = []
    for i, turn in enumerate(turns):
        text = "\n\n".join(part for part in (turn.title, turn.text) if part)
        # Who is deleted may be anyone: a new speaker each time.
        author = turn.author if turn.author not in ("", "[deleted]", "[removed]") else f"[{i}]"
        letter = letters.setdefault(author, _letter(len(letters)))
        if config.speakers == "letters":
            text = f"{letter}: {text}"
        elif config.speakers == "names":
            text = f"{turn.author or '[deleted]'}: {text}"
        out.append(text)
    return "\n\n".join(out)


def _letter(n: int) -> str:
    """A to Z, AA, AB, ..."""
    out = ""
    n += 1
    while n:
        n, rest = divmod(n - 1, 26)
        out = chr(ord("A") + rest) + out
    return out


def _time(seconds: int) -> str | None:
    if not 0 < seconds < 1 << 33:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
