"""RedPajama-V2's quality signals that need nothing but the text, by their published names (Weber et
al. 2024, arXiv 2411.12372, table 5; togethercomputer/RedPajama-Data, app/src/core/quality_signals).

They are signals: RedPajama drops nothing, and neither does this step by default. `least` and `most`
put bounds on any of them. A signal of lines (rps_lines_*) is stored as its mean over the lines.

Left out: rps_doc_ml_* and rps_doc_*_importance (classifiers and DSIR weights: the step `quality`
takes a classifier), rps_doc_ut1_blacklist (a table of domains: `url_filter`), ccnet_* (perplexity,
bucket, language: `perplexity` and `language`), minhash_signature_* (deduplication). Words:
"normalized" ones are the lower-cased text without ASCII punctuation, in NFD, cut at white space;
raw ones are runs of \\w or of other visible characters. rps_doc_lorem_ipsum counts the two whole
words. Speed on web pages, one core: 25 MB/s.
"""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.characters import character_traits
from filters.gopher_repeats import DUPLICATE, REDPAJAMA, TOP, ngram_counts
from filters.gopher_words import symbol_counts
from filters.kernels import character_tables, text_buffers
from filters.keywords import automaton, count_phrases, read_phrases
from filters.redpajama_words import normalized, raw, vocabulary
from filters.rules import Bound, mark, quotient, with_signals
from filters.spans import spans_of

SIGNALS = (
    "rps_doc_num_sentences", "rps_doc_word_count", "rps_doc_mean_word_length",
    "rps_doc_symbol_to_word_ratio", "rps_doc_frac_lines_end_with_ellipsis",
    "rps_doc_frac_no_alph_words", "rps_doc_frac_unique_words", "rps_doc_unigram_entropy",
    "rps_doc_frac_all_caps_words", "rps_doc_lorem_ipsum", "rps_doc_curly_bracket",
    "rps_doc_stop_word_fraction", "rps_doc_ldnoobw_words", "rps_lines_javascript_counts",
    "rps_lines_ending_with_terminal_punctution_mark", "rps_lines_num_words",
    "rps_lines_uppercase_letter_fraction", "rps_lines_numerical_chars_fraction",
    "rps_lines_start_with_bulletpoint",
    *(f"rps_doc_frac_chars_top_{n}gram" for n in TOP),
    *(f"rps_doc_frac_chars_dupe_{n}grams" for n in DUPLICATE),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class RedPajama:
    """Bounds on RedPajama-v2's quality signals; without one they are measured only."""

    least: dict[str, float] = field(default_factory=dict)
    """Bounds by a signal's published name: a document below is marked `low_<name>`."""
    most: dict[str, float] = field(default_factory=dict)
    """A document above is marked `high_<name>`."""
    stop_words: str = ""
    """A text file, one word a line, for rps_doc_stop_word_fraction; null without."""
    bad_words: str = ""
    """A text file, one phrase a line, for rps_doc_ldnoobw_words; null without."""

    def __post_init__(self) -> None:
        for key in ("least", "most"):
            for name in getattr(self, key):
                if name not in SIGNALS:
                    raise ValueError(f"{key}: no such signal {name!r}. Known: {', '.join(SIGNALS)}")
        bounded = {*self.least, *self.most}
        files = (("stop_words", "stop_word_fraction"), ("bad_words", "ldnoobw_words"))
        for key, name in files:
            if f"rps_doc_{name}" in bounded and not getattr(self, key):
                raise ValueError(f"{key}: a bound on rps_doc_{name} needs a file of words")


def redpajama(docs: pa.Table, config: RedPajama) -> pa.Table:
    """Adds redpajama.rps_*, marks what a bound of the config rules out."""
    docs = with_signals(docs, "redpajama", measure(docs["text"], *load_redpajama(config)))
    return mark(docs, redpajama_bounds(config))


def redpajama_bounds(config: RedPajama) -> list[Bound]:
    """Those of the config in its order, then all that are off."""
    least, most = config.least, config.most
    return [
        Bound(f"low_{n}", f"redpajama.{n}", least=least.get(n), key=f"least.{n}")
        for n in dict.fromkeys([*least, *SIGNALS])
    ] + [
        Bound(f"high_{n}", f"redpajama.{n}", most=most.get(n), key=f"most.{n}")
        for n in dict.fromkeys([*most, *SIGNALS])
    ]


def load_redpajama(config: RedPajama) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(stop words, bad words). Raises ValueError for a list without any."""
    stop_words = read_phrases((config.stop_words,)) if config.stop_words else ()
    return stop_words, read_phrases((config.bad_words,)) if config.bad_words else ()


def measure(
    texts: pa.ChunkedArray, stop_words: tuple[str, ...] = (), bad_words: tuple[str, ...] = ()
) -> dict[str, pa.Array]:
    """float64 columns named in SIGNALS, null for a null text, and where there is nothing to divide
    by."""
    spans = spans_of(texts)
    absent = texts.is_null().to_numpy(zero_copy_only=False)
    tables = character_tables()[0], character_traits()
    stops = vocabulary(stop_words)
    n_raw, alph, caps, n_stops, curly, sentences, n_lines, ends, bullets, upper = raw(
        spans.data, spans.offsets, *tables, stops
    ).T
    folded = pc.utf8_normalize(pc.utf8_lower(texts), "NFD")
    hashes, chars, first, last, sums = normalized(*text_buffers(folded), *tables)
    n, n_chars, n_unique, entropy, lorem, line_words, scripts, numeric = sums.T
    symbols = symbol_counts(
        *spans[:2], spans.line_first, spans.line_last, spans.line_start, spans.line_end, tables[0]
    )

    def share(part: np.ndarray, whole: np.ndarray) -> pa.Array:
        return quotient(part, whole, absent)

    def of_words(part: np.ndarray) -> pa.Array:
        return quotient(part, n_raw, absent)

    content = n_chars + np.maximum(n - 1, 0)
    values = {
        "rps_doc_num_sentences": pa.array(sentences, mask=absent),
        "rps_doc_word_count": pa.array(n, mask=absent),
        "rps_doc_mean_word_length": share(n_chars, n),
        "rps_doc_symbol_to_word_ratio": of_words(symbols[:, 2] + symbols[:, 3]),
        "rps_doc_frac_lines_end_with_ellipsis": share(symbols[:, 1], n_lines),
        "rps_doc_frac_no_alph_words": of_words(n_raw - alph),
        "rps_doc_frac_unique_words": share(n_unique, n),
        "rps_doc_unigram_entropy": pa.array(entropy, mask=absent | (n == 0)),
        "rps_doc_frac_all_caps_words": of_words(caps),
        "rps_doc_lorem_ipsum": share(lorem, np.maximum(content, 1)),
        "rps_doc_curly_bracket": share(curly, np.maximum(spans.n_chars, 1)),
        "rps_doc_stop_word_fraction": of_words(n_stops) if stop_words else _nulls(texts),
        "rps_doc_ldnoobw_words": _nulls(texts),
        "rps_lines_javascript_counts": share(scripts, n_lines),
        "rps_lines_ending_with_terminal_punctution_mark": share(ends, n_lines),
        "rps_lines_num_words": share(line_words, n_lines),
        "rps_lines_uppercase_letter_fraction": share(upper, n_lines),
        "rps_lines_numerical_chars_fraction": share(numeric, n_lines),
        "rps_lines_start_with_bulletpoint": share(bullets, n_lines),
    }
    if bad_words:
        found = count_phrases(texts, automaton(bad_words), True)
        values["rps_doc_ldnoobw_words"] = found.cast(pa.float64())
    ngrams = ngram_counts(hashes, chars, first, last, REDPAJAMA)
    for i, name in enumerate(SIGNALS[-len(TOP + DUPLICATE) :]):
        values[name] = share(ngrams[:, i], np.maximum(n_chars, 1))
    return values


def _nulls(texts: pa.ChunkedArray) -> pa.Array:
    return pa.nulls(len(texts), pa.float64())
