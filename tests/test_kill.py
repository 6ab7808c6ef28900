"""Killed anywhere, resumed: the same bytes. Real processes, real SIGKILL, on the demo's inputs."""

import pytest

from benchmarks.determinism import compare
from pipeline.sample.inputs import make_inputs
from tests.conftest import REPO


@pytest.mark.slow
@pytest.mark.ray
def test_the_same_bytes_whatever_happens(tmp_path):
    make_inputs(tmp_path / "inputs", scale=0.3)
    changes = [f"root={tmp_path}/inputs"]
    rows = compare(str(REPO / "configs" / "demo.toml"), changes, kills=3, seed=1, folder=tmp_path)
    assert len(rows) == 9
    assert len({(row["corpus"], row["files"]) for row in rows}) == 1
    assert sum(bool(row["hit"]) for row in rows) >= 4  # of six; a kill may come too late
