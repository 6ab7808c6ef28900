"""Whether the budget of a mixture can be met, from a trial of a few shards: before the run, in
minutes, not after its tokenizer.

Of a source, what is kept of the shards that were read whole grows with the bytes of its shards;
tokens are bytes / 4. Both are rough (vocabularies for one language get 3 to 5 bytes a token, and
a larger corpus has more duplicates), so only what is short by a third is warned of.
"""

from collections import Counter
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.calibrate import shard_size
from pipeline.config import Run
from pipeline.mixture import Mixture, source_of
from pipeline.mixture_groups import columns_of, groups_of
from pipeline.named_files import Shard
from pipeline.parts import read_tables
from pipeline.plan import SourcePlan, group_needs, most_tokens, tops_up
from pipeline.storage import join, list_files, read_json

BYTES_PER_TOKEN = 4
PLENTY = 1 << 50  # tokens, where nothing is known
CUT = "none of its shards was read whole; --limit 0 reads the first ones to the end"
CLEAR = 1.5  # asked for over available, from which it is worth a warning


class Outlook(NamedTuple):
    lines: list[str]
    warnings: list[str]


def mixture_outlook(run: Run, out: str, shards: list[Shard], limit: int) -> Outlook:
    """From the output of a trial of some of the shards. Nothing where no mixture is asked for."""
    if run.mixture is None:
        return Outlook([], [])
    growth = {name: _growth(out, name, shards, limit) for name in _mixed(run)}
    unknown = [name for name, factor in growth.items() if factor is None]
    available = Counter(dict.fromkeys(unknown, PLENTY))
    for name, factor in growth.items():
        if factor is not None:
            for group, n_bytes in _kept_bytes(run.mixture, out, name).items():
                available[group] += round(n_bytes * factor / BYTES_PER_TOKEN)
    lines = [f"  not known of {', '.join(unknown)}: {CUT}"] if unknown else []
    if set(unknown) & set(run.mixture.split):
        return Outlook([*_head(run.mixture), *lines], [])
    try:
        needs = group_needs(run.mixture, dict(available), run.mixture.tokens)
    except ValueError as error:
        return Outlook([], [f"in this trial: {error}"])
    needs = [need for need in needs if need.group not in unknown]
    warnings = _warnings(run.mixture, needs, whole=not unknown)
    return Outlook([*_head(run.mixture), *_lines(needs), *lines], warnings)


def _mixed(run: Run) -> list[str]:
    """The sources that the mixture takes from."""
    config = run.mixture
    assert config is not None
    weighed = {source_of(group) for group, weight in config.weights.items() if weight}
    return [name for name in run.sources if name in weighed or config.scheme != "weights"]


def _growth(out: str, source: str, shards: list[Shard], limit: int) -> float | None:
    """Text of all shards over that of the records tried; None where no shard was read whole."""
    text, cut = Counter[str](), set()
    for path in list_files(join(out, "_parts", "ingest")):
        record = read_json(path)
        shard, counts = record["label"].rpartition("@")[0], record["counts"].get(source)
        if counts is None:
            continue
        text[shard] += counts["bytes_in"]
        read = counts["in"] - counts["lost"] + record["files"].get("errors", {}).get("rows", 0)
        if 0 < limit <= read:
            cut.add(shard)
    sizes = {f"{source}/{s.name}": shard_size(s) for s in shards if s.source == source}
    whole = [shard for shard in text if shard not in cut and sizes[shard]]
    if not whole:
        return None
    density = sum(text[shard] for shard in whole) / sum(sizes[shard] for shard in whole)
    return density * sum(sizes.values()) / max(text.total(), 1)


def _kept_bytes(config: Mixture, out: str, source: str) -> Counter[str]:
    """Bytes of text by group, of what the trial kept."""
    split = config.split.get(source)
    kept = Counter[str]() if split else Counter({source: 0})
    for path in list_files(join(out, "documents", source)):
        for table in read_tables(out, path[len(out) + 1 :]):
            if set(columns_of(split)) - set(table.column_names):
                continue  # check_columns says so
            groups = groups_of(source, table, split)
            found = pa.table({"group": groups, "n": pc.binary_length(table["text"])})
            for row in found.group_by("group").aggregate([("n", "sum")]).to_pylist():
                kept[row["group"]] += row["n_sum"] or 0
    return kept


def _head(config: Mixture) -> list[str]:
    return ["", f"mixture: {config.tokens:,} tokens; what there is is a guess from the trial"]


def _lines(needs: list[SourcePlan]) -> list[str]:
    return [
        f"  {need.group:<24}wants{need.needed:>18,}   has about{need.available:>18,}"
        f"   {need.epochs:,.1f} epochs, {need.allowed:g} allowed"
        for need in needs
    ]


def _warnings(config: Mixture, needs: list[SourcePlan], whole: bool) -> list[str]:
    """`whole`: nothing is left out of `needs`."""
    warnings = []
    most = most_tokens(needs, config) or 0
    if config.tokens > CLEAR * most and (whole or (needs and not tops_up(config))):
        warnings.append(
            f"mixture.tokens: {config.tokens:,} cannot be met: at these weights and epochs the "
            f"sources give about {round(most):,}"
        )
    for need in needs:
        if not tops_up(config) and need.epochs > CLEAR * need.allowed:
            warnings.append(
                f"mixture.weights.{need.group}: {need.weight:.3g} of the budget would repeat it "
                f"about {need.epochs:.3g} times and {need.allowed:g} are allowed: short by "
                f"{1 - need.allowed / need.epochs:.0%} of its share"
            )
        if config.validation_tokens > CLEAR * need.available / 2:
            warnings.append(
                f"mixture.validation_tokens: {config.validation_tokens:,} is more than half of "
                f"the about {need.available:,} tokens of {need.group}"
            )
    return warnings
