"""`corpusmill keys`: what a configuration may say, from the dataclasses that read it: the sections,
the formats, the steps with their signals and rules. So it cannot be out of date."""

import ast
import dataclasses
import inspect
import re
import textwrap
import typing
from collections.abc import Iterator
from typing import Any

from filters.rules import Bound
from pipeline.ablation import config as ablation
from pipeline.ablation.controls import Control
from pipeline.build_config import ConfigError, nearest
from pipeline.config import Dedup, Model, Run
from pipeline.mixture import Mixture
from pipeline.sources import FORMATS
from pipeline.steps import STEPS
from tokenizer.train import Tokenizer
from train.config import Train

SECTIONS: dict[str, type] = {
    "run": Run,
    "models": Model,
    "dedup": Dedup,
    "tokenizer": Tokenizer,
    "mixture": Mixture,
    "train": Train,
    "ablation.control": Control,
    "ablation.proxy": ablation.Proxy,
    "ablation.evaluate": ablation.Evaluate,
    "ablation.design": ablation.Design,
}
KINDS = SECTIONS | {name: f.config for name, f in FORMATS.items()}
KINDS |= {name: step.config for name, step in STEPS.items()}
INNER = {  # [dedup.exact] and the like: tables within a section
    f"{name}.{field}": inner
    for name, kind in KINDS.items()
    for field, hint in typing.get_type_hints(kind).items()
    for inner in (hint, *typing.get_args(hint))
    if name != "run" and dataclasses.is_dataclass(inner) and isinstance(inner, type)
    if inner not in SECTIONS.values()
}


def render_names() -> str:
    """Every name that `render` knows, with its first line."""
    lines = ["sections of a configuration", _line("ablation", ablation.__doc__)]
    sections = sorted(SECTIONS | INNER, key=lambda name: (name != "run", name))
    lines += [_line(name, inspect.getdoc((SECTIONS | INNER)[name])) for name in sections]
    lines += ["", "formats of a source"]
    lines += [_line(name, inspect.getdoc(f.config)) for name, f in FORMATS.items()]
    lines += ["", "steps of a source, in any order"]
    lines += [_line(name, inspect.getdoc(s.config)) for name, s in STEPS.items()]
    return "\n".join([*lines, "", "corpusmill keys NAME shows the keys of one"])


def _line(name: str, text: str | None) -> str:
    first = " ".join((text or "").split("\n\n")[0].split())
    return f"  {name:<26}{textwrap.shorten(first, 71, placeholder=' ...')}"


def render(name: str) -> str:
    """The keys of one section, format or step: type, default, meaning. Raises ConfigError."""
    if name == "ablation":
        return inspect.cleandoc(ablation.__doc__ or "")
    kinds = KINDS | INNER
    if name not in kinds:
        raise ConfigError([f"{name}: no such section, format or step.{nearest(name, list(kinds))}"])
    kind = kinds[name]
    lines = [f"{name}: {inspect.getdoc(kind)}", ""]
    meanings = dict(_meanings(kind))
    for field in dataclasses.fields(kind):
        lines.append(f"  {field.name} = {_default(field)}    {_type(kind, field.name)}")
        if text := meanings.get(field.name):
            lines += textwrap.wrap(text, 94, initial_indent="      ", subsequent_indent="      ")
    if name in STEPS:
        lines += ["", *_of_step(name)]
    return "\n".join(lines)


def _meanings(kind: type) -> Iterator[tuple[str, str]]:
    """(field, the string below it) of a dataclass, from its source."""
    [tree] = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            name, said = field.target.id, below.value if isinstance(below, ast.Expr) else None
            if isinstance(said, ast.Constant):
                yield name, inspect.cleandoc(str(said.value))


def _default(field: dataclasses.Field) -> str:
    if field.default_factory is not dataclasses.MISSING:
        return _toml(field.default_factory())
    return "(required)" if field.default is dataclasses.MISSING else _toml(field.default)


def _toml(value: Any) -> str:
    if value is None:
        return "(none)"
    if dataclasses.is_dataclass(value):
        return "{ ... }"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return "{}" if value == {} else str(value)


def _type(kind: type, name: str) -> str:
    hint = typing.get_type_hints(kind)[name]
    text = str(hint) if typing.get_args(hint) else hint.__name__
    return re.sub(r"\b\w+\.", "", text).replace(", ...", "").replace(" | None", "")


def _of_step(name: str) -> list[str]:
    step = STEPS[name]
    text = inspect.getdoc(step.function) or ""
    lines = ["what it does", *textwrap.wrap(text, 96, initial_indent="  ", subsequent_indent="  ")]
    try:
        bounds = step.bounds(step.config()) if step.bounds else []
    except TypeError:  # a key without a default: its rules depend on it
        bounds = []
    if bounds:
        lines += ["", "a document is removed by rule, where the signal is"]
        lines += [f"  {name}.{bound.rule:<30}  {_when(bound)}" for bound in bounds]
    return lines


def _when(bound: Bound) -> str:
    key = f", set by {bound.key}" if bound.key else ""
    least = f"below {bound.least:g}" if bound.least is not None else ""
    most = f"above {bound.most:g}" if bound.most is not None else ""
    return f"{bound.signal} {' or '.join(filter(None, (least, most))) or '(off)'}{key}"
