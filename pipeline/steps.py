"""The one table of document-local steps, and how a list of them runs over a batch of documents.

A step is a function `(docs, config) -> docs` that measures, marks or edits, and never drops a row.
Marked rows leave the batch after each step, so dear steps see few rows; a hash-chosen share of
documents (`audit`) sees every step all the same, which gives each rule's total removal beside its
marginal one.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.c4 import C4, c4, c4_bounds
from filters.code import (
    LlamaCode,
    StarCoder,
    StarCoder2,
    llama_code,
    llama_code_bounds,
    starcoder,
    starcoder2,
    starcoder2_bounds,
    starcoder_bounds,
)
from filters.decontaminate import Decontaminate, decontaminate, load_sets
from filters.dolma import DolmaRepetition, dolma_repetition, dolma_repetition_bounds
from filters.fineweb import FineWeb, fineweb, fineweb_bounds
from filters.gopher import (
    GopherQuality,
    GopherRepetition,
    gopher_quality,
    gopher_quality_bounds,
    gopher_repetition,
    gopher_repetition_bounds,
)
from filters.kernels import hash_strings
from filters.keywords import Keywords, keywords, keywords_bounds, load_keywords
from filters.language import Language, decide_language, language, language_bounds, load_language
from filters.link_list import LinkList, link_list, link_list_bounds, load_links
from filters.madlad import Madlad, load_madlad, madlad, madlad_bounds
from filters.massiveweb import (
    MassiveWebRepetition,
    massiveweb_repetition,
    massiveweb_repetition_bounds,
)
from filters.neural_quality import NeuralQuality, load_neural, neural_quality, neural_quality_bounds
from filters.perplexity import (
    Perplexity,
    decide_perplexity,
    load_perplexity,
    perplexity,
    perplexity_bounds,
)
from filters.pii import ScrubPii, scrub_pii, scrub_pii_bounds
from filters.pii import prepare as prepare_pii
from filters.quality import Quality, decide_quality, load_quality, quality, quality_bounds
from filters.redpajama import RedPajama, load_redpajama, redpajama, redpajama_bounds
from filters.refinedweb import RefinedWeb, refinedweb, refinedweb_bounds
from filters.rules import Bound, mark, with_removal, with_signals
from filters.url import URL_LISTS, UrlFilter, load_url_lists, url_filter
from pipeline.schema import DOCUMENT, REMOVAL, Fault


def never(config: Any) -> bool:
    return False


def always(config: Any) -> bool:
    return True


class Step(NamedTuple):
    function: Callable[[pa.Table, Any], pa.Table]
    config: type
    files: tuple[str, ...] = ()  # config keys that name files: models and test sets
    prepare: Callable[[Any], Any] | None = None  # loads them; ValueError where they are no use
    bounds: Callable[[Any], list[Bound]] | None = None  # its rules with a threshold
    decide: Callable[[pa.Table, Any], pa.Table] | None = None
    """Marks from signals that are there; None: `function` marks by nothing but `bounds`, or for a
    step without them in a way that only it knows."""
    deciding: tuple[str, ...] = ()  # config keys that only `decide` reads, beside those of `bounds`
    edits: Callable[[Any], bool] = never  # whether it may change texts


STEPS: dict[str, Step] = {
    "url_filter": Step(url_filter, UrlFilter, URL_LISTS, load_url_lists),
    "link_list": Step(link_list, LinkList, ("links",), load_links, link_list_bounds),
    "language": Step(
        language,
        Language,
        ("model",),
        load_language,
        language_bounds,
        decide_language,
        ("keep", "min_scores"),
    ),
    "gopher_repetition": Step(gopher_repetition, GopherRepetition, bounds=gopher_repetition_bounds),
    "gopher_quality": Step(gopher_quality, GopherQuality, bounds=gopher_quality_bounds),
    "c4": Step(c4, C4, bounds=c4_bounds, edits=always),
    "fineweb": Step(fineweb, FineWeb, bounds=fineweb_bounds),
    "massiveweb_repetition": Step(
        massiveweb_repetition, MassiveWebRepetition, bounds=massiveweb_repetition_bounds
    ),
    "refinedweb": Step(refinedweb, RefinedWeb, bounds=refinedweb_bounds, edits=always),
    "redpajama": Step(
        redpajama, RedPajama, ("stop_words", "bad_words"), load_redpajama, redpajama_bounds
    ),
    "dolma_repetition": Step(dolma_repetition, DolmaRepetition, bounds=dolma_repetition_bounds),
    "madlad": Step(madlad, Madlad, ("cursed",), load_madlad, madlad_bounds),
    "llama_code": Step(llama_code, LlamaCode, bounds=llama_code_bounds),
    "starcoder": Step(starcoder, StarCoder, bounds=starcoder_bounds),
    "starcoder2": Step(starcoder2, StarCoder2, bounds=starcoder2_bounds),
    "keywords": Step(keywords, Keywords, ("lists",), load_keywords, keywords_bounds),
    "perplexity": Step(
        perplexity,
        Perplexity,
        ("model", "tokenizer", "cutoffs"),
        load_perplexity,
        perplexity_bounds,
        decide_perplexity,
        ("percentiles", "keep"),
    ),
    "quality": Step(
        quality,
        Quality,
        ("model", "cutoffs"),
        load_quality,
        quality_bounds,
        decide_quality,
        ("min_score", "keep_fraction", "pareto_alpha", "pareto_seed"),
    ),
    "neural_quality": Step(
        neural_quality,
        NeuralQuality,
        ("model", "cutoffs"),
        load_neural,
        neural_quality_bounds,
        deciding=("min_score", "keep_fraction"),
    ),
    "decontaminate": Step(
        decontaminate,
        Decontaminate,
        ("against", "background"),
        load_sets,
        edits=lambda config: config.mode == "cut",
    ),
    "scrub_pii": Step(
        scrub_pii, ScrubPii, ("key_file",), prepare_pii, scrub_pii_bounds, edits=always
    ),
}

AUDIT_SEED = 0x41554449


class Use(NamedTuple):
    """One entry of a source's `steps`: the step's name and its config."""

    name: str
    config: Any


class Earlier(NamedTuple):
    """What an earlier run measured of the documents of a part: see redecide.py."""

    rows: pa.Table  # id, the signals, REMOVAL
    seen: np.ndarray  # int64, the last step of that run that saw the row
    places: list[int]  # where in that run each step of this one was, -1: its signals are others


def apply(
    docs: pa.Table, steps: list[Use], audit_fraction: float, earlier: Earlier | None = None
) -> tuple[pa.Table, list[tuple[str, Fault]]]:
    """Runs the steps; returns every surviving row (marked or not, in the given order) with all
    signals and REMOVAL columns, and (step, fault) for documents that a step could not process.
    What `earlier` knows is not measured again."""
    n_bytes = pc.cast(pc.binary_length(docs["text"]), pa.int64())
    docs = with_removal(with_signals(docs, "text", {"n_bytes": n_bytes}))
    row = pa.array(np.arange(docs.num_rows))
    docs = docs.append_column("_row", row).append_column("_audit", audited(docs, audit_fraction))
    if earlier:
        at = pc.index_in(docs["id"], value_set=earlier.rows["id"].combine_chunks())
        docs = docs.append_column("_at", pc.fill_null(at, -1))
    done: list[pa.Table] = []
    faults: list[tuple[str, Fault]] = []
    edited = False
    for i, use in enumerate(steps):
        known = known_rows(docs, use.name, earlier, earlier.places[i], edited) if earlier else None
        if earlier is None or known is None:
            docs, lost = _run_step(docs, use)
        else:
            docs, lost = _split(docs, use, earlier, known)
        edited |= STEPS[use.name].edits(use.config)
        faults += [(use.name, fault) for fault in lost]
        leaving = pc.and_(docs["rule"].is_valid(), pc.invert(docs["_audit"]))
        done.append(docs.filter(leaving))
        docs = docs.filter(pc.invert(leaving)).combine_chunks()
    done.append(docs)
    merged = pa.concat_tables(done, promote_options="default").combine_chunks()
    merged = merged.sort_by("_row")
    merged = merged.drop_columns([n for n in merged.column_names if n.startswith("_")])
    return merged.select(output_schema(merged.schema).names), faults


def known_rows(
    docs: pa.Table, name: str, earlier: Earlier, place: int, edited: bool
) -> np.ndarray | None:
    """bool[rows] of the documents whose signals of a step are known; None where none are."""
    if place < 0:
        return None
    at = docs["_at"].to_numpy()
    known = (at >= 0) & (earlier.seen[at] >= place)
    if edited:  # steps that edit leave audited documents that are marked as they are
        known &= ~docs["_audit"].to_numpy(zero_copy_only=False)
    if judge(name) is None:  # only that nothing failed is known
        rows = earlier.rows["failed"].take(pa.array(np.maximum(at, 0))).to_pylist()
        failed = [any(rule.startswith(f"{name}.") for rule in rules or ()) for rules in rows]
        known &= ~np.array(failed, bool)
    return known if known.any() else None


def judge(name: str) -> Callable[[pa.Table, Any], pa.Table] | None:
    """What decides from signals that are there, whatever the thresholds; None where a step keeps
    that to itself."""
    step = STEPS[name]
    if step.decide or step.bounds is None:
        return step.decide
    bounds = step.bounds
    return lambda docs, config: mark(docs, bounds(config))


def _split(
    docs: pa.Table, use: Use, earlier: Earlier, known: np.ndarray
) -> tuple[pa.Table, list[Fault]]:
    """One step over a batch: the known rows are only decided."""
    measured, lost = _run_step(docs.filter(pa.array(~known)).combine_chunks(), use)
    docs = docs.filter(pa.array(known)).combine_chunks()
    before, failed_before = docs["rule"], docs["failed"]
    at = pa.array(docs["_at"].to_numpy())
    for field in measured.schema:
        if field.name not in docs.column_names:
            values = earlier.rows[field.name].take(at).combine_chunks()
            docs = docs.append_column(field, values)
    if decide := judge(use.name):
        docs = _prefix_rules(decide(docs, use.config), before, failed_before, use.name)
    both = pa.concat_tables([measured, docs.select(measured.column_names)])
    return both.sort_by("_row").combine_chunks(), lost


def audited(docs: pa.Table, fraction: float) -> pa.Array:
    """Which documents see every step, by a hash of the id."""
    hashes = hash_strings(docs["id"], np.uint64(AUDIT_SEED))
    return pa.array(hashes < np.uint64(min(int(fraction * 2.0**64), 2**64 - 1)))


def output_schema(schema: pa.Schema) -> pa.Schema:
    """DOCUMENT, then the signals in their order, then REMOVAL."""
    fixed = set(DOCUMENT.names) | set(REMOVAL.names)
    signals = [field for field in schema if field.name not in fixed]
    return pa.schema([*DOCUMENT, *signals, *REMOVAL])


def schema_after(steps: list[Use], before: pa.Schema) -> pa.Schema:
    """The columns that the steps give, found by running them on no documents."""
    empty = pa.Table.from_pylist([], schema=before)
    return apply(empty, steps, 0.0)[0].schema


def _run_step(docs: pa.Table, use: Use) -> tuple[pa.Table, list[Fault]]:
    """One step over a batch; where it raises, the batch is halved until the document at fault is
    alone."""
    before = docs["rule"]
    try:
        # Audited rows keep their first mark: `mark` writes only where no rule is set.
        after = STEPS[use.name].function(docs, use.config)
    except Exception as error:  # quarantine: the document goes to errors/ with this reason
        if not docs.num_rows:
            raise  # no document is at fault
        if docs.num_rows == 1:
            empty = STEPS[use.name].function(docs.slice(0, 0), use.config)
            return empty, list(_fault(docs, error))
        half = docs.num_rows // 2
        left, left_faults = _run_step(docs.slice(0, half).combine_chunks(), use)
        right, right_faults = _run_step(docs.slice(half).combine_chunks(), use)
        return pa.concat_tables([left, right]).combine_chunks(), left_faults + right_faults
    return _prefix_rules(after, before, docs["failed"], use.name), []


def _fault(docs: pa.Table, error: Exception) -> Iterator[Fault]:
    for row in docs.select(["id", "text"]).to_pylist():
        head = (row["text"] or "").encode()[:4096]
        yield Fault(row["id"], "step_failed", f"{type(error).__name__}: {error}", head)


def _prefix_rules(
    docs: pa.Table, rule_before: pa.ChunkedArray, failed_before: pa.ChunkedArray, name: str
) -> pa.Table:
    """`too_few_words` -> `gopher_quality.too_few_words` for what this step marked."""
    new = pc.and_(docs["rule"].is_valid(), rule_before.is_null())
    grown = pc.fill_null(pc.not_equal(_lengths(docs["failed"]), _lengths(failed_before)), False)
    if not pc.any(pc.or_(new, grown)).as_py():
        return docs
    rule = pc.if_else(new, pc.binary_join_element_wise(name, docs["rule"], "."), docs["rule"])
    index = docs.column_names.index("rule")
    docs = docs.set_column(index, REMOVAL.field("rule"), rule)
    failed = docs["failed"].to_pylist()
    seen = _lengths(failed_before).to_pylist()
    for row in np.flatnonzero(grown.to_numpy()):
        n = seen[row]
        failed[row] = failed[row][:n] + [f"{name}.{rule}" for rule in failed[row][n:]]
    index = docs.column_names.index("failed")
    field = REMOVAL.field("failed")
    return docs.set_column(index, field, pa.array(failed, field.type))


def _lengths(lists: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.fill_null(pc.list_value_length(lists), 0)
