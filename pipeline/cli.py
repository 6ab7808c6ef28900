"""The commands. Exit status: 0 success, 1 a run that failed, 2 a mistake in the call or the
configuration."""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


def main(argv: list[str] | None = None) -> int:
    from pipeline.config import ConfigError
    from pipeline.executor import StageError

    args = _parser().parse_args(argv)
    try:
        result = args.command(args)
    except ConfigError as error:
        return _fail(args, error, 2)
    except (StageError, ValueError) as error:
        return _fail(args, error, 1)
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return _fail(args, what, 1)
    except KeyboardInterrupt:
        return _fail(args, "interrupted; the same command goes on where it stopped", 130)
    if args.json:
        print(json.dumps({"ok": True, **result}, sort_keys=True))
    return 0


def _fail(args: argparse.Namespace, error: object, status: int) -> int:
    for line in str(error).splitlines():
        print(f"corpusmill: {line}", file=sys.stderr)
    if args.json:
        print(json.dumps({"ok": False, "error": str(error)}))
    return status


# --- the pipeline ------------------------------------------------------------------------------


def _run(args: argparse.Namespace) -> dict[str, Any]:
    from pipeline.config import load

    return _execute(load(args.config, args.set), args.out or _default_out(args.config), args)


def _default_out(config: str) -> str:
    return f"out/{Path(config).stem}"


def _execute(
    run: Any, out: str, args: argparse.Namespace, until: str | None = None
) -> dict[str, Any]:
    """Runs a configuration and prints what happened to the documents."""
    from pipeline.executor import connect
    from pipeline.stages import look_for_files, run_pipeline
    from pipeline.summary import render_summary

    started = time.monotonic()
    look_for_files(run)  # before Ray starts, which takes seconds
    with connect(args.ray, args.workers) as cluster:
        manifest = run_pipeline(run, out, cluster, getattr(args, "until", None) or until)
    print(render_summary(manifest))
    print(f"\n{out}: done in {time.monotonic() - started:.1f} s")
    return {"out": out, "corpus_digest": manifest["corpus_digest"]}


def _demo(args: argparse.Namespace) -> dict[str, Any]:
    from pipeline.config import load
    from pipeline.sample.inputs import make_inputs
    from pipeline.sample.scorecard import render, scorecard

    out = Path(args.out)
    inputs = out / "inputs"
    print(f"demo: making inputs in {inputs} from what is on this machine", flush=True)
    make_inputs(inputs, scale=args.scale)
    run = load(CONFIGS / "demo.toml", [f"root={json.dumps(str(inputs))}", *args.set])
    result = _execute(run, str(out), args)
    scores = scorecard(out, inputs / "truth.jsonl")
    print("\n" + render(scores))
    return result


def _check(args: argparse.Namespace) -> dict[str, Any]:
    from pipeline.check import check
    from pipeline.config import load

    report = check(load(args.config, args.set), args.limit)
    print(report.text)
    return {"warnings": report.warnings}


def _plan(args: argparse.Namespace) -> dict[str, Any]:
    from pipeline.config import load
    from pipeline.plan import plan_training, render_training

    run = load(args.config, args.set)
    plan = plan_training(run, args.out, args.flops, args.law, args.mfu, args.gpu_tflops)
    length = run.mixture.sequence_length if run.mixture else 2048
    print(render_training(plan, args.gpu_gb, length))
    return plan.figures()


def _why(args: argparse.Namespace) -> dict[str, Any]:
    from pipeline.storage import exists, join
    from pipeline.why import explain, find

    rows = find(args.dir, args.id)
    if not rows and not exists(join(args.dir, "manifest.json")):
        raise ValueError(f"{args.dir}: no manifest.json; it is not the output of a finished run")
    if not rows:
        raise ValueError(
            f"{args.id}: not in {args.dir}/documents, removed or errors; give a url, or a whole "
            "id: <source>/<shard>/<locator>, or the table's own"
        )
    print("\n\n".join(explain(row) for row in rows))
    return {
        "rows": [{k: row.get(k) for k in ("id", "table", "rule", "matched_id")} for row in rows]
    }


# --- one stage alone ---------------------------------------------------------------------------


def _single(paths: list[str], steps: list[dict[str, Any]] | None = None, **sections: Any) -> Any:
    """A run over documents in Parquet or JSONL. The output directory of an earlier command stands
    for its documents, and their sources keep their names; other files are one source, `input`."""
    from pipeline.config import parse

    sources: dict[str, dict[str, Any]] = {}
    for path in paths:
        if (Path(path) / "manifest.json").exists():
            for folder in sorted((Path(path) / "documents").iterdir()):
                sources.setdefault(folder.name, {"paths": []})["paths"].append(str(folder))
        else:
            sources.setdefault("input", {"paths": []})["paths"].append(path)
    for source in sources.values():
        source |= {"format": "table", "steps": steps or []}
    return parse({"name": "single", "sources": sources, **sections})


def _extract(args: argparse.Namespace) -> dict[str, Any]:
    from pipeline.config import parse

    source = {"format": args.format, "paths": args.paths}
    table = {"name": "extract", "sources": {args.source: source}, "sample_fraction": args.sample}
    return _execute(parse(table), args.out, args)


def _filter(args: argparse.Namespace) -> dict[str, Any]:
    names = [name.strip() for name in args.steps.split(",")]
    settings = _step_settings(names, args.set)
    steps = [{"use": name, **settings[name]} for name in names]
    return _execute(_single(args.paths, steps), args.out, args)


def _step_settings(names: list[str], changes: list[str]) -> dict[str, dict[str, Any]]:
    """The keys that --set STEP.KEY=VALUE gives to each of the named steps."""
    from pipeline.config import ConfigError, override

    settings: dict[str, dict[str, Any]] = {name: {} for name in names}
    for change in changes:
        name = change.partition(".")[0]
        if name not in settings:
            known = ", ".join(names)
            raise ConfigError([f"--set {change}: {name!r} is not a step here. Known: {known}."])
        override(settings, change)
    return settings


def _dedup(args: argparse.Namespace) -> dict[str, Any]:
    dedup: dict[str, Any] = {"exact": {}, "minhash": {"similarity": args.similarity}}
    if args.ngram_words:
        dedup["ngrams"] = {"words": args.ngram_words}
    return _execute(_single(args.paths, dedup=dedup), args.out, args)


def _decontaminate(args: argparse.Namespace) -> dict[str, Any]:
    keys = ["against", "mode", "n", "question", "answer", "background"]
    keys += ["ignore_numbers", "min_matched_ngrams", "min_item_fraction"]
    steps = [{"use": "decontaminate", **_given(args, keys)}]
    return _execute(_single(args.paths, steps), args.out, args)


def _given(args: argparse.Namespace, keys: list[str]) -> dict[str, Any]:
    """What the user gave of a step's keys; the others keep their defaults."""
    return {key: value for key in keys if (value := getattr(args, key)) is not None}


def _scrub(args: argparse.Namespace) -> dict[str, Any]:
    keys = ["entities", "replace", "key_file", "ner_model", "max_entities"]
    return _execute(
        _single(args.paths, [{"use": "scrub_pii", **_given(args, keys)}]), args.out, args
    )


def _fit_perplexity(args: argparse.Namespace) -> dict[str, Any]:
    from filters.perplexity_text import Units
    from pipeline.fit import Documents, perplexity_model

    return perplexity_model(
        Documents(_single(args.paths), args.sample),
        args.out,
        order=args.order,
        prune=tuple(args.prune) if args.prune else None,
        vocabulary=args.vocabulary,
        units=Units(
            normalization=args.normalization, sentence=args.sentence, tokenizer=args.tokenizer
        ),
        estimator=args.estimator,
    )


def _fit_quality(args: argparse.Namespace) -> dict[str, Any]:
    from pipeline.fit import Documents, quality_model

    reference = Documents(_single(args.reference), args.sample) if args.reference else None
    sides = [Documents(_single(paths), args.sample) for paths in (args.positive, args.negative)]
    return quality_model(sides[0], sides[1], reference, args.out)


def _fit_cutoffs(args: argparse.Namespace) -> dict[str, Any]:
    from filters.cutoffs import write_cutoffs
    from pipeline.fit import Documents, score_cutoffs

    documents = Documents(_single(args.paths), args.sample)
    settings = _step_settings([args.step], args.set)[args.step]
    lid = None if args.no_language else args.language_model
    cutoffs = score_cutoffs(documents, args.step, settings, lid)
    Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    write_cutoffs(cutoffs, args.out)
    for name, n in cutoffs.n.items():
        tenths = " ".join(f"{cutoffs.at(i / 10, name):.6g}" for i in range(0, 11))
        print(f"{name:<9}{n:>9} documents; deciles {tenths}")
    return {"out": args.out, "n": cutoffs.n, **documents.report()}


def _tokenizer(args: argparse.Namespace) -> dict[str, Any]:
    run = _single(args.paths, tokenizer={"vocab_size": args.vocab_size})
    return _execute(run, args.out, args, until="tokenizer")


def _tokenizer_report(args: argparse.Namespace) -> dict[str, Any]:
    from pipeline.fit import Documents
    from tokenizer.report import bars_svg, measure, open_encoder, render

    paths = [_find_model(args.tokenizer), *([args.against] if args.against else [])]
    encoders = [open_encoder(path) for path in paths]
    documents = Documents(_single(args.paths), args.sample)
    rows = measure(documents.tables(), encoders)
    print(render(rows))
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps(rows, indent=1) + "\n")
    (out / "report.svg").write_text(bars_svg(rows))
    print(f"\n{out}: report.json, report.svg")
    return {"out": args.out, **documents.report()}


def _tokenize(args: argparse.Namespace) -> dict[str, Any]:
    run = _single(args.paths, tokenizer={"model": _find_model(args.tokenizer)})
    return _execute(run, args.out, args, until="tokenize")


def _find_model(path: str) -> str:
    """A tokenizer.model, or the one below a directory."""
    from pipeline.config import ConfigError

    model = Path(path)
    found = [model] if model.is_file() else sorted(model.rglob("tokenizer.model"))
    if len(found) != 1:
        raise ConfigError([f"{model}: {len(found)} files named tokenizer.model there; name one"])
    return str(found[0])


def _pack(args: argparse.Namespace) -> dict[str, Any]:
    return _run_until(args, "pack", "mixture")


def _train(args: argparse.Namespace) -> dict[str, Any]:
    return _run_until(args, "train", "train")


def _run_until(args: argparse.Namespace, until: str, section: str) -> dict[str, Any]:
    from pipeline.config import ConfigError, load

    run = load(args.config, args.set)
    if getattr(run, section) is None:
        raise ConfigError([f"{args.config}: no [{section}] section, which this command needs"])
    return _execute(run, args.out or _default_out(args.config), args, until)


# --- the command line --------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="corpusmill",
        description="Raw shards to a training-ready corpus, with every document's fate on record.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    formats = ["warc", "books", "code", "arxiv", "table"]

    def add(
        name: str, command: Callable, text: str, example: str, group: Any = commands
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

    def add_run(name: str, command: Callable, text: str, example: str) -> argparse.ArgumentParser:
        sub = add(name, command, text, example)
        sub.add_argument(
            "--ray",
            metavar="ADDRESS",
            help="a running cluster; or off: a plain loop in this process",
        )
        sub.add_argument(
            "--workers", type=_at_least_one, metavar="N", help="cores of a local Ray (default: all)"
        )
        return sub

    def add_config(
        name: str, command: Callable, text: str, example: str
    ) -> argparse.ArgumentParser:
        sub = add_run(name, command, text, example)
        sub.add_argument("config", metavar="CONFIG", help="a TOML file")
        sub.add_argument(
            "--out", type=_directory, metavar="DIR", help="default: out/<name of CONFIG>"
        )
        _add_set(sub)
        return sub

    def add_single(
        name: str, command: Callable, text: str, example: str
    ) -> argparse.ArgumentParser:
        sub = add_run(name, command, text, example)
        where = "Parquet or JSONL(.gz) files or patterns, or the --out of an earlier command"
        sub.add_argument("paths", nargs="+", metavar="PATHS", help=where)
        sub.add_argument("--out", type=_directory, required=True, metavar="DIR")
        return sub

    sub = add_run(
        "demo", _demo, "make inputs on this machine and run everything", "demo --out demo-out"
    )
    sub.add_argument("--out", type=_directory, default="demo-out", metavar="DIR")
    sub.add_argument("--scale", type=float, default=1.0, metavar="X", help="of the inputs' size")
    _add_set(sub)
    sub = add_config("run", _run, "run a configuration", "run configs/real.toml --out out/real")
    sub.add_argument(
        "--until",
        choices=["ingest", "filter", "dedup", "tokenizer", "tokenize", "pack", "train"],
        help="stop after this stage",
    )
    sub = add("check", _check, "find mistakes before a run", "check configs/real.toml")
    sub.add_argument("config", metavar="CONFIG")
    sub.add_argument(
        "--limit", type=int, default=50, metavar="N", help="records of each shard tried"
    )
    _add_set(sub)
    sub = add(
        "plan",
        _plan,
        "what a training budget asks of model, corpus and GPUs",
        "plan configs/demo.toml --flops 1e21 --out demo-out",
    )
    sub.add_argument("config", metavar="CONFIG")
    sub.add_argument(
        "--flops", type=_above_zero, required=True, metavar="X", help="operations of the training"
    )
    sub.add_argument("--out", metavar="DIR", help="a finished run, whose tokens are counted")
    sub.add_argument("--law", choices=["besiroglu", "chinchilla"], default="besiroglu")
    sub.add_argument(
        "--mfu", type=_share, default=0.4, metavar="F", help="of the peak (default .4)"
    )
    sub.add_argument(
        "--gpu-tflops", type=_above_zero, default=989.0, help="peak (default: an H100's 989)"
    )
    sub.add_argument("--gpu-gb", type=_above_zero, default=80.0, help="memory (default 80)")
    _add_set(sub)
    sub = add(
        "why", _why, "show a document's fate", "why out/real books/frankenstein_frank13.txt.gz/0"
    )
    sub.add_argument("dir", metavar="DIR", help="the --out of a run")
    sub.add_argument("id", metavar="ID_OR_URL")

    sub = add_run(
        "extract",
        _extract,
        "turn shards into documents",
        "extract 'shards/*.warc.gz' --format warc --out out/web",
    )
    sub.add_argument("paths", nargs="+", metavar="PATHS")
    sub.add_argument("--format", required=True, choices=formats)
    sub.add_argument("--source", default="input", metavar="NAME", help="the source's name")
    text = "of the records, chosen by a hash: a trial (default: all)"
    sub.add_argument("--sample", type=float, default=1.0, metavar="SHARE", help=text)
    sub.add_argument("--out", type=_directory, required=True, metavar="DIR")
    sub = add_single(
        "filter",
        _filter,
        "run filter steps",
        "filter out/web --steps language,quality --set quality.model=q.bin --out out/filtered",
    )
    sub.add_argument("--steps", required=True, metavar="NAME[,NAME]")
    _add_set(sub, "a key of a step: language.min_score=0.5; the others keep their defaults")
    sub = add_single(
        "dedup",
        _dedup,
        "remove exact and verified near duplicates",
        "dedup out/filtered --out out/unique",
    )
    sub.add_argument(
        "--similarity", type=float, default=0.8, metavar="S", help="Jaccard (default .8)"
    )
    sub.add_argument("--ngram-words", type=int, metavar="N", help="cut runs of N words seen before")
    sub = add_single(
        "decontaminate",
        _decontaminate,
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
    text = "any number is like any other"
    sub.add_argument("--ignore-numbers", action="store_const", const=True, help=text)
    text = "of a document in the test sets, from which it is removed (default 1)"
    sub.add_argument("--min-matched-ngrams", type=int, metavar="N", help=text)
    text = "of an item's words in a document, from which it is removed (default 0)"
    sub.add_argument("--min-item-fraction", type=float, metavar="X", help=text)
    sub = add_single(
        "scrub",
        _scrub,
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
    _add_fit(commands, add)
    sub = add_single(
        "tokenizer",
        _tokenizer,
        "train a byte-fallback BPE tokenizer",
        "tokenizer out/scrubbed --vocab-size 32000 --out out/tokenizer",
    )
    sub.add_argument("--vocab-size", type=int, required=True, metavar="N")
    sub = add_single(
        "tokenize",
        _tokenize,
        "turn documents into token ids",
        "tokenize out/scrubbed --tokenizer out/tokenizer --out out/tokens",
    )
    sub.add_argument("--tokenizer", required=True, metavar="DIR", help="or a tokenizer.model")
    sub = add_single(
        "tokenizer-report",
        _tokenizer_report,
        "fertility, bytes a token and fallback by source and language, beside another tokenizer",
        "tokenizer-report out/scrubbed --tokenizer out/tokenizer --out out/report",
    )
    sub.add_argument("--tokenizer", required=True, metavar="DIR", help="or a tokenizer.model")
    sub.add_argument("--against", metavar="FILE", help="another .model or a tokenizer.json")
    sub.add_argument("--sample", type=_share, default=1.0, metavar="F", help="of the documents")
    add_config("pack", _pack, "run a configuration up to its packed rows", "pack configs/real.toml")
    add_config(
        "train", _train, "run a configuration up to its trained model", "train configs/real.toml"
    )
    return parser


def _add_fit(commands: Any, add: Callable[..., argparse.ArgumentParser]) -> None:
    text = "fit the model of a step: perplexity, quality, or the cut-offs of its scores"
    fit = commands.add_parser("fit", help=text, description=text)
    models = fit.add_subparsers(required=True, metavar="WHAT")
    tables = "Parquet or JSONL(.gz) files or patterns, or the --out of an earlier command"

    def add_fit(name: str, command: Callable, text: str, example: str) -> argparse.ArgumentParser:
        sub = add(name, command, text, example, models)
        sub.add_argument(
            "--sample",
            type=_share,
            default=1.0,
            metavar="F",
            help="share of the documents, chosen by a hash of the id (default 1)",
        )
        return sub

    sub = add_fit(
        "perplexity",
        _fit_perplexity,
        "estimate an n-gram model of good text (modified Kneser-Ney, ARPA)",
        "fit perplexity wiki/*.parquet --order 5 --out lm/en.arpa",
    )
    sub.add_argument("paths", nargs="+", metavar="PATHS", help=tables)
    sub.add_argument("--out", type=_file, required=True, metavar="MODEL.arpa")
    sub.add_argument("--order", type=int, choices=range(1, 6), default=5, help="default 5")
    sub.add_argument(
        "--prune",
        type=int,
        nargs="+",
        metavar="N",
        help="for each order the occurrences up to which an n-gram goes (default 0 0 1 1 1)",
    )
    sub.add_argument("--vocabulary", type=_at_least_one, metavar="N", help="words kept apart")
    sub.add_argument("--tokenizer", metavar="MODEL", help="SentencePiece, as in CCNet")
    sub.add_argument("--normalization", choices=["words", "ccnet"], default="words")
    sub.add_argument("--sentence", choices=["line", "text"], default="line")
    sub.add_argument(
        "--estimator",
        choices=["auto", "lmplz", "own"],
        default="auto",
        help="auto: lmplz where it is on the path; the one taken is printed",
    )
    sub = add_fit(
        "quality",
        _fit_quality,
        "train a classifier of good against ordinary text (fastText)",
        "fit quality --positive books.jsonl --negative out/web --out models/quality",
    )
    sub.add_argument("--positive", nargs="+", required=True, metavar="PATHS", help=tables)
    sub.add_argument("--negative", nargs="+", required=True, metavar="PATHS")
    sub.add_argument(
        "--reference", nargs="+", metavar="PATHS", help="whose scores make the cut-offs"
    )
    sub.add_argument("--out", type=_directory, required=True, metavar="DIR")
    sub = add_fit(
        "cutoffs",
        _fit_cutoffs,
        "score a sample, for a step that keeps a share of each language",
        "fit cutoffs out/web --step perplexity --set perplexity.model=lm/en.arpa "
        "--out lm/cutoffs.json",
    )
    sub.add_argument("paths", nargs="+", metavar="PATHS", help=tables)
    sub.add_argument("--step", required=True, choices=["perplexity", "quality", "neural_quality"])
    sub.add_argument("--out", type=_file, required=True, metavar="FILE.json")
    sub.add_argument("--language-model", default="", metavar="MODEL", help="default: lid.176")
    sub.add_argument("--no-language", action="store_true", help="all languages together")
    _add_set(sub, "a key of the step: perplexity.model=lm/{lang}.arpa")


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{value} is not above 0 and at most 1")
    return value


def _above_zero(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{value} is no number above 0")
    return value


def _file(text: str) -> str:
    if not text or Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text or 'empty'}: name a file")
    return text


def _at_least_one(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is below 1")
    return value


def _directory(text: str) -> str:
    """A directory to write to: it may be made, and is not a file."""
    if not text:
        raise argparse.ArgumentTypeError("empty; name a directory")
    if Path(text).is_file():
        raise argparse.ArgumentTypeError(f"{text} is a file; name a directory")
    return text


def _add_set(
    sub: argparse.ArgumentParser, what: str = "change a key of the configuration: train.steps=20"
) -> None:
    sub.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=what,
    )


if __name__ == "__main__":
    sys.exit(main())
