"""The report on test sets: by set, how many of its items are in how many documents.

The table `contamination/` names every item, the documents that hold it, and how much of it; the
filter stage writes it beside the documents, so that it costs no pass of its own. It is as large as
the contamination is, and read here by one process.
"""

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from filters.decontaminate import Decontaminate, testset_summary
from pipeline.parts import read_tables
from pipeline.schema import CONTAMINATION
from pipeline.state import State, paths
from pipeline.storage import expand, local_copy


def summarize(state: State) -> dict[str, dict[str, int]]:
    """For each test set: its items, those that cannot be found, those that were, and the documents
    that hold one, in all and not removed by the filters; {} where no source is decontaminated."""
    found: dict[str, dict[str, int]] = {}
    for config in _configs(state):
        found.update(testset_summary(config))
    columns = ["item", "id", "rule"]
    table = pa.concat_tables(
        [CONTAMINATION.empty_table().select(columns)]
        + [
            rows
            for path in paths(state.records["filter"], "contamination")
            for rows in read_tables(state.out, path, columns)
        ]
    )
    sets = pc.replace_substring_regex(table["item"], r"/\d+$", "")
    for name, counts in sorted(found.items()):
        rows = table.filter(pc.equal(sets, name))
        kept = rows.filter(rows["rule"].is_null())
        counts["items_found"] = pc.count_distinct(rows["item"]).as_py()
        counts["documents"] = pc.count_distinct(rows["id"]).as_py()
        counts["kept"] = pc.count_distinct(kept["id"]).as_py()
    return dict(sorted(found.items()))


def _configs(state: State) -> list[Decontaminate]:
    """The steps of all sources that differ, with local paths."""
    configs = []
    for source in state.run.sources.values():
        for use in source.steps:
            if isinstance(use.config, Decontaminate):
                configs.append(use.config)
    return [_local(config, state) for i, config in enumerate(configs) if config not in configs[:i]]


def _local(config: Decontaminate, state: State) -> Decontaminate:
    def files(patterns: tuple[str, ...]) -> tuple[str, ...]:
        found = {path for pattern in patterns for path, _ in expand(state.place(pattern))}
        return tuple(map(local_copy, sorted(found)))

    return replace(config, against=files(config.against), background=files(config.background))
