"""Arguments: their types, and what commands have in common."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None


def finite(text: str) -> float:
    value = _number(text)
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{value} is no finite number")
    return value


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


def add(
    group: Any, name: str, command: Callable, text: str, example: str
) -> argparse.ArgumentParser:
    """A command."""
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
    group: Any, name: str, command: Callable, text: str, example: str
) -> argparse.ArgumentParser:
    """A command that runs stages."""
    sub = add(group, name, command, text, example)
    where = "a running cluster; or off: a plain loop in this process"
    sub.add_argument("--ray", metavar="ADDRESS", help=where)
    cores = "cores of a local Ray (default: all)"
    sub.add_argument("--workers", type=at_least_one, metavar="N", help=cores)
    return sub
