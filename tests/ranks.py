"""Several trainings one after another, in a process for each rank: an import of torch a rank, not a
run.

    RANK=0 WORLD_SIZE=2 ... python -m tests.ranks PACKED OUT '{"name": {settings of Train}}'
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent


def run_on(n_ranks: int, packed: str, out: Path, runs: dict[str, dict], timeout: int = 200) -> None:
    """out/NAME gets what the run of that name writes; or error.txt, what the ranks raised."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    line = [sys.executable, "-m", "tests.ranks", packed, str(out), json.dumps(runs)]
    processes = []
    for rank in range(n_ranks):
        env = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(n_ranks)}
        env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(line, cwd=REPO, env=os.environ | env, stderr=subprocess.PIPE)
        processes.append(process)
    try:
        said = [process.communicate(timeout=timeout)[1].decode() for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert not any(p.returncode for p in processes), "\n".join(text[-2000:] for text in said)


def main() -> None:
    import torch.distributed as dist

    from train.loop import Train, train

    packed, out, runs = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
    dist.init_process_group("gloo")
    for name, settings in runs.items():
        try:
            evals = {"same": [packed]} if settings.get("eval_rows") else None
            train(Train(**settings), [packed], str(out / name), eval_paths=evals)
        except ValueError as error:
            if dist.get_rank() == 0:
                (out / name).mkdir(parents=True, exist_ok=True)
                (out / name / "error.txt").write_text(str(error))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
