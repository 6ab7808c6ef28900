"""Names and places by the entity recognizer of a spaCy pipeline that the user names.

Nothing is downloaded: a pipeline that is not there is an error. Its labels are read as presidio
reads them (PERSON and PER are names; GPE, LOC and FAC are places, streets among them).
"""

import functools
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filters.pii_rules import Span

NER_ENTITIES = ("name", "location")
MAX_CHARS = 50_000  # of one piece of text that the model sees
_PRESIDIO = {"PERSON": "name", "LOCATION": "location"}


@functools.cache
def load_model(name: str) -> tuple[Any, dict[str, str]]:
    """(pipeline, its labels as our entities). ValueError if it is not there, or finds no
    entities."""
    is_package = re.fullmatch(r"\w+", name) and importlib.util.find_spec(name)
    if not is_package and not (Path(name) / "config.cfg").is_file():
        raise ValueError(
            f"ner_model {name!r}: neither an installed package nor a directory with a spaCy "
            "pipeline; install one (it is not downloaded)"
        )
    import spacy  # takes seconds, and few runs need it
    from presidio_analyzer.nlp_engine import NerModelConfiguration

    try:
        model = spacy.load(name)
    except (OSError, ValueError, ImportError) as error:
        raise ValueError(f"ner_model {name!r}: {error}") from None
    known = NerModelConfiguration().model_to_presidio_entity_mapping or {}
    labels = {label for pipe in model.pipe_names for label in model.pipe_labels.get(pipe, [])}
    ours = {label: _PRESIDIO[known[label]] for label in labels if known.get(label) in _PRESIDIO}
    if not ours:
        raise ValueError(f"ner_model {name!r}: it has no label for a person or a place")
    return model, ours


def find_names(text: bytes, name: str) -> Iterator[Span]:
    """Names and places in a text, a piece at a time, cut at line breaks or spaces."""
    model, labels = load_model(name)
    at = 0
    for piece in _pieces(text.decode()):
        done, done_bytes = 0, at
        for entity in model(piece).ents:
            start = done_bytes + len(piece[done : entity.start_char].encode())
            end = start + len(entity.text.encode())
            done, done_bytes = entity.end_char, end
            if entity.label_ in labels:
                yield Span(start, end, labels[entity.label_])
        at += len(piece.encode())


def _pieces(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        end = at + MAX_CHARS
        if end < len(text):
            cut = max(text.rfind("\n", at, end), text.rfind(" ", end - 200, end))
            end = cut + 1 if cut > at else end
        yield text[at:end]
        at = end
