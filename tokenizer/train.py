"""Byte-fallback BPE by SentencePiece: the tokenizer of a corpus, from a bounded sample of it.

Nothing of a text is lost: no normalisation, white space kept (indentation of code survives),
characters without a piece become their UTF-8 bytes. Digits are single tokens (LLaMA, arXiv
2302.13971, section 2.1). Training takes about 0.3 s for 2.4 MB of English text on one core; the
sample, not the corpus, is what is held in memory.
"""

import hashlib
import heapq
import io
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import sentencepiece

from tokenizer.export import tokenizer_json, vocabulary_text

PAD, BOS, EOS, UNK = 0, 1, 2, 3
MODEL_NAME = "tokenizer.model"
VOCABULARY_NAME = "vocabulary.txt"
TOKENIZER_JSON = "tokenizer.json"
MAX_SENTENCE_CHARS = 4096  # at most 16 KiB of UTF-8
MIN_VOCAB_SIZE = 320  # 256 bytes and 4 special pieces, rounded up

# A newline belongs to the line it starts, so that "\n\n" and "\n    " can become pieces and ".\n"
# cannot.
_LINE = re.compile(r"\n*[^\n]+|\n+")
# SentencePiece writes U+2581 for a space and refuses sentences with U+2585. Both are encoded as
# bytes, never learnt.
_RESERVED = re.compile("[\u2581\u2585]")


@dataclass(frozen=True, kw_only=True)
class Tokenizer:
    """A byte-pair vocabulary with byte fallback."""

    model: str | None = None
    """An existing tokenizer.model, used as it is; the other keys then say nothing."""
    impl: Literal["corpusmill", "sentencepiece"] = "corpusmill"
    """What encodes: our kernel, or SentencePiece itself, for models whose options the kernel
    refuses. The ids are the same."""
    vocab_size: int = 32000
    """A multiple of 64, so that the model's matrices have even tiles; special and byte pieces are
    counted in."""
    character_coverage: float = 0.9999
    """Share of the sample's characters that get a piece of their own; the others become bytes."""
    user_defined_symbols: tuple[str, ...] = ()
    """Pieces of their own wherever they stand in a text, never merged: `<|code|>`."""
    control_symbols: tuple[str, ...] = ()
    """Pieces that no text gives, for a program to put in: `<|user|>`."""
    normalization: Literal["identity", "nfkc"] = "identity"
    """nfkc folds characters that look alike (ligatures, full-width forms): what was written does
    not come back. It needs impl = "sentencepiece"."""
    sample_bytes: int = 100_000_000
    """UTF-8 bytes to train on, chosen by a hash of the text: the same sample in any order of the
    documents."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.vocab_size % 64 or self.vocab_size < MIN_VOCAB_SIZE:
            near = max(MIN_VOCAB_SIZE, round(self.vocab_size / 64) * 64)
            raise ValueError(
                f"vocab_size: {self.vocab_size} is not a multiple of 64 "
                f"from {MIN_VOCAB_SIZE} up; use {near}"
            )
        if not 0.9 <= self.character_coverage <= 1:
            raise ValueError(f"character_coverage: {self.character_coverage} is not within 0.9..1")
        if self.normalization == "nfkc" and self.impl != "sentencepiece":
            raise ValueError('normalization: "nfkc" needs impl = "sentencepiece"')
        symbols = [*self.user_defined_symbols, *self.control_symbols]
        for symbol in symbols:
            if not symbol or symbol.isspace() or symbols.count(symbol) > 1:
                raise ValueError(
                    f"user_defined_symbols, control_symbols: {symbol!r} is empty or there twice"
                )
        if self.sample_bytes < 1:
            raise ValueError(f"sample_bytes: {self.sample_bytes} is below 1")


def train_tokenizer(
    texts: Iterable[pa.Array | pa.ChunkedArray], config: Tokenizer, out_dir: str
) -> dict:
    """Trains on batches of texts (nulls are skipped) and writes `tokenizer.model`, `vocabulary.txt`
    and, for Hugging Face, `tokenizer.json` (not with a normalization) to `out_dir`.

    Returns model (path), digest, vocab_size, sample_documents, sample_bytes. The same texts, in any
    order and any batches, give the same bytes. Raises ValueError where the sample does not support
    the vocabulary.
    """
    sample = draw_sample(texts, config.sample_bytes, config.seed)
    sentences = [sentence for text in sample for sentence in split_sentences(text)]
    if not sentences:
        raise ValueError("tokenizer: no text to train on; give it documents that are kept")
    model = _train(sentences, config)
    directory = Path(out_dir)
    directory.mkdir(parents=True, exist_ok=True)
    _write(directory / VOCABULARY_NAME, vocabulary_text(model))
    if config.normalization == "identity":
        exported = json.dumps(tokenizer_json(model), ensure_ascii=False, indent=1)
        _write(directory / TOKENIZER_JSON, exported.encode())
    _write(directory / MODEL_NAME, model)
    return {
        "model": str(directory / MODEL_NAME),
        "digest": hashlib.sha256(model).hexdigest()[:32],
        "vocab_size": config.vocab_size,
        "sample_documents": len(sample),
        "sample_bytes": sum(len(text.encode()) for text in sample),
    }


def draw_sample(texts: Iterable[pa.Array | pa.ChunkedArray], n_bytes: int, seed: int) -> list[str]:
    """Texts in ascending order of their hash until `n_bytes` of UTF-8 are reached; the last one is
    cut to fit."""
    sample = Sample(n_bytes, seed)
    for batch in texts:
        sample.add(batch)
    return sample.texts()


class Sample:
    """A heap of the texts with the smallest hashes seen so far: memory is bounded by `n_bytes` and
    one text."""

    def __init__(self, n_bytes: int, seed: int) -> None:
        self._n_bytes, self._held = n_bytes, 0
        self._key = seed.to_bytes(8, "little", signed=True)
        self._heap: list[tuple[int, bytes]] = []  # negated hashes: the largest hash is on top

    def add(self, texts: pa.Array | pa.ChunkedArray) -> None:
        for text in texts.to_pylist():
            if not text:
                continue
            data = text.encode()
            digest = hashlib.blake2b(data, digest_size=8, key=self._key).digest()
            heapq.heappush(self._heap, (-int.from_bytes(digest, "little"), data))
            self._held += len(data)
            while self._held - len(self._heap[0][1]) >= self._n_bytes:
                self._held -= len(heapq.heappop(self._heap)[1])

    def texts(self) -> list[str]:
        chosen = [data for _, data in sorted(self._heap, reverse=True)]
        if self._held > self._n_bytes:
            chosen[-1] = chosen[-1][: len(chosen[-1]) - (self._held - self._n_bytes)]
        decoded = [data.decode(errors="ignore") for data in chosen]  # a cut character is dropped
        return [text for text in decoded if text]


def split_sentences(text: str) -> Iterator[str]:
    """What SentencePiece is shown: lines, each with the newlines before it, cut before a space
    where they are longer than MAX_SENTENCE_CHARS. Only U+2581 and U+2585 are left out; all else, in
    order, is the text."""
    for part in _RESERVED.split(text):
        for match in _LINE.finditer(part):
            line = match.group()
            while len(line) > MAX_SENTENCE_CHARS:
                space = line.rfind(" ", 1, MAX_SENTENCE_CHARS)
                cut = space if space > 0 else MAX_SENTENCE_CHARS
                yield line[:cut]
                line = line[cut:]
            yield line


def _train(sentences: list[str], config: Tokenizer) -> bytes:
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=model,
            model_type="bpe",
            vocab_size=config.vocab_size,
            character_coverage=config.character_coverage,
            byte_fallback=True,
            split_digits=True,
            user_defined_symbols=list(config.user_defined_symbols),
            control_symbols=list(config.control_symbols),
            normalization_rule_name=config.normalization,
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            allow_whitespace_only_pieces=True,
            max_sentence_length=MAX_SENTENCE_CHARS * 4,
            pad_id=PAD,
            bos_id=BOS,
            eos_id=EOS,
            unk_id=UNK,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise ValueError(_explain(str(error), config)) from None
    return model.getvalue()


def _explain(message: str, config: Tokenizer) -> str:
    """SentencePiece's complaint about a vocabulary, with the mend."""
    place = f"tokenizer.vocab_size: {config.vocab_size}"
    if most := re.search(r"value <= (\d+)", message):
        fits = int(most.group(1)) // 64 * 64
        mend = f"use {fits} or less, or give it" if fits >= MIN_VOCAB_SIZE else "give it"
        return f"{place} is more than the sample supports; {mend} more text"
    if least := re.search(r"required_chars\. \d+ vs (\d+)", message):
        needed = -(-int(least.group(1)) // 64) * 64
        return (
            f"{place} cannot hold the sample's characters; "
            f"use {needed} or more, or lower character_coverage ({config.character_coverage})"
        )
    return f"tokenizer: SentencePiece could not train: {message}"


def _write(path: Path, data: bytes) -> None:
    """The whole file or none."""
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    temporary.write_bytes(data)
    temporary.replace(path)
