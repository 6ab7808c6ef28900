"""A made corpus of near-duplicates with known truth, and what hurts, for `benchmarks/dedup.py`.

Documents are some 120 words. Of each 100, 60 are single, a third of them with the same 40 words of
boilerplate; 30 are in families of a document and two edits of it (words changed so that the Jaccard
similarity of word 5-grams is from .5 to .99); 5 are a chain, each like the next only; and 5 edit
one of a few documents that hubs of many copies grow around. The truth is the Jaccard of the sets of
5-grams in plain Python, within a family, a chain and (of each document to its hub) a hub.
"""

import itertools
import json
import random
from collections.abc import Iterable
from pathlib import Path

SIMILARITY, RECALL, N = 0.8, 0.95, 5
BANDING = 13, 7  # bands and rows that `dedup.lsh` chooses for these
SHARD = 5000  # documents


def words(rng: random.Random, n: int) -> list[str]:
    return [f"w{rng.randrange(1 << 20):x}" for _ in range(n)]


def changed(rng: random.Random, base: list[str], edits: int) -> list[str]:
    out = list(base)
    for _ in range(edits):
        out[rng.randrange(len(out))] = f"x{rng.randrange(1 << 30):x}"
    return out


def make(n: int, folder: Path) -> None:
    """Shards of JSON lines {id, text, group}; group: whose members may be similar, or empty."""
    rng = random.Random(n)
    boilerplate = words(rng, 40)
    hubs = [words(rng, 120) for _ in range(max(1, n // 100_000))]
    rows: list[tuple[str, str]] = []

    def add(group: str, text: list[str]) -> None:
        rows.append((group, " ".join(text)))

    for block in range(n // 100):
        for i in range(60):
            add("", words(rng, 80) + (boilerplate if i % 3 == 0 else words(rng, 40)))
        for i in range(10):
            base = words(rng, 120)
            add(f"family-{block}-{i}", base)
            for _ in range(2):
                add(f"family-{block}-{i}", changed(rng, base, rng.randint(1, 9)))
        base = words(rng, 180)
        for i in range(5):
            add(f"chain-{block}", base[12 * i : 12 * i + 120])
        for _ in range(5):
            hub = rng.randrange(len(hubs))
            add(f"hub-{hub}", changed(rng, hubs[hub], rng.randint(1, 2)))
    rng.shuffle(rows)
    write(folder, rows)


def make_hostile(kind: str, size: int, folder: Path) -> None:
    rng = random.Random(0)
    if kind == "identical":
        texts: Iterable[str] = itertools.repeat(" ".join(words(rng, 120)), size)
    elif kind == "one_word":
        texts = (f"w{i % 5} " * (20 + i % 200) for i in range(size))
    else:
        around = [" ".join(words(rng, 120)) for _ in range(2000)]
        huge = " ".join(words(rng, size // 7))
        texts = [*around, huge, huge + " again"]
    write(folder, (("", text) for text in texts))


def write(folder: Path, rows: Iterable[tuple[str, str]]) -> None:
    folder.mkdir(parents=True)
    numbered = enumerate(rows)
    while shard := list(itertools.islice(numbered, SHARD)):
        with (folder / f"shard-{shard[0][0]:08d}.jsonl").open("w") as file:
            for i, (group, text) in shard:
                row = {"id": f"d{i:08d}", "text": text, "group": group}
                file.write(json.dumps(row) + "\n")


def shingles(text: str) -> frozenset[tuple[str, ...]]:
    split = text.split()
    return frozenset(zip(*(split[i:] for i in range(N)), strict=False))


def score(folder: Path, kept: set[str], matched: dict[str, str] | None) -> dict[str, float]:
    """Precision and recall of what was kept, and where the keepers are named, of their names."""
    groups: dict[str, list[tuple[str, str]]] = {}
    total = 0
    for path in sorted(folder.iterdir()):
        for line in path.open():
            row = json.loads(line)
            total += 1
            if row["group"]:
                groups.setdefault(row["group"], []).append((row["id"], row["text"]))
    if not groups:
        return {"removed": total - len(kept)}  # hostile input: nothing is known of it
    true = missed = right = at_threshold = missed_there = 0
    promised = 0.0
    for name, texts in groups.items():
        members = [(i, shingles(text)) for i, text in texts]
        if name.startswith("hub-"):  # all pairs would be quadratic
            pairs = zip(members[::2], members[1::2], strict=False)
        else:
            pairs = itertools.combinations(members, 2)
        for (a, x), (b, y) in pairs:
            similarity = len(x & y) / len(x | y)
            if similarity >= SIMILARITY:
                true += 1
                together = a in kept and b in kept
                missed += together
                promised += 1 - (1 - similarity ** BANDING[1]) ** BANDING[0]
                at_threshold += similarity < SIMILARITY + 0.02
                missed_there += together and similarity < SIMILARITY + 0.02
        sets = dict(members)
        stay = [i for i in sets if i in kept]
        for i in sets.keys() - kept:
            keepers = [matched[i]] if matched is not None else stay
            near = (sets.get(k, frozenset()) for k in keepers)
            right += any(len(sets[i] & k) / len(sets[i] | k) >= SIMILARITY for k in near)
    return {
        "removed": total - len(kept),
        "true_pairs": true,
        "recall": round(1 - missed / true, 4),
        "promised": round(promised / true, 4),
        "at_threshold": round(1 - missed_there / max(at_threshold, 1), 4),
        "precision": round(right / max(total - len(kept), 1), 4),
    }
