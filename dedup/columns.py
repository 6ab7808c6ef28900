"""A value of each document, by the name of a column or, with `meta.KEY`, of an entry of `meta`:
that is where the other columns of a table go."""

import pyarrow as pa
import pyarrow.compute as pc

_META = "meta."


def column_of(name: str) -> str:
    """The column to read."""
    return "meta" if name.startswith(_META) else name


def values_of(docs: pa.Table, name: str) -> pa.Array:
    """Strings, null where a document has none."""
    column = column_of(name)
    if column not in docs.column_names:
        return pa.nulls(docs.num_rows, pa.string())
    values = docs[column].combine_chunks()
    if name.startswith(_META):
        return pc.map_lookup(values, name.removeprefix(_META), "last")
    return values.cast(pa.string())
