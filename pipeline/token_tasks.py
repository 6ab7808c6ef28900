"""The tokenizer, from a sample of the documents; and the ids of every document of a part."""

import shutil
import tempfile
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.mixture import Mixture
from pipeline.parts import Part, read_tables
from pipeline.schema import (
    tokens_schema,
)
from pipeline.tally import text_bytes
from pipeline.tokenizer_sample import Documents, sample_texts
from tokenizer.encode import encode
from tokenizer.train import (
    MODEL_NAME,
    TOKENIZER_JSON,
    VOCABULARY_NAME,
    Tokenizer,
    train_tokenizer,
)


def fit_tokenizer(
    part: Part,
    sources: list[Documents],
    mixture: Mixture | None,
    config: Tokenizer,
    seed: int,
) -> dict[str, Any]:
    """One SentencePiece model from a sample of the kept documents by the mixture's weights."""
    names = {"model": MODEL_NAME, "vocabulary": VOCABULARY_NAME}
    if config.normalization == "identity":
        names["tokenizer_json"] = TOKENIZER_JSON
    with tempfile.TemporaryDirectory() as made:
        sample = sample_texts(part.root, sources, mixture, config.sample_bytes, seed)
        figures = train_tokenizer(sample, config, made)
        for role, name in names.items():
            shutil.move(Path(made) / name, part.file(role, f"tokenizer/{part.key[:10]}/{name}"))
    return {"figures": {k: v for k, v in figures.items() if k != "model"}}


def tokenize_part(
    part: Part,
    source: str,
    path: str | None,
    model: str,
    impl: Literal["corpusmill", "sentencepiece"],
    vocab_size: int,
    batch_bytes: int,
) -> dict[str, Any]:
    """ids of every document of a part."""
    counts: dict[str, Any] = {"in": 0, "kept": 0, "removed": {}, "lost": 0}
    counts |= {"bytes_in": 0, "tokens": 0}
    if path is None:
        return {source: counts}
    schema = tokens_schema(vocab_size)
    tokens = part.table("tokens", f"tokens/{source}", schema)
    for table in read_tables(part.root, path, ["id", "text"], batch_bytes):
        ids = encode(table["text"].combine_chunks(), model, impl)
        n_bytes = pc.cast(pc.fill_null(pc.binary_length(table["text"]), 0), pa.int64())
        tokens.write(pa.table({"id": table["id"], "ids": ids, "n_bytes": n_bytes}))
        counts["in"] += table.num_rows
        counts["bytes_in"] += text_bytes(table)
        counts["tokens"] += pc.sum(pc.list_value_length(ids)).as_py() or 0
    counts["kept"] = tokens.rows
    return {source: counts}
