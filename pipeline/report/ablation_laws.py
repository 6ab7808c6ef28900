"""The parts of an ablation's page about mixtures, and about laws fitted to them."""

from collections import defaultdict

from pipeline.report import layout
from pipeline.report.ablation_data import Tables
from pipeline.report.ablation_plots import predicted
from pipeline.report.layout import fixed, percent
from pipeline.report.mixture_plots import Mixture, mixtures


def mixtures_section(tables: Tables) -> str:
    """Mixtures of the arms whose weights are an arm's own; the control has the base's."""
    losses: dict[str, list[float]] = defaultdict(list)
    for row in tables.trials:
        if row["measure"].startswith("bits_per_byte/") and row["value"] is not None:
            losses[row["arm"]].append(row["value"])
    by_arm: dict[str, dict[str, float]] = defaultdict(dict)
    for row in tables.mixtures:
        if row["role"] != "control":
            by_arm[row["arm"]][row["source"]] = row["weight"]
    roles = tables.roles()
    found = [
        Mixture(arm, roles[arm], w, sum(v) / len(v) if (v := losses.get(arm)) else None)
        for arm, w in by_arm.items()
    ]
    measured = [m for m in found if m.loss is not None]
    if len({tuple(sorted(m.weights.items())) for m in measured}) < 2:
        one = "All arms have the same mixture." if measured else ""
        return layout.section("Mixtures", layout.paragraph(one)) if one else ""
    if len({name for m in measured for name in m.weights}) < 2:
        one = "There is one source, so there are no mixtures to compare."
        return layout.section("Mixtures", layout.paragraph(one))
    unit = "mean bits a byte"
    legend = (
        f"Numbers rank the mixtures by the {unit} of all held-out texts, 1 is the best; the fuller "
        "a marker, the better. Square: the base; triangle: one source alone; circle: drawn; "
        "diamond: an arm; star: proposed by a law."
    )
    rows = []
    ranked = sorted(measured, key=lambda m: (m.loss, m.arm))
    shares = {(row["arm"], row["source"]): row for row in tables.mixtures}
    for rank, m in enumerate(ranked, 1):
        for i, source in enumerate(sorted(m.weights)):
            row = shares[m.arm, source]
            head = (str(rank), m.arm, fixed(m.loss, 4)) if i == 0 else ("", "", "")
            figures = (percent(row["weight"]), percent(row["share"]), fixed(row["epochs"], 2))
            rows.append((*head, source, *figures))
    heads = [("rank", "n"), ("arm", "name"), ("bits a byte", "n"), ("source", "name")]
    heads += [("weight", "n"), ("got", "n"), ("epochs", "n")]
    return layout.section(
        "Mixtures",
        layout.paragraph(legend, "muted small"),
        layout.panels([layout.figure("", mixtures(measured, unit))]),
        layout.details("Mixtures in numbers", layout.table(heads, rows)),
    )


def laws_section(tables: Tables) -> str:
    if not tables.law and not tables.predictions:
        return ""
    unit = "bits a byte"
    figures, rows = [], []
    for kind in dict.fromkeys(row["kind"] for row in [*tables.law, *tables.predictions]):
        mine = [row for row in tables.law if row["kind"] == kind]
        points = [row for row in tables.predictions if row["kind"] == kind]
        law = mine[0] if mine else None
        caption = ""
        if law:
            caption = (
                f"Of trials left out of the fit: error {fixed(law['rmse'], 4)}, R\u00b2 "
                f"{fixed(law['r2'], 2)}, rank correlation {fixed(law['rank_correlation'], 2)}."
            )
            if law["measured"] is None:
                caption += " The proposal has not been trained."
        picture = predicted(points, tables.roles(), law, unit)
        figures.append(layout.figure(f"{kind} law", picture, caption))
        for i, row in enumerate(mine):
            span = f"{percent(row['low'])} to {percent(row['high'])}"
            ends = ("", "")
            if i == 0:
                says = f"{fixed(row['predicted_low'], 4)} to {fixed(row['predicted_high'], 4)}"
                ends = (f"{fixed(row['predicted'], 4)} ({says})", fixed(row["measured"], 4))
            head = kind if i == 0 else ""
            rows.append((head, row["source"], percent(row["weight"]), span, *ends))
    heads = [("law", ""), ("source", "name"), ("proposed", "n"), ("90% interval", "n wide")]
    heads += [("predicted", "n"), ("measured", "n")]
    legend = (
        "Each mixture's mean loss as a law says that was fitted without it, against what was "
        "measured; on the dashed line both are equal."
    )
    return layout.section(
        "Predicted against measured",
        layout.paragraph(legend, "muted small"),
        layout.panels(figures),
        layout.h3("Proposed mixtures") if rows else "",
        layout.table(heads, rows) if rows else "",
    )
