"""What each command does: from its arguments to what the last line says with --json."""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


# --- the pipeline ------------------------------------------------------------------------------


def run(args: argparse.Namespace) -> dict[str, Any]:
    from pipeline.config import load

    result = _execute(load(args.config, args.set), args.out or _default_out(args.config), args)
    return result | _write_report(result["out"])


def _default_out(config: str) -> str:
    return f"out/{Path(config).stem}"


def _execute(
    run: Any, out: str, args: argparse.Namespace, until: str | None = None
) -> dict[str, Any]:
    """Runs a configuration and prints what happened to the documents."""
    from pipeline.executor import connect
    from pipeline.named_files import look_for_files
    from pipeline.stages import run_pipeline
    from pipeline.summary import render_summary

    started = time.monotonic()
    look_for_files(run)  # before Ray starts, which takes seconds
    with connect(args.ray, args.workers) as cluster:
        manifest = run_pipeline(run, out, cluster, getattr(args, "until", None) or until)
    print(render_summary(manifest))
    for warning in manifest.get("warnings", []):
        print(f"warning: {warning}", file=sys.stderr)
    print(f"\n{out}: done in {time.monotonic() - started:.1f} s")
    return {"out": out, "corpus_digest": manifest["corpus_digest"]}


def demo(args: argparse.Namespace) -> dict[str, Any]:
    from pipeline.config import load
    from pipeline.sample.inputs import make_inputs
    from pipeline.sample.scorecard import render, scorecard

    out = Path(args.out)
    inputs = out / "inputs"
    print(f"demo: making inputs in {inputs} from what is on this machine", flush=True)
    make_inputs(inputs, scale=args.scale)
    run = load(CONFIGS / "demo.toml", [f"root={json.dumps(str(inputs))}", *args.set])
    result = _execute(run, str(out), args)
    result |= _write_report(result["out"])
    scores = scorecard(out, inputs / "truth.jsonl")
    print("\n" + render(scores))
    return result


def check(args: argparse.Namespace) -> dict[str, Any]:
    from pipeline.check import check
    from pipeline.config import load

    report = check(load(args.config, args.set), args.limit)
    print(report.text)
    return {"warnings": report.warnings}


def plan(args: argparse.Namespace) -> dict[str, Any]:
    """Of a training budget with --flops, of a run over the corpus without."""
    from pipeline.build_config import ConfigError
    from pipeline.config import load

    of_training: dict[str, Any] = {
        "out": None,
        "law": "besiroglu",
        "mfu": 0.4,
        "gpu_tflops": 989.0,
        "gpu_gb": 80.0,
    }
    of_corpus: dict[str, Any] = {"bytes": None, "cores": os.cpu_count() or 1, "sample_bytes": 256e6}
    mine, others = (of_training, of_corpus) if args.flops else (of_corpus, of_training)
    if strangers := [key for key in others if getattr(args, key) is not None]:
        flag, which = strangers[0].replace("_", "-"), "without" if args.flops else "with"
        raise ConfigError([f"--{flag}: {which} --flops only"])
    given = {key: getattr(args, key) for key in mine}
    chosen = {key: mine[key] if value is None else value for key, value in given.items()}
    run = load(args.config, args.set)
    if args.flops:
        return _plan_training(run, args.flops, **chosen)
    return _plan_corpus(run, **chosen)


def _plan_training(
    run: Any, flops: float, out: str, law: str, mfu: float, gpu_tflops: float, gpu_gb: float
) -> dict[str, Any]:
    from pipeline.plan import plan_training, render_training

    plan = plan_training(run, out, flops, law, mfu, gpu_tflops)
    length = run.mixture.sequence_length if run.mixture else 2048
    print(render_training(plan, gpu_gb, length))
    return plan.figures()


def _plan_corpus(run: Any, bytes: float, cores: int, sample_bytes: float) -> dict[str, Any]:
    from pipeline.calibrate import plan_corpus, render_corpus

    plan = plan_corpus(run, bytes, cores, int(sample_bytes))
    print(render_corpus(plan))
    return plan.figures()


def ablate(args: argparse.Namespace) -> dict[str, Any]:
    from pipeline.ablation import ablate, check_ablation, render
    from pipeline.ablation_config import load_ablation
    from pipeline.executor import connect
    from pipeline.report.ablation import write_page

    started = time.monotonic()
    changes = [f'design.kind="{args.design}"'] if args.design else []
    changes += [f"design.draws={args.draws}"] if args.draws is not None else []
    ablation = load_ablation(args.config, [*changes, *args.set])
    check_ablation(ablation)
    out = args.out or f"out/ablations/{Path(args.config).stem}"
    with connect(args.ray, args.workers) as cluster:
        outcome = ablate(ablation, out, cluster, lambda line: print(line, flush=True))
    print(render(outcome))
    page = write_page(outcome.directory)
    print(f"\n{page}: done in {time.monotonic() - started:.1f} s")
    return {"out": out, "page": page, "verdicts": outcome.report["verdicts"]}


def tune(args: argparse.Namespace) -> dict[str, Any]:
    from pipeline.tune import tune as reports_of
    from pipeline.tune_view import histogram_svg, render

    reports = reports_of(args.dir, args.rule, args.threshold, args.source)
    print("\n\n".join(map(render, reports)))
    if args.svg:
        Path(args.svg).parent.mkdir(parents=True, exist_ok=True)
        Path(args.svg).write_text(histogram_svg(reports[0]))
        print(f"\n{args.svg}: the histogram of sources.{reports[0]['source']}")
    return {"reports": reports}


def report(args: argparse.Namespace) -> dict[str, Any]:
    """Of an ablation where the directory has its tables, else of a run."""
    from pipeline.report import ablation
    from pipeline.storage import exists, join

    if exists(join(args.dir, "verdicts.parquet")):
        path = ablation.write_page(args.dir)
        print(f"{path}: the page of the ablation")
        return {"report": path}
    return _write_report(args.dir)


def _write_report(out: str) -> dict[str, Any]:
    from pipeline.report.run import write_page

    path = write_page(out)
    print(f"{path}: what the run did, as a page")
    return {"report": path}


def why(args: argparse.Namespace) -> dict[str, Any]:
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


def _single(
    paths: list[str],
    steps: list[dict[str, Any]] | None = None,
    source: str = "input",
    **sections: Any,
) -> Any:
    """A run over documents in Parquet or JSONL. The output directory of an earlier command stands
    for its documents, and their sources keep their names; other files are one source."""
    from pipeline.config import parse

    sources: dict[str, dict[str, Any]] = {}
    for path in paths:
        if (Path(path) / "manifest.json").exists():
            for folder in sorted((Path(path) / "documents").iterdir()):
                sources.setdefault(folder.name, {"paths": []})["paths"].append(str(folder))
        elif (Path(path) / "_parts").exists():
            raise ValueError(f"{path}: an unfinished run; finish it, or name its documents/SOURCE")
        else:
            sources.setdefault(source, {"paths": []})["paths"].append(path)
    for table in sources.values():
        table |= {"format": "table", "steps": steps or []}
    return parse({"name": "single", "sources": sources, **sections})


def extract(args: argparse.Namespace) -> dict[str, Any]:
    from pipeline.config import parse

    source = {"format": args.format, "paths": args.paths}
    table = {"name": "extract", "sources": {args.source: source}, "sample_fraction": args.sample}
    return _execute(parse(table), args.out, args)


def filter_documents(args: argparse.Namespace) -> dict[str, Any]:
    names = [name.strip() for name in args.steps.split(",")]
    settings = _step_settings(names, args.set)
    steps = [{"use": name, **settings[name]} for name in names]
    return _execute(_single(args.paths, steps), args.out, args)


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
        return _execute(run, args.out, args)
    from pipeline.executor import connect
    from pipeline.index import extend_index
    from pipeline.summary import render_summary

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
    from pipeline.index_forget import forget

    lines = Path(args.ids).read_text().split("\n") if args.ids else []
    ids = frozenset(line for line in lines if line)
    with connect(args.ray, args.workers) as cluster:
        manifest = forget(args.dir, args.out, cluster, args.source or "", ids)
    return {"out": args.out, "changes": _changes(manifest, args.out)}


def export_index(args: argparse.Namespace) -> dict[str, Any]:
    from pipeline.index_export import export_lsh

    host, _, port = args.redis.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"--redis {args.redis}: not of the form HOST:PORT")
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
    return _execute(_single(args.paths, steps), args.out, args)


def _given(args: argparse.Namespace, keys: list[str]) -> dict[str, Any]:
    """What the user gave of a step's keys; the others keep their defaults."""
    return {key: value for key in keys if (value := getattr(args, key)) is not None}


def scrub(args: argparse.Namespace) -> dict[str, Any]:
    keys = ["entities", "replace", "key_file", "ner_model", "max_entities"]
    return _execute(
        _single(args.paths, [{"use": "scrub_pii", **_given(args, keys)}]), args.out, args
    )


def fit_perplexity(args: argparse.Namespace) -> dict[str, Any]:
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


def fit_quality(args: argparse.Namespace) -> dict[str, Any]:
    from pipeline.fit import Documents, quality_model

    reference = Documents(_single(args.reference), args.sample) if args.reference else None
    sides = [Documents(_single(paths), args.sample) for paths in (args.positive, args.negative)]
    return quality_model(sides[0], sides[1], reference, args.out)


def fit_cutoffs(args: argparse.Namespace) -> dict[str, Any]:
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


def tokenizer(args: argparse.Namespace) -> dict[str, Any]:
    run = _single(args.paths, tokenizer={"vocab_size": args.vocab_size})
    return _execute(run, args.out, args, until="tokenizer")


def tokenizer_report(args: argparse.Namespace) -> dict[str, Any]:
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


def tokenize(args: argparse.Namespace) -> dict[str, Any]:
    run = _single(args.paths, tokenizer={"model": _find_model(args.tokenizer)})
    return _execute(run, args.out, args, until="tokenize")


def _find_model(path: str) -> str:
    """A tokenizer.model, or the one below a directory."""
    from pipeline.build_config import ConfigError

    model = Path(path)
    found = [model] if model.is_file() else sorted(model.rglob("tokenizer.model"))
    if len(found) != 1:
        raise ConfigError([f"{model}: {len(found)} files named tokenizer.model there; name one"])
    return str(found[0])


def pack(args: argparse.Namespace) -> dict[str, Any]:
    return _run_until(args, "pack", "mixture")


def train(args: argparse.Namespace) -> dict[str, Any]:
    return _run_until(args, "train", "train")


def _run_until(args: argparse.Namespace, until: str, section: str) -> dict[str, Any]:
    from pipeline.build_config import ConfigError
    from pipeline.config import load

    run = load(args.config, args.set)
    if getattr(run, section) is None:
        raise ConfigError([f"{args.config}: no [{section}] section, which this command needs"])
    return _execute(run, args.out or _default_out(args.config), args, until)
