"""filters/kernel_cache.py: a kernel's stamp follows the files that it takes code from."""

from numba.core import caching

from filters import kernel_cache
from filters.kernel_cache import ROOT, imported_files, stamp


def test_imported_files_are_followed():
    found = imported_files(ROOT / "dedup/minhash.py")
    assert {ROOT / "filters/kernels.py", ROOT / "dedup/minhash.py"} <= found
    assert all(file.suffix == ".py" and ROOT in file.parents for file in found)


def test_the_stamp_changes_with_a_file_that_is_imported_by_an_imported_one(tmp_path):
    (tmp_path / "room").mkdir()
    (tmp_path / "room/a.py").write_text("from room import (\n    b,\n)\n")
    (tmp_path / "room/b.py").write_text("    from room.c import kernel\n")
    (tmp_path / "room/c.py").write_text("import os\nkernel = 1\n")
    names = {file.name for file in imported_files(tmp_path / "room/a.py", tmp_path)}
    assert names == {"a.py", "b.py", "c.py"}
    before = stamp(tmp_path / "room/a.py", tmp_path)
    (tmp_path / "room/c.py").write_text("import os\nkernel = 2\n")
    stamp.cache_clear()
    assert stamp(tmp_path / "room/a.py", tmp_path) != before


def test_numba_asks_for_it():
    from dedup import minhash

    found = minhash._sign._cache._impl.locator.get_source_stamp()
    assert found == stamp(ROOT / "dedup/minhash.py")
    mixin = caching._SourceFileBackedLocatorMixin
    assert mixin.get_source_stamp is kernel_cache._get_source_stamp
