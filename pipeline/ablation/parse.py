"""From the TOML of an ablation (`config.py`) to its arms, each a run that is checked as any run is;
with every mistake that was found."""

import copy
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.ablation.config import (
    ARM_NAME,
    BASE,
    CONFIRM,
    CONTROL,
    Ablation,
    Arm,
    Design,
    Evaluate,
    Proxy,
)
from pipeline.ablation.controls import Control
from pipeline.build_config import ConfigError, build, override, read_table, set_key
from pipeline.config import Run, parse, resolved
from pipeline.identity import digest
from train.config import Train

PRESETS = Path(__file__).resolve().parents[2] / "configs" / "presets"
RESERVED = re.compile(rf"{BASE}|{CONTROL}|{CONFIRM}|corner-.*|draw-\d+")
PROXYS = ("train", "mixture.tokens", "mixture.sequence_length", "mixture.validation_tokens")
MAX_SEEDS = 1000
KEYS = ("name", "base", "set", "seeds", "control", "proxy", "arms", "design", "evaluate")


def load_ablation(path: str, changes: list[str] | None = None) -> Ablation:
    """Reads the TOML file; `changes` are `dotted.key=value` overrides of it. Raises ConfigError
    with every mistake that was found."""
    table = read_table(path)
    if isinstance(table.get("design"), str):  # design = "simplex", with its defaults
        table["design"] = {"kind": table["design"]}
    for change in changes or []:
        override(table, change)
    return parse_ablation(table, Path(path).parent, Path(path).stem)


def parse_ablation(
    table: dict[str, Any], folder: Path = Path(), name: str = "ablation"
) -> Ablation:
    """From a TOML table; `folder` is where the base's path starts. Raises ConfigError."""
    mistakes = [
        f"{key}: an ablation has no such key. Known: {', '.join(KEYS)}."
        for key in table
        if key not in KEYS
    ]
    proxy = _proxy(table.get("proxy"), mistakes)
    seeds = _seeds(table.get("seeds", 3), mistakes)
    given: dict[str, Any] = {"control": None, "design": None, "evaluate": Evaluate()}
    for key, kind in (("control", Control), ("design", Design), ("evaluate", Evaluate)):
        if key in table:
            given[key] = build(kind, table[key], key, mistakes)
    base = _base(table.get("base"), table.get("set", {}), folder, mistakes)
    if mistakes or proxy is None or base is None:
        raise ConfigError(mistakes)
    runs = {BASE: _run(BASE, base, proxy, mistakes)}
    arms = table.get("arms", {})
    if not isinstance(arms, dict):
        raise ConfigError([*mistakes, f"arms: {arms!r} is not a table of [arms.NAME] sections"])
    for arm, change in arms.items():
        if changed := _changed(arm, base, change, mistakes):
            runs[arm] = _run(f"arms.{arm}", changed, proxy, mistakes)
    if mistakes:
        raise ConfigError(mistakes)
    found = {n: run for n, run in runs.items() if run}
    mistakes += _equal_arms(found) + _base_mistakes(found[BASE], given["design"])
    evaluate = given["evaluate"]
    mistakes += _evaluation_mistakes(evaluate, found[BASE])
    if len(found) == 1 and not given["control"] and not given["design"]:
        mistakes.append("arms: none; add an [arms.NAME] with what it changes, or a [design]")
    if mistakes:
        raise ConfigError(mistakes)
    return Ablation(
        name=str(table.get("name", name)),
        arms=_arms(found, given["control"], seeds),
        proxy=proxy,
        seeds=seeds,
        evaluate=evaluate,
        design=given["design"],
    )


def _arms(found: dict[str, Run], control: Control | None, seeds: tuple[int, ...]) -> dict[str, Arm]:
    made = {
        n: Arm(
            name=n,
            role="base" if n == BASE else "arm",
            run=run,
            seeds=seeds,
            own_tokenizer=run.tokenizer != found[BASE].tokenizer,
        )
        for n, run in found.items()
    }
    if control:
        run = replace(found[BASE], name=CONTROL)
        made[CONTROL] = Arm(name=CONTROL, role="control", run=run, seeds=seeds, control=control)
    return made


def _proxy(table: object, mistakes: list[str]) -> Proxy | None:
    if not isinstance(table, dict):
        mistakes.append("proxy: missing; add [proxy] with preset and tokens")
        return None
    rest = dict(table)
    mine = {k: rest.pop(k) for k in ("tokens", "sequence_length", "validation_tokens") if k in rest}
    mistakes += [
        f"proxy.{key}: follows from {of}; leave it out"
        for key, of in (("steps", "tokens"), ("seed", "seeds"))
        if rest.pop(key, None) is not None
    ]
    tokens = mine.get("tokens")
    rows, length = rest.get("batch_rows"), mine.get("sequence_length")
    a_step = _size(rows, Train.batch_rows) * _size(length, Proxy.sequence_length)
    if not isinstance(tokens, int) or tokens < a_step:
        mistakes.append(
            f"proxy.tokens: {tokens!r} is less than a step of {a_step} tokens "
            "(batch_rows x sequence_length)"
        )
        return None
    train = build(Train, rest | {"steps": tokens // a_step}, "proxy", mistakes)
    return build(Proxy, mine, "proxy", mistakes, given={"train": train}) if train else None


def _size(value: object, default: int) -> int:
    """The default in the place of what is none: that is said when the section is built."""
    return value if type(value) is int and value > 0 else default


def _seeds(value: object, mistakes: list[str]) -> tuple[int, ...]:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_SEEDS:
        return tuple(range(value))
    numbers = isinstance(value, list) and all(type(seed) is int and seed >= 0 for seed in value)
    if isinstance(value, list) and value and numbers and len(set(value)) == len(value):
        return tuple(value)
    mistakes.append(
        f"seeds: {value!r} is neither a number from 1 to {MAX_SEEDS} nor a list of different seeds"
    )
    return ()


def _base(
    value: object, changes: object, folder: Path, mistakes: list[str]
) -> dict[str, Any] | None:
    if isinstance(value, str):
        try:
            table = read_table(folder / value)
        except ConfigError as error:
            mistakes += [f"base: {line}" for line in error.mistakes]
            return None
    elif isinstance(value, dict):
        table = copy.deepcopy(value)
    else:
        mistakes.append(f"base: {value!r} is neither the path of a run's TOML file nor a run")
        return None
    return _with_changes("set", table, changes, mistakes)


def _changed(
    arm: str, base: dict[str, Any], change: object, mistakes: list[str]
) -> dict[str, Any] | None:
    """The base's table with the changes of an arm."""
    place = f"arms.{arm}"
    if not ARM_NAME.fullmatch(arm) or RESERVED.fullmatch(arm):
        mistakes.append(f"{place}: no name for an arm; use another of letters, digits, '-' and '_'")
        return None
    if not isinstance(change, dict) or not change or set(change) - {"set", "presets"}:
        mistakes.append(f'{place}: {change!r} is not of the form {{ set = {{ "KEY" = VALUE }} }}')
        return None
    table = copy.deepcopy(base)
    presets = change.get("presets", {})
    for source, name in presets.items() if isinstance(presets, dict) else [("", presets)]:
        where = f"{place}.presets.{source}"
        if source not in table.get("sources", {}) or not isinstance(name, str):
            mistakes.append(f"{where}: not of the form {{ SOURCE = PRESET }}")
            continue
        try:
            preset = read_table(name if name.endswith(".toml") else PRESETS / f"{name}.toml")
        except ConfigError as error:
            mistakes += [f"{where}: {line}" for line in error.mistakes]
            continue
        sources = preset.get("sources", {})
        if source not in sources and len(sources) != 1:
            there = ", ".join(sources)
            mistakes.append(f"{where}: {name} has no source {source!r}; it has {there}")
            continue
        chosen = sources[source] if source in sources else next(iter(sources.values()))
        table["sources"][source]["steps"] = chosen.get("steps", [])
        table.setdefault("models", {}).update(preset.get("models", {}))
    return _with_changes(f"{place}.set", table, change.get("set", {}), mistakes)


def _with_changes(
    place: str, table: dict[str, Any], changes: object, mistakes: list[str]
) -> dict[str, Any] | None:
    if not isinstance(changes, dict):
        mistakes.append(f'{place}: {changes!r} is not a table {{ "DOTTED.KEY" = VALUE }}')
        return None
    for key, value in changes.items():
        if key == "name" or any(key == of or key.startswith(f"{of}.") for of in PROXYS):
            mistakes.append(f"{place}: {key} is the same for all arms; change [proxy]")
            continue
        try:
            set_key(table, key, copy.deepcopy(value), f"{place}: {key}")
        except ConfigError as error:
            mistakes += error.mistakes
    return table


def _run(place: str, table: dict[str, Any], proxy: Proxy, mistakes: list[str]) -> Run | None:
    """The run of an arm: the proxy's budget in the place of its own, and no training of its own."""
    table = {key: value for key, value in table.items() if key != "train"}
    mixture = table.get("mixture")
    if not isinstance(mixture, dict):
        mistakes.append(f"{place}: no [mixture] section, which an ablation needs")
        return None
    mine = {"tokens": proxy.budget, "sequence_length": proxy.sequence_length}
    table["mixture"] = mixture | mine | {"validation_tokens": 0}
    table["name"] = place.removeprefix("arms.")
    try:
        return parse(table)
    except ConfigError as error:
        mistakes += [f"{place}: {line}" for line in error.mistakes]
        return None


def _equal_arms(runs: dict[str, Run]) -> list[str]:
    """Arms that are an earlier one, once every default is written out."""
    first: dict[str, str] = {}
    mistakes = []
    for name, run in runs.items():
        of = first.setdefault(digest(resolved(replace(run, name=""))), name)
        if of != name:
            equal = "the base" if of == BASE else f"arms.{of}"
            mistakes.append(f"arms.{name}: equal to {equal}; change something, or leave it out")
    return mistakes


def _base_mistakes(base: Run, design: Design | None) -> list[str]:
    if design and base.mixture and len(base.mixture.weights) < 2:
        return ["design: the base's mixture has no weights of 2 or more sources to vary"]
    return []


def _evaluation_mistakes(evaluate: Evaluate, base: Run) -> list[str]:
    mistakes = []
    for key in ("texts", "tasks"):
        for name in getattr(evaluate, key):
            place = f"evaluate.{key}.{name}"
            if not ARM_NAME.fullmatch(name):
                mistakes.append(f"{place}: no name; use letters, digits, '-' and '_'")
            if name in base.sources or (key == "tasks" and name in evaluate.texts):
                mistakes.append(f"{place}: a source or a text has this name; use another")
    mistakes += [
        f"evaluate.texts.{name}: empty; name a file" for name, p in evaluate.texts.items() if not p
    ]
    return mistakes
