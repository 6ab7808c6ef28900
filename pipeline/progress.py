"""How far a stage is, on stderr."""

import sys
import time
from typing import Any


class Progress:
    """A bar on a terminal, a line every ten seconds in a pipe; on stderr."""

    def __init__(self, stage: str, total: int, ready: int) -> None:
        self.stage, self.total, self.ready, self.finished = stage, total, ready, 0
        self.documents = 0
        self.said = -1  # of the parts that were finished
        self.started = self.shown = time.monotonic()
        self.terminal = sys.stderr.isatty()

    def done(self, outcome: Any) -> None:
        self.finished += 1
        if isinstance(outcome, dict):
            self.documents += sum(
                c.get("in", 0) for c in outcome["counts"].values() if isinstance(c, dict)
            )
        now = time.monotonic()
        if now - self.shown >= (0.1 if self.terminal else 10):
            self.shown = now
            self._show(end="\r" if self.terminal else "\n")

    def close(self) -> None:
        if self.said < self.finished or self.terminal:
            self._show(end="\n")

    def _show(self, end: str) -> None:
        self.said = self.finished
        elapsed = time.monotonic() - self.started
        done = self.ready + self.finished
        line = f"{self.stage:<18} {done}/{self.total} parts"
        if self.ready:
            line += f" ({self.ready} ready from before)"
        if self.documents:
            line += f", {self.documents:,} documents"
        left = self.total - done
        line += f", {elapsed:.1f} s"
        if left and self.finished >= max(4, left / 8):  # the first ones start workers, too
            line += f", about {elapsed / self.finished * left:.0f} s left"
        print(f"{line:<90}" if end == "\r" else line.ljust(90).rstrip(), end=end, file=sys.stderr)
        sys.stderr.flush()
