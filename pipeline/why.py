"""`corpusmill why`: one document's fate, from the tables of a finished run."""

from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.parts import read_tables
from pipeline.schema import DOCUMENT, ERROR, REMOVAL
from pipeline.storage import join, list_files, open_input

HEAD = 600  # characters of the text that are shown


def find(root: str, wanted: str) -> list[dict[str, Any]]:
    """Every row of documents/, removed/ and errors/ with this id or url; a list, because a url may
    occur more than once.

    Reads the id and url columns of each part, and whole rows only where they match.
    """
    found = []
    for folder in ("documents", "removed"):
        for path in _parquet(root, folder):
            for row in _matching(root, path, ("id", "url"), wanted):
                found.append({"table": folder, "file": path, **row})
    for path in _parquet(root, "errors"):
        for table in read_tables(root, path):
            for row in table.to_pylist():
                full = f"{row['source']}/{row['shard']}/{row['locator']}"
                if wanted in (full, row["locator"]):
                    found.append({"table": "errors", "file": path, "id": full, **row})
    return found


def explain(row: dict[str, Any]) -> str:
    """The fate in a few lines for a person."""
    lines = [row["id"] + (f"  {row['url']}" if row.get("url") else "")]
    if row["table"] == "documents":
        lines.append(f"kept, in {row['file']}")
    elif row["table"] == "removed":
        lines.append(f"removed by {row['rule']} (stage {row['stage']}), in {row['file']}")
        if row["value"] is not None or row["threshold"] is not None:
            lines.append(f"  value {_number(row['value'])}, threshold {_number(row['threshold'])}")
        if row["matched_id"]:
            lines.append(f"  matches {row['matched_id']}, similarity {_number(row['similarity'])}")
        others = [rule for rule in row["failed"] or [] if rule != row["rule"]]
        if others:
            lines.append(f"  failed as well: {', '.join(others)}")
    else:
        state = "lost" if row["lost"] else "repaired and kept"
        lines.append(
            f"{state} at {row['stage']}: {row['error']}: {row['message']}, in {row['file']}"
        )
    known = {*DOCUMENT.names, *REMOVAL.names, *ERROR.names, "table", "file"}
    signals = [f"{k} {_number(v)}" for k, v in row.items() if k not in known and v is not None]
    if signals:
        lines.append("  signals: " + ", ".join(signals))
    text = row.get("text") if row["table"] != "errors" else repr(row["head"][:200])
    if text:
        more = f" [... {len(text) - HEAD:,} characters more]" if len(text) > HEAD else ""
        lines += ["", text[:HEAD] + more]
    return "\n".join(lines)


def _parquet(root: str, folder: str) -> list[str]:
    base = root.rstrip("/")
    paths = list_files(join(root, folder))
    return [p[len(base) + 1 :] for p in paths if p.endswith(".parquet")]


def _matching(root: str, path: str, keys: tuple[str, ...], wanted: str) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    with open_input(join(root, path)) as file:
        reader = pq.ParquetFile(file)
        for group in range(reader.num_row_groups):
            table = reader.read_row_group(group, list(keys), use_threads=False)
            mask = pc.or_kleene(*(pc.equal(table[key], wanted) for key in keys))
            if pc.any(mask).as_py():
                rows = reader.read_row_group(group, use_threads=False)
                rows = rows.filter(pc.fill_null(mask, False))
                out += rows.to_pylist()
    return out


def _number(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
