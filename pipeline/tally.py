"""What a task over documents counts."""

from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


class Tally:
    """The counts of one source in one part."""

    def __init__(self) -> None:
        self.n_in = self.lost = self.damaged = self.bytes_in = self.bytes_kept = self.kept = 0
        self.removed: Counter[str] = Counter()

    def counts(self, source: str) -> dict[str, Any]:
        removed = dict(sorted(self.removed.items()))
        return {
            source: {
                "in": self.n_in,
                "kept": self.kept,
                "removed": removed,
                "lost": self.lost,
                "damaged": self.damaged,
                "bytes_in": self.bytes_in,
                "bytes_kept": self.bytes_kept,
            }
        }

    def add_removed(self, table: pa.Table) -> None:
        for entry in pc.value_counts(table["rule"]).to_pylist():
            self.removed[entry["values"]] += entry["counts"]


def text_bytes(table: pa.Table) -> int:
    return pc.sum(pc.binary_length(table["text"])).as_py() or 0
