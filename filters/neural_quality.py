"""How good a document is to a neural classifier: any Hugging Face sequence classifier on disk, such
as FineWeb-Edu's (Penedo et al. 2024, arXiv 2406.17557, section 4: a regression head on a frozen
encoder, score 0 to 5, kept from 3 after rounding).

Slow: a BERT-base reads about one document of 512 tokens a second on a CPU core, where fastText
reads thousands; it pays after the cheaper steps, or on a GPU. transformers is an extra (`pip
install corpusmill[neural]`); nothing is downloaded and no code of the model's directory is run.

Texts are batched by length in shapes that depend on the text alone, so that a score does not depend
on its neighbours; what is left of the order of summation is rounded away.
"""

import functools
import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.cutoffs import load_cutoffs
from filters.rules import Bound, mark, with_signals

SHORTEST = 32  # tokens; a text is padded to the next power of two
DECIMALS = 4  # float32 sums differ in the sixth

# No canaries: what trips the rule depends on the user's model.


@dataclass(frozen=True, kw_only=True)
class NeuralQuality:
    """Removes documents that a neural classifier scores low."""

    model: str
    """A local directory with config.json, model.safetensors and a tokenizer."""
    label: str | None = None
    """Whose probability is the score; unset for a model with one output, whose value it is then."""
    min_score: float | None = None
    """2.5 if neither this nor keep_fraction is set: FineWeb-Edu's 3 after rounding."""
    keep_fraction: float | None = None
    """Keeps the best part of what the sample in `cutoffs` stands for."""
    cutoffs: str | None = None
    """The distribution of scores in a sample: a file of `corpusmill fit cutoffs`."""
    max_tokens: int = 512
    """Tokens at the start of the text that are read."""
    prefix_chars: int = 20_000
    """Characters at the start of the text that are cut into tokens."""
    batch_tokens: int = 2048
    """Tokens of one pass through the model, padding included. More brings nothing on a CPU, and
    fills a GPU."""
    device: Literal["cpu", "cuda"] = "cpu"
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        if self.min_score is not None and self.keep_fraction is not None:
            raise ValueError("min_score and keep_fraction exclude each other")
        if not 0 <= (self.keep_fraction or 0) <= 1:
            raise ValueError(f"keep_fraction {self.keep_fraction} is not within 0..1")
        if (self.keep_fraction is None) != (self.cutoffs is None):
            raise ValueError("keep_fraction and cutoffs need each other")
        if self.max_tokens < 2 or self.prefix_chars < 1:
            raise ValueError("max_tokens has to be 2 or more, prefix_chars 1 or more")
        if self.batch_tokens < max(self.max_tokens, SHORTEST):
            raise ValueError(f"batch_tokens {self.batch_tokens} is below max_tokens")


class Classifier(NamedTuple):
    tokenizer: Any
    model: Any
    label: int | None  # the row of the output whose probability is the score
    max_tokens: int  # what the model's positions allow


def neural_quality(docs: pa.Table, config: NeuralQuality) -> pa.Table:
    """Adds neural_quality.score; marks low_neural_quality."""
    classifier = load_neural(config)
    scores = measure_neural_quality(docs["text"], classifier, config)
    docs = with_signals(docs, "neural_quality", {"score": scores})
    return mark(docs, neural_quality_bounds(config))


def neural_quality_bounds(config: NeuralQuality) -> list[Bound]:
    """Reads the cut-offs where a share is to be kept."""
    key, least = "min_score", 2.5 if config.min_score is None else config.min_score
    if config.keep_fraction is not None:
        cutoffs = load_cutoffs(config.cutoffs or "", "neural_quality.score")
        key, least = "keep_fraction", cutoffs.at(1 - config.keep_fraction) or 0.0
    return [Bound("low_neural_quality", "neural_quality.score", least=least, key=key)]


def load_neural(config: NeuralQuality) -> Classifier:
    """The model. Raises ValueError where it or the cut-offs are no use."""
    if config.cutoffs:
        load_cutoffs(config.cutoffs, "neural_quality.score")
    return load_classifier(config.model, config.label, config.device, config.precision)


def measure_neural_quality(
    texts: pa.ChunkedArray, classifier: Classifier, config: NeuralQuality
) -> pa.Array:
    """The model's score (float64); null for a text without a visible character."""
    starts = pc.utf8_trim_whitespace(pc.utf8_slice_codeunits(texts, 0, config.prefix_chars))
    given = starts.to_pylist()
    rows = [row for row, text in enumerate(given) if text]
    scores = np.full(len(given), np.nan)
    if rows:
        longest = min(config.max_tokens, classifier.max_tokens)
        encoded = classifier.tokenizer(
            [given[row] for row in rows],
            truncation=True,
            max_length=longest,
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]
        groups: dict[int, list[int]] = defaultdict(list)
        for i, ids in enumerate(encoded):
            groups[min(max(SHORTEST, 1 << (len(ids) - 1).bit_length()), longest)].append(i)
        for length, members in sorted(groups.items()):
            size = max(config.batch_tokens // length, 1)
            for start in range(0, len(members), size):
                batch = members[start : start + size]
                found = _forward(classifier, [encoded[i] for i in batch], size, length, config)
                scores[[rows[i] for i in batch]] = found
    return pa.array(np.round(scores, DECIMALS), pa.float64(), mask=np.isnan(scores))


def _forward(
    classifier: Classifier, ids: list[list[int]], size: int, length: int, config: NeuralQuality
) -> np.ndarray:
    """Scores of one batch, filled to `size` rows of `length` tokens: the same shape and so the same
    kernels for every text of this length."""
    import torch

    input_ids = torch.full((size, length), classifier.tokenizer.pad_token_id or 0)
    mask = torch.zeros((size, length), dtype=torch.int64)
    mask[:, 0] = 1  # rows of padding only would be NaN
    for row, tokens in enumerate(ids):
        input_ids[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
    with torch.inference_mode():
        logits = classifier.model(
            input_ids=input_ids.to(config.device), attention_mask=mask.to(config.device)
        ).logits.float()
    if classifier.label is not None:
        logits = logits.softmax(dim=-1)
    column = logits[: len(ids), classifier.label or 0]
    return column.cpu().numpy().astype(np.float64)


@functools.cache
def load_classifier(path: str, label: str | None, device: str, precision: str) -> Classifier:
    """A classifier, loaded once a process. Raises ValueError where something is missing."""
    for name in ("config.json", "model.safetensors"):
        if not (Path(path) / name).is_file():
            raise ValueError(f"{path}/{name}: no such file; a local model directory is needed")
    os.environ["HF_HUB_OFFLINE"] = "1"  # before the import, which reads it
    try:
        import torch
        import transformers
    except ImportError as error:
        raise ValueError(f"neural_quality: {error}; pip install corpusmill[neural]") from None
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError('neural_quality: device = "cuda", and this machine has none; take "cpu"')
    transformers.utils.logging.disable_progress_bar()
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(path, local_files_only=True)
        model = transformers.AutoModelForSequenceClassification.from_pretrained(
            path, local_files_only=True, use_safetensors=True, dtype=getattr(torch, precision)
        )
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{path}: not a sequence classifier ({reason})") from None
    labels = {name: i for i, name in model.config.id2label.items()}
    if label is None and len(labels) > 1:
        raise ValueError(f"{path} has several labels; set `label` to one of {', '.join(labels)}")
    if label is not None and (label not in labels or len(labels) == 1):
        known = ", ".join(labels) if len(labels) > 1 else "none, for it has one output"
        raise ValueError(f"label {label!r}: not in {path}. Known: {known}")
    positions = getattr(model.config, "max_position_embeddings", None) or 1 << 30
    if model.config.model_type in ("roberta", "xlm-roberta", "camembert"):
        positions -= 2  # they count from behind the padding
    index = labels[label] if label is not None else None
    return Classifier(tokenizer, model.eval().to(device), index, positions)
