"""Perplexity and quality: ours, and the same models in the plain Python loops of CCNet and DCLM, on
the same texts in one run; and our estimator beside lmplz.

    python -m benchmarks.perplexity [--data DIR] [--lmplz PROGRAM] [--repeats 3]

Models are fitted here, from the books (perplexity; a SentencePiece vocabulary of 8,000 for CCNet's
way) and the books against the web pages (quality). The real web pages are scored, their first
20,000 characters each, by CPU time on one core. The loops take a text at a time: CCNet's normalises
it character by character, cuts it with SentencePiece and asks kenlm; DCLM's asks fastText. The
scores are the same, but that the loop over words has a simpler idea of a word. lmplz is compiled
from kenlm's sources, and skipped where it is not.
"""

import argparse
import json
import os
import platform
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
PREFIX = 20_000
WAYS = ("words", "ccnet", "quality")

Scores = list[float | None]


def ours(way: str, folder: Path) -> Callable[[list[str]], Scores]:
    import pyarrow as pa

    from filters.cutoffs import EVERY
    from filters.language import load_fasttext, one_line
    from filters.perplexity import Perplexity, measure_perplexity
    from filters.quality import POSITIVE, measure_quality

    if way == "quality":
        model = load_fasttext(str(folder / "quality.bin"))
        return lambda texts: measure_quality(
            one_line(pa.array(texts), PREFIX), model, POSITIVE
        ).to_pylist()
    config = Perplexity(model=str(folder / f"{way}.arpa"))
    if way == "ccnet":
        config = Perplexity(
            model=str(folder / "ccnet.arpa"),
            tokenizer=str(folder / "sp.model"),
            normalization="ccnet",
            sentence="text",
        )

    def score(texts: list[str]) -> Scores:
        column = pa.chunked_array([pa.array(texts)])
        return measure_perplexity(column, [EVERY] * len(texts), config)["value"].to_pylist()

    return score


def loop(way: str, folder: Path) -> Callable[[list[str]], Scores]:
    """A text at a time, in plain Python."""
    if way == "quality":
        import fasttext

        classifier = fasttext.load_model(str(folder / "quality.bin"))

        def classify(text: str) -> float | None:
            line = " ".join(text[:PREFIX].strip().splitlines())
            [labels], [scores] = classifier.predict([line], k=-1)  # a str fails under NumPy 2
            return dict(zip(labels, scores.tolist(), strict=True)).get("__label__hq")

        return lambda texts: [classify(text) for text in texts]
    import kenlm

    model = kenlm.Model(str(folder / f"{way}.arpa"))
    if way == "words":
        return lambda texts: [_perplexity(model, _words(text[:PREFIX])) for text in texts]
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "sp.model"))
    return lambda texts: [
        _perplexity(model, [" ".join(processor.encode_as_pieces(_ccnet(text[:PREFIX])))])
        for text in texts
    ]


def _perplexity(model, lines: list[str]) -> float | None:
    log10 = length = 0.0
    for line in lines:
        log10 += model.score(line)
        length += len(line.split()) + 1
    return 10 ** (-log10 / length) if length else None


def _words(text: str) -> list[str]:
    """About what filters/perplexity_text.py does, with re: letters, digits as 0, marks."""
    lines = (re.sub(r"\d", "0", re.sub(r"[\W_]+", " ", line.lower())) for line in text.split("\n"))
    return [line.strip() for line in lines if line.strip()]


def _ccnet(text: str) -> str:
    from filters.perplexity_text import PUNCTUATION

    text = unicodedata.normalize("NFD", text.strip().lower())
    text = "".join(char for char in text if unicodedata.category(char) != "Mn")
    text = re.sub(r"\d", "0", text)
    text = "".join(PUNCTUATION.get(char, char) for char in text)
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", "", text)


def side(name: str, way: str, folder: Path) -> None:
    """The child process: scores and CPU seconds, as one JSON line."""
    given = json.loads((folder / "given.json").read_text())
    texts = given["pages"]
    score = {"ours": ours, "loop": loop}[name](way, folder)
    score(texts[:20])
    seconds = []
    scores: Scores = []
    for _ in range(given["repeats"]):
        started = time.process_time()
        scores = score(texts)
        seconds.append(time.process_time() - started)
    print(json.dumps({"scores": scores, "seconds": seconds}))


def child(python: str, *words: str) -> dict | None:
    command = [python, "-m", "benchmarks.perplexity", *words]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPO)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPO, env=env)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["killed"])[-1]
        print(f"{' '.join(words[:4])}: skipped: {reason}")
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def fit_models(folder: Path, books: list[str], pages: list[str]) -> None:
    import pyarrow as pa
    import sentencepiece

    from filters.fit_perplexity import fit_perplexity
    from filters.fit_quality import fit_quality
    from filters.perplexity_text import Units, sentences

    texts = [pa.array(books)]
    fit_perplexity(texts, str(folder / "words.arpa"))
    lines = sentences(texts[0], Units(normalization="ccnet", sentence="text"))
    pieces = (line[i : i + 2000] for line in lines for i in range(0, len(line), 2000))
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=pieces,
        model_prefix=str(folder / "sp"),
        vocab_size=8000,
        model_type="unigram",
        num_threads=1,
        minloglevel=2,
    )
    units = Units(normalization="ccnet", sentence="text", tokenizer=str(folder / "sp.model"))
    fit_perplexity(texts, str(folder / "ccnet.arpa"), order=5, units=units)
    fit_quality(texts, [pa.array(pages)], str(folder / "quality.bin"))


def estimate(folder: Path, lmplz: str) -> None:
    """The child process: CPU seconds and peak memory of one fit, order 5, n-grams that occur once
    left out from order 3 on."""
    import pyarrow as pa

    from filters.fit_perplexity import fit_perplexity

    texts = json.loads((folder / "given.json").read_text())["books"]
    fit_perplexity([pa.array(texts[:1])], str(folder / "warm.arpa"), order=5)
    before = sum(os.times()[:4])
    figures = fit_perplexity(
        [pa.array(texts)], str(folder / "fit.arpa"), order=5, lmplz=lmplz or None
    )
    seconds = sum(os.times()[:4]) - before
    who = resource.RUSAGE_CHILDREN if lmplz else resource.RUSAGE_SELF
    peak = resource.getrusage(who).ru_maxrss >> 10
    n = sum(count for name, count in figures.items() if name.startswith("ngrams"))
    print(json.dumps({"cpu_s": seconds, "mib": peak, "words": figures["words"], "ngrams": n}))


def measure(way: str, folder: Path, megabytes: float) -> dict:
    """Rates of both sides and whether they agree."""
    found = {
        name: child(sys.executable, "--side", name, "--way", way, "--given", str(folder))
        for name in ("ours", "loop")
    }
    assert found["ours"] is not None, way
    n = len(found["ours"]["scores"])
    figures: dict = {}
    for name, result in found.items():
        if result is None:
            continue
        median = statistics.median(result["seconds"])
        low, high = n / max(result["seconds"]), n / min(result["seconds"])
        figures[name] = {
            "documents_per_core_s": round(n / median),
            "spread": [round(low), round(high)],
            "mb_per_core_s": round(megabytes / median, 2),
        }
        print(
            f"{way:<8} {name:<5} {n / median:8.0f} documents/core-s ({low:.0f} .. {high:.0f}), "
            f"{megabytes / median:6.2f} MB/core-s"
        )
    if found["loop"] is not None:
        pairs = zip(found["ours"]["scores"], found["loop"]["scores"], strict=True)
        off = [abs(a - b) / max(abs(b), 1e-9) for a, b in pairs if a is not None and b is not None]
        figures["equal_scores"] = sum(difference < 1e-6 for difference in off)
        ours_s, loop_s = (statistics.median(found[k]["seconds"]) for k in ("ours", "loop"))
        figures["ratio"] = round(loop_s / ours_s, 2)
        print(
            f"{way:<8} {figures['ratio']} times the loop; scores differ by {max(off):.1e} at most"
        )
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    default = os.environ.get("CORPUSMILL_DATA", str(REPO.parent / "shared" / "data"))
    parser.add_argument("--data", default=default, help="directory with books/ and web/")
    parser.add_argument("--lmplz", default=shutil.which("lmplz") or "", help="default: on the path")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--side", choices=["ours", "loop"], help=argparse.SUPPRESS)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--estimate", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--given", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.estimate:
        estimate(args.given, args.lmplz)
        return
    if args.side:
        side(args.side, args.way, args.given)
        return
    from benchmarks.language import read_pages
    from pipeline.schema import Document
    from pipeline.sources import FORMATS

    pages = read_pages(Path(args.data))
    if not pages:
        sys.exit(f"{args.data}/web: no pages-*.warc.gz; give --data")
    form, books = FORMATS["books"], []
    for path in sorted(map(str, Path(args.data, "books").iterdir())):
        for start, end in form.split(path, 1 << 62):
            records = form.read(path, start, end, form.config())
            books += [r.text for r in records if isinstance(r, Document) and r.text]
    pages = [text for text in pages if text.isascii() or len(text) > 200]
    megabytes = sum(len(text[:PREFIX].encode()) for text in pages) / 1e6
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fit_models(folder, books, pages)
        given = {"pages": pages, "books": books, "repeats": args.repeats}
        (folder / "given.json").write_text(json.dumps(given))
        print(f"{len(pages)} pages, {megabytes:.2f} MB; models of {len(books)} books")
        figures = {way: measure(way, folder, megabytes) for way in WAYS}
        for kind, program in (("ours", ""), ("lmplz", args.lmplz)):
            if kind == "lmplz" and not program:
                print("lmplz: skipped; it is not on the path, give --lmplz")
                continue
            found = child(sys.executable, "--estimate", "--given", name, "--lmplz", program)
            if found:
                figures[f"estimate_{kind}"] = found
                print(
                    f"estimate {kind:<6} {found['cpu_s']:.2f} s CPU, {found['mib']} MiB at the "
                    f"peak, for {found['words']:,} words and {found['ngrams']:,} n-grams"
                )
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=REPO
    ).stdout.strip()
    print(
        json.dumps(
            {
                "name": "perplexity",
                "figures": figures,
                "ratios": {way: figures[way].get("ratio") for way in WAYS},
                "machine": f"{os.cpu_count()} cores, {platform.machine()}",
                "versions": {n: version(n) for n in ("kenlm", "sentencepiece", "fasttext")},
                "commit": commit,
            }
        )
    )


if __name__ == "__main__":
    main()
