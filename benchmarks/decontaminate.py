"""Finding test items in documents: recall by kind of edit, false removals, and speed with a million
n-grams, against a plain set of 13-grams and datatrove 0.10.1.

    python -m benchmarks.decontaminate [--data DIR] [--peers PYTHON] [--items 300] [--repeats 5]

Items of GSM8K and HumanEval, question and answer, are planted between paragraphs of books, as they
are and after seven kinds of edits; 10,000 clean documents of 120 words come from the real pages and
the books. The plain set splits at spaces and lowers the case. datatrove's NGramsDecontFilter has
12-grams of words normalised by its own rules (numbers become one, punctuation goes); it is shown
with n-grams of questions too, its recall being lower without. Speed is CPU time on one core; the
million n-grams are those of made-up items of words of the books.
"""

import argparse
import gzip
import json
import os
import platform
import random
import re
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

REPO = Path(__file__).resolve().parent.parent
N_CLEAN, WORDS = 10_000, 120


# --- inputs ------------------------------------------------------------------------------------


def test_items(data: Path) -> list[dict[str, str]]:
    rows = []
    for line in (data / "testsets/gsm8k_test.jsonl").read_text().splitlines():
        row = json.loads(line)
        rows.append({"question": row["question"], "answer": row["answer"]})
    for line in (data / "testsets/humaneval.jsonl").read_text().splitlines():
        row = json.loads(line)
        rows.append({"question": row["prompt"], "answer": row["canonical_solution"]})
    return rows


def book_texts(data: Path) -> list[str]:
    texts = []
    for path in sorted((data / "books").glob("*.txt.gz")):
        raw = gzip.decompress(path.read_bytes())
        texts.append(raw.decode("latin-1" if "latin1" in path.name else "utf-8", "replace"))
    return texts


def page_texts(data: Path) -> Iterator[str]:
    from pipeline.sources import FORMATS

    reader = FORMATS["warc"]
    for path in sorted((data / "web").glob("pages-*.warc.gz")):
        for record in reader.read(str(path), 0, path.stat().st_size, reader.config()):
            if getattr(record, "rule", "fault") is None:
                yield record.text


def pieces(texts: list[str]) -> Iterator[str]:
    """Documents of WORDS words, with the spaces and line breaks between them."""
    for text in texts:
        words = re.findall(r"\S+\s*", text)
        for at in range(0, len(words) - WORDS // 2, WORDS):
            yield "".join(words[at : at + WORDS])


def many_items(texts: list[str], path: Path) -> None:
    """A test set with 1,000,000 13-grams, of words of the books in a random order."""
    rng = random.Random(0)
    words = [word for text in texts for word in re.findall(r"[^\W\d_]+", text)]
    with path.open("w") as file:
        for _ in range(20_834):
            file.write(json.dumps({"question": " ".join(rng.choices(words, k=60))}) + "\n")


def edits() -> dict[str, Callable[[str, random.Random], str]]:
    def each_word(text: str, rng: random.Random, share: float) -> str:
        return re.sub(r"[^\W\d_]+", lambda m: "qux" if rng.random() < share else m[0], text)

    def unicode_forms(text: str, rng: random.Random) -> str:
        text = text.replace("'", "\u2019").replace(" ", "\u00a0").replace("fi", "\ufb01")
        return re.sub(r"(?<=[a-z]{3})(?=[a-z]{3})", "\u00ad", text)

    return {
        "verbatim": lambda text, rng: text,
        "re-wrapped": lambda text, rng: "\n".join(textwrap.wrap(text, 44)),
        "case, no punctuation": lambda text, rng: re.sub(r"[^\w\s]", " ", text.upper()),
        "Unicode forms": unicode_forms,
        "changed numbers": lambda text, rng: re.sub(
            r"\d+", lambda m: str(rng.randrange(1, 10 ** (len(m[0]) + 1))), text
        ),
        "1 word in 20 edited": lambda text, rng: each_word(text, rng, 0.05),
        "1 word in 10 edited": lambda text, rng: each_word(text, rng, 0.1),
        "question only": lambda text, rng: text,
    }


def planted(items: list[dict[str, str]], around: list[str]) -> dict[str, list[str]]:
    documents = {}
    for kind, edit in edits().items():
        rng = random.Random(kind)
        documents[kind] = []
        for i, item in enumerate(items):
            text = item["question"]
            if kind != "question only":
                text += "\n" + item["answer"]
            before, after = around[2 * i % len(around)], around[(2 * i + 1) % len(around)]
            documents[kind].append(f"{before}\n\n{edit(text, rng)}\n\n{after}")
    return documents


# --- the sides: texts -> which are marked -------------------------------------------------------


def corpusmill(path: str, **values: object) -> Callable[[list[str]], list[bool]]:
    import pyarrow as pa

    from filters.decontaminate import Decontaminate, decontaminate

    config = Decontaminate(against=(path,), **values)
    decontaminate(pa.table({"text": ["warm up"]}), config)

    def find(texts: list[str]) -> list[bool]:
        docs = decontaminate(pa.table({"text": pa.array(texts, pa.string())}), config)
        return docs["rule"].is_valid().to_pylist()

    return find


def plain_set(path: str, n: int = 13) -> Callable[[list[str]], list[bool]]:
    def ngrams(text: str) -> Iterator[str]:
        words = text.lower().split()
        return (" ".join(words[i : i + n]) for i in range(len(words) - n + 1))

    rows = [json.loads(line) for line in Path(path).read_text().splitlines()]
    known = {gram for row in rows for gram in ngrams("\n".join(row.values()))}
    return lambda texts: [any(gram in known for gram in ngrams(text)) for text in texts]


def datatrove(path: str) -> Callable[[list[str]], list[bool]]:
    import numpy as np
    from datatrove.data import Document
    from datatrove.pipeline.decont import n_grams
    from datatrove.utils.hashing import create_hash_func
    from datatrove.utils.word_tokenizers import load_word_tokenizer

    config = n_grams.NGramsDecontConfig(find_query_ngrams=True)
    index = SimpleNamespace(  # its indexer, which cannot be made without lighteval
        config=config,
        tokenizer=load_word_tokenizer("eng"),
        hash_func=create_hash_func(config.hash_config),
    )
    hashes: set[int] = set()
    for line in Path(path).read_text().splitlines():
        row = json.loads(line)
        compute = n_grams.NGramsDecontIndexer.compute_hashes
        hashes.update(compute(index, row.get("answer", ""), row["question"]))
    folder = tempfile.mkdtemp()
    Path(folder, "items.index.hashes").write_bytes(
        np.array(sorted(hashes), config.hash_config.np_descr).tobytes()
    )
    step = n_grams.NGramsDecontFilter(folder, config=config, language="eng")
    step.filter(Document(text="warm up", id="0"))
    return lambda texts: [
        step.filter(Document(text=text, id=str(i))) is not True for i, text in enumerate(texts)
    ]


def measure(find: Callable[[list[str]], list[bool]], folder: Path) -> dict:
    documents = json.loads((folder / "documents.json").read_text())
    clean = documents.pop("clean")
    figures: dict = {"recall": {k: statistics.mean(find(v)) for k, v in documents.items()}}
    started = time.process_time()
    figures["clean marked"] = sum(find(clean))
    seconds = time.process_time() - started
    figures["mb_per_s"] = sum(len(t.encode()) for t in clean) / 1e6 / seconds
    return figures


def speed(path: str, texts: list[str], repeats: int) -> dict[str, list[float]]:
    """MB/s with a million n-grams: ours, the words alone, and the plain set."""
    import pyarrow as pa

    from filters.decontaminate import Decontaminate, decontaminate, load_sets
    from filters.folded_words import folded_words
    from filters.kernels import text_buffers

    table = pa.table({"text": pa.array(texts, pa.string())})
    megabytes = sum(len(t.encode()) for t in texts) / 1e6
    config = Decontaminate(against=(path,))
    started = time.process_time()
    n = len(load_sets(config).item_offsets) - 1
    print(f"  {n:,} n-grams, loaded in {time.process_time() - started:.1f} s of CPU time")
    known = plain_set(path)
    sides = {
        "corpusmill": lambda: decontaminate(table, config),
        "its words alone": lambda: folded_words(*text_buffers(table["text"])),
        "plain set": lambda: known(texts[:2000]),
    }
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats + 1):
        for name, run in sides.items():
            started = time.process_time()
            run()
            share = len("".join(texts[:2000]).encode()) / 1e6 if name == "plain set" else megabytes
            rates[name].append(share / (time.process_time() - started))
    return {name: values[1:] for name, values in rates.items()}  # without the warm-up


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    default = os.environ.get("CORPUSMILL_DATA", str(REPO.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--peers", default=".venv-peers/bin/python", help="python with datatrove")
    parser.add_argument("--items", type=int, default=300, help="planted, evenly chosen")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--side", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:  # in the peers' environment
        print(json.dumps(measure(datatrove(f"{args.side}/items.jsonl"), args.side)))
        return
    if not (args.data / "testsets").is_dir():
        sys.exit(f"{args.data}/testsets: not there; give --data")
    books = book_texts(args.data)
    clean = list(pieces([*page_texts(args.data), *books]))
    rng = random.Random(0)
    rng.shuffle(clean)
    items = test_items(args.data)
    chosen = items[:: max(1, len(items) // args.items)][: args.items]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path, many = str(folder / "items.jsonl"), folder / "many.jsonl"
        Path(path).write_text("".join(json.dumps(item) + "\n" for item in items))
        documents = {**planted(chosen, clean[N_CLEAN:] or clean), "clean": clean[:N_CLEAN]}
        (folder / "documents.json").write_text(json.dumps(documents))
        many_items(books, many)
        print(f"{len(chosen)} of {len(items)} items planted; {len(documents['clean'])} clean texts")
        figures = {
            "corpusmill": measure(corpusmill(path), folder),
            "n = 8": measure(corpusmill(path, n=8), folder),
            "with numbers": measure(corpusmill(path, ignore_numbers=False), folder),
            "plain set": measure(plain_set(path), folder),
        }
        if Path(args.peers).exists():
            command = [args.peers, "-m", "benchmarks.decontaminate", "--side", name]
            env = {**os.environ, "PYTHONPATH": str(REPO)}
            done = subprocess.run(command, capture_output=True, text=True, cwd=REPO, env=env)
            if done.returncode:
                sys.exit(f"datatrove failed:\n{done.stderr[-2000:]}")
            figures["datatrove"] = json.loads(done.stdout.strip().splitlines()[-1])
        else:
            print(f"datatrove: skipped, no {args.peers}; give --peers")
        show(figures)
        rates = speed(str(many), documents["clean"], args.repeats)
    medians = {}
    for side, values in rates.items():
        medians[side] = round(statistics.median(values), 2)
        print(f"  {side:<22}{medians[side]:9.1f} MB/s ({min(values):.1f} .. {max(values):.1f})")
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=REPO
    ).stdout.strip()
    print(
        json.dumps(
            {
                "name": "decontaminate",
                "figures": figures,
                "mb_per_s_million_ngrams": medians,
                "ratio": round(medians["corpusmill"] / medians["plain set"], 2),
                "machine": f"{os.cpu_count()} cores, {platform.machine()}",
                "versions": {"python": platform.python_version(), "datatrove": "0.10.1"},
                "commit": commit,
            }
        )
    )


def show(figures: dict[str, dict]) -> None:
    print(f"{'':<24}" + "".join(f"{name:>16}" for name in figures))
    for kind in next(iter(figures.values()))["recall"]:
        row = (f"{side['recall'][kind]:16.3f}" for side in figures.values())
        print(f"{kind:<24}" + "".join(row))
    print(
        f"{'clean ones marked':<24}" + "".join(f"{s['clean marked']:16}" for s in figures.values())
    )
    print(
        f"{'MB/s on the clean ones':<24}"
        + "".join(f"{s['mb_per_s']:16.2f}" for s in figures.values())
    )


if __name__ == "__main__":
    main()
