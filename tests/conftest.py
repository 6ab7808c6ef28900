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


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real inputs, which are not part of the repository; tests that need them skip without."""
    place = Path(os.environ.get("CORPUSMILL_DATA", REPO.parent / "shared" / "data"))
    if not (place / "README.md").exists():
        pytest.skip(f"no real inputs at {place} (set CORPUSMILL_DATA)")
    return place
