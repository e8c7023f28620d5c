"""Damaged files end in an error with a code, or change no answer."""

import sys

import pytest

from . import damage

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="forks")]


@pytest.mark.parametrize("index", ["exact", "IVF2,Flat", "HNSW8"])
def test_every_file_damaged_in_every_way(tmp_path, index):
    found = damage.try_damage(tmp_path, index, flips=20, seed=1)
    wrong = {what: n for what, n in found.items() if not what.endswith(damage.ALLOWED)}
    assert not wrong
    assert found.total() > 300
