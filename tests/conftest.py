"""Fixtures that every test may use."""

import os
import shutil

if shutil.which("nvidia-smi") is None:  # before anything imports triton
    os.environ.setdefault("TRITON_INTERPRET", "1")

from pathlib import Path

import pytest
from hypothesis import settings

# CI tries the same examples each time; elsewhere every run tries new ones.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

REPO = Path(__file__).resolve().parent.parent
VOCAB = 64  # of `packed`


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real inputs, which are not part of the repository; tests that need them skip without."""
    place = Path(os.environ.get("CORPUSMILL_DATA", REPO.parent / "shared" / "data"))
    if not (place / "README.md").exists():
        pytest.skip(f"no real inputs at {place} (set CORPUSMILL_DATA)")
    return place


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of packed rows of 64: 200 documents of three sources that count upwards from some
    number, easy to learn. Alone in its directory, and not to be changed."""
    import numpy as np

    from train.packing import write_packed

    draw = np.random.default_rng(0)
    documents = [
        (f"d/{i}", f"s{i % 3}", (draw.integers(VOCAB) + np.arange(n)) % VOCAB)
        for i, n in enumerate(draw.integers(5, 150, 200))
    ]
    path = str(tmp_path_factory.mktemp("packed") / "part-0.arrow")
    write_packed(path, documents, 64, vocab_size=VOCAB, tokenizer_digest="d1")
    return path
