"""`--ray ADDRESS`: a running cluster, with Ray's token authentication as it comes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli import main

PORT = 26379


@pytest.fixture
def address():
    ray = Path(sys.executable).with_name("ray")
    options = ["--head", "--block", f"--port={PORT}", "--num-cpus=1", "--disable-usage-stats"]
    process = subprocess.Popen([str(ray), "start", *options], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    for line in process.stdout:
        if "Ray runtime started" in line:
            break
    yield f"127.0.0.1:{PORT}"
    process.terminate()
    process.wait(30)


@pytest.mark.slow
@pytest.mark.ray
def test_a_cluster_gives_the_digest_of_a_plain_loop(address, tmp_path, capsys):
    rows = [{"text": f"document {i % 7} of a few words"} for i in range(40)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    digests = []
    for where in (address, "off"):
        out = str(tmp_path / where.replace(":", "-"))
        command = ["dedup", str(tmp_path / "rows.jsonl"), "--out", out, "--ray", where, "--json"]
        assert main(command) == 0
        digests.append(json.loads(capsys.readouterr().out.splitlines()[-1])["corpus_digest"])
    assert digests[0] == digests[1]
