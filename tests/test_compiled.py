"""filters/compiled.py: what is `uncounted` neither makes nor returns an array."""

import ast
from pathlib import Path

import numpy as np
import pytest
from numba.core.errors import NumbaError

from filters.compiled import uncounted

REPO = Path(__file__).resolve().parent.parent
ROOMS = ("filters", "dedup", "tokenizer", "pipeline")


def _kernels(path: Path) -> dict[str, tuple[str, set[str]]]:
    """By name, the decorator of each function of a file that is compiled, and what it calls."""
    found = {}
    for node in ast.walk(ast.parse(path.read_text())):
        for decorator in getattr(node, "decorator_list", []):
            kind = ast.unparse(decorator)
            assert "njit" not in kind, f"{path}: {node.name}: use filters/compiled.py"
            if kind in ("kernel", "uncounted", "inlined"):
                calls = [n.func for n in ast.walk(node) if isinstance(n, ast.Call)]
                found[node.name] = kind, {c.id for c in calls if isinstance(c, ast.Name)}
    return found


def test_nothing_uncounted_calls_a_kernel():
    """An array that it returned would never be freed."""
    files = [_kernels(path) for room in ROOMS for path in (REPO / room).rglob("*.py")]
    shared = {name: kind for file in files for name, (kind, _) in file.items() if name[0] != "_"}
    assert sum(map(len, files)) > 150
    for file in files:
        known = shared | {name: kind for name, (kind, _) in file.items()}
        for name, (kind, calls) in file.items():
            wrong = {call for call in calls if kind != "kernel" and known.get(call) == "kernel"}
            assert not wrong, f"{name} is {kind} and calls {wrong}"


def test_arrays_that_nobody_would_free_are_refused():
    with pytest.raises(NumbaError, match="NRT"):
        uncounted(lambda n: np.zeros(n).sum())(3)
    with pytest.raises(NumbaError, match="Only accept returning of array passed"):
        uncounted(lambda array: array[1:])(np.zeros(3))
