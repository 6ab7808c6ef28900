"""A SentencePiece model as a Hugging Face `tokenizer.json` with the same ids, and its vocabulary as
text.

Spaces stand in the pieces as spaces, not as U+2581 behind a normaliser, so that a U+2581 in a text
is bytes there too. Control pieces (`<s>`, `</s>`) are in the vocabulary, but no "special tokens":
as such they would be found inside of texts, and a page that shows HTML or chat logs could end
itself. tests/test_export.py compares ids.
"""

import json

import sentencepiece

from tokenizer.vocabulary import NORMAL, UNKNOWN, USER_DEFINED, read_pieces


def tokenizer_json(model: bytes) -> dict:
    """The content of tokenizer.json for a serialised model. Raises ValueError for models whose ids
    would not be the same (see tokenizer.vocabulary.read_pieces)."""
    pieces = read_pieces(model)
    mergeable = {p.text: i for i, p in enumerate(pieces) if p.kind in (NORMAL, USER_DEFINED)}
    merges = [
        (-pieces[i].score, at, text[:at], text[at:])
        for text, i in mergeable.items()
        for at in range(1, len(text))
        if text[:at] in mergeable and text[at:] in mergeable
    ]
    unknown = next(p.text for p in pieces if p.kind == UNKNOWN)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": i,
                "content": p.text,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": False,
            }
            for i, p in enumerate(pieces)
            if p.kind == USER_DEFINED
        ],
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": unknown,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {p.text: i for i, p in enumerate(pieces)},
            "merges": [[left, right] for _, _, left, right in sorted(merges)],
        },
    }


def vocabulary_text(model: bytes) -> bytes:
    """A line a piece: id, piece as a JSON string (pieces may hold newlines)."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    pieces = (processor.id_to_piece(i) for i in range(processor.get_piece_size()))
    lines = [f"{i}\t{json.dumps(piece, ensure_ascii=False)}\n" for i, piece in enumerate(pieces)]
    return "".join(lines).encode()
