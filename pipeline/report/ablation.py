"""The page of an ablation: the verdicts in words first, then the pictures; from the tables alone.

Every number of a picture is in a table below it, and in a Parquet file beside the page.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report import layout
from pipeline.report.ablation_data import Rows, Tables, read
from pipeline.report.ablation_fair import fair_section
from pipeline.report.ablation_laws import laws_section, mixtures_section
from pipeline.report.ablation_plots import curves, forest, series
from pipeline.report.ablation_words import decimals_of, facts, findings, measure_name, unit_of
from pipeline.report.layout import fixed
from pipeline.storage import join, write_bytes
from train.verdicts import NOT_SHOWN

NAME = "ablation.html"
LONG_TABLE = 80  # rows, from which it is folded


def write_page(directory: str) -> str:
    """ablation.html; returns its path. Raises ValueError where there are no tables."""
    path = join(directory, NAME)
    write_bytes(path, page(directory).encode())
    return path


def page(directory: str) -> str:
    tables = read(directory)
    name = str(tables.about.get("name") or "ablation")
    parts = [
        f"<h1>{layout.inline(name)}</h1>",
        layout.paragraph(facts(tables.about, tables.trials), "muted"),
        _verdicts(tables),
        _forests(tables),
        _curves(tables),
        mixtures_section(tables),
        laws_section(tables),
        _trials(tables),
        fair_section(tables.about),
    ]
    return layout.page(f"{name}: ablation", "\n".join(part for part in parts if part))


# --- verdicts ------------------------------------------------------------------------------------


def _by_measure(tables: Tables) -> dict[str, Rows]:
    """Verdicts of each measure, the control last."""
    found: dict[str, Rows] = defaultdict(list)
    for row in sorted(tables.verdicts, key=lambda row: row["role"] == "control"):
        found[row["measure"]].append(row)
    return {name: found[name] for name in sorted(found, key=_order)}


def _order(measure: str) -> tuple[int, str]:
    kinds = ("bits_per_byte", "answer_bits_per_byte", "accuracy", "accuracy_sum")
    kind = measure.partition("/")[0]
    return (kinds.index(kind) if kind in kinds else len(kinds), measure)


def _verdicts(tables: Tables) -> str:
    if not tables.verdicts:
        missing = "No verdict yet: the base has no finished trial, or there is nothing beside it."
        return layout.section("What it shows", layout.paragraph(missing))
    rows: list[Sequence[Any]] = []
    for measure, found in _by_measure(tables).items():
        decimals = decimals_of(measure, found)
        rows.append((measure_name(measure),))
        for row in found:
            interval = layout.DASH
            if row["low"] is not None:
                interval = (
                    f"{fixed(row['low'], decimals, True)} to {fixed(row['high'], decimals, True)}"
                )
            word = row["word"]
            rows.append(
                (
                    _arm(row),
                    word if word == NOT_SHOWN else layout.strong(word),
                    fixed(row["difference"], decimals, True),
                    interval,
                    fixed(row["detectable"], decimals),
                    fixed(row["p_corrected"], 3),
                    str(row["n"]),
                )
            )
    heads = [
        ("arm", "name"),
        ("verdict", "word"),
        ("arm \u2212 base", "n"),
        ("95% interval", "n wide"),
        ("could find", "n"),
        ("p", "n wide"),
        ("seeds", "n wide"),
    ]
    legend = (
        "Differences are taken within a seed; the interval is of Student's t over the seeds, for "
        "one arm alone, while p is corrected for their number (Holm): a verdict may be lacking "
        "where the interval leaves 0 out. "
        "\u201cCould find\u201d is the smallest difference that this many seeds of this noise show "
        "four times in five."
    )
    return layout.section(
        "What it shows",
        layout.bullets(findings(tables.verdicts, tables.role("control"), tables.about)),
        _folded(layout.table(heads, rows), len(rows)),
        layout.paragraph(legend, "muted small"),
    )


def _folded(table: str, n_rows: int) -> str:
    if n_rows <= LONG_TABLE:
        return table
    return layout.details("All verdicts in a table", table)


def _arm(row: Mapping[str, Any]) -> str:
    note = {"control": "control", "confirm": "proposed"}.get(row["role"], "")
    return row["arm"] if note in row["arm"] else f"{row['arm']} ({note})"


def _forests(tables: Tables) -> str:
    figures = []
    for measure, found in _by_measure(tables).items():
        if all(row["difference"] is None for row in found):
            continue
        better = "right" if measure.startswith("accuracy") else "left"
        picture = forest(found, unit_of(measure), decimals_of(measure, found), better)
        figures.append(layout.figure(measure_name(measure), picture))
    if not figures:
        return ""
    legend = (
        "Filled circle: better. Filled square: worse. Open circle: no difference shown. Cross: no "
        "verdict. Lines are 95% intervals; within the grey band a difference would mostly have "
        "gone unseen. An arrow points to what lies beyond the edge."
    )
    return layout.section(
        "Arms against the base", layout.paragraph(legend, "muted small"), layout.panels(figures)
    )


# --- curves --------------------------------------------------------------------------------------


def _curves(tables: Tables) -> str:
    if not tables.curves:
        return ""
    key = "bits_per_byte"
    if any(row[key] is None for row in tables.curves):
        key = "loss"
    unit = "bits a byte" if key == "bits_per_byte" else "nats a token"
    found: dict[str, dict[str, dict[int, list[tuple[float, float]]]]] = {}
    for row in tables.curves:
        arms = found.setdefault(row["source"], {})
        if row[key] is not None:
            seeds = arms.setdefault(row["arm"], {})
            seeds.setdefault(row["seed"], []).append((row["step"], row[key]))
    arms_seen = list(dict.fromkeys(row["arm"] for row in tables.curves))
    roles, order = tables.roles(), ("base", "control", "arm", "confirm", "corner", "draw")
    arms_seen.sort(key=lambda arm: order.index(roles.get(arm, "draw")))
    base = tables.role("base") or arms_seen[0]
    classes = series(arms_seen, base, tables.role("control"))
    figures, ends = [], []
    for source in sorted(found, key=lambda name: (name != "all", name)):
        name = "all sources" if source == "all" else source
        title = f"Training loss of {name}, {unit}"
        figures.append(layout.figure(name, curves(found[source], classes, title)))
        for arm, seeds in found[source].items():
            lasts = [points[-1][1] for points in seeds.values()]
            mean = sum(lasts) / len(lasts)
            last = max(points[-1][0] for points in seeds.values())
            ends.append((name, arm, f"{last:,}", str(len(lasts)), fixed(mean, 4)))
    legend = (
        f"Training loss, {unit}. Thin lines are seeds, thick ones their mean. The first "
        "quarter of the steps is left out."
    )
    if len(arms_seen) > len(classes):
        legend += f" Grey: the other {len(arms_seen) - len(classes)} arms."
    heads = [("source", "name"), ("arm", "name"), ("steps", "n"), ("seeds", "n"), (unit, "n")]
    return layout.section(
        "Loss by source",
        layout.paragraph(legend, "muted small"),
        layout.panels(figures),
        layout.details("The last losses in numbers", layout.table(heads, ends)),
    )


# --- the rest ------------------------------------------------------------------------------------


def _trials(tables: Tables) -> str:
    if not tables.trials:
        return ""
    rows = [
        (
            *(row["arm"], str(row["seed"]), row["status"], measure_name(row["measure"])),
            *(fixed(row["value"], 4), f"{row['tokens']:,}", f"{row['steps']:,}"),
        )
        for row in tables.trials
    ]
    heads = [("arm", "name"), ("seed", "n"), ("status", ""), ("measure", "name"), ("value", "n")]
    heads += [("tokens", "n wide"), ("steps", "n wide")]
    done = len({(row["arm"], row["seed"]) for row in tables.trials})
    label = f"{layout.plural(done, 'trial')} in numbers"
    return layout.section("Trials", layout.details(label, layout.table(heads, rows)))
