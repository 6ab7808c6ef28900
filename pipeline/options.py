"""Arguments: their types, and the options that more than one command has."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline import stage_commands


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None


def share(text: str) -> float:
    value = _number(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{value} is not above 0 and at most 1")
    return value


def above_zero(text: str) -> float:
    value = _number(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{value} is no number above 0")
    return value


def file(text: str) -> str:
    if not text or Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text or 'empty'}: name a file")
    return text


def _whole(text: str, least: int) -> int:
    value = _number(text)
    if not (least <= value < float("inf")) or value != int(value):
        raise argparse.ArgumentTypeError(f"{text} is no whole number from {least}")
    return int(value)


def at_least_one(text: str) -> int:
    return _whole(text, 1)


def from_zero(text: str) -> int:
    return _whole(text, 0)


def directory(text: str) -> str:
    """A directory to write to: it may be made, and is not a file."""
    if not text:
        raise argparse.ArgumentTypeError("empty; name a directory")
    if Path(text).is_file():
        raise argparse.ArgumentTypeError(f"{text} is a file; name a directory")
    return text


def add_set(
    sub: argparse.ArgumentParser, what: str = "change a key of the configuration: train.steps=20"
) -> None:
    sub.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=what,
    )


def add_dedup(sub: argparse.ArgumentParser) -> None:
    text = "what exact duplicates share: text (default), url, a column or meta.KEY"
    sub.add_argument("--by", metavar="COLUMN", help=text)
    text = "look for no near-duplicates"
    sub.add_argument("--exact-only", action="store_true", help=text)
    near = sub.add_argument_group("near-duplicates, by MinHash")
    near.add_argument("--similarity", type=float, metavar="S", help="Jaccard (default .8)")
    text = "share of pairs at that similarity to find (default .95)"
    near.add_argument("--recall", type=float, metavar="R", help=text)
    text = "shingles of N characters (default: of 5 words)"
    near.add_argument("--characters", type=int, metavar="N", help=text)
    near.add_argument("--bits", type=int, choices=[32, 64], help="of a MinHash (default 32)")
    group = sub.add_argument_group("what was seen before, one of these")
    repeats = group.add_mutually_exclusive_group()
    text = "cut runs of N words"
    repeats.add_argument("--ngram-words", type=int, metavar="N", help=text)
    text = "cut lines, paragraphs or 3 sentences"
    repeats.add_argument("--unit", choices=["line", "paragraph", "sentences"], help=text)
    text = "remove lines and documents with this share of 13-grams, as DCLM does (.8)"
    repeats.add_argument("--repeated-fraction", type=float, metavar="F", help=text)
    text = "compare documents of a source, or of a value of a column or meta.KEY, with each other "
    text += "only (default global)"
    sub.add_argument("--scope", metavar="NAME", help=text)
    text = "other scopes, for a table of what each would remove"
    sub.add_argument("--compare-scopes", nargs="+", metavar="NAME", help=text)
    text = "deduplicate against the documents of this index too, and add these to it"
    sub.add_argument("--index", type=directory, metavar="DIR", help=text)
    sub.add_argument(
        "--source", default="input", metavar="NAME", help="of files that are of no run"
    )
    add_set(sub, "another key of [dedup]: minhash.permutations=256")


def add_fit(subcommands: Any, add: Callable[..., argparse.ArgumentParser]) -> None:
    text = "fit the model of a step: perplexity, quality, or the cut-offs of its scores"
    fit = subcommands.add_parser("fit", help=text, description=text)
    models = fit.add_subparsers(required=True, metavar="WHAT")
    tables = "Parquet or JSONL(.gz) files or patterns, or the --out of an earlier command"

    def add_model(name: str, command: Callable, text: str, example: str) -> argparse.ArgumentParser:
        sub = add(name, command, text, example, models)
        sub.add_argument(
            "--sample",
            type=share,
            default=1.0,
            metavar="F",
            help="share of the documents, chosen by a hash of the id (default 1)",
        )
        return sub

    sub = add_model(
        "perplexity",
        stage_commands.fit_perplexity,
        "estimate an n-gram model of good text (modified Kneser-Ney, ARPA)",
        "fit perplexity wiki/*.parquet --order 5 --out lm/en.arpa",
    )
    sub.add_argument("paths", nargs="+", metavar="PATHS", help=tables)
    sub.add_argument("--out", type=file, required=True, metavar="MODEL.arpa")
    sub.add_argument("--order", type=int, choices=range(1, 6), default=5, help="default 5")
    sub.add_argument(
        "--prune",
        type=int,
        nargs="+",
        metavar="N",
        help="for each order the occurrences up to which an n-gram goes (default 0 0 1 1 1)",
    )
    sub.add_argument("--vocabulary", type=at_least_one, metavar="N", help="words kept apart")
    sub.add_argument("--tokenizer", metavar="MODEL", help="SentencePiece, as in CCNet")
    sub.add_argument("--normalization", choices=["words", "ccnet"], default="words")
    sub.add_argument("--sentence", choices=["line", "text"], default="line")
    sub.add_argument(
        "--estimator",
        choices=["auto", "lmplz", "own"],
        default="auto",
        help="auto: lmplz where it is on the path; the one taken is printed",
    )
    sub = add_model(
        "quality",
        stage_commands.fit_quality,
        "train a classifier of good against ordinary text (fastText)",
        "fit quality --positive books.jsonl --negative out/web --out models/quality",
    )
    sub.add_argument("--positive", nargs="+", required=True, metavar="PATHS", help=tables)
    sub.add_argument("--negative", nargs="+", required=True, metavar="PATHS")
    sub.add_argument(
        "--reference", nargs="+", metavar="PATHS", help="whose scores make the cut-offs"
    )
    sub.add_argument("--out", type=directory, required=True, metavar="DIR")
    sub = add_model(
        "cutoffs",
        stage_commands.fit_cutoffs,
        "score a sample, for a step that keeps a share of each language",
        "fit cutoffs out/web --step perplexity --set perplexity.model=lm/en.arpa "
        "--out lm/cutoffs.json",
    )
    sub.add_argument("paths", nargs="+", metavar="PATHS", help=tables)
    sub.add_argument("--step", required=True, choices=["perplexity", "quality", "neural_quality"])
    sub.add_argument("--out", type=file, required=True, metavar="FILE.json")
    sub.add_argument("--language-model", default="", metavar="MODEL", help="default: lid.176")
    sub.add_argument("--no-language", action="store_true", help="all languages together")
    add_set(sub, "a key of the step: perplexity.model=lm/{lang}.arpa")
