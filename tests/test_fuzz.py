"""Every reader and extractor on damaged input (tests/fuzz.py): some cases by default, a minute of
them each with -m slow."""

import pytest

from pipeline.sources import FORMATS
from tests.fuzz import EXTRACTORS, check_shard, fuzz
from tests.fuzz_seeds import SEEDS

NAMES = [*SEEDS, *EXTRACTORS]


def test_every_format_is_fuzzed():
    assert set(SEEDS) == set(FORMATS)


@pytest.mark.parametrize("name", SEEDS)
def test_the_seeds_are_valid(name, tmp_path):
    for seed in SEEDS[name]:
        path = tmp_path / seed.name
        path.write_bytes(seed.pack(seed.data))
        items = check_shard(name, path)
        assert [x for x in items if hasattr(x, "text") and x.text], (seed.name, items)
        assert [x for x in items if not hasattr(x, "text") and x.lost] == [], seed.name


@pytest.mark.parametrize("name", NAMES)
def test_damage(name):
    assert fuzz(name, 15) > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_much_damage(name):
    assert fuzz(name, 3000, first=15) > 300
