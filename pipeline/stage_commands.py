"""What each command does that runs one stage alone, on documents in Parquet or JSON lines, or on
the output of the command before."""

import argparse
import glob
import json
from pathlib import Path
from typing import Any

from pipeline.commands import execute, make_directory

ENOUGH_FOR_CUTOFFS = 100  # documents of a language, below which its deciles are noise


def _single(
    paths: list[str],
    steps: list[dict[str, Any]] | None = None,
    source: str = "input",
    **sections: Any,
) -> Any:
    """A run over documents in Parquet or JSONL. The output directory of an earlier command stands
    for its documents, and their sources keep their names; other files are one source."""
    from pipeline.config import parse, parse_steps

    parse_steps(steps or [], "steps")  # their mistakes once, not for each source
    sources: dict[str, dict[str, Any]] = {}
    for path in paths:
        for name, place in documents_at(path, source):
            sources.setdefault(name, {"paths": []})["paths"].append(place)
    for table in sources.values():
        table |= {"format": "table", "steps": steps or []}
    return parse({"name": "single", "sources": sources, **sections})


def documents_at(path: str, source: str) -> list[tuple[str, str]]:
    """(source, path) of what a user names: a run, a source of it (RUN/documents/SOURCE) or files.
    Raises ConfigError for a run that is not finished, or has kept nothing."""
    from pipeline.build_config import ConfigError
    from pipeline.named_files import run_of, unfinished
    from pipeline.storage import exists, is_web, join, list_files

    if mistake := unfinished(path):
        raise ConfigError([mistake])
    if is_web(path) or not exists(join(path, "manifest.json")):
        name = run_of(path)[1]
        return [(source if not name or glob.has_magic(name) else name, path)]
    folder = join(path, "documents")
    names = {file[len(folder) + 1 :].partition("/")[0] for file in list_files(folder)}
    if not names:
        raise ConfigError([f"{path}: has no documents; `corpusmill report {path}` says why"])
    return [(name, join(folder, name)) for name in sorted(names)]


def extract(args: argparse.Namespace) -> dict[str, Any]:
    from pipeline.config import parse

    source = {"format": args.format, "paths": args.paths}
    table = {"name": "extract", "sources": {args.source: source}, "sample_fraction": args.sample}
    return execute(parse(table), args.out, args)


def filter_documents(args: argparse.Namespace) -> dict[str, Any]:
    names = [name.strip() for name in args.steps.split(",")]
    settings = _step_settings(names, args.set)
    steps = [{"use": name, **settings[name]} for name in names]
    return execute(_single(args.paths, steps), args.out, args)


def _step_settings(names: list[str], changes: list[str]) -> dict[str, dict[str, Any]]:
    """The keys that --set STEP.KEY=VALUE gives to each of the named steps."""
    from pipeline.build_config import ConfigError, override

    settings: dict[str, dict[str, Any]] = {name: {} for name in names}
    for change in changes:
        name = change.partition(".")[0]
        if name not in settings:
            known = ", ".join(names)
            raise ConfigError([f"--set {change}: {name!r} is not a step here. Known: {known}."])
        override(settings, change)
    return settings


def dedup(args: argparse.Namespace) -> dict[str, Any]:
    run = _single(args.paths, source=args.source, dedup=_dedup_section(args))
    if not args.index:
        return execute(run, args.out, args)
    from pipeline.executor import connect
    from pipeline.index.extend import extend_index
    from pipeline.summary import render_summary

    make_directory(args.out)
    with connect(args.ray, args.workers) as cluster:
        manifest = extend_index(run, args.out, args.index, cluster)
    print(render_summary(manifest))
    changes = _changes(manifest, args.out)
    return {"out": args.out, "corpus_digest": manifest["corpus_digest"], "changes": changes}


def _dedup_section(args: argparse.Namespace) -> dict[str, Any]:
    """[dedup] as its options say."""
    from pipeline.build_config import ConfigError, override

    section: dict[str, Any] = _given(args, ["scope", "compare_scopes"])
    section["exact"] = _given(args, ["by"])
    near = _given(args, ["similarity", "recall", "characters", "bits"])
    if args.exact_only and near:
        raise ConfigError([f"--{next(iter(near))}: not with --exact-only"])
    if not args.exact_only:
        section["minhash"] = near
    if args.ngram_words is not None:
        section["ngrams"] = {"words": args.ngram_words}
    if args.unit is not None:
        section["segments"] = {"unit": args.unit}
    if args.repeated_fraction is not None:
        section["paragraphs"] = {"min_repeated_fraction": args.repeated_fraction}
    for change in args.set:
        override(section, change)
    return section


def forget(args: argparse.Namespace) -> dict[str, Any]:
    from pipeline.executor import connect
    from pipeline.index.forget import forget

    ids = frozenset(filter(None, _lines(args.ids))) if args.ids else frozenset()
    make_directory(args.out)
    with connect(args.ray, args.workers) as cluster:
        manifest = forget(args.dir, args.out, cluster, args.source or "", ids)
    return {"out": args.out, "changes": _changes(manifest, args.out)}


def _lines(path: str) -> list[str]:
    from pipeline.build_config import ConfigError

    try:
        return Path(path).read_text().split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"--ids {path}: no file of ids that can be read: {error}"]) from None


def export_index(args: argparse.Namespace) -> dict[str, Any]:
    from pipeline.build_config import ConfigError
    from pipeline.index.export import export_lsh

    host, _, port = args.redis.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError([f"--redis {args.redis}: not of the form HOST:PORT"])
    store = {"type": "redis", "basename": args.name.encode()}
    lsh = export_lsh(args.dir, {**store, "redis": {"host": host, "port": int(port)}})
    print(f"{args.redis}: {args.name} has bands of {lsh.r} rows, {lsh.b} of them")
    return {"bands": lsh.b, "rows": lsh.r, "name": args.name}


def _changes(manifest: dict[str, Any], out: str) -> dict[str, int]:
    changes = manifest["changes"]
    print(
        f"documents of the index: {changes['removed']:,} removed, {changes['restored']:,} come "
        f"back, {changes['matched']:,} go for another one now; {out}/changes names them"
    )
    return changes


def decontaminate(args: argparse.Namespace) -> dict[str, Any]:
    keys = ["against", "mode", "n", "question", "answer", "background"]
    keys += ["ignore_numbers", "min_matched_ngrams", "min_item_fraction"]
    steps = [{"use": "decontaminate", **_given(args, keys)}]
    return execute(_single(args.paths, steps), args.out, args)


def _given(args: argparse.Namespace, keys: list[str]) -> dict[str, Any]:
    """What the user gave of a step's keys; the others keep their defaults."""
    return {key: value for key in keys if (value := getattr(args, key)) is not None}


def scrub(args: argparse.Namespace) -> dict[str, Any]:
    keys = ["entities", "replace", "key_file", "ner_model", "max_entities"]
    return execute(
        _single(args.paths, [{"use": "scrub_pii", **_given(args, keys)}]), args.out, args
    )


def fit_perplexity(args: argparse.Namespace) -> dict[str, Any]:
    from filters.perplexity_text import Units
    from pipeline.fit import Documents, perplexity_model

    make_directory(str(Path(args.out).parent))
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


def fit_quality(args: argparse.Namespace) -> dict[str, Any]:
    from pipeline.fit import Documents, quality_model

    reference = Documents(_single(args.reference), args.sample) if args.reference else None
    sides = [Documents(_single(paths), args.sample) for paths in (args.positive, args.negative)]
    make_directory(args.out)
    return quality_model(sides[0], sides[1], reference, args.out)


def fit_cutoffs(args: argparse.Namespace) -> dict[str, Any]:
    from filters.cutoffs import write_cutoffs
    from pipeline.fit import Documents, score_cutoffs

    make_directory(str(Path(args.out).parent))
    documents = Documents(_single(args.paths), args.sample)
    settings = _step_settings([args.step], args.set)[args.step]
    lid = None if args.no_language else args.language_model
    cutoffs = score_cutoffs(documents, args.step, settings, lid)
    write_cutoffs(cutoffs, args.out)
    for name, n in cutoffs.n.items():
        few = "; too few to cut by" if n < ENOUGH_FOR_CUTOFFS else ""
        tenths = " ".join(f"{cutoffs.at(i / 10, name):.6g}" for i in range(0, 11))
        print(f"{name:<9}{n:>9} documents; deciles {tenths}{few}")
    return {"out": args.out, "n": cutoffs.n, **documents.report()}


def tokenizer(args: argparse.Namespace) -> dict[str, Any]:
    run = _single(args.paths, tokenizer={"vocab_size": args.vocab_size})
    return execute(run, args.out, args, until="tokenizer")


def tokenizer_report(args: argparse.Namespace) -> dict[str, Any]:
    from pipeline.build_config import ConfigError
    from pipeline.fit import Documents
    from tokenizer.report import bars_svg, measure, open_encoder, render

    named = {"--tokenizer": _find_model(args.tokenizer), "--against": args.against}
    encoders = []
    for option, path in named.items():
        try:
            encoders += [open_encoder(path)] if path else []
        except ValueError as error:
            raise ConfigError([f"{option} {error}"]) from None
    make_directory(args.out)
    documents = Documents(_single(args.paths), args.sample)
    rows = measure(documents.tables(), encoders)
    print(render(rows))
    out = Path(args.out)
    (out / "report.json").write_text(json.dumps(rows, indent=1) + "\n")
    (out / "report.svg").write_text(bars_svg(rows))
    print(f"\n{out}: report.json, report.svg")
    return {"out": args.out, **documents.report()}


def tokenize(args: argparse.Namespace) -> dict[str, Any]:
    run = _single(args.paths, tokenizer={"model": _find_model(args.tokenizer)})
    return execute(run, args.out, args, until="tokenize")


def _find_model(path: str) -> str:
    """A tokenizer.model, or the one below a directory."""
    from pipeline.build_config import ConfigError

    model = Path(path)
    found = [model] if model.is_file() else sorted(model.rglob("tokenizer.model"))
    if len(found) != 1:
        raise ConfigError([f"{model}: {len(found)} files named tokenizer.model there; name one"])
    return str(found[0])
