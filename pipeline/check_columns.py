"""Columns that a configuration names and that no document of a trial has: a misspelt one makes
every value null, and nothing else would say so."""

import dataclasses
from collections.abc import Iterator

import pyarrow.compute as pc

from dedup.scopes import GLOBAL
from pipeline.build_config import nearest
from pipeline.config import Run
from pipeline.parts import read_tables
from pipeline.schema import REMOVAL
from pipeline.storage import join, list_files

OF_A_DOCUMENT = {"url_column": "url", "path_column": "path", "created_column": "created"} | {
    "license_column": "license"
}  # of the table reader, and where its value goes


def absent_columns(run: Run, out: str) -> list[str]:
    """A line for each, with the nearest name that there is."""
    found = {name: _columns(out, name) for name in run.sources}
    lines = []
    for place, name, column, sources in _named(run):
        known = set().union(*(found[source] for source in sources))
        if known and column not in known:
            of_meta = [c.removeprefix("meta.") for c in known if c.startswith("meta.")]
            family = [c for c in known if c.rpartition(".")[0] == column.rpartition(".")[0]]
            near = nearest(name, sorted(family or known if name == column else of_meta))
            lines.append(f"{place}: no document of this trial has {name!r}.{near}")
    return lines


def _named(run: Run) -> Iterator[tuple[str, str, str, list[str]]]:
    """(place, the name there, the column that it comes to, of which sources)."""
    every = list(run.sources)
    for name, source in run.sources.items():
        for field in dataclasses.fields(source.reader):
            column, value = OF_A_DOCUMENT.get(field.name), getattr(source.reader, field.name)
            if column and value and value != field.default:
                yield f"sources.{name}.{field.name}", value, column, [name]
        for value in getattr(source.reader, "meta_columns", ()):
            yield f"sources.{name}.meta_columns", value, f"meta.{value}", [name]
    if run.dedup.exact:
        yield "dedup.exact.by", run.dedup.exact.by, run.dedup.exact.by, every
    if run.dedup.prefer_signal:
        yield "dedup.prefer_signal", run.dedup.prefer_signal, run.dedup.prefer_signal, every
    for scope in run.dedup.scopes:
        if scope not in (GLOBAL, "source"):
            key = "scope" if scope == run.dedup.scope else "compare_scopes"
            yield f"dedup.{key}", scope, scope, every
    for name, split in (run.mixture.split if run.mixture else {}).items():
        column = "url" if split.column == "host" else split.column
        yield f"mixture.split.{name}.column", split.column, column, [name]


def _columns(out: str, source: str) -> set[str]:
    """Those that some document of the trial has a value of; meta.KEY for each of meta."""
    names: set[str] = set()
    for path in [p for f in ("documents", "removed") for p in list_files(join(out, f, source))]:
        for table in read_tables(out, path[len(out) + 1 :]):
            names |= {c for c in table.column_names if table[c].null_count < table.num_rows}
            for chunk in table["meta"].chunks if "meta" in names else ():
                names |= {f"meta.{key}" for key in pc.unique(chunk.keys).to_pylist()}
    return names - set(REMOVAL.names)
