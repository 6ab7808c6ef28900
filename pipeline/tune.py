"""`corpusmill tune`: what another threshold of a rule would do, from the signals of a finished run.

Reads the columns of the signal and of the rules that failed, and the texts of the ten samples
shown. A document that left before the rule's step has no value of it; how many these are is said,
and the audited sample, which saw every step, stands for them.
"""

from typing import Any

import numpy as np
import pyarrow.parquet as pq

from filters.rules import Bound
from pipeline.ledger import read_manifest
from pipeline.storage import join, list_files, open_input
from pipeline.tune_rows import Rows, Rule, failing, find_rules, is_least, read_rows

SAMPLES = 5  # on each side of the threshold
BINS = 20
QUANTILES = (0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99)


def tune(
    root: str, name: str, threshold: float | None = None, source: str | None = None
) -> list[dict[str, Any]]:
    """A report for each source with the rule, first where the most documents fail. Raises
    ConfigError for a rule that no source has, and for a run that is not finished."""
    manifest = read_manifest(root)
    rules = find_rules(manifest, name, source)
    reports = [_report(root, manifest, rule, threshold) for rule in rules]
    return sorted(reports, key=lambda report: -report["fail"])


def _report(
    root: str, manifest: dict[str, Any], rule: Rule, threshold: float | None
) -> dict[str, Any]:
    rows = read_rows(root, rule, manifest["config"]["audit_fraction"])
    now = rule.now
    wanted = now if threshold is None else threshold
    tokens = manifest["stages"].get("tokenize", {}).get(rule.source, {})
    per_byte = tokens["tokens"] / tokens["bytes_in"] if tokens.get("bytes_in") else None
    fails_now = failing(rows, rule.bound, now)
    share = _share_behind(rows, fails_now)
    unmeasured = ~rows.measured
    early = rows.audited & rows.measured & (_place_removed(rows, rule) < rule.place)
    early_fails = early & failing(rows, rule.bound, wanted)
    candidates = _candidates(rows, [x for x in (now, wanted) if not np.isnan(x)])
    return {
        "rule": rule.name,
        "source": rule.source,
        "signal": rule.bound.signal,
        "bound": "least" if is_least(rule.bound) else "most",
        "now": None if np.isnan(now) else now,
        "threshold": None if np.isnan(wanted) else wanted,
        "documents": len(rows.value),
        "fail": int(failing(rows, rule.bound, wanted).sum()),
        "not_measured": int(unmeasured.sum()),
        "audited_among_them": int(early.sum()),
        "audited_that_fail": int(early_fails.sum()),
        "null": int((rows.measured & np.isnan(rows.value)).sum()),
        "fails_behind": share,
        "histogram": _histogram(rows),
        "table": [_outcome(rows, rule.bound, x, fails_now, share, per_byte) for x in candidates],
        "overlap": _overlap(rows, rule, failing(rows, rule.bound, wanted)),
        "samples": _samples(root, rows, rule, wanted),
        "change": _change(rule, wanted),
    }


def _place_removed(rows: Rows, rule: Rule) -> np.ndarray:
    place = {use.label: i for i, use in enumerate(rule.steps)}
    names = rows.table["rule"].to_pylist()
    return np.array([place.get((n or "").partition(".")[0], len(place)) for n in names], np.int64)


def _share_behind(rows: Rows, fails: np.ndarray) -> list[int]:
    """Of the audited documents that fail this rule and none of the same or an earlier step, how
    many fail a later one; [n, of]."""
    here = rows.audited & fails & (~rows.other | rows.behind)
    return [int((here & rows.behind).sum()), int(here.sum())]


def _outcome(
    rows: Rows,
    bound: Bound,
    threshold: float,
    fails_now: np.ndarray,
    share: list[int],
    per_byte: float | None,
) -> dict[str, Any]:
    """What the filters would keep. Documents that the rule holds back now were not seen by the
    steps behind: of them, as many are counted as the audited sample says."""
    fails = failing(rows, bound, threshold)
    passes = rows.measured & ~fails & ~rows.other
    sure, gained = passes & (~fails_now | rows.audited), passes & fails_now & ~rows.audited
    keeps = 1 - share[0] / share[1] if share[1] else 1.0
    n_bytes = rows.n_bytes[sure].sum() + keeps * rows.n_bytes[gained].sum()
    return {
        "threshold": threshold,
        "fails": int(fails.sum()),
        "kept": round(sure.sum() + keeps * gained.sum()),
        "bytes": round(n_bytes),
        "tokens": None if per_byte is None else round(n_bytes * per_byte),
    }


def _candidates(rows: Rows, given: list[float]) -> list[float]:
    values = rows.value[rows.measured & rows.concerned & ~np.isnan(rows.value)]
    if not len(values):
        return sorted(set(given))
    whole = bool((values == np.round(values)).all())
    found = {round(x) if whole else float(f"{x:.3g}") for x in np.quantile(values, QUANTILES)}
    return sorted({*map(float, found), *given})


def _histogram(rows: Rows) -> dict[str, list]:
    """Counts of measured documents between edges, from the first to the last percentile; the first
    and last bin take what is beyond."""
    values = rows.value[rows.measured & rows.concerned & ~np.isnan(rows.value)]
    if not len(values):
        return {"edges": [], "counts": []}
    low, middle, high = np.quantile(values, (0.01, 0.5, 0.99))
    if low == high:
        low, high = low - 0.5, high + 0.5
    if low > 0 and high > 10 * middle:
        edges = np.geomspace(low, high, BINS + 1)
    else:
        edges = np.linspace(low, high, BINS + 1)
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    return {"edges": [float(f"{e:.6g}") for e in edges], "counts": counts.tolist()}


def _overlap(rows: Rows, rule: Rule, fails: np.ndarray) -> dict[str, Any]:
    """Of the documents that fail the rule, those that fail others too. The steps behind have seen
    the audited ones only."""
    others: dict[str, list[int]] = {}
    names = rows.table["failed"].to_pylist()
    place = {use.label: i for i, use in enumerate(rule.steps)}
    for i in np.flatnonzero(fails):
        for name in set(names[i] or ()) - {rule.name}:
            later = place.get(name.partition(".")[0], -1) > rule.place
            if name.partition(".")[0] in place and (rows.audited[i] or not later):
                others.setdefault(name, [0, 0, int(later)])[0] += 1
    for entry in others.values():
        entry[1] = int((fails & rows.audited).sum()) if entry[2] else int(fails.sum())
    top = sorted(others.items(), key=lambda item: (-item[1][0], item[0]))
    return {
        "fails": int(fails.sum()),
        "alone": int((fails & ~rows.other).sum()),
        "others": {name: {"both": both, "of": of} for name, (both, of, _) in top},
    }


def _samples(root: str, rows: Rows, rule: Rule, threshold: float) -> list[dict[str, Any]]:
    """The documents nearest to the threshold on both sides, by value."""
    valid = rows.measured & rows.concerned & ~np.isnan(rows.value)
    fails = failing(rows, rule.bound, threshold)
    distance = np.abs(rows.value - threshold)
    chosen: list[int] = []
    for side in (valid & ~fails, valid & fails):
        index = np.flatnonzero(side)
        chosen += index[np.argsort(distance[index], kind="stable")[:SAMPLES]].tolist()
    files = [p for f in ("documents", "removed") for p in list_files(join(root, f, rule.source))]
    out = []
    for i in sorted(chosen, key=lambda i: (rows.value[i], i)):
        row = {k: rows.table[k][i].as_py() for k in ("id", "rule", "_file", "_row")}
        text = _text(files[row["_file"]], row["_row"]) or ""
        first = next((line.strip() for line in text.splitlines() if line.strip()), "")
        out.append(
            {
                "id": row["id"],
                "value": float(rows.value[i]),
                "passes": not bool(fails[i]),
                "removed_by": row["rule"],
                "line": first[:200],
            }
        )
    return out


def _text(path: str, row: int) -> str | None:
    """Of one row: its row group's texts are read."""
    with open_input(path) as file:
        reader = pq.ParquetFile(file)
        for group in range(reader.num_row_groups):
            n = reader.metadata.row_group(group).num_rows
            if row < n:
                texts = reader.read_row_group(group, ["text"], use_threads=False)["text"]
                return texts[row].as_py()
            row -= n
    raise AssertionError(f"{path}: no row {row}")


def _change(rule: Rule, threshold: float) -> str | None:
    """The option that sets the threshold; None where no key does."""
    bound, config = rule.bound, rule.steps[rule.place].config
    if not bound.key or np.isnan(threshold):
        return None
    value = getattr(config, bound.key, None)
    if bound.key == "keep_fraction":
        return None  # the threshold is the cut-off of that share
    whole = threshold == round(threshold) and not isinstance(value, float)
    text = str(round(threshold)) if whole else f"{threshold:g}"
    return f"--set sources.{rule.source}.steps[{rule.place}].{bound.key}={text}"
