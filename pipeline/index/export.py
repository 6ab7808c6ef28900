"""The documents that an index keeps, as datasketch's MinHashLSH: in memory, or in Redis or another
of its stores, for look-ups while a crawl runs.

Signatures are made by datasketch from the stored shingles (50 us a document), with the permutations
and bands of the index. To look a text up, sign it with `dedup.minhash.sign`, which gives the same
values, and wrap them: `datasketch.MinHash(n, seed, hashvalues=values, scheme="affine32")`.
"""

from typing import Any

import numpy as np
import pyarrow as pa

from dedup.lsh import choose_bands
from pipeline.build_config import ConfigError
from pipeline.exchange.resolve import ROUTED_FATES
from pipeline.index.store import dedup_of, read_index
from pipeline.parts import read_tables
from pipeline.storage import absolute


def export_lsh(index: str, storage: dict[str, Any] | None = None) -> Any:
    """A MinHashLSH with the id of each kept document that has shingles; `storage` is datasketch's
    storage_config. Raises ConfigError for an index without MinHash."""
    from datasketch import MinHash, MinHashLSH  # slow to import, and only this needs it

    index = absolute(index)
    stored = read_index(index)
    config = dedup_of(stored["dedup"]).minhash
    if config is None:
        raise ConfigError([f"{index}: was made without dedup.minhash; there is nothing to look up"])
    banding = choose_bands(config.similarity, config.recall, config.permutations)
    mask = np.uint64((1 << config.bits) - 1)
    lsh = MinHashLSH(num_perm=config.permutations, params=banding, storage_config=storage)
    empty = MinHash(config.permutations, config.seed, hashfunc=int, scheme=f"affine{config.bits}")
    with lsh.insertion_session() as session:
        for entry in stored["parts"]:
            files = entry["files"]
            if "shingles" not in files:
                continue
            fates = [ROUTED_FATES.empty_table()]
            if "fates" in files:
                fates += list(read_tables(index, files["fates"]))
            gone = pa.concat_tables(fates)["doc"].to_numpy()
            for table in read_tables(index, files["shingles"]):
                kept = table.filter(pa.array(~np.isin(table["doc"].to_numpy(), gone)))
                for name, shingles in zip(kept["id"], kept["shingles"], strict=True):
                    signature = empty.copy()
                    signature.update_batch((shingles.values.to_numpy() & mask).tolist())
                    session.insert(name.as_py(), signature, check_duplication=False)
    return lsh
