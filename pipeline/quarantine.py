"""A document that kills its worker (a segfault in a parser, out of memory) must cost itself only.

A part whose worker died twice is run once more *carefully*: every record is announced in a small
file before it is touched, so that the next death names its record. That record is skipped from then
on and goes to errors/, and the part goes on. Otherwise announcing costs one comparison.

A trial's sample is taken in the same place: a record that is not in it is not touched either.
"""

import hashlib
from collections.abc import Sequence

from pipeline.schema import HEAD_BYTES, Fault
from pipeline.storage import write_bytes

_journal = ""
_skip: frozenset[str] = frozenset()
_prefix, _fraction = "", 1.0

NOT_SAMPLED = "not_sampled"
MESSAGE = "its worker died on it twice; skipped after it was isolated"


def begin(journal: str, skip: Sequence[str]) -> None:
    """Set by the executor for each task. `journal` is empty unless the part runs carefully."""
    global _journal, _skip
    _journal, _skip = journal, frozenset(skip)
    sample("", 1.0)


def sample(prefix: str, fraction: float) -> None:
    """From here on, in this task, only records whose ids (prefix + locator) a hash chooses are
    read; the others are refused as NOT_SAMPLED."""
    global _prefix, _fraction
    _prefix, _fraction = prefix, fraction


def chosen(locator: str) -> bool:
    """Whether a record is in the sample: the same ones, however the shard is split."""
    if _fraction >= 1:
        return True
    key = hashlib.blake2b((_prefix + locator).encode(), digest_size=8).digest()
    return int.from_bytes(key, "big") < _fraction * 2.0**64


def careful() -> bool:
    """Whether records must be processed one by one."""
    return bool(_journal)


def refusal(locator: str, head: bytes = b"") -> Fault | None:
    """Called before a record is touched, with its locator (its id after ingestion): the fault for
    one that must be skipped, None for all others."""
    if not chosen(locator):
        return Fault(locator, NOT_SAMPLED, "", lost=False)
    if locator in _skip:
        return Fault(locator, "killed_worker", MESSAGE, bytes(head[:HEAD_BYTES]))
    if _journal:
        write_bytes(_journal, locator.encode())
    return None
