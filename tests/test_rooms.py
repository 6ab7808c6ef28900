"""The house's rules: which room may import which, and that a part's key holds the code that makes
the part."""

import ast
import sys

import pytest

from filters.kernel_cache import imported_files
from pipeline.ablation.trials import MEASURE_CODE, TRAINING_CODE
from pipeline.dedup_stages import DEDUP_CODE
from pipeline.index.store import SIGN_CODE
from pipeline.mixture_stages import PACK_CODE
from pipeline.stages import FILTER_CODE, FIT_CODE, INGEST_CODE
from pipeline.token_stages import TOKEN_CODE
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


# Files that cannot change what a part holds: where it is, how it is written beside other parts, and
# the pictures and the command line of a training.
NOT_IN_KEYS = {
    *("pipeline/storage.py", "pipeline/identity.py", "pipeline/quarantine.py"),
    *("pipeline/exchange/files.py", "filters/kernel_cache.py", "filters/compiled.py"),
    *("train/command.py", "train/plot.py", "train/svg.py", "train/tensorboard.py"),
}
OF_CONTROLS = ("pipeline/ablation/controls.py",)  # in the key of those parts that are degraded
EXCHANGE = ("equal", "graph", "near", "paragraphs", "resolve", "sign")


@pytest.mark.parametrize(
    ("start", "code"),
    [
        ("pipeline/ingest_tasks.py", INGEST_CODE),
        ("pipeline/filter_tasks.py", FILTER_CODE),
        ("pipeline/fit_tasks.py", FIT_CODE),
        *((f"pipeline/exchange/{name}.py", DEDUP_CODE) for name in EXCHANGE),
        ("pipeline/token_tasks.py", TOKEN_CODE),
        ("pipeline/mixture_tasks.py", PACK_CODE + OF_CONTROLS),
        ("dedup/exact.py", (*SIGN_CODE, "pipeline/schema.py")),
        ("dedup/minhash.py", SIGN_CODE),
        ("dedup/scopes.py", (*SIGN_CODE, "pipeline/schema.py")),
        ("train/loop.py", TRAINING_CODE),
        ("train/measures.py", MEASURE_CODE),
        ("pipeline/ablation/questions.py", MEASURE_CODE),
    ],
)
def test_a_key_holds_the_code_that_its_part_is_made_by(start, code):
    """A file that is split off, and left out of the tuple, would leave old parts in place when it
    changes."""
    reached = {str(path.relative_to(REPO)) for path in imported_files(REPO / start)} - NOT_IN_KEYS
    reached = {path for path in reached if not path.endswith("__init__.py")}
    assert start in reached
    assert not {p for p in reached if not any(p == c or p.startswith(c + "/") for c in code)}
    assert not [c for c in code if not (REPO / c).exists()]
