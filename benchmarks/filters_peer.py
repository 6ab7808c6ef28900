"""datatrove's side of `benchmarks/filters.py`, run by a Python that has datatrove and none of our
packages:

    python benchmarks/filters_peer.py TEXTS.json ANSWER.json
"""

import json
import sys
import time
from pathlib import Path

STEPS = ("gopher_repetition", "gopher_quality", "c4", "fineweb")
QUALITY = {
    "min_doc_words": "too_few_words",
    "max_doc_words": "too_many_words",
    "min_avg_word_length": "words_too_short",
    "max_avg_word_length": "words_too_long",
    "max_symbol_word_ratio": ("too_many_hashes", "too_many_ellipses"),
    "max_bullet_lines_ratio": "too_many_bullet_lines",
    "max_ellipsis_lines_ratio": "too_many_ellipsis_lines",
    "max_non_alpha_words_ratio": "too_few_alpha_words",
    "min_stop_words": "too_few_stop_words",
}
REPETITION = {
    "dup_line_frac": "high_dup_line_fraction",
    "dup_para_frac": "high_dup_paragraph_fraction",
    "dup_line_char_frac": "high_dup_line_char_fraction",
    "dup_para_char_frac": "high_dup_paragraph_char_fraction",
}
FINEWEB_OFF = {
    "line_punct_thr": (-1.0, "too_few_terminal_lines"),
    "short_line_thr": (2.0, "too_many_short_lines"),
    "char_duplicates_ratio": (2.0, "too_many_repeated_lines"),
    "new_line_ratio": (1e9, "too_many_newlines"),
}
C4_LINES_ONLY = {"filter_lorem_ipsum": False, "filter_curly_bracket": False}


def peer_filters() -> list[tuple[str, object]]:
    """(our rule, datatrove's filter with all other rules off)."""
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )

    found: list[tuple[str, object]] = []
    off = dict.fromkeys(QUALITY)
    for key, rules in QUALITY.items():
        default = GopherQualityFilter().__dict__[key]
        for rule in rules if isinstance(rules, tuple) else (rules,):
            found.append((f"gopher_quality.{rule}", GopherQualityFilter(**{**off, key: default})))
    none = {**dict.fromkeys(REPETITION), "top_n_grams": (), "dup_n_grams": ()}
    defaults = GopherRepetitionFilter()
    for key, rule in REPETITION.items():
        alone = GopherRepetitionFilter(**{**none, key: getattr(defaults, key)})
        found.append((f"gopher_repetition.{rule}", alone))
    for key, prefix in (("top_n_grams", "top"), ("dup_n_grams", "dup")):
        for n, bound in getattr(defaults, key):
            alone = GopherRepetitionFilter(**{**none, key: ((n, bound),)})
            found.append((f"gopher_repetition.high_{prefix}_{n}_gram_char_fraction", alone))
    for key, (_, rule) in FINEWEB_OFF.items():
        others = {k: value for k, (value, _) in FINEWEB_OFF.items() if k != key}
        found.append((f"fineweb.{rule}", FineWebQualityFilter(**others)))
    no_count = {"min_num_sentences": -1}
    lorem = C4QualityFilter(**no_count, filter_curly_bracket=False)
    found.append(("c4.lorem_ipsum", lorem))
    found.append(("c4.curly_bracket", C4QualityFilter(**no_count, filter_lorem_ipsum=False)))
    found.append(("c4.too_few_sentences", C4QualityFilter(**C4_LINES_ONLY)))
    return found


REASONS = {
    "too_many_hashes": "gopher_too_many_hashes",
    "too_many_ellipses": "gopher_too_many_ellip",
}


def peer_fails(rule: str, peer: object, text: str) -> bool | None:
    """Whether datatrove's rule removes the text; None where it raises (a division by zero)."""
    from datatrove.data import Document

    try:
        verdict = peer.filter(Document(text=text, id="0"))
    except ZeroDivisionError:
        return None
    kept, reason = verdict if isinstance(verdict, tuple) else (verdict, "")
    wanted = REASONS.get(rule.split(".")[1])
    return not kept and (wanted is None or reason.startswith(wanted))


def peer_verdicts(texts: list[str]) -> dict:
    """Every rule on every text, the words and their kinds, sentences, and C4's edited texts."""
    import warnings

    from datatrove.data import Document
    from datatrove.pipeline.filters import C4QualityFilter
    from datatrove.utils.text import PUNCTUATION_SET, split_into_sentences, split_into_words

    warnings.simplefilter("ignore")  # means of nothing
    filters = peer_filters()
    fails: dict[str, list] = {rule: [] for rule, _ in filters}
    words, kinds, edited, sentences = [], [], [], []
    for text in texts:
        found = split_into_words(text)
        words.append(found)
        kinds.append(
            "".join(
                "0" if all(c in PUNCTUATION_SET for c in w) else "12"[any(map(str.isalpha, w))]
                for w in found
            )
        )
        for rule, peer in filters:
            fails[rule].append(peer_fails(rule, peer, text))
        document = Document(text=text, id="0")
        C4QualityFilter(min_num_sentences=-1, **C4_LINES_ONLY).filter(document)
        edited.append(document.text)
        lines = document.text.splitlines()
        sentences.append(sum(len(split_into_sentences(line)) for line in lines))
    out = {"fails": fails, "words": words, "kinds": kinds, "edited": edited}
    return out | {"sentences": sentences}


def peer_seconds(texts: list[str]) -> dict[str, float]:
    """CPU seconds of each filter alone, and of the four in a row on what is left."""
    from datatrove.data import Document
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )
    from datatrove.utils.text import split_into_parts

    kinds = (GopherRepetitionFilter, GopherQualityFilter, C4QualityFilter, FineWebQualityFilter)
    filters = dict(zip(STEPS, (kind() for kind in kinds), strict=True))
    filters["gopher_quality"].filter(Document(text="Loads the tokenizer.", id="0"))
    seconds = {}
    for chosen in (*((step,) for step in STEPS), STEPS):
        started = time.process_time()
        for text in texts:
            split_into_parts.cache_clear()
            document = Document(text=text, id="0")
            for step in chosen:
                try:
                    verdict = filters[step].filter(document)
                except ZeroDivisionError:
                    break
                if verdict is not True and len(chosen) > 1:
                    break
        seconds["all" if len(chosen) > 1 else chosen[0]] = time.process_time() - started
    return seconds


def main(texts_path: str, out: str) -> None:
    texts = json.loads(Path(texts_path).read_text())
    answer = peer_verdicts(texts) | {"seconds": peer_seconds(texts), "python": sys.version}
    Path(out).write_text(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
