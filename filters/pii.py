"""Replaces personal data by tags or pseudonyms: keys and tokens, wallets, e-mail and IP addresses,
phone, card, social security and bank account numbers; names and places by a spaCy model.

A kernel walks the bytes and proposes windows (an `@`, a run of digits, colons, two letters with two
digits, a long run of letters and digits); rules that cost microseconds judge only those: 190 MB/s
on real pages, where presidio on whole texts makes .4. A text that is a list of candidates would
be read at .2 to 4 MB/s: one of more than `max_candidates` is marked and left as it is, so that
10 MB of anything take no longer than 10 MB of prose. Presidio judges what it can (IBAN, SSN,
Bitcoin), but on windows, and libphonenumber what a phone number is; e-mail is judged here, because
presidio's recognizer fetches a list from the network. `benchmarks/pii.py` measures both, on
presidio-research's set and on another.

A number is taken for a phone only by its form or by a word near it (in a dozen languages): a bare
run of digits is left.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.kernels import text_buffers
from filters.pii_names import NER_ENTITIES, find_names, load_model
from filters.pii_pseudonyms import pseudonym, read_key
from filters.pii_rules import Span, judge, kinds_of
from filters.pii_windows import find_windows
from filters.rules import Bound, at_most, mark, with_signals

ENTITIES = ("secret", "crypto", "email", "ip", "iban", "card", "ssn", "phone")
"""The surer first: decides between spans of one length."""

CANDIDATE_BYTES = 64


@dataclass(frozen=True, kw_only=True)
class ScrubPii:
    """Replaces personal data in the text."""

    entities: tuple[str, ...] = ENTITIES
    """Also `name` and `location`, with a `ner_model`."""
    replace: Literal["tag", "pseudonym", "remove"] = "tag"
    """tag: <EMAIL>; pseudonym: <EMAIL_qhzkvbtwmxrd>, the same for the same address in the whole
    corpus; remove: nothing, and one space less."""
    replacement: str = "<{entity}>"
    """What is put in; {entity} becomes EMAIL, IP, ..., or EMAIL_ and the pseudonym."""
    key_file: str = ""
    """pseudonym: a file with a secret of 16 bytes or more. It is not copied to any output; its
    SHA-256 is part of what names the parts, so that another key makes them anew."""
    ner_model: str = ""
    """A spaCy pipeline with an entity recognizer, installed or a directory. It is known by this
    name: after a change give it another, or the parts made with the old one stay."""
    private_ips: bool = False
    """Replace addresses of private, loopback and other non-public networks too: they name no
    one."""
    max_candidates: int | None = 1000
    """Places that look like personal data, a long one once for each 64 bytes; each costs 10 to
    100 us to judge. A text with more is not judged at all but marked `too_many_candidates`: it is a
    directory or a log. On 452 real pages the most was 46. None judges every text, however long it
    takes."""
    max_entities: int | None = None
    """A document with more is marked `too_many_entities` (Dolma, arXiv 2402.00159: 5); off if
    unset."""

    def __post_init__(self) -> None:
        for entity in self.entities:
            if entity not in (*ENTITIES, *NER_ENTITIES):
                known = ", ".join((*ENTITIES, *NER_ENTITIES))
                raise ValueError(f"entities: no such entity {entity!r}. Known: {known}")
            if entity in NER_ENTITIES and not self.ner_model:
                raise ValueError(f"entities: {entity!r} needs ner_model, a spaCy pipeline")
        if self.ner_model and not set(NER_ENTITIES) & set(self.entities):
            raise ValueError(f"ner_model: nothing needs it; add {NER_ENTITIES[0]!r} to entities")
        if self.replace == "pseudonym" and not self.key_file:
            raise ValueError("key_file: missing; pseudonyms need a file with a secret")
        if self.key_file and self.replace != "pseudonym":
            raise ValueError('key_file: nothing needs it but replace = "pseudonym"')
        for key in ("max_candidates", "max_entities"):
            if (getattr(self, key) or 0) < 0:
                raise ValueError(f"{key} {getattr(self, key)} is below 0")
        if re.search(r"[0-9@]", self.replacement):
            raise ValueError(
                f"replacement {self.replacement!r}: take out digits and @, they look like such data"
            )


def prepare(config: ScrubPii) -> None:
    """Reads the key and the model. ValueError where one is no use."""
    if config.key_file:
        read_key(config.key_file)
    if config.ner_model:
        load_model(config.ner_model)


class Found(NamedTuple):
    """What a text holds."""

    row: int
    text: bytes  # UTF-8
    n_candidates: int
    spans: list[Span] | None  # in order, none overlapping; None: too many candidates to judge


def scrub_pii(docs: pa.Table, config: ScrubPii) -> pa.Table:
    """Replaces what is found in `text`; adds pii.n_candidates, and pii.n_<entity> and
    pii.n_entities, null for a text that was not judged; marks too_many_candidates and, where that
    is asked for, too_many_entities."""
    texts = docs["text"].combine_chunks()
    names = ("candidates", *config.entities, "entities")
    counts = {name: np.zeros(len(texts), dtype=np.int64) for name in names}
    null = texts.is_null().to_numpy(zero_copy_only=False)
    unjudged = null.copy()
    changed: dict[int, str] = {}
    for row, text, n_candidates, spans in find_pii(texts, config):
        counts["candidates"][row] = n_candidates
        unjudged[row] |= spans is None
        if spans:
            counts["entities"][row] = len(spans)
            for span in spans:
                counts[span.entity][row] += 1
            changed[row] = replaced(text, spans, config)
    signals = {
        f"n_{name}": pa.array(column, mask=null if name == "candidates" else unjudged)
        for name, column in counts.items()
    }
    docs = with_signals(docs, "pii", signals)
    if changed:
        mask = np.zeros(len(texts), dtype=bool)
        mask[list(changed)] = True
        scrubbed = pc.replace_with_mask(texts, mask, pa.array(changed.values(), pa.string()))
        docs = docs.set_column(docs.column_names.index("text"), docs.field("text"), scrubbed)
    return mark(docs, scrub_pii_bounds(config))


def scrub_pii_bounds(config: ScrubPii) -> list[Bound]:
    return [
        at_most(config, "too_many_candidates", "pii.n_candidates", "max_candidates"),
        at_most(config, "too_many_entities", "pii.n_entities", "max_entities"),
    ]


def find_pii(texts: pa.Array, config: ScrubPii) -> Iterator[Found]:
    """Each text with a candidate, in the order of rows; with a `ner_model` every text."""
    data, offsets = text_buffers(texts)
    rows, starts, ends, kinds = find_windows(data, offsets)
    wanted = kinds & kinds_of(config.entities) != 0
    rows, starts, ends, kinds = rows[wanted], starts[wanted], ends[wanted], kinds[wanted]
    costs = -((starts - ends) // CANDIDATE_BYTES)  # rounded up
    entities = frozenset(config.entities)
    most = np.inf if config.max_candidates is None else config.max_candidates
    runs = _runs(rows)
    for row in range(len(texts)) if config.ner_model else runs:
        first, past = runs.get(row, (0, 0))
        text = data[offsets[row] : offsets[row + 1]].tobytes()
        n_candidates = int(costs[first:past].sum())
        if n_candidates > most:
            yield Found(row, text, n_candidates, None)
            continue
        found: set[Span] = set()
        for i in range(first, past):
            start, end, kind = int(starts[i]), int(ends[i]), int(kinds[i])
            found.update(judge(text, start, end, kind, entities, config.private_ips))
        if config.ner_model:
            found.update(s for s in find_names(text, config.ner_model) if s.entity in entities)
        yield Found(row, text, n_candidates, resolve(found))


def resolve(spans: set[Span]) -> list[Span]:
    """Without overlaps: the longest wins, then the earliest, then the surer entity. In text
    order."""
    surer = (*ENTITIES, *NER_ENTITIES)
    kept: list[Span] = []
    for group in _overlapping(sorted(spans)):
        mine: list[Span] = []
        for span in sorted(group, key=lambda s: (s.start - s.end, s.start, surer.index(s.entity))):
            if all(span.end <= other.start or other.end <= span.start for other in mine):
                mine.append(span)
        kept += sorted(mine)
    return kept


def _overlapping(spans: list[Span]) -> Iterator[list[Span]]:
    """Spans in order, in groups that no span of another reaches into."""
    group: list[Span] = []
    end = 0
    for span in spans:
        if group and span.start >= end:
            yield group
            group = []
        group.append(span)
        end = max(end, span.end)
    if group:
        yield group


def replaced(text: bytes, spans: list[Span], config: ScrubPii) -> str:
    """The text with something else for each span."""
    key = read_key(config.key_file) if config.key_file else b""
    parts, done = [], 0
    for span in spans:
        parts.append(text[done : span.start])
        done = span.end
        if config.replace == "remove":
            before = parts[-1][-1:] or text[span.start - 1 : span.start]
            if before in (b" ", b"") and text[done : done + 1] == b" ":
                done += 1
            continue
        name = span.entity.upper()
        if config.replace == "pseudonym":
            name += "_" + pseudonym(text[span.start : span.end].decode(), span.entity, key)
        parts.append(config.replacement.replace("{entity}", name).encode())
    return b"".join([*parts, text[done:]]).decode()


def _runs(rows: np.ndarray) -> dict[int, tuple[int, int]]:
    """Where each value of an ascending array starts and where it is past."""
    ends = (np.flatnonzero(np.diff(rows, append=-1)) + 1).tolist()
    return {int(rows[past - 1]): (first, past) for first, past in itertools.pairwise([0, *ends])}


CANARIES: dict[str, tuple[str, str]] = {
    "too_many_candidates": ("a@b.org, c@d.org, e@f.org, g@h.org", "a@b.org, c@d.org"),
    "too_many_entities": ("a@mit.edu, b@mit.edu and c@mit.edu", "a@mit.edu, b@mit.edu and c"),
}
"""A text that trips each rule and one that passes, with max_entities = 2 and max_candidates = 3."""

EXAMPLES: dict[str, tuple[str, str]] = {
    "secret": ("token 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", "token ghp_" + 36 * "x"),
    "crypto": ("to 1BoatSLRHtKNngkdXEeobR76b53LETtpyT", "to 1BoatSLRHtKNngkdXEeobR76b53LETtpyU"),
    "email": ("write to jane@example.com", "the image icon@2x.png"),
    "ip": ("from 8.8.8.8", "from 192.168.0.1"),
    "iban": ("GB42 NAWI 0445 4264 7886 19", "GB43NAWI04454264788619"),
    "card": ("card 4111 1111 1111 1111", "card 4111 1111 1111 1112"),
    "ssn": ("460-89-9847", "000-12-3456"),
    "phone": ("call 905-674-3793", "in 1914-1918"),
}
"""For each entity a text that holds one and a look-alike that does not."""
