"""The house's rules: which room may import which."""

import ast
import sys

from tests.conftest import REPO

ROOMS = ("pipeline", "filters", "dedup", "tokenizer", "train")


def _imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def _of(room):
    for path in sorted((REPO / room).rglob("*.py")):
        for name in _imports(path):
            yield path.relative_to(REPO), name


def test_only_the_executor_imports_ray():
    found = {str(path) for room in ROOMS for path, name in _of(room) if name.split(".")[0] == "ray"}
    assert found == {"pipeline/executor.py"}


def test_train_stands_alone():
    allowed = {"torch", "triton", "numpy", "pyarrow", "train"}
    seen = {(str(path), name) for path, name in _of("train")}
    assert len(seen) > 20
    strangers = {
        (path, name)
        for path, name in seen
        if name.split(".")[0] not in allowed and name.split(".")[0] not in sys.stdlib_module_names
    }
    assert not strangers


def test_filters_dedup_and_tokenizer_do_not_know_the_pipeline():
    """They may import the schema, and the kernels that all share; never the executor, the stages or
    the commands."""
    for room in ("filters", "dedup", "tokenizer"):
        for path, name in _of(room):
            top = name.split(".")[0]
            if top == "pipeline":
                assert name == "pipeline.schema", f"{path} imports {name}"
            assert not (room == "filters" and top in ("dedup", "tokenizer", "train")), (
                f"{path}: {name}"
            )
            assert not (room == "tokenizer" and top in ("dedup", "train")), f"{path}: {name}"
