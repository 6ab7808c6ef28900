"""The words of the commands that run one stage alone."""

import argparse
from collections.abc import Callable
from typing import Any

from pipeline import options, stage_commands
from pipeline.options import add, add_run, add_set

FORMATS = ("warc", "books", "code", "arxiv", "table", "wikipedia", "stackexchange", "dialogue")
TABLES = "Parquet or JSONL(.gz) files or patterns, or the --out of an earlier command"


def add_commands(group: Any) -> None:
    _documents(group)
    _index(group)
    _decontaminate(group)
    _scrub(group)
    _fits(group)
    _tokens(group)


def _add_single(
    group: Any, name: str, command: Callable, text: str, example: str
) -> argparse.ArgumentParser:
    sub = add_run(group, name, command, text, example)
    sub.add_argument("paths", nargs="+", metavar="PATHS", help=TABLES)
    sub.add_argument("--out", type=options.directory, required=True, metavar="DIR")
    return sub


def _documents(group: Any) -> None:
    sub = add_run(
        group,
        "extract",
        stage_commands.extract,
        "turn shards into documents",
        "extract 'shards/*.warc.gz' --format warc --out out/web",
    )
    sub.add_argument("paths", nargs="+", metavar="PATHS")
    sub.add_argument("--format", required=True, choices=FORMATS)
    sub.add_argument("--source", default="input", metavar="NAME", help="the source's name")
    text = "of the records, chosen by a hash: a trial (default: all)"
    sub.add_argument("--sample", type=options.share, default=1.0, metavar="SHARE", help=text)
    sub.add_argument("--out", type=options.directory, required=True, metavar="DIR")
    sub = _add_single(
        group,
        "filter",
        stage_commands.filter_documents,
        "run filter steps",
        "filter out/web --steps language,quality --set quality.model=q.bin --out out/filtered",
    )
    sub.add_argument("--steps", required=True, metavar="NAME[,NAME]")
    add_set(sub, "a key of a step: language.min_score=0.5; the others keep their defaults")
    sub = _add_single(
        group,
        "dedup",
        stage_commands.dedup,
        "remove exact and verified near duplicates",
        "dedup out/filtered --out out/unique",
    )
    _add_dedup(sub)


def _add_dedup(sub: argparse.ArgumentParser) -> None:
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
    sub.add_argument("--index", type=options.directory, metavar="DIR", help=text)
    sub.add_argument(
        "--source", default="input", metavar="NAME", help="of files that are of no run"
    )
    add_set(sub, "another key of [dedup]: minhash.permutations=256")


def _index(group: Any) -> None:
    text = "withdraw documents from an index, or export it"
    index = group.add_parser("index", help=text, description=text[0].upper() + text[1:])
    verbs = index.add_subparsers(required=True, metavar="WHAT")
    sub = add_run(
        verbs,
        "forget",
        stage_commands.forget,
        "withdraw documents, and name those that come back because of it",
        "index forget out/index --source web --out out/forgotten",
    )
    sub.add_argument("dir", metavar="DIR", help="the --index of corpusmill dedup")
    which = sub.add_mutually_exclusive_group(required=True)
    which.add_argument("--source", metavar="S", help="all documents of this source")
    which.add_argument("--ids", metavar="FILE", help="an id a line")
    text = "for changes/, the documents whose fate is another one now"
    sub.add_argument("--out", type=options.directory, required=True, metavar="DIR", help=text)
    sub = add(
        verbs,
        "export",
        stage_commands.export_index,
        "write the kept documents to Redis, as datasketch's MinHashLSH (needs `pip install redis`)",
        "index export out/index --redis localhost:6379",
    )
    sub.add_argument("dir", metavar="DIR", help="the --index of corpusmill dedup")
    sub.add_argument("--redis", required=True, metavar="HOST:PORT")
    sub.add_argument("--name", default="corpusmill", metavar="NAME", help="of the keys in Redis")


def _decontaminate(group: Any) -> None:
    sub = _add_single(
        group,
        "decontaminate",
        stage_commands.decontaminate,
        "remove documents that hold test-set items",
        "decontaminate out/unique --against 'testsets/*.jsonl' --out out/clean",
    )
    sub.add_argument("--against", nargs="+", required=True, metavar="PATHS")
    sub.add_argument("--n", type=int, metavar="N", help="words of an n-gram (default 13)")
    sub.add_argument(
        "--mode",
        choices=["mark", "cut", "report"],
        help="remove such documents (default), cut the items out of them, or only report",
    )
    for name, text in (("question", "questions"), ("answer", "answers")):
        text = f"fields of the test sets that are {text}"
        sub.add_argument(f"--{name}", nargs="+", metavar="FIELD", help=text)
    text = "files with a column text; what is common there does not count"
    sub.add_argument("--background", nargs="+", metavar="PATHS", help=text)
    text = "numbers are words like others: an item with other numbers is not found"
    sub.add_argument(
        "--with-numbers", dest="ignore_numbers", action="store_const", const=False, help=text
    )
    text = "of a document in the test sets, from which it is removed (default 1)"
    sub.add_argument("--min-matched-ngrams", type=int, metavar="N", help=text)
    text = "of an item's words in a document, from which it is removed (default 0)"
    sub.add_argument("--min-item-fraction", type=float, metavar="X", help=text)


def _scrub(group: Any) -> None:
    sub = _add_single(
        group,
        "scrub",
        stage_commands.scrub,
        "replace personal data by tags or pseudonyms",
        "scrub out/clean --replace pseudonym --key-file secret.key --out out/scrubbed",
    )
    sub.add_argument(
        "--entities", nargs="+", metavar="NAME", help="email, phone, ... (default all)"
    )
    sub.add_argument("--replace", choices=["tag", "pseudonym", "remove"], help="default tag")
    sub.add_argument("--key-file", metavar="FILE", help="pseudonym: a secret of 16 bytes or more")
    text = "a spaCy pipeline, for the entities name and location"
    sub.add_argument("--ner-model", metavar="NAME", help=text)
    text = "documents with more are removed (default: none)"
    sub.add_argument("--max-entities", type=int, metavar="N", help=text)


def _add_model(
    group: Any, name: str, command: Callable, text: str, example: str
) -> argparse.ArgumentParser:
    sub = add(group, name, command, text, example)
    share = "share of the documents, chosen by a hash of the id (default 1)"
    sub.add_argument("--sample", type=options.share, default=1.0, metavar="F", help=share)
    return sub


def _fits(group: Any) -> None:
    text = "fit the model of a step: perplexity, quality, or the cut-offs of its scores"
    fit = group.add_parser("fit", help=text, description=text)
    models = fit.add_subparsers(required=True, metavar="WHAT")
    _fit_perplexity(models)
    _fit_quality(models)
    _fit_cutoffs(models)


def _fit_perplexity(models: Any) -> None:
    sub = _add_model(
        models,
        "perplexity",
        stage_commands.fit_perplexity,
        "estimate an n-gram model of good text (modified Kneser-Ney, ARPA)",
        "fit perplexity wiki/*.parquet --order 5 --out lm/en.arpa",
    )
    sub.add_argument("paths", nargs="+", metavar="PATHS", help=TABLES)
    sub.add_argument("--out", type=options.file, required=True, metavar="MODEL.arpa")
    sub.add_argument("--order", type=int, choices=range(1, 6), default=5, help="default 5")
    sub.add_argument(
        "--prune",
        type=int,
        nargs="+",
        metavar="N",
        help="for each order the occurrences up to which an n-gram goes (default 0 0 1 1 1)",
    )
    sub.add_argument(
        "--vocabulary", type=options.at_least_one, metavar="N", help="words kept apart"
    )
    sub.add_argument("--tokenizer", metavar="MODEL", help="SentencePiece, as in CCNet")
    sub.add_argument("--normalization", choices=["words", "ccnet"], default="words")
    sub.add_argument("--sentence", choices=["line", "text"], default="line")
    sub.add_argument(
        "--estimator",
        choices=["auto", "lmplz", "own"],
        default="auto",
        help="auto: lmplz where it is on the path; the one taken is printed",
    )


def _fit_quality(models: Any) -> None:
    sub = _add_model(
        models,
        "quality",
        stage_commands.fit_quality,
        "train a classifier of good against ordinary text (fastText)",
        "fit quality --positive books.jsonl --negative out/web --out models/quality",
    )
    sub.add_argument("--positive", nargs="+", required=True, metavar="PATHS", help=TABLES)
    sub.add_argument("--negative", nargs="+", required=True, metavar="PATHS")
    sub.add_argument(
        "--reference", nargs="+", metavar="PATHS", help="whose scores make the cut-offs"
    )
    sub.add_argument("--out", type=options.directory, required=True, metavar="DIR")


def _fit_cutoffs(models: Any) -> None:
    sub = _add_model(
        models,
        "cutoffs",
        stage_commands.fit_cutoffs,
        "score a sample, for a step that keeps a share of each language",
        "fit cutoffs out/web --step perplexity --set perplexity.model=lm/en.arpa "
        "--out lm/cutoffs.json",
    )
    sub.add_argument("paths", nargs="+", metavar="PATHS", help=TABLES)
    sub.add_argument("--step", required=True, choices=["perplexity", "quality", "neural_quality"])
    sub.add_argument("--out", type=options.file, required=True, metavar="FILE.json")
    sub.add_argument("--language-model", default="", metavar="MODEL", help="default: lid.176")
    sub.add_argument("--no-language", action="store_true", help="all languages together")
    add_set(sub, "a key of the step: perplexity.model=lm/{lang}.arpa")


def _tokens(group: Any) -> None:
    sub = _add_single(
        group,
        "tokenizer",
        stage_commands.tokenizer,
        "train a byte-fallback BPE tokenizer",
        "tokenizer out/scrubbed --vocab-size 32000 --out out/tokenizer",
    )
    sub.add_argument("--vocab-size", type=int, required=True, metavar="N")
    sub = _add_single(
        group,
        "tokenize",
        stage_commands.tokenize,
        "turn documents into token ids",
        "tokenize out/scrubbed --tokenizer out/tokenizer --out out/tokens",
    )
    sub.add_argument("--tokenizer", required=True, metavar="DIR", help="or a tokenizer.model")
    sub = _add_single(
        group,
        "tokenizer-report",
        stage_commands.tokenizer_report,
        "fertility, bytes a token and fallback by source and language, beside another tokenizer",
        "tokenizer-report out/scrubbed --tokenizer out/tokenizer --out out/report",
    )
    sub.add_argument("--tokenizer", required=True, metavar="DIR", help="or a tokenizer.model")
    sub.add_argument("--against", metavar="FILE", help="another .model or a tokenizer.json")
    sub.add_argument(
        "--sample", type=options.share, default=1.0, metavar="F", help="of the documents"
    )
