"""What each command over a whole run does: from its arguments to what the last line says with
--json. One stage alone: stage_commands.py."""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
SECTIONS = {"tokenizer": "tokenizer", "tokenize": "tokenizer", "pack": "mixture", "train": "train"}


def run(args: argparse.Namespace) -> dict[str, Any]:
    from pipeline.config import load

    run = load(args.config, args.set)
    if args.until in SECTIONS:
        _check_section(run, args, SECTIONS[args.until])
    result = execute(run, args.out or _default_out(args.config), args)
    return result | _write_report(result["out"])


def _default_out(config: str) -> str:
    return f"out/{Path(config).stem}"


def execute(
    run: Any, out: str, args: argparse.Namespace, until: str | None = None
) -> dict[str, Any]:
    """Runs a configuration and prints what happened to the documents."""
    from pipeline.executor import connect
    from pipeline.named_files import look_for_files
    from pipeline.stages import run_pipeline
    from pipeline.summary import render_summary

    started = time.monotonic()
    look_for_files(run, out)  # before Ray starts, which takes seconds
    make_directory(out)
    with connect(args.ray, args.workers) as cluster:
        manifest = run_pipeline(run, out, cluster, getattr(args, "until", None) or until)
    print(render_summary(manifest))
    print(f"\n{out}: done in {time.monotonic() - started:.1f} s")
    return {"out": out, "corpus_digest": manifest["corpus_digest"]}


def make_directory(out: str, option: str = "--out") -> None:
    """Before any work. Raises ConfigError where it cannot be made or written to."""
    from pipeline.build_config import ConfigError

    if "://" in out:
        return
    try:
        Path(out).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError([f"{option} {out}: cannot be made: {error.strerror}"]) from None
    if not os.access(out, os.W_OK | os.X_OK):
        raise ConfigError([f"{option} {out}: may not be written to"])


def demo(args: argparse.Namespace) -> dict[str, Any]:
    from pipeline.config import load
    from pipeline.sample.inputs import make_inputs
    from pipeline.sample.scorecard import render, scorecard

    out = Path(args.out)
    inputs = out / "inputs"
    make_directory(args.out)
    print(f"demo: making inputs in {inputs} from what is on this machine", flush=True)
    make_inputs(inputs, scale=args.scale)
    config = CONFIGS / "demo.toml"
    changes = [f"root={json.dumps(str(inputs))}"]
    if args.scale < 1 and (
        mixture := load(config).mixture
    ):  # or there is too little for the budget
        changes.append(f"mixture.tokens={round(args.scale * mixture.tokens)}")
    run = load(config, [*changes, *args.set])
    result = execute(run, str(out), args)
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


def keys(args: argparse.Namespace) -> dict[str, Any]:
    from pipeline.keys import render, render_names

    print(render(args.name) if args.name else render_names())
    return {}


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
    from pipeline.ablation.parse import load_ablation
    from pipeline.ablation.run import ablate, check_ablation, render
    from pipeline.executor import connect
    from pipeline.report.ablation import write_page

    started = time.monotonic()
    changes = [f'design.kind="{args.design}"'] if args.design else []
    changes += [f"design.draws={args.draws}"] if args.draws is not None else []
    ablation = load_ablation(args.config, [*changes, *args.set])
    check_ablation(ablation)
    out = args.out or f"out/ablations/{Path(args.config).stem}"
    make_directory(out)
    with connect(args.ray, args.workers) as cluster:
        outcome = ablate(ablation, out, cluster, lambda line: print(line, flush=True))
    print(render(outcome))
    page = write_page(outcome.directory)
    print(f"\n{page}: done in {time.monotonic() - started:.1f} s")
    return {"out": out, "page": page, "verdicts": outcome.report["verdicts"]}


def tune(args: argparse.Namespace) -> dict[str, Any]:
    from pipeline.tune import tune as reports_of
    from pipeline.tune_view import histogram_svg, render

    if args.svg:
        make_directory(str(Path(args.svg).parent), "--svg")
    reports = reports_of(args.dir, args.rule, args.threshold, args.source)
    print("\n\n".join(map(render, reports)))
    if args.svg:
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
    from pipeline.ledger import read_manifest
    from pipeline.why import explain, find

    rows = find(args.dir, args.id)
    if not rows:
        read_manifest(args.dir)  # it may be no run
        raise ValueError(
            f"{args.id}: not in {args.dir}/documents, removed or errors; give a url, or a whole "
            "id: <source>/<shard>/<locator>, or the table's own"
        )
    print("\n\n".join(explain(row) for row in rows))
    return {
        "rows": [{k: row.get(k) for k in ("id", "table", "rule", "matched_id")} for row in rows]
    }


def pack(args: argparse.Namespace) -> dict[str, Any]:
    return _run_until(args, "pack")


def train(args: argparse.Namespace) -> dict[str, Any]:
    return _run_until(args, "train")


def _run_until(args: argparse.Namespace, until: str) -> dict[str, Any]:
    from pipeline.config import load

    run = load(args.config, args.set)
    _check_section(run, args, SECTIONS[until])
    return execute(run, args.out or _default_out(args.config), args, until)


def _check_section(run: Any, args: argparse.Namespace, section: str) -> None:
    """Raises ConfigError where the run ends before the stage that it was to go to."""
    from pipeline.build_config import ConfigError

    if getattr(run, section) is None:
        raise ConfigError([f"{args.config}: no [{section}] section, which this command needs"])
