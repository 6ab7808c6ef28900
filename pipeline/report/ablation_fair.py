"""What was equal for all arms of an ablation, and what none of them was trained on: the proof that
ablation.json holds, as tables."""

from collections.abc import Mapping
from typing import Any

from pipeline.report import layout
from pipeline.report.layout import DASH, count, percent

SHORT = 12  # characters of a digest


def fair_section(about: Mapping[str, Any]) -> str:
    """Nothing for an ablation that has no finished trial yet."""
    aside = about.get("decontamination") or {}
    if not aside:
        return ""
    said = (
        "Every arm has the same model, as many tokens in as many steps, and the same held-out "
        "rows to be measured on. No arm was trained on a held-out document or one of its "
        "near-duplicates, nor on a document that shares 13 words in a row with a text or a task "
        "that it is measured on; the packed rows were read again to see that."
    )
    if rows := about.get("validation_rows"):
        said += f" Digest of the held-out rows: {rows[:SHORT]}."
    parts = [layout.paragraph(said), _arms(about, aside)]
    if any(found["evaluation"] for found in aside.values()):
        parts += [layout.h3("Texts and tasks inside the corpus"), _evaluation(aside)]
    more = "Settings and whole digests are in ablation.json, and the documents left out in runs/."
    return layout.section("How it was done", *parts, layout.paragraph(more, "muted small"))


def _arms(about: Mapping[str, Any], aside: Mapping[str, Any]) -> str:
    rows = []
    for arm, found in aside.items():
        of_arm = about.get("arms", {}).get(arm, {})
        sums = [
            sum(source[key] for source in found["sources"].values())
            for key in ("documents", "held_out", "evaluation")
        ]
        digests = [str(of_arm.get(key) or DASH)[:SHORT] for key in ("corpus_digest", "rows")]
        rows.append((arm, *map(count, sums), *digests))
    heads = [("arm", "name"), ("documents", "n"), ("held out", "n"), ("share a text", "n")]
    return layout.table([*heads, ("corpus", "word wide"), ("rows", "word wide")], rows)


def _evaluation(aside: Mapping[str, Any]) -> str:
    rows = [
        (name, arm, count(row["documents"]), percent(row["largest"], 0), row["item"], row["id"])
        for arm, found in aside.items()
        for name, row in found["evaluation"].items()
    ]
    heads = [("text or task", "name"), ("arm", "name"), ("documents", "n"), ("at most", "n")]
    return layout.table([*heads, ("of item", "name wide"), ("in document", "name wide")], rows)
