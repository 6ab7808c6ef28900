"""What several scopes would remove, side by side: an experiment's table.

scopes    partition of parts   the fates of each scope   -> counts

Only documents are compared, those that `exact` and `minhash` remove, and only one scope is applied.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.exchange.files import keyed, read_partition
from pipeline.parts import Part, read_tables
from pipeline.schema import FATE


def scopes_partition(
    part: Part,
    fates: list[list[str]],
    documents: list[str | None],
    partition: int,
    partitions: int,
) -> dict[str, Any]:
    """documents[i][j], bytes[i][j]: of what scope i removes and scope j too. `fates[i]`: the files
    of scope i."""
    gone = [
        read_partition(part.root, paths, partition, partitions, keyed(FATE))["doc"].to_numpy()
        for paths in fates
    ]
    n = np.zeros((len(fates), len(fates)), np.int64)
    n_bytes = np.zeros_like(n)
    for index in range(partition, len(documents), partitions):
        mine = [docs[docs >> np.uint64(32) == index] & np.uint64(0xFFFFFFFF) for docs in gone]
        path = documents[index]
        if path is None or not any(map(len, mine)):
            continue
        tables = read_tables(part.root, path, ["text"])
        lengths = pa.chunked_array([pc.binary_length(t["text"]).combine_chunks() for t in tables])
        size = pc.fill_null(lengths, 0).to_numpy()
        for i, a in enumerate(mine):
            for j, b in enumerate(mine):
                both = np.intersect1d(a, b).astype(np.int64)
                n[i, j] += len(both)
                n_bytes[i, j] += size[both].sum()
    return {"documents": n.tolist(), "bytes": n_bytes.tolist()}


def scopes_report(scopes: list[str], counts: list[dict[str, Any]]) -> dict[str, Any]:
    """By scope: documents and bytes removed, and how many of these each other scope removes too."""
    n, n_bytes = (np.sum([c[key] for c in counts], axis=0) for key in ("documents", "bytes"))
    report: dict[str, Any] = {}
    for i, scope in enumerate(scopes):
        others = {other: int(n[i, j]) for j, other in enumerate(scopes) if j != i}
        removed = {"removed": int(n[i, i]), "removed_bytes": int(n_bytes[i, i])}
        report[scope] = {**removed, "also_removed_by": others, "applied": i == 0}
    return report


def render_scopes(report: dict[str, Any]) -> list[str]:
    """A line a scope."""
    lines = ["", f"{'scope':<24}{'would remove':>14}{'MB':>10}   of these also removed by"]
    for scope, row in report.items():
        others = ", ".join(f"{name} {n:,}" for name, n in row["also_removed_by"].items())
        name = scope + " (applied)" * row["applied"]
        size = row["removed_bytes"] / 1e6
        lines.append(f"  {name:<22}{row['removed']:>14,}{size:>10.2f}   {others}")
    return lines
