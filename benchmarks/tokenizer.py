"""Encoding: MB of text a CPU second on one core: our kernel, SentencePiece, Hugging Face tokenizers
(the same vocabulary, by our tokenizer.json) and tiktoken (a byte-level BPE of that size, trained
here, since it knows no byte fallback); and how many documents have SentencePiece's ids.

    python -m benchmarks.tokenizer [--data DIR] [--peers .venv-peers/bin/python] [--repeats 3]

Text: what our extraction makes of the real web pages, and the books. `first pass` of our kernel
remembers no word yet, `later passes` are what a corpus larger than this one costs.
"""

import argparse
import gzip
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
SPLIT = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""


def texts_of(data: Path) -> list[str]:
    from pipeline.schema import Document
    from pipeline.sources.warc import Warc, read_warc

    texts = []
    for shard in sorted((data / "web").glob("pages-*.warc.gz")):
        for record in read_warc(str(shard), 0, 1 << 60, Warc()):
            if isinstance(record, Document) and record.rule is None:
                texts.append(record.text)
    for book in sorted((data / "books").glob("*.txt*")):
        raw = book.read_bytes()
        raw = gzip.decompress(raw) if book.suffix == ".gz" else raw
        texts.append(raw.decode("utf-8", errors="replace"))
    return texts


def cpu_seconds(call) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def byte_level_ranks(texts: list[str], vocab_size: int) -> dict[bytes, int]:
    """A byte-level BPE trained by tokenizers, as tiktoken wants it: bytes -> rank."""
    from tokenizers import ByteLevelBPETokenizer
    from tokenizers.pre_tokenizers import ByteLevel

    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(texts, vocab_size=vocab_size, show_progress=False)
    alphabet = sorted(ByteLevel.alphabet())
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in plain]
    to_byte = {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(others)}
    assert sorted(to_byte) == alphabet
    return {bytes(to_byte[c] for c in piece): rank for piece, rank in trained.get_vocab().items()}


def tiktoken_side(folder: Path, repeats: int) -> None:
    """Runs in the peers' environment; prints JSON."""
    import base64

    import tiktoken

    texts = json.loads((folder / "texts.json").read_text())
    ranks = {base64.b64decode(k): v for k, v in json.loads((folder / "ranks.json").read_text())}
    encoding = tiktoken.Encoding("trained", pat_str=SPLIT, mergeable_ranks=ranks, special_tokens={})
    n = sum(len(encoding.encode_ordinary(text)) for text in texts)
    encode = encoding.encode_ordinary
    seconds = [cpu_seconds(lambda: [encode(text) for text in texts]) for _ in range(repeats)]
    print(json.dumps({"tokens": n, "seconds": seconds}))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    default = os.environ.get("CORPUSMILL_DATA", str(REPO.parent / "shared" / "data"))
    parser.add_argument("--data", default=default, help="directory with web/ and books/")
    parser.add_argument("--peers", default=".venv-peers/bin/python", help="python with tiktoken")
    parser.add_argument("--vocab-size", type=int, default=16_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        tiktoken_side(Path(args.side), args.repeats)
        return

    import pyarrow as pa
    import sentencepiece

    from filters.kernels import text_buffers
    from tokenizer.bpe import encode_batch, new_memory
    from tokenizer.encode import encode
    from tokenizer.train import Tokenizer, train_tokenizer
    from tokenizer.vocabulary import read_vocabulary

    texts = texts_of(Path(args.data))
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    print(f"{len(texts)} documents, {megabytes:.1f} MB, vocabulary of {args.vocab_size}")
    seconds: dict[str, list[float]] = {}
    equal: dict[str, int] = {}
    tokens: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        config = Tokenizer(vocab_size=args.vocab_size, character_coverage=0.999)
        model = train_tokenizer([pa.array(texts)], config, folder)["model"]
        batch = pa.array(texts)
        expected = [ids[:-1] for ids in encode(batch, model, "sentencepiece").to_pylist()]
        ours = [ids[:-1] for ids in encode(batch, model).to_pylist()]
        equal["corpusmill"] = sum(a == b for a, b in zip(ours, expected, strict=True))
        tokens["corpusmill"] = tokens["sentencepiece"] = sum(map(len, expected))
        buffers = text_buffers(batch)
        vocabulary = read_vocabulary(Path(model).read_bytes())
        seconds["corpusmill, first pass"] = []
        for _ in range(args.repeats):
            memory = new_memory()
            seconds["corpusmill, first pass"].append(
                cpu_seconds(lambda: encode_batch(*buffers, vocabulary, memory))  # noqa: B023
            )
        seconds["corpusmill, later passes"] = [
            cpu_seconds(lambda: encode_batch(*buffers, vocabulary, memory))
            for _ in range(args.repeats)
        ]
        processor = sentencepiece.SentencePieceProcessor(model_file=model)
        seconds["sentencepiece"] = [
            cpu_seconds(lambda: processor.encode(texts, num_threads=1)) for _ in range(args.repeats)
        ]
        if importlib.util.find_spec("tokenizers"):
            os.environ["TOKENIZERS_PARALLELISM"] = "false"
            import tokenizers

            hf = tokenizers.Tokenizer.from_file(str(Path(folder, "tokenizer.json")))
            theirs = [encoding.ids for encoding in hf.encode_batch(texts)]
            equal["tokenizers"] = sum(a == b for a, b in zip(theirs, expected, strict=True))
            seconds["tokenizers"] = [cpu_seconds(lambda: hf.encode_batch(texts))]
            ranks = byte_level_ranks(texts, args.vocab_size)
            tiktoken = run_tiktoken(args, folder, texts, ranks)
            if tiktoken:
                seconds["tiktoken"], tokens["tiktoken"] = tiktoken["seconds"], tiktoken["tokens"]
    rates = {name: megabytes / statistics.median(s) for name, s in seconds.items()}
    for name, rate in rates.items():
        low, high = megabytes / max(seconds[name]), megabytes / min(seconds[name])
        print(f"{name:26} {rate:7.2f} MB/s  ({low:.2f} .. {high:.2f})")
    for name, n in equal.items():
        print(f"{name}: SentencePiece's ids in {n} of {len(texts)} documents")
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
    line = {
        "name": "tokenizer",
        "mb_per_core_s": {name: round(rate, 2) for name, rate in rates.items()},
        "ratio": round(rates["corpusmill, later passes"] / rates["sentencepiece"], 1),
        "equal_documents": equal,
        "documents": len(texts),
        "megabytes": round(megabytes, 2),
        "tokens": tokens,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "versions": {"sentencepiece": sentencepiece.__version__},
        "commit": commit.stdout.strip(),
    }
    print(json.dumps(line))


def run_tiktoken(
    args: argparse.Namespace, folder: str, texts: list[str], ranks: dict[bytes, int]
) -> dict | None:
    import base64

    Path(folder, "texts.json").write_text(json.dumps(texts))
    pairs = [(base64.b64encode(piece).decode(), rank) for piece, rank in ranks.items()]
    Path(folder, "ranks.json").write_text(json.dumps(pairs))
    command = [args.peers, "-m", "benchmarks.tokenizer", "--side", folder]
    try:
        done = subprocess.run(
            [*command, "--repeats", str(args.repeats)], capture_output=True, text=True, cwd=REPO
        )
    except FileNotFoundError:
        print(f"tiktoken: skipped, no {args.peers} (make peers)", file=sys.stderr)
        return None
    if done.returncode:
        print(f"tiktoken: skipped, {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
