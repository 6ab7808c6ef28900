"""How well a tokenizer suits a corpus: fertility, bytes a token, fallback, use of the vocabulary,
by source, language and programming language; beside a second tokenizer, if one is given.

Fertility is tokens a word (runs between white space: of little use where a script has no spaces;
bytes a token is comparable everywhere). Fallback is the share of tokens that are single bytes of a
character without a piece.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from tokenizer.encode import encode, fertility, load, load_kernel

_BYTE = re.compile(r"<0x[0-9A-F]{2}>\Z")


class Encoder(NamedTuple):
    """A tokenizer under report."""

    name: str
    encode: Any  # texts -> list array of ids, without EOS
    is_byte: np.ndarray  # bool for each id
    n_pieces: int  # that a text can give: no control pieces


def open_encoder(path: str) -> Encoder:
    """A SentencePiece .model, or a Hugging Face tokenizer.json (which needs `tokenizers`). Raises
    ValueError for neither."""
    if path.endswith(".json"):
        return _open_json(path)
    model = load(path)
    ids = range(model.get_piece_size())
    try:
        load_kernel(path)
        impl = "corpusmill"
    except ValueError:
        impl = "sentencepiece"

    def without_eos(texts: pa.Array) -> pa.ListArray:
        found = encode(texts, path, impl)  # type: ignore[arg-type]
        values, offsets = found.values.to_numpy(), found.offsets.to_numpy()
        ends = offsets[1:][np.diff(offsets) > 0] - 1
        lengths = np.maximum(np.diff(offsets) - 1, 0)
        return pa.ListArray.from_arrays(
            pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32()),
            pa.array(np.delete(values, ends)),
        )

    is_byte = np.array([model.is_byte(i) for i in ids])
    n_pieces = sum(not (model.is_control(i) or model.is_unknown(i)) for i in ids)
    return Encoder(path, without_eos, is_byte, n_pieces)


def _open_json(path: str) -> Encoder:
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise ValueError(f"{path}: needs `pip install tokenizers`, or give a .model") from None
    try:
        tokenizer = Tokenizer.from_file(path)
    except Exception as error:  # tokenizers raises plain Exceptions
        raise ValueError(f"{path}: not a tokenizer.json ({error})") from None

    def ids_of(texts: pa.Array) -> pa.ListArray:
        found = tokenizer.encode_batch_fast(
            [text or "" for text in texts.to_pylist()], add_special_tokens=False
        )
        return pa.array([encoding.ids for encoding in found], pa.list_(pa.int32()))

    size = tokenizer.get_vocab_size()
    is_byte = np.array([bool(_BYTE.match(tokenizer.id_to_token(i) or "")) for i in range(size)])
    return Encoder(path, ids_of, is_byte, size)


def measure(batches: Iterable[pa.Table], encoders: list[Encoder]) -> list[dict[str, Any]]:
    """A row for each tokenizer and group, from tables with text, source and meta.

    Groups: all; each source; each `language.label` (a step's signal), each `language` that a source
    declared (of code its programming language). A
    row: tokenizer, by, group, documents, words, bytes, tokens, tokens_per_word, bytes_per_token,
    fallback_fraction (of tokens), used_fraction (of the vocabulary).
    """
    sums: dict[tuple[int, str, str], dict[str, float]] = {}
    used: dict[tuple[int, str, str], np.ndarray] = {}
    for table in batches:
        groups = _groups(table)
        for e, encoder in enumerate(encoders):
            ids = encoder.encode(table["text"].combine_chunks())
            for (by, group), rows in groups.items():
                chosen = pa.array(rows)
                mine = ids.take(chosen)
                values = mine.flatten().to_numpy()
                figures = fertility(table["text"].take(chosen).combine_chunks(), mine)
                key = (e, by, group)
                total = sums.setdefault(key, defaultdict(float))
                for name in ("documents", "words", "bytes", "tokens"):
                    total[name] += figures[name]
                total["fallback"] += int(encoder.is_byte[values].sum())
                seen = used.setdefault(key, np.zeros(len(encoder.is_byte), bool))
                seen[values] = True
    return [_row(encoders, key, total, used[key]) for key, total in sorted(sums.items())]


def _groups(table: pa.Table) -> dict[tuple[str, str], list[int]]:
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    sources, metas = table["source"].to_pylist(), table["meta"].to_pylist()
    for row, (source, pairs) in enumerate(zip(sources, metas, strict=True)):
        meta = dict(pairs or [])
        groups["all", ""].append(row)
        groups["source", source or ""].append(row)
        if label := meta.get("language.label"):
            groups["language", label].append(row)
        if language := meta.get("language"):
            groups["declared language", language].append(row)
    return groups


def _row(
    encoders: list[Encoder], key: tuple[int, str, str], total: dict[str, float], used: np.ndarray
) -> dict[str, Any]:
    encoder = encoders[key[0]]
    tokens = max(total["tokens"], 1)
    return {
        "tokenizer": encoder.name,
        "by": key[1],
        "group": key[2],
        **{name: int(total[name]) for name in ("documents", "words", "bytes", "tokens")},
        "tokens_per_word": round(total["tokens"] / max(total["words"], 1), 4),
        "bytes_per_token": round(total["bytes"] / tokens, 4),
        "fallback_fraction": round(total["fallback"] / tokens, 6),
        "used_fraction": round(float(used.sum()) / encoder.n_pieces, 4),
    }


def render(rows: list[dict[str, Any]]) -> str:
    """The rows as a table for a terminal."""
    lines = [
        f"{'':34}{'documents':>10}{'MB':>9}{'tokens/word':>13}{'bytes/token':>13}"
        f"{'fallback':>10}{'vocabulary used':>17}"
    ]
    shown = None
    for row in rows:
        if row["tokenizer"] != shown:
            shown = row["tokenizer"]
            lines.append(shown)
        name = f"{row['by']} {row['group']}".strip()
        lines.append(
            f"  {name[:31]:32}{row['documents']:>10}{row['bytes'] / 1e6:>9.2f}"
            f"{row['tokens_per_word']:>13.3f}{row['bytes_per_token']:>13.3f}"
            f"{row['fallback_fraction']:>10.3%}{row['used_fraction']:>17.1%}"
        )
    return "\n".join(lines)


def bars_svg(rows: list[dict[str, Any]]) -> str:
    """Bytes a token of each group as bars, one below the other for each tokenizer; the figures are
    written beside them."""
    names = list(dict.fromkeys(row["tokenizer"] for row in rows))
    groups = list(dict.fromkeys((row["by"], row["group"]) for row in rows))
    most = max([row["bytes_per_token"] for row in rows], default=1) or 1
    at = {(row["tokenizer"], row["by"], row["group"]): row["bytes_per_token"] for row in rows}
    height = 14 * len(names) + 10
    left = 20 + 6.2 * max([len(f"{by} {group}") for by, group in groups], default=0)
    parts, y = [], 30.0
    for by, group in groups:
        label = escape(f"{by} {group}".strip())
        parts.append(f'<text x="{left:.0f}" y="{y + 11}" text-anchor="end">{label}</text>')
        for i, name in enumerate(names):
            value = at.get((name, by, group))
            if value is None:
                continue
            top, width = y + 14 * i, 380 * value / most
            fill = ("#1f5fbf", "#c9d8ee")[i % 2]
            parts.append(
                f'<rect x="{left + 6:.0f}" y="{top}" width="{width:.1f}" height="12" fill="{fill}" '
                f'stroke="#1f5fbf"/><text x="{left + 10 + width:.1f}" y="{top + 10}">'
                f"{value:.2f}</text>"
            )
        y += height
    legend = " · ".join(
        f"{'upper' if i == 0 else 'lower'}: {escape(Path(name).name)}"
        for i, name in enumerate(names)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + 440:.0f} {y + 10:.0f}" '
        f'font-family="sans-serif" font-size="11"><rect width="{left + 440:.0f}" '
        f'height="{y + 10:.0f}" fill="white"/><text x="12" y="18">Bytes a token ({legend})</text>'
        f"{''.join(parts)}</svg>\n"
    )
