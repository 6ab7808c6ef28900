"""Texts to token ids, and back: exactly SentencePiece's ids, exactly the text again.

`impl = "corpusmill"` merges in our own kernel (tokenizer/bpe.py), many times as fast; a model whose
options it does not know is refused, and `impl = "sentencepiece"` encodes with SentencePiece itself,
about 5 MB/s on one core. Two things are done around SentencePiece. U+2581, by which it writes a
space, would come back as a space: it is encoded as its three bytes. Long texts are encoded in
pieces of about a megabyte, cut where a space follows something else, which no piece of a
`split_by_whitespace` model crosses; the ids are those of the whole text, and memory stays bounded
(SentencePiece holds about 50 bytes a character while it merges).
"""

import functools
import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sentencepiece

from filters.kernels import text_buffers
from pipeline.schema import tokens_schema
from tokenizer.bpe import Memory, encode_batch, new_memory
from tokenizer.vocabulary import SPACE_MARK, Vocabulary, read_vocabulary

CHUNK_CHARS = 1 << 20
# Each would be altered by some option that tokenizers in use have: normalisation, stripped or
# merged white space, a prefix.
PROBE = "  caf\u00e9 \ufb01 cafe\u0301\u3000\tx  \n\n\r\n  1234 \u2581\u2585\x00 \U0001f600 "


def load(model_path: str) -> sentencepiece.SentencePieceProcessor:
    """The model, loaded once a process for each version of the file. Raises ValueError where it is
    missing, no model, or without EOS."""
    try:
        stat = Path(model_path).stat()
    except OSError as error:
        raise ValueError(f"{model_path}: {error.strerror}; train a tokenizer first") from None
    return _load(model_path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=4)
def _load(model_path: str, _mtime_ns: int, _size: int) -> sentencepiece.SentencePieceProcessor:
    try:
        model = sentencepiece.SentencePieceProcessor(model_proto=Path(model_path).read_bytes())
    except RuntimeError:
        raise ValueError(f"{model_path}: not a SentencePiece model; train it again") from None
    if model.eos_id() < 0:
        raise ValueError(
            f"{model_path}: has no EOS piece, which ends each document; train with one"
        )
    return model


@functools.lru_cache(maxsize=4)
def _gives_back(model: sentencepiece.SentencePieceProcessor) -> bool:
    """Does every text come back? Where not, the model's options change white space or characters,
    and only SentencePiece itself, on whole texts, has its ids."""
    return model.decode(_ids(model, PROBE)) == PROBE


def load_kernel(model_path: str) -> tuple[Vocabulary, Memory]:
    """The model for our own kernel, and what it remembers, once a process for each version of the
    file. Raises ValueError as `load` does, and where the kernel's ids would not be
    SentencePiece's."""
    if not _gives_back(load(model_path)):
        raise ValueError(
            f"{model_path}: does not give every text back, its options change white space or "
            "characters; use impl = 'sentencepiece' if that is wanted"
        )
    stat = Path(model_path).stat()
    return _load_kernel(model_path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=4)
def _load_kernel(model_path: str, _mtime_ns: int, _size: int) -> tuple[Vocabulary, Memory]:
    try:
        return read_vocabulary(Path(model_path).read_bytes()), new_memory()
    except ValueError as error:
        raise ValueError(f"{model_path}: {error}") from None


def digest(model_path: str) -> str:
    """What packed files remember of their tokenizer: sha256 of the model file, 32 hex digits."""
    return hashlib.sha256(Path(model_path).read_bytes()).hexdigest()[:32]


def token_bytes(model_path: str) -> np.ndarray:
    """int64 [vocabulary]: bytes of UTF-8 that each token stands for: 0 for EOS and other control
    pieces, -1 for <unk>, which stands for anything. Their sum over a document's ids is its length
    where the model gives texts back; where it normalises, that of the normalised text."""
    model = load(model_path)
    sizes = np.empty(model.get_piece_size(), np.int64)
    for i in range(len(sizes)):
        if model.is_unknown(i):
            sizes[i] = -1
        elif model.is_control(i):
            sizes[i] = 0
        elif model.is_byte(i):
            sizes[i] = 1
        else:
            sizes[i] = len(model.id_to_piece(i).replace(SPACE_MARK, " ").encode())
    return sizes


def encode(
    texts: pa.Array | pa.ChunkedArray,
    model_path: str,
    impl: Literal["corpusmill", "sentencepiece"] = "corpusmill",
) -> pa.ListArray:
    """Token ids of each text, uint16 where the vocabulary allows it, else uint32; as long as
    `texts`, without nulls. Both implementations give the same ids.

    EOS ends every document and there is no BOS: EOS separates documents in a row, and one of the
    two is enough. A null or empty text has no tokens, and no EOS.
    """
    model = load(model_path)
    if impl == "corpusmill":
        vocabulary, memory = load_kernel(model_path)
        with _ONE_AT_A_TIME:
            ids, offsets = encode_batch(*text_buffers(texts), vocabulary, memory)
    elif impl == "sentencepiece":
        ids, offsets = _by_sentencepiece(texts, model)
    else:
        raise ValueError(f"encode: no implementation {impl!r}; use 'corpusmill' or 'sentencepiece'")
    if offsets[-1] >= 1 << 31:
        raise ValueError(
            f"encode: {offsets[-1]} tokens in one batch, 2^31 at most; use smaller batches"
        )
    kind = tokens_schema(model.get_piece_size()).field("ids").type.value_type
    values = pa.array(ids.astype(kind.to_pandas_dtype(), copy=False))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)


_ONE_AT_A_TIME = threading.Lock()  # a kernel writes into what the process remembers


def _by_sentencepiece(
    texts: pa.Array | pa.ChunkedArray, model: sentencepiece.SentencePieceProcessor
) -> tuple[np.ndarray, np.ndarray]:
    arrays = [np.empty(0, np.int32)]
    lengths = np.zeros(len(texts) + 1, np.int64)
    eos, ids_of = model.eos_id(), _ids if _gives_back(model) else _plain_ids
    for i, text in enumerate(texts.to_pylist()):
        if text:
            arrays.append(np.array([*ids_of(model, text), eos], np.int32))
            lengths[i + 1] = len(arrays[-1])
    return np.concatenate(arrays), np.cumsum(lengths)


def decode(ids: np.ndarray | list[int], model_path: str) -> str:
    """The text of token ids; EOS and the other control pieces have none."""
    return load(model_path).decode(np.asarray(ids, np.int64).tolist())


def fertility(texts: pa.Array | pa.ChunkedArray, ids: pa.ListArray) -> dict[str, float]:
    """How finely a tokenizer cuts these texts: documents, words (between white space), bytes,
    tokens (EOS included), and tokens_per_word, bytes_per_token. The ratios are 0 where there is
    nothing to divide by."""
    words = pc.sum(pc.list_value_length(pc.utf8_split_whitespace(texts))).as_py() or 0
    n_bytes = pc.sum(pc.binary_length(texts)).as_py() or 0
    tokens = len(ids.flatten())
    return {
        "documents": len(texts),
        "words": words,
        "bytes": n_bytes,
        "tokens": tokens,
        "tokens_per_word": tokens / words if words else 0.0,
        "bytes_per_token": n_bytes / tokens if tokens else 0.0,
    }


def _plain_ids(model: sentencepiece.SentencePieceProcessor, text: str) -> list[int]:
    return model.encode(text)


def _ids(
    model: sentencepiece.SentencePieceProcessor, text: str, chunk: int = CHUNK_CHARS
) -> list[int]:
    if len(text) <= chunk and SPACE_MARK not in text:
        return model.encode(text)
    marks = [model.piece_to_id(f"<0x{byte:02X}>") for byte in SPACE_MARK.encode()]
    ids: list[int] = []
    for i, part in enumerate(text.split(SPACE_MARK)):
        if i:
            ids += marks
        for piece in _chunks(part, chunk):
            ids += model.encode(piece)
    return ids


def _chunks(text: str, chunk: int) -> Iterator[str]:
    """Cuts before the first run of spaces at `chunk` characters or later; a text without spaces
    stays whole."""
    start = 0
    while len(text) - start > chunk:
        cut = start + chunk
        while (cut := text.find(" ", cut)) > 0 and text[cut - 1] == " ":
            cut += 1
        if cut < 0:
            break
        yield text[start:cut]
        start = cut
    yield text[start:]
