"""The page of a run: what became of the documents, why, and what was made of those that stayed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report import layout
from pipeline.report.layout import count, fixed, percent, plural, size
from pipeline.report.run_data import RunData, read_run
from pipeline.report.run_plots import funnel
from pipeline.report.run_tokens import mixture, tokenizer, training
from pipeline.storage import join, write_bytes

NAME = "report.html"
LONG_LINE = 200
Figures = Mapping[str, Any]


def write_page(directory: str) -> str:
    """report.html; returns its path. Raises ValueError where there is no finished run."""
    path = join(directory, NAME)
    write_bytes(path, page(directory).encode())
    return path


def page(directory: str) -> str:
    data = read_run(directory)
    m = data.manifest
    name = str(m.get("name") or "run")
    parts = [
        f"<h1>{layout.inline(name)}</h1>",
        layout.paragraph(_facts(m), "lead"),
        layout.paragraph(f"corpus digest {m.get('corpus_digest', layout.DASH)}", "muted small"),
        _warnings([*m.get("warnings", []), *data.notes]),
        _funnel(m["stages"]),
        _rules(m["stages"], data),
        _dedup(m["stages"].get("dedup", {}), (m.get("dedup") or {}).get("minhash")),
        _contamination(m.get("contamination") or {}),
        _errors(data),
        tokenizer(m.get("tokenizer"), m["stages"].get("tokenize", {})),
        mixture(m.get("mixture") or {}, m.get("packing") or {}),
        training(m.get("training") or {}, data.log),
        _how(m),
    ]
    return layout.page(f"{name}: report of a run", "\n".join(part for part in parts if part))


def _documents(stages: Figures) -> dict[str, Figures]:
    """The stages that pass documents on, in the order in which they ran."""
    order = [name for name in ("ingest", "filter", "dedup") if name in stages]
    return {name: stages[name] for name in order}


def _facts(m: Figures) -> str:
    stages = list(_documents(m["stages"]).values())
    if not stages:
        return "No stage has counts."
    came = sum(c["in"] for c in stages[0].values())
    kept = sum(c["kept"] for c in stages[-1].values())
    removed = sum(n for stage in stages for c in stage.values() for n in c["removed"].values())
    lost = sum(c["lost"] for stage in stages for c in stage.values())
    share = f" ({percent(kept / came)})" if came else ""
    text = sum(c.get("bytes_kept", 0) for c in stages[-1].values())
    said = (
        f"{plural(came, 'record')} in: {count(kept)} kept{share}, {count(removed)} removed, "
        f"{count(lost)} lost. {size(text)} of text"
    )
    tokens = sum(c.get("tokens", 0) for c in m["stages"].get("tokenize", {}).values())
    return f"{said}, {plural(tokens, 'token')}." if tokens else f"{said}."


def _warnings(lines: Sequence[str]) -> str:
    """Long ones, which end in a list, are folded."""
    short = [line for line in lines if len(line) <= LONG_LINE]
    folded = []
    for line in lines:
        if len(line) > LONG_LINE:
            head, _, rest = line.rpartition(": ")
            label = f"{head}: {rest.count(', ') + 1} rules" if head else f"{line[:80]} \u2026"
            folded.append(layout.details(label, layout.paragraph(line, "small")))
    return layout.section("Worth a look", layout.bullets(short), *folded) if lines else ""


# --- documents -----------------------------------------------------------------------------------


def _funnel(all_stages: Figures) -> str:
    stages = _documents(all_stages)
    sources = sorted({source for counts in stages.values() for source in counts})
    figures: list[str] = []
    rows: list[Sequence[Any]] = []
    for source in sources:
        steps = [(name, counts[source]) for name, counts in stages.items() if source in counts]
        figures.append(layout.figure(source, funnel(source, steps)))
        rows.append((source,))
        for name, c in steps:
            removed = sum(c["removed"].values())
            cells = [count(n) for n in (c["in"], c["kept"], removed, c["lost"])]
            rows.append((name, *cells, size(c.get("bytes_in")), size(c.get("bytes_kept"))))
    heads = [("stage", ""), *((label, "n") for label in ("in", "kept", "removed", "lost"))]
    heads += [("text in", "n wide"), ("text kept", "n wide")]
    return layout.section(
        "From records to documents",
        layout.panels(figures),
        layout.details("In numbers: in = kept + removed + lost", layout.table(heads, rows)),
    )


def _rules(stages: Figures, data: RunData) -> str:
    total: Counter[str] = Counter()
    by_source: dict[str, Counter[str]] = {}
    for counts in _documents(stages).values():
        for source, c in counts.items():
            total.update(c["removed"])
            for rule, n in c["removed"].items():
                by_source.setdefault(rule, Counter())[source] += n
    if not total:
        return layout.section("Removed, and why", layout.paragraph("No document was removed."))
    most = max(total.values())
    rows, samples = [], []
    for rule, n in sorted(total.items(), key=lambda item: (-item[1], item[0])):
        found = data.samples.get(rule, [])
        thresholds = sorted({s.threshold for s in found if s.threshold is not None})
        limit = ", ".join(f"{x:g}" for x in thresholds) or layout.DASH
        where = ", ".join(f"{source} {k:,}" for source, k in sorted(by_source[rule].items()))
        rows.append((rule, limit, count(n), layout.share(n / most), where))
        if found:
            samples.append(layout.details(f"{rule} ({count(n)})", *map(_sample, found)))
    heads = [("rule", "name"), ("threshold", "n wide"), ("documents", "n"), ("", "share")]
    heads += [("by source", "wide small")]
    return layout.section(
        "Removed, and why",
        layout.table(heads, rows),
        layout.h3("Samples"),
        layout.paragraph(
            "Chosen by the hash of their ids. Open a rule to see them.", "muted small"
        ),
        *samples,
    )


def _sample(sample: Any) -> str:
    facts = [sample.id]
    if sample.value is not None:
        limit = "" if sample.threshold is None else f", threshold {sample.threshold:g}"
        facts.append(f"measured {sample.value:.4g}{limit}")
    if sample.matched_id:
        facts.append(f"like {sample.matched_id}")
    return layout.paragraph(" \u00b7 ".join(facts), "small") + layout.pretty(sample.head)


def _dedup(counts: Figures, near: Figures | None) -> str:
    if not counts:
        return ""
    cut = {source: c for source, c in counts.items() if c.get("cut")}
    said = [
        f"{source}: {plural(c.get('words_cut', 0), 'repeated word')} cut from "
        f"{plural(c['cut'], 'document')}."
        for source, c in sorted(cut.items())
    ]
    if not near:
        return layout.section("Duplicates", layout.bullets(said)) if said else ""
    said.insert(
        0,
        f"{near['bands']} bands of {near['rows']} rows proposed "
        f"{plural(near['candidate_pairs'], 'pair')}, {count(near['verified_pairs'])} of them "
        f"similar, in {plural(near.get('clusters', 0), 'cluster')}.",
    )
    by_similarity = [(f"from {at}", r) for at, r in near["recall"]["by_similarity"].items()]
    rows = [
        (
            *(at, count(r["pairs"]), fixed(r["proposed"], 3), _interval(r, "proposed")),
            *(fixed(r["expected"], 3), fixed(r["parted"], 3), _interval(r, "parted")),
        )
        for at, r in [*by_similarity, ("all similar", near["recall"])]
        if r["pairs"]
    ]
    heads = [("similarity", ""), ("sampled pairs", "n"), ("proposed", "n")]
    heads += [("95% interval", "n wide"), ("expected", "n"), ("parted", "n")]
    heads += [("95% interval", "n wide")]
    clusters = [
        (
            *(str(c["cluster"]), count(c["documents"]), count(c["kept"])),
            f"{c['min_similarity']:.2f} to {c['max_similarity']:.2f}",
            f"{c['shared']['fraction']:.0%}",
            " ".join(str(c["shared"]["text"]).split())[:60],
        )
        for c in near.get("largest_clusters", [])[:10]
    ]
    of_clusters = [("largest clusters", "name"), ("documents", "n"), ("kept", "n")]
    of_clusters += [("similarity", "n wide"), ("shared", "n"), ("longest shared run", "wide")]
    return layout.section(
        "Duplicates",
        layout.bullets(said),
        layout.table(heads, rows) if rows else "",
        layout.paragraph(
            "Proposed: the share of similar pairs that hashing found (the recall), beside what its "
            "bands promise; parted: the share that are no longer two kept documents.",
            "muted small",
        )
        if rows
        else "",
        layout.table(of_clusters, clusters) if clusters else "",
    )


def _interval(row: Figures, key: str) -> str:
    ends = row.get(f"{key}_interval")
    return f"{fixed(ends[0], 3)} to {fixed(ends[1], 3)}" if ends else layout.DASH


def _contamination(found: Figures) -> str:
    rows = [
        (name, *(count(c[key]) for key in ("items", "items_found", "documents", "kept")))
        for name, c in sorted(found.items())
    ]
    heads = [("test set", "name"), ("items", "n"), ("found", "n")]
    heads += [("in documents", "n"), ("still kept", "n")]
    return layout.section("Test sets in the documents", layout.table(heads, rows)) if rows else ""


def _errors(data: RunData) -> str:
    rows = [
        (e.error, e.source, count(e.n), "lost" if e.lost else "repaired", e.message[:160])
        for e in data.errors
    ]
    heads = [("error", ""), ("source", ""), ("records", "n"), ("fate", ""), ("one of them", "wide")]
    return layout.section("What could not be read", layout.table(heads, rows)) if rows else ""


def _how(m: Figures) -> str:
    libraries = ", ".join(f"{k} {v}" for k, v in (m.get("libraries") or {}).items())
    return layout.section(
        "How it was done",
        layout.details(
            "The configuration, with every default and threshold", layout.pretty(m["config"])
        ),
        layout.paragraph(libraries, "muted small") if libraries else "",
    )
