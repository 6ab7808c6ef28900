"""What a run did, as plain text: a line for each stage and source, then what removed how much."""

from textwrap import fill
from typing import Any

from pipeline.exchange.scopes import render_scopes


def render_summary(manifest: dict[str, Any]) -> str:
    """At most 100 columns. Every row states in = kept + removed + lost."""
    heads = f"{'in':>11}{'kept':>11}{'removed':>11}{'lost':>8}{'kept':>12}"
    lines = [f"{'stage':<10}{'source':<14}{heads}"]
    rules: dict[str, int] = {}
    for stage, sources in manifest["stages"].items():
        for source, counts in sources.items():
            removed = sum(counts["removed"].values())
            size = f"{counts.get('bytes_kept', 0) / 1e6:.2f} MB"
            if "tokens" in counts:
                size = f"{counts['tokens'] / 1e6:.2f} Mtok"
            lines.append(
                f"{stage:<10}{source:<14}{counts['in']:>11,}{counts['kept']:>11,}{removed:>11,}"
                f"{counts['lost']:>8,}{size:>12}"
            )
            for rule, n in counts["removed"].items():
                rules[rule] = rules.get(rule, 0) + n
    if rules:
        lines += ["", "removed by"]
        widest = max(rules.values())
        for rule, n in sorted(rules.items(), key=lambda item: (-item[1], item[0])):
            lines.append(f"  {rule:<48}{n:>9,}  {'#' * max(1, round(30 * n / widest))}")
    for source, counts in manifest["stages"].get("dedup", {}).items():
        if counts.get("cut"):
            lines.append(
                f"  {source}: {counts['words_cut']:,} repeated words cut "
                f"from {counts['cut']:,} documents"
            )
    if near := manifest.get("dedup", {}).get("minhash"):
        lines += _near_duplicates(near)
    if scopes := manifest.get("dedup", {}).get("scopes"):
        lines += render_scopes(scopes)
    if found := manifest.get("contamination"):
        heads = f"{'items':>9}{'found':>9}{'in documents':>14}{'kept':>9}"
        lines += ["", f"{'test sets':<36}{heads}"]
        for name, counts in found.items():
            numbers = (counts[key] for key in ("items", "items_found", "documents", "kept"))
            items, n_found, documents, kept = numbers
            lines.append(f"  {name:<34}{items:>9,}{n_found:>9,}{documents:>14,}{kept:>9,}")
    for key in ("tokenizer", "mixture", "packing", "training"):
        lines += _section(key, manifest.get(key))
    if warnings := manifest.get("warnings"):
        wrapped = [fill(w, 98, initial_indent="  ", subsequent_indent="    ") for w in warnings]
        lines += ["", "worth a look", *wrapped]
    lines += ["", f"corpus digest {manifest['corpus_digest']}"]
    return "\n".join(lines)


def _near_duplicates(near: dict[str, Any]) -> list[str]:
    """The share of similar pairs that was proposed, beside what the S-curve promises, and of those
    that are no longer two kept documents; and the large clusters."""
    pairs, similar = near["candidate_pairs"], near["verified_pairs"]
    banding = f"{near['bands']} bands of {near['rows']} rows"
    lines = [
        "",
        f"near-duplicates: {banding} proposed {pairs:,} pairs; {similar:,} are similar "
        f"({similar / max(pairs, 1):.0%}), the others stay",
    ]
    recall = near["recall"]
    rows = [(f"from {at}", row) for at, row in recall["by_similarity"].items()]
    if any(row["pairs"] for _, row in rows):
        lines.append(
            f"  {'':<14}{'proposed':<26}{'expected':<11}{'parted':<26}{'pairs sampled':>13}"
        )
    for name, row in [*rows, ("all similar", recall)]:
        if row["pairs"]:
            proposed, parted = (
                f"{row[share]:.3f} ({low:.3f} to {high:.3f})"
                for share in ("proposed", "parted")
                for low, high in [row[f"{share}_interval"]]
            )
            lines.append(
                f"  {name:<14}{proposed:<26}{row['expected']:<11.3f}{parted:<26}{row['pairs']:>13,}"
            )
    for row in near["largest_clusters"][:10]:
        span = f"{row['min_similarity']:.2f} to {row['max_similarity']:.2f}"
        lines.append(
            f"  cluster {row['cluster']}: {row['documents']:,} documents, {row['kept']:,} kept, "
            f"similarity {span}"
        )
        lines.append(f"    {_shared(row['shared'])}")
    return lines


def _shared(shared: dict[str, Any]) -> str:
    if not shared["words"]:
        return "share no run of words, or their texts are not here (an index)"
    text = " ".join(shared["text"].split())[:50]
    return f"share {shared['fraction']:.0%} of their words, {shared['words']:,} in a row: {text}"


def _section(name: str, figures: dict[str, Any] | None) -> list[str]:
    if not figures:
        return []
    lines = ["", name]
    for key, value in figures.items():
        if value == {}:
            continue
        if isinstance(value, dict):
            inner = ", ".join(f"{k} {_number(v)}" for k, v in value.items())
            lines.append(f"  {key}: {inner}")
        else:
            lines.append(f"  {key}: {_number(value)}")
    return lines


def _number(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.4g}" if isinstance(value, float) else str(value)
