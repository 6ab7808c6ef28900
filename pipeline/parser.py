"""The words of the command line, command by command: those over a whole run here, a stage alone in
stage_parser.py. What they do: commands.py, stage_commands.py."""

import argparse
from collections.abc import Callable
from typing import Any

from pipeline import commands, options, stage_parser
from pipeline.options import add, add_run, add_set


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="corpusmill",
        description="Raw shards to a training-ready corpus, with every document's fate on record.",
    )
    group = top.add_subparsers(required=True, metavar="COMMAND")
    _runs(group)
    _before_a_run(group)
    _plan(group)
    _ablate(group)
    _after_a_run(group)
    stage_parser.add_commands(group)
    return top


def _add_config(
    group: Any, name: str, command: Callable, text: str, example: str
) -> argparse.ArgumentParser:
    sub = add_run(group, name, command, text, example)
    sub.add_argument("config", metavar="CONFIG", help="a TOML file")
    text = f"default: out/{'ablations/' if name == 'ablate' else ''}<name of CONFIG>"
    sub.add_argument("--out", type=options.directory, metavar="DIR", help=text)
    add_set(sub)
    return sub


def _runs(group: Any) -> None:
    sub = add_run(
        group,
        "demo",
        commands.demo,
        "make inputs on this machine and run everything",
        "demo --out demo-out",
    )
    sub.add_argument("--out", type=options.directory, default="demo-out", metavar="DIR")
    text = "of the inputs' size; below 1 of the token budget, too"
    sub.add_argument("--scale", type=options.above_zero, default=1.0, metavar="X", help=text)
    add_set(sub)
    sub = _add_config(
        group, "run", commands.run, "run a configuration", "run configs/real.toml --out out/real"
    )
    sub.add_argument(
        "--until",
        choices=["ingest", "filter", "dedup", "tokenizer", "tokenize", "pack", "train"],
        help="stop after this stage",
    )
    _add_config(
        group,
        "pack",
        commands.pack,
        "run a configuration up to its packed rows",
        "pack configs/real.toml",
    )
    _add_config(
        group,
        "train",
        commands.train,
        "run a configuration up to its trained model",
        "train configs/real.toml",
    )


def _before_a_run(group: Any) -> None:
    sub = add(
        group, "check", commands.check, "find mistakes before a run", "check configs/real.toml"
    )
    sub.add_argument("config", metavar="CONFIG")
    sub.add_argument(
        "--limit",
        type=options.from_zero,
        default=50,
        metavar="N",
        help="records of each shard tried; 0 is all",
    )
    add_set(sub)
    sub = add(group, "keys", commands.keys, "what a configuration may say", "keys gopher_quality")
    sub.add_argument("name", nargs="?", metavar="NAME", help="a section, a format or a step")


def _plan(group: Any) -> None:
    sub = add(
        group,
        "plan",
        commands.plan,
        "what a large run costs, from a run over a sample; or, with --flops, a training",
        "plan configs/demo.toml --flops 1e21 --out demo-out",
    )
    sub.add_argument("config", metavar="CONFIG")
    part = sub.add_argument_group("a run over the corpus")
    part.add_argument(
        "--bytes", type=options.above_zero, metavar="N", help="of input (default: what is there)"
    )
    part.add_argument(
        "--cores", type=options.at_least_one, metavar="N", help="(default: those of this machine)"
    )
    part.add_argument(
        "--sample-bytes", type=options.above_zero, metavar="N", help="to run first (default 256e6)"
    )
    part = sub.add_argument_group("a training")
    part.add_argument("--flops", type=options.above_zero, metavar="X", help="its operations")
    part.add_argument("--out", metavar="DIR", help="a finished run, whose tokens are counted")
    part.add_argument("--law", choices=["besiroglu", "chinchilla"], help="(default besiroglu)")
    part.add_argument("--mfu", type=options.share, metavar="F", help="of the peak (default .4)")
    part.add_argument(
        "--gpu-tflops", type=options.above_zero, metavar="X", help="peak (default: an H100's 989)"
    )
    part.add_argument("--gpu-gb", type=options.above_zero, metavar="X", help="(default 80)")
    add_set(sub)


def _ablate(group: Any) -> None:
    sub = _add_config(
        group,
        "ablate",
        commands.ablate,
        "train small models on changed corpora, and say which is better and how sure that is",
        "ablate configs/ablations/demo.toml",
    )
    text = "mixtures to add: the corners, and draws around the base's weights"
    sub.add_argument("--design", choices=["simplex"], help=text)
    sub.add_argument("--draws", type=int, metavar="N", help="of the design (default 8)")


def _after_a_run(group: Any) -> None:
    sub = add(
        group,
        "tune",
        commands.tune,
        "show what another threshold of a rule would do, from the signals of a run",
        "tune out/real --rule gopher_quality.too_few_words --threshold 30",
    )
    sub.add_argument("dir", metavar="DIR", help="the --out of a finished run")
    sub.add_argument("--rule", required=True, metavar="STEP.RULE")
    sub.add_argument(
        "--threshold", type=options.finite, metavar="X", help="to look at (default: the present)"
    )
    sub.add_argument("--source", metavar="NAME", help="default: every source with the rule")
    sub.add_argument("--svg", type=options.file, metavar="FILE", help="the histogram as a picture")
    sub = add(
        group,
        "why",
        commands.why,
        "show a document's fate",
        "why out/real books/frankenstein_frank13.txt.gz/0",
    )
    sub.add_argument("dir", metavar="DIR", help="the --out of a run")
    sub.add_argument("id", metavar="ID_OR_URL")
    sub = add(
        group,
        "report",
        commands.report,
        "write one self-contained HTML page about a run or an ablation",
        "report out/real",
    )
    sub.add_argument("dir", metavar="DIR", help="the --out of a finished run or of an ablation")
