"""`python -m train.loop`: training on machines that have only torch, numpy and pyarrow."""

import argparse
import dataclasses
import json
import os
import sys
import tomllib
import typing
from pathlib import Path

from train.config import Train
from train.loader import packed_files
from train.loop import train


def main(arguments: list[str] | None = None) -> int:
    """Trains on packed rows. Returns 0; or 1 after a mistake in the call or a run that failed, with
    one line that says why."""
    given = vars(_parser().parse_args(arguments))
    packed, out, evals = given.pop("packed"), given.pop("out"), given.pop("eval")
    bytes_file, config_file = given.pop("bytes_per_token"), given.pop("config")
    try:
        table, run_dir = _config(config_file)
        settings = table.pop("train", {}) | given
        packed = packed or _below(run_dir, f"packed/{table.get('name', '')}", "--packed")
        out = out or _below(run_dir, "loop", "--out")
        result = train(
            Train(**settings),
            packed_files(packed),
            out,
            eval_paths={name: packed_files(place) for name, place in evals},
            bytes_per_token=json.loads(Path(bytes_file).read_text()) if bytes_file else None,
        )
    except (ValueError, OSError) as error:
        print(f"train: {str(error).removeprefix('train: ')}", file=sys.stderr)
        return 1
    if os.environ.get("RANK", "0") == "0":
        print(json.dumps(result))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m train.loop", description=main.__doc__, argument_default=argparse.SUPPRESS
    )
    text = "with .arrow files of packed rows (default: of `corpusmill pack CONFIG`)"
    parser.add_argument("--packed", default=None, metavar="DIR", help=text)
    text = "for metrics, checkpoints, loss.svg (default: out/CONFIG/loop)"
    parser.add_argument("--out", default=None, metavar="DIR", help=text)
    parser.add_argument("--config", default=None, help="a TOML file; its [train] table is read")
    parser.add_argument(
        "--eval", action="append", default=[], type=_named, metavar="NAME=DIR", help="held-out rows"
    )
    parser.add_argument("--bytes-per-token", default=None, help="JSON file, by source")
    hints = typing.get_type_hints(Train)
    del hints["workers"]  # torchrun's to say
    for name, hint in hints.items():
        flag = f"--{name.replace('_', '-')}"
        options = typing.get_args(hint)
        if hint is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction)
        elif typing.get_origin(hint) is typing.Literal:
            parser.add_argument(flag, choices=options)
        else:
            parser.add_argument(flag, type=options[0] if options else hint)
    return parser


def _named(text: str) -> tuple[str, str]:
    name, separator, place = text.partition("=")
    if not (name and separator and place):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=DIR")
    return name, place


def _config(path: str | None) -> tuple[dict, Path | None]:
    """A configuration of `corpusmill`, and where `corpusmill pack` puts its output. Raises
    ValueError for keys that Train does not have."""
    if path is None:
        return {}, None
    try:
        table = tomllib.loads(Path(path).read_text())
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: {error}") from None
    known = {field.name for field in dataclasses.fields(Train)}
    if not isinstance(table.get("train", {}), dict):
        raise ValueError(f"{path}: train = {table['train']!r} is no table; write [train]")
    for key in table.get("train", {}).keys() - known:
        raise ValueError(
            f"{path}: [train] has no key {key!r}; there are {', '.join(sorted(known))}"
        )
    return table, Path("out") / Path(path).stem


def _below(run_dir: Path | None, name: str, flag: str) -> str:
    if run_dir is None:
        raise ValueError(f"{flag}: not given; give a directory, or --config with a run's file")
    return str(run_dir / name)
