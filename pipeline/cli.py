"""The commands. Exit status: 0 success, 1 a run that failed, 2 a mistake in the call or the
configuration."""

import argparse
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from pipeline import commands, options, stage_commands


def main(argv: list[str] | None = None) -> int:
    from pipeline.build_config import ConfigError
    from pipeline.executor import StageError, Terminated, stop_on_sigterm

    args = _parser().parse_args(argv)
    stop_on_sigterm()
    try:
        result = args.command(args)
    except ConfigError as error:
        return _fail(args, error, 2)
    except (StageError, ValueError) as error:
        return _fail(args, error, 1)
    except BrokenPipeError:  # a reader like `head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return _fail(args, what, 1)
    except KeyboardInterrupt as error:
        status = 143 if isinstance(error, Terminated) else 130
        return _fail(args, "interrupted; the same command goes on where it stopped", status)
    if args.json:
        print(json.dumps({"ok": True, **result}, sort_keys=True))
    return 0


def _fail(args: argparse.Namespace, error: object, status: int) -> int:
    for line in str(error).splitlines():
        print(f"corpusmill: {line}", file=sys.stderr)
    if args.json:
        print(json.dumps({"ok": False, "error": str(error)}))
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="corpusmill",
        description="Raw shards to a training-ready corpus, with every document's fate on record.",
    )
    subcommands = parser.add_subparsers(required=True, metavar="COMMAND")
    formats = ["warc", "books", "code", "arxiv", "table"]
    formats += ["wikipedia", "stackexchange", "dialogue"]

    def add(
        name: str, command: Callable, text: str, example: str, group: Any = subcommands
    ) -> argparse.ArgumentParser:
        sub = group.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=f"example: corpusmill {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(command=command)
        sub.add_argument("--json", action="store_true", help="print a machine-readable last line")
        return sub

    def add_run(
        name: str, command: Callable, text: str, example: str, group: Any = subcommands
    ) -> argparse.ArgumentParser:
        sub = add(name, command, text, example, group)
        sub.add_argument(
            "--ray",
            metavar="ADDRESS",
            help="a running cluster; or off: a plain loop in this process",
        )
        sub.add_argument(
            "--workers",
            type=options.at_least_one,
            metavar="N",
            help="cores of a local Ray (default: all)",
        )
        return sub

    def add_config(
        name: str, command: Callable, text: str, example: str
    ) -> argparse.ArgumentParser:
        sub = add_run(name, command, text, example)
        sub.add_argument("config", metavar="CONFIG", help="a TOML file")
        text = f"default: out/{'ablations/' if name == 'ablate' else ''}<name of CONFIG>"
        sub.add_argument("--out", type=options.directory, metavar="DIR", help=text)
        options.add_set(sub)
        return sub

    def add_single(
        name: str, command: Callable, text: str, example: str
    ) -> argparse.ArgumentParser:
        sub = add_run(name, command, text, example)
        where = "Parquet or JSONL(.gz) files or patterns, or the --out of an earlier command"
        sub.add_argument("paths", nargs="+", metavar="PATHS", help=where)
        sub.add_argument("--out", type=options.directory, required=True, metavar="DIR")
        return sub

    sub = add_run(
        "demo",
        commands.demo,
        "make inputs on this machine and run everything",
        "demo --out demo-out",
    )
    sub.add_argument("--out", type=options.directory, default="demo-out", metavar="DIR")
    text = "of the inputs' size; below 1 of the token budget, too"
    sub.add_argument("--scale", type=options.above_zero, default=1.0, metavar="X", help=text)
    options.add_set(sub)
    sub = add_config(
        "run", commands.run, "run a configuration", "run configs/real.toml --out out/real"
    )
    sub.add_argument(
        "--until",
        choices=["ingest", "filter", "dedup", "tokenizer", "tokenize", "pack", "train"],
        help="stop after this stage",
    )
    sub = add("check", commands.check, "find mistakes before a run", "check configs/real.toml")
    sub.add_argument("config", metavar="CONFIG")
    sub.add_argument(
        "--limit",
        type=options.from_zero,
        default=50,
        metavar="N",
        help="records of each shard tried; 0 is all",
    )
    options.add_set(sub)
    sub = add("keys", commands.keys, "what a configuration may say", "keys gopher_quality")
    sub.add_argument("name", nargs="?", metavar="NAME", help="a section, a format or a step")
    sub = add(
        "plan",
        commands.plan,
        "what a large run costs, from a run over a sample; or, with --flops, a training",
        "plan configs/demo.toml --flops 1e21 --out demo-out",
    )
    sub.add_argument("config", metavar="CONFIG")
    group = sub.add_argument_group("a run over the corpus")
    group.add_argument(
        "--bytes", type=options.above_zero, metavar="N", help="of input (default: what is there)"
    )
    group.add_argument(
        "--cores", type=options.at_least_one, metavar="N", help="(default: those of this machine)"
    )
    group.add_argument(
        "--sample-bytes", type=options.above_zero, metavar="N", help="to run first (default 256e6)"
    )
    group = sub.add_argument_group("a training")
    group.add_argument("--flops", type=options.above_zero, metavar="X", help="its operations")
    group.add_argument("--out", metavar="DIR", help="a finished run, whose tokens are counted")
    group.add_argument("--law", choices=["besiroglu", "chinchilla"], help="(default besiroglu)")
    group.add_argument("--mfu", type=options.share, metavar="F", help="of the peak (default .4)")
    group.add_argument(
        "--gpu-tflops", type=options.above_zero, metavar="X", help="peak (default: an H100's 989)"
    )
    group.add_argument("--gpu-gb", type=options.above_zero, metavar="X", help="(default 80)")
    options.add_set(sub)
    sub = add_config(
        "ablate",
        commands.ablate,
        "train small models on changed corpora, and say which is better and how sure that is",
        "ablate configs/ablations/demo.toml",
    )
    text = "mixtures to add: the corners, and draws around the base's weights"
    sub.add_argument("--design", choices=["simplex"], help=text)
    sub.add_argument("--draws", type=int, metavar="N", help="of the design (default 8)")
    sub = add(
        "tune",
        commands.tune,
        "show what another threshold of a rule would do, from the signals of a run",
        "tune out/real --rule gopher_quality.too_few_words --threshold 30",
    )
    sub.add_argument("dir", metavar="DIR", help="the --out of a finished run")
    sub.add_argument("--rule", required=True, metavar="STEP.RULE")
    sub.add_argument(
        "--threshold", type=float, metavar="X", help="to look at (default: the present)"
    )
    sub.add_argument("--source", metavar="NAME", help="default: every source with the rule")
    sub.add_argument("--svg", type=options.file, metavar="FILE", help="the histogram as a picture")
    sub = add(
        "why",
        commands.why,
        "show a document's fate",
        "why out/real books/frankenstein_frank13.txt.gz/0",
    )
    sub.add_argument("dir", metavar="DIR", help="the --out of a run")
    sub.add_argument("id", metavar="ID_OR_URL")
    sub = add(
        "report",
        commands.report,
        "write one self-contained HTML page about a run or an ablation",
        "report out/real",
    )
    sub.add_argument("dir", metavar="DIR", help="the --out of a finished run or of an ablation")

    sub = add_run(
        "extract",
        stage_commands.extract,
        "turn shards into documents",
        "extract 'shards/*.warc.gz' --format warc --out out/web",
    )
    sub.add_argument("paths", nargs="+", metavar="PATHS")
    sub.add_argument("--format", required=True, choices=formats)
    sub.add_argument("--source", default="input", metavar="NAME", help="the source's name")
    text = "of the records, chosen by a hash: a trial (default: all)"
    sub.add_argument("--sample", type=float, default=1.0, metavar="SHARE", help=text)
    sub.add_argument("--out", type=options.directory, required=True, metavar="DIR")
    sub = add_single(
        "filter",
        stage_commands.filter_documents,
        "run filter steps",
        "filter out/web --steps language,quality --set quality.model=q.bin --out out/filtered",
    )
    sub.add_argument("--steps", required=True, metavar="NAME[,NAME]")
    options.add_set(sub, "a key of a step: language.min_score=0.5; the others keep their defaults")
    sub = add_single(
        "dedup",
        stage_commands.dedup,
        "remove exact and verified near duplicates",
        "dedup out/filtered --out out/unique",
    )
    options.add_dedup(sub)
    text = "withdraw documents from an index, or export it"
    index = subcommands.add_parser("index", help=text, description=text[0].upper() + text[1:])
    verbs = index.add_subparsers(required=True, metavar="WHAT")
    sub = add_run(
        "forget",
        stage_commands.forget,
        "withdraw documents, and name those that come back because of it",
        "index forget out/index --source web --out out/forgotten",
        verbs,
    )
    sub.add_argument("dir", metavar="DIR", help="the --index of corpusmill dedup")
    which = sub.add_mutually_exclusive_group(required=True)
    which.add_argument("--source", metavar="S", help="all documents of this source")
    which.add_argument("--ids", metavar="FILE", help="an id a line")
    text = "for changes/, the documents whose fate is another one now"
    sub.add_argument("--out", type=options.directory, required=True, metavar="DIR", help=text)
    sub = add(
        "export",
        stage_commands.export_index,
        "write the kept documents to Redis, as datasketch's MinHashLSH (needs `pip install redis`)",
        "index export out/index --redis localhost:6379",
        verbs,
    )
    sub.add_argument("dir", metavar="DIR", help="the --index of corpusmill dedup")
    sub.add_argument("--redis", required=True, metavar="HOST:PORT")
    sub.add_argument("--name", default="corpusmill", metavar="NAME", help="of the keys in Redis")
    sub = add_single(
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
    sub = add_single(
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
    options.add_fit(subcommands, add)
    sub = add_single(
        "tokenizer",
        stage_commands.tokenizer,
        "train a byte-fallback BPE tokenizer",
        "tokenizer out/scrubbed --vocab-size 32000 --out out/tokenizer",
    )
    sub.add_argument("--vocab-size", type=int, required=True, metavar="N")
    sub = add_single(
        "tokenize",
        stage_commands.tokenize,
        "turn documents into token ids",
        "tokenize out/scrubbed --tokenizer out/tokenizer --out out/tokens",
    )
    sub.add_argument("--tokenizer", required=True, metavar="DIR", help="or a tokenizer.model")
    sub = add_single(
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
    add_config(
        "pack", commands.pack, "run a configuration up to its packed rows", "pack configs/real.toml"
    )
    add_config(
        "train",
        commands.train,
        "run a configuration up to its trained model",
        "train configs/real.toml",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
