"""The parts of a run's page about tokens, the mixture and the training."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report import layout
from pipeline.report.ablation_plots import curves
from pipeline.report.layout import count, fixed, percent, plural, size
from pipeline.report.run_plots import shares

Figures = Mapping[str, Any]


def tokenizer(figures: Figures | None, counts: Figures) -> str:
    if not figures:
        return ""
    said = [f"{plural(figures['vocab_size'], 'piece')}, digest {figures['digest']}."]
    rows = [
        (
            *(source, count(c["tokens"]), size(c["bytes_in"])),
            fixed(c["bytes_in"] / c["tokens"], 3),
        )
        for source, c in sorted(counts.items())
        if c.get("tokens")
    ]
    heads = [("source", "name"), ("tokens", "n"), ("text", "n"), ("bytes a token", "n")]
    return layout.section("Tokens", layout.bullets(said), layout.table(heads, rows) if rows else "")


def mixture(groups: Figures, packing: Figures) -> str:
    if not groups:
        return ""
    rows = [
        (
            *(name, percent(g["weight"]), percent(g["proportion"]), fixed(g["epochs"], 2)),
            *(count(g["tokens"]), count(g["documents"]), count(g["available_tokens"])),
        )
        for name, g in sorted(groups.items())
    ]
    heads = [("source", "name"), ("wanted", "n"), ("got", "n"), ("epochs", "n"), ("tokens", "n")]
    heads += [("documents", "n wide"), ("tokens there are", "n wide")]
    said = []
    if packing:
        said.append(
            f"{plural(packing['documents'], 'document')} packed into "
            f"{plural(packing['rows'], 'row')}, {percent(packing['fill'], 2)} filled; "
            f"{count(packing['cut_documents'])} documents cut at a row's end."
        )
    return layout.section(
        "Mixture",
        layout.panels([layout.figure("wanted and got", shares(groups))]),
        layout.table(heads, rows),
        layout.bullets(said),
    )


def training(figures: Figures, log: Sequence[dict[str, Any]]) -> str:
    if not figures:
        return ""
    said = (
        f"{plural(figures['parameters'], 'parameter')}, {plural(figures['steps'], 'step')}, "
        f"{plural(figures['tokens'], 'token')}. Loss {fixed(figures['first_loss'], 3)} at first, "
        f"{fixed(figures['final_loss'], 3)} at the end, in nats a token; "
        f"{fixed(figures['unigram_entropy'], 3)} for one who knows only how common each token is."
    )
    held = ", ".join(f"{k} {v:.4g}" for k, v in (figures.get("eval_loss") or {}).items())
    picture = ""
    if log:
        found = {"all": {0: [(line["step"], line["loss"]) for line in log]}}
        for name in sorted({name for line in log for name in line.get("loss_by_source", {})}):
            found[name] = {
                0: [
                    (line["step"], line["loss_by_source"][name])
                    for line in log
                    if name in line.get("loss_by_source", {})
                ]
            }
        names = [name for name in found if name != "all"]
        classes = {"all": "s0"} | {name: f"s{i}" for i, name in enumerate(names[:6], 1)}
        picture = curves(found, classes, "Training loss by source, nats a token")
        picture = layout.panels([layout.figure("loss by source, nats a token", picture)])
    return layout.section(
        "Training",
        layout.paragraph(said),
        layout.paragraph(f"Held-out loss: {held}.") if held else "",
        picture,
    )
