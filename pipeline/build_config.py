"""TOML tables -> frozen dataclasses, by their annotations; and the mistakes in them.

sources.web.steps[3].min_word: gopher_quality has no such key. Did you mean min_words?
"""

import dataclasses
import difflib
import tomllib
import types
import typing
from pathlib import Path
from typing import Any, Literal


class ConfigError(ValueError):
    """One or more mistakes in a configuration, a line each."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


def read_table(path: str | Path) -> dict[str, Any]:
    """A TOML file as it stands. Raises ConfigError."""
    try:
        text = Path(path).read_text()
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}; check the path"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: not UTF-8 text; a configuration is a TOML file"]) from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: not valid TOML: {error}"]) from None


def build(
    kind: type,
    table: object,
    place: str,
    mistakes: list[str],
    what: str = "",
    given: dict[str, Any] | None = None,
) -> Any:
    """An instance of a config dataclass from a TOML table; None and added mistakes where it cannot
    be made."""
    if not isinstance(table, dict):
        mistakes.append(f"{place}: {table!r} is not a table")
        return None
    values, broken = convert(kind, table, place, mistakes, what, given)
    if broken:
        return None
    try:
        return kind(**values)
    except ValueError as error:  # a __post_init__ check of the dataclass
        mistakes.append(f"{place}: {error}" if place else str(error))
        return None


def convert(
    kind: type,
    table: dict[str, Any],
    place: str,
    mistakes: list[str],
    what: str = "",
    given: dict[str, Any] | None = None,
) -> tuple[dict[str, Any], set[str]]:
    """The values of a dataclass's fields, as far as they can be had, and the fields with a mistake:
    a misspelt one under the name that was meant."""
    hints = typing.get_type_hints(kind)
    values = dict(given or {})
    broken: set[str] = set()
    names = [f.name for f in dataclasses.fields(kind) if f.name not in values]
    for key, value in table.items():
        here = f"{place}.{key}" if place else key
        if key not in names:
            known = [*names, *(given or {})]
            mistakes.append(
                f"{here}: {what or place or 'a run'} has no such key.{nearest(key, known)}"
            )
            broken.update([key], difflib.get_close_matches(key, known, 1))
            continue
        before = len(mistakes)
        converted = _convert(value, hints[key], here, mistakes)
        if len(mistakes) > before:
            broken.add(key)
        else:
            values[key] = converted
    for f in dataclasses.fields(kind):
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and f.name not in {*values, *broken}:
            here = f"{place}.{f.name}" if place else f.name
            mistakes.append(f"{here}: missing; it has no default")
            broken.add(f.name)
    return values, broken


def override(table: dict[str, Any], change: str) -> None:
    """Sets a key of a TOML table by `dotted.key=value`. Raises ConfigError."""
    key, equals, text = change.partition("=")
    if not equals or not key:
        raise ConfigError([f"--set {change}: not of the form key=value"])
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word is a string
    set_key(table, key, value, f"--set {change}")


def set_key(table: dict[str, Any], key: str, value: Any, what: str) -> None:
    """Sets a dotted key of a TOML table: `sources.web.steps[1].min_words`, or the step by its name,
    `steps[gopher_quality]`. Raises ConfigError, with `what` as the place."""
    *parents, last = key.split(".")
    for parent in parents:
        parent, bracket, entry = parent.removesuffix("]").partition("[")
        inner = table.setdefault(parent, {})
        if bracket and isinstance(inner, list):
            steps = [step if isinstance(step, dict) else {} for step in inner]
            uses = [step.get("name") or step.get("use") for step in steps]
            if entry.isdigit() and int(entry) >= len(inner):
                raise ConfigError([f"{what}: {parent} has {len(inner)} entries, from 0"])
            if not entry.isdigit() and uses.count(entry) != 1:
                hint = nearest(entry, [use for use in uses if isinstance(use, str)])
                raise ConfigError(
                    [f"{what}: {parent} uses {entry!r} {uses.count(entry)} times.{hint}"]
                )
            inner = inner[int(entry) if entry.isdigit() else uses.index(entry)]
        if not isinstance(inner, dict):
            raise ConfigError([f"{what}: {parent} is not a table"])
        table = inner
    table[last] = value


def _convert(value: Any, hint: Any, place: str, mistakes: list[str]) -> Any:
    """A TOML value as the annotated type: a list as a tuple, an int where a float is wanted, a
    table as a dataclass."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        inner = [a for a in args if a is not type(None)]
        if isinstance(value, dict):  # str | dict: a path, or a table of them
            inner.sort(key=lambda a: typing.get_origin(a) is not dict)
        return _convert(value, inner[0], place, mistakes)
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(type, hint), value, place, mistakes)
    if origin is Literal:
        if value in args:
            return value
        mistakes.append(f"{place}: {value!r} is not one of {', '.join(map(repr, args))}")
    elif origin is tuple and isinstance(value, list):
        return tuple(_convert(v, args[0], f"{place}[{i}]", mistakes) for i, v in enumerate(value))
    elif origin is dict and isinstance(value, dict):
        return {k: _convert(v, args[1], f"{place}.{k}", mistakes) for k, v in value.items()}
    elif hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    elif (hint in (str, bool) and isinstance(value, hint)) or (
        hint is int and isinstance(value, int) and not isinstance(value, bool)
    ):
        return value
    else:
        name = {tuple: "a list", dict: "a table"}.get(origin) or getattr(
            hint, "__name__", str(hint)
        )
        mistakes.append(f"{place}: {value!r} is not {name}")
    return None


def nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, 1)
    if close:
        return f" Did you mean {close[0]}?"
    return f" Known: {', '.join(known)}." if known else ""
