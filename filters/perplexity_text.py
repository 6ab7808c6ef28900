"""A text as the sentences of an n-gram model: normalised, and cut into words or SentencePiece
pieces. The same for fitting and for scoring.

`words` needs no second file: lower-cased words without punctuation. `ccnet` is what CCNet and the
models in circulation that follow it were made with (Wenzek et al. 2019, arXiv 1911.00359, section
3.4; cc_net/text_normalizer.py): lower case, no accents, every digit 0, 34 punctuation marks made
plain, control characters away, then SentencePiece.
"""

import functools
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import sentencepiece

SPECIAL = ("<unk>", "<s>", "</s>")

# Scripts written without spaces: each character is a word, as in the house's other words.
SPACELESS = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"

# CCNet's map; its line for the full-width 1 never applies, for digits are 0 by then.
PUNCTUATION = dict(
    zip(
        "，。、„”“«»」「《》´∶：？！（）；–～’━〈〉【】％►",
        ',.,"""""""""\'::?!();-~\'-<>[]%-',
        strict=True,
    )
) | {"．": ". ", "—": " - ", "…": "..."}


@dataclass(frozen=True, kw_only=True)
class Ccnet:
    """What of CCNet's normalisation is done; other models of its kind leave some of it out."""

    lower: bool = True
    strip_accents: bool = True
    zero_digits: bool = True
    map_punctuation: bool = True


CCNET = Ccnet()


@dataclass(frozen=True, kw_only=True)
class Units:
    """How a text becomes sentences."""

    normalization: str = "words"  # or ccnet
    ccnet: Ccnet = CCNET
    sentence: str = "line"  # or text
    tokenizer: str | None = None  # a SentencePiece model


def sentences(texts: pa.Array | pa.ChunkedArray, units: Units) -> list[str]:
    """For each text its sentences, parted by newlines, none empty; units parted by one space. ""
    where there is none.

    What looks like <unk>, <s> or </s> is left out: kenlm would take it for the symbol, and <s>
    costs nothing.
    """
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    if units.normalization == "words":
        lines = normalized_lines(texts)
        if units.sentence == "text":
            lines = pc.replace_substring(lines, "\n", " ")
        whole = [text or "" for text in lines.to_pylist()]
    else:
        whole = [ccnet_lines(text or "", units) for text in texts.to_pylist()]
    if units.tokenizer is not None:
        return [_pieces(text, units.tokenizer) for text in whole]
    if units.normalization == "words":
        return whole
    return [_joined(line.split() for line in text.split("\n")) for text in whole]


def normalized_lines(texts: pa.Array) -> pa.Array:
    """Lower-cased; every decimal digit of any script is 0 (as in CCNet); what is not a letter,
    number or mark parts words (CCNet keeps punctuation as words of its own); each character of a
    spaceless script is a word. Words are parted by one space, lines by one newline."""
    texts = pc.utf8_lower(texts)
    texts = pc.replace_substring_regex(texts, SPACELESS, r" \0 ")
    texts = pc.replace_substring_regex(texts, r"[^\p{L}\p{N}\p{M}\n]+", " ")
    texts = pc.replace_substring_regex(texts, r" *\n[ \n]*", "\n")
    texts = pc.replace_substring_regex(texts, r"\p{Nd}", "0")
    return pc.utf8_trim_whitespace(texts)


def ccnet_lines(text: str, units: Units) -> str:
    """CCNet's `normalize` of each line, or (sentence = "text") of the whole text, whose newlines
    then vanish among the control characters, as they do in CCNet's own pipeline."""
    parts = text.split("\n") if units.sentence == "line" else [text]
    table = _characters(units.ccnet)
    lines = []
    for part in parts:
        line = part.strip()
        if units.ccnet.lower:
            line = line.lower()
        if units.ccnet.strip_accents and not line.isascii():
            line = unicodedata.normalize("NFD", line)
        lines.append(line.translate(table))
    return "\n".join(lines)


class _Characters(dict[int, str]):
    """What a character becomes, for str.translate; filled as characters are met."""

    def __init__(self, rules: Ccnet) -> None:
        self.rules = rules

    def __missing__(self, code: int) -> str:
        char = chr(code)
        category = unicodedata.category(char)
        value = char
        if self.rules.strip_accents and category == "Mn":
            value = ""
        elif self.rules.zero_digits and category == "Nd":
            value = "0"
        elif self.rules.map_punctuation and char in PUNCTUATION:
            value = PUNCTUATION[char]
        elif category == "Cc":  # 0 to 31 and 127 to 159
            value = ""
        self[code] = value
        return value


@functools.cache
def _characters(rules: Ccnet) -> _Characters:
    return _Characters(rules)


def _pieces(text: str, tokenizer: str) -> str:
    lines = [line for line in text.split("\n") if line]
    if not lines:
        return ""
    return _joined(load_sentencepiece(tokenizer).encode(lines, out_type=str, num_threads=1))


def _joined(sentences: Iterable[list[str]]) -> str:
    """Sentences, each a list of units, as text; see `sentences`."""
    lines = []
    for words in sentences:
        line = " ".join(words)
        if "<" in line:
            line = " ".join(word for word in words if word not in SPECIAL)
        if line:
            lines.append(line)
    return "\n".join(lines)


@functools.cache
def load_sentencepiece(path: str) -> sentencepiece.SentencePieceProcessor:
    """A SentencePiece model, loaded once a process. Raises ValueError where there is none."""
    if not Path(path).is_file():
        raise ValueError(f"{path}: no such file; a SentencePiece model is needed")
    try:
        return sentencepiece.SentencePieceProcessor(model_file=path)
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{path}: not a SentencePiece model ({error})") from None
