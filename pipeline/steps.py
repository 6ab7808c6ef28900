"""The one table of document-local steps.

A step is a function `(docs, config) -> docs` that measures, marks or edits, and never drops a row.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import pyarrow as pa

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
from filters.formatting import Formatting, formatting, formatting_bounds
from filters.gopher import (
    GopherQuality,
    GopherRepetition,
    gopher_quality,
    gopher_quality_bounds,
    gopher_repetition,
    gopher_repetition_bounds,
)
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
from filters.rules import Bound, mark
from filters.url import URL_LISTS, UrlFilter, load_url_lists, url_filter


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
    prefix: str = ""  # of its signals, where that is not its name


STEPS: dict[str, Step] = {
    "url_filter": Step(url_filter, UrlFilter, URL_LISTS, load_url_lists, prefix="url"),
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
    "formatting": Step(formatting, Formatting, bounds=formatting_bounds, edits=always),
    "gopher_repetition": Step(
        gopher_repetition, GopherRepetition, bounds=gopher_repetition_bounds, prefix="gopher"
    ),
    "gopher_quality": Step(
        gopher_quality, GopherQuality, bounds=gopher_quality_bounds, prefix="gopher"
    ),
    "c4": Step(c4, C4, bounds=c4_bounds, edits=always),
    "fineweb": Step(fineweb, FineWeb, bounds=fineweb_bounds),
    "massiveweb_repetition": Step(
        massiveweb_repetition,
        MassiveWebRepetition,
        bounds=massiveweb_repetition_bounds,
        prefix="massiveweb",
    ),
    "refinedweb": Step(refinedweb, RefinedWeb, bounds=refinedweb_bounds, edits=always),
    "redpajama": Step(
        redpajama, RedPajama, ("stop_words", "bad_words"), load_redpajama, redpajama_bounds
    ),
    "dolma_repetition": Step(
        dolma_repetition, DolmaRepetition, bounds=dolma_repetition_bounds, prefix="dolma"
    ),
    "madlad": Step(
        madlad, Madlad, ("cursed", "cursed_patterns", "model"), load_madlad, madlad_bounds
    ),
    "llama_code": Step(llama_code, LlamaCode, bounds=llama_code_bounds, prefix="code"),
    "starcoder": Step(starcoder, StarCoder, bounds=starcoder_bounds, prefix="code"),
    "starcoder2": Step(starcoder2, StarCoder2, bounds=starcoder2_bounds, prefix="code"),
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
        scrub_pii,
        ScrubPii,
        ("key_file",),
        prepare_pii,
        scrub_pii_bounds,
        edits=always,
        prefix="pii",
    ),
}


class Use(NamedTuple):
    """One entry of a source's `steps`: the step's name and its config. A step that stands there
    twice is `called` something the second time, and its signals and rules by that name."""

    name: str
    config: Any
    called: str = ""

    @property
    def label(self) -> str:
        return self.called or self.name

    @property
    def prefix(self) -> str:
        """Of its signals."""
        return self.called or STEPS[self.name].prefix or self.name

    @property
    def edits(self) -> bool:
        return STEPS[self.name].edits(self.config)


def judge(name: str) -> Callable[[pa.Table, Any], pa.Table] | None:
    """What decides from signals that are there, whatever the thresholds; None where a step keeps
    that to itself."""
    step = STEPS[name]
    if step.decide or step.bounds is None:
        return step.decide
    bounds = step.bounds
    return lambda docs, config: mark(docs, bounds(config))


def bounds_of(use: Use) -> list[Bound]:
    """The rules with a threshold, with their signals as they are called."""
    bounds = STEPS[use.name].bounds
    found = bounds(use.config) if bounds else []
    if not use.called:
        return found
    return [b._replace(signal=f"{use.called}.{b.signal.partition('.')[2]}") for b in found]
