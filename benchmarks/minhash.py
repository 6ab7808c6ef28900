"""MinHash signatures of word 5-grams: corpusmill, datasketch, rensa and datatrove in one run.

    python -m benchmarks.minhash [--data DIR] [--peers PYTHON] [--repeats 5] [--permutations 128]

The texts are the books of --data cut into documents of 500 words; each side makes the signatures
of all of them on one core, once to warm up and then measured by its own CPU time; they take turns.
corpusmill also makes the sorted sets of shingles that verification reads. datasketch and rensa are
given the words of `str.lower().split()` joined to 5-grams, the loop that their users write; what
datasketch needs for shingles that are hashed already is a second figure. datatrove normalizes and
tokenizes by its own rules (14 x 8 values).

Our signatures are compared bit for bit with datasketch's for the same shingle hashes, affine32 and
affine64, on the first documents.
"""

import argparse
import gzip
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
SIDES = ("ours", "ours 64 bits", "datasketch", "datasketch hashed", "rensa", "datatrove")
SHARE = {"datasketch": 20, "datasketch hashed": 20, "rensa": 4, "datatrove": 100}
"""Slow ones see one in so many documents: megabytes a second do not depend on it."""


def documents(data: str) -> list[str]:
    out = []
    for path in sorted(Path(data, "books").glob("*.txt.gz")):
        encoding = "latin-1" if "latin1" in path.name else "utf-8"
        words = gzip.decompress(path.read_bytes()).decode(encoding, "replace").split(" ")
        out += [" ".join(words[i : i + 500]) for i in range(0, len(words), 500)]
    return out


def grams(text: str) -> list[str]:
    words = text.lower().split()
    return [" ".join(words[i : i + 5]) for i in range(len(words) - 4)]


def work(side: str, texts: list[str], n: int) -> Callable[[], object]:
    """What is measured. The import of each side's library is not."""
    if side.startswith("ours"):
        import pyarrow as pa

        from dedup.minhash import MinHash, sign

        array = pa.array(texts)
        config = MinHash(permutations=n, bits=64 if side == "ours 64 bits" else 32)
        return lambda: sign(array, config, n)
    if side.startswith("datasketch"):
        from datasketch import MinHash as Peer

        if side == "datasketch":
            given = None
        else:
            import zlib

            given = [[zlib.crc32(g.encode()) for g in grams(text)] for text in texts]

        def all_of() -> None:
            for i, text in enumerate(texts):
                if given is None:
                    Peer(n).update_batch([g.encode() for g in grams(text)])
                else:
                    Peer(n, hashfunc=int).update_batch(given[i])

        return all_of
    if side == "rensa":
        from rensa import RMinHash

        def all_of() -> None:
            for text in texts:
                made = RMinHash(num_perm=n, seed=1)
                made.update(grams(text))
                made.digest()

        return all_of
    from datatrove.data import Document
    from datatrove.pipeline.dedup import MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig

    stage = MinhashDedupSignature("/tmp/unused", config=MinhashConfig(n_grams=5))

    def all_of() -> None:
        for text in texts:
            shingles = stage.get_shingles(Document(text=text, id="").text)
            if len(shingles):
                stage.get_signature(shingles)

    return all_of


def measured(side: str, data: str, n: int) -> None:
    """The child process: warms up, measures, prints one JSON line."""
    texts = documents(data)[:: SHARE.get(side, 1)]
    run = work(side, texts, n)
    run()
    started = time.process_time()
    run()
    seconds = time.process_time() - started
    print(json.dumps({"mb_s": sum(len(t.encode()) for t in texts) / 1e6 / seconds}))


def bits_equal(data: str, n: int, bits: int, limit: int = 100) -> int:
    """Documents whose signatures are those of datasketch; stops at the first that differs."""
    import datasketch
    import pyarrow as pa

    from dedup.minhash import MinHash, sign

    texts = documents(data)[:limit]
    signed = sign(pa.array(texts), MinHash(permutations=n, bits=bits), n)
    for d, signature in enumerate(signed.signatures):
        shingles = signed.shingles[signed.offsets[d] : signed.offsets[d + 1]]
        low = (1 << bits) - 1
        peer = datasketch.MinHash(n, 1, scheme=f"affine{bits}", hashfunc=lambda h, low=low: h & low)
        peer.update_batch(int(s) for s in shingles)
        if peer.hashvalues.tobytes() != signature.tobytes():
            sys.exit(f"document {d}: another signature than datasketch's, affine{bits}")
    return len(texts)


def child(python: str, side: str, data: str, n: int) -> float | str:
    command = [python, "-m", "benchmarks.minhash", "--side", side, "--data", data]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPO)}
    command += ["--permutations", str(n)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPO, env=env)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["failed"])[-1]
    return json.loads(done.stdout.strip().splitlines()[-1])["mb_s"]


def library(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    default = os.environ.get("CORPUSMILL_DATA", str(REPO.parent / "shared" / "data"))
    parser.add_argument("--data", default=default, help="directory with books/*.txt.gz")
    parser.add_argument("--peers", default=".venv-peers/bin/python", help="python that has them")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--permutations", type=int, default=128)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        measured(args.side, args.data, args.permutations)
        return
    texts = documents(args.data)
    if not texts:
        sys.exit(f"{args.data}/books: no *.txt.gz; give --data")
    n = args.permutations
    megabytes = sum(len(t.encode()) for t in texts) / 1e6
    print(f"{len(texts)} documents of books, {megabytes:.1f} MB, {n} permutations, one core")
    same = {bits: bits_equal(args.data, n, bits) for bits in (32, 64)}
    print(f"bit for bit as datasketch: {same[32]} affine32, {same[64]} affine64 signatures")
    runs: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(args.repeats):
        for side in [s for s in SIDES if s in runs]:
            python = sys.executable if side.startswith("ours") else args.peers
            found = "no such python" if not Path(python).exists() else ""
            found = found or child(python, side, args.data, n)
            if isinstance(found, str):
                print(f"{side:<18} skipped: {found}")
                del runs[side]
            else:
                runs[side].append(found)
    medians = {side: statistics.median(values) for side, values in runs.items()}
    for side, values in runs.items():
        ratio = medians["ours"] / medians[side]
        spread = f"({min(values):.2f} .. {max(values):.2f})"
        print(
            f"{side:<18} {medians[side]:8.2f} MB/s {spread:<20} ours is {ratio:6.1f} times as fast"
        )
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=REPO
    ).stdout.strip()
    result = {
        "name": "minhash",
        "figures": {"mb_s": {side: round(m, 2) for side, m in medians.items()}},
        "spread": {side: [round(min(v), 2), round(max(v), 2)] for side, v in runs.items()},
        "ratios": {side: round(medians["ours"] / m, 1) for side, m in medians.items()},
        "signatures_equal": {f"affine{bits}": count for bits, count in same.items()},
        "permutations": n,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "versions": {"datasketch": library("datasketch"), "numba": library("numba")},
        "commit": commit,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
