"""A document that kills its worker (a segfault in a parser, out of memory) must cost itself only.

A part whose worker died twice is run once more *carefully*: every record is announced in a small
file before it is touched, so that the next death names its record. That record is skipped from then
on and goes to errors/, and the part goes on. Otherwise announcing costs one comparison.
"""

from collections.abc import Sequence

from pipeline.schema import HEAD_BYTES, Fault
from pipeline.storage import write_bytes

_journal = ""
_skip: frozenset[str] = frozenset()

MESSAGE = "its worker died on it twice; skipped after it was isolated"


def begin(journal: str, skip: Sequence[str]) -> None:
    """Set by the executor for each task. `journal` is empty unless the part runs carefully."""
    global _journal, _skip
    _journal, _skip = journal, frozenset(skip)


def careful() -> bool:
    """Whether records must be processed one by one."""
    return bool(_journal)


def refusal(locator: str, head: bytes = b"") -> Fault | None:
    """Called before a record is touched, with its locator (its id after ingestion): the fault for
    one that must be skipped, None for all others."""
    if locator in _skip:
        return Fault(locator, "killed_worker", MESSAGE, bytes(head[:HEAD_BYTES]))
    if _journal:
        write_bytes(_journal, locator.encode())
    return None
