"""Arrays in files: what NumPy writes is read, and nothing else."""

import numpy as np
import pytest

from spacy_elq.kb.files.names import ENTRY
from spacy_elq.kb.files.npy import map_array, read_array

ARRAYS = [
    np.arange(12, dtype="<f4").reshape(3, 4),
    np.arange(6, dtype="<f2").reshape(2, 3),
    np.arange(5, dtype="<i4"),
    np.arange(5, dtype="<u8"),
    np.zeros(4, dtype=ENTRY),
    np.zeros((0, 4), dtype="<f4"),
]


@pytest.mark.parametrize("array", ARRAYS, ids=str)
def test_arrays_of_numpy_are_read(tmp_path, array):
    path = tmp_path / "a.npy"
    np.save(path, array)
    for found in (map_array(path, array.dtype), read_array(path, [array.dtype])):
        assert (found.dtype, found.shape) == (array.dtype, array.shape)
        assert (found == array).all()
    with pytest.raises(ValueError, match=r"a\.npy has the shape"):
        map_array(path, array.dtype, (99,))
    with pytest.raises(ValueError, match=r"a\.npy is not an array"):
        map_array(path, "<i8")


def test_columns_may_come_first(tmp_path):
    array = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    np.save(tmp_path / "a.npy", array)
    assert (read_array(tmp_path / "a.npy") == array).all()


def test_a_changed_header_is_never_parsed(tmp_path):
    """Every flip of every bit of the header: the same array, or a ValueError."""
    array = np.arange(12, dtype="<f4").reshape(3, 4)
    path = tmp_path / "a.npy"
    np.save(path, array)
    whole = path.read_bytes()
    for bit in range(8 * 128):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            found = map_array(path, "<f4", (3, 4))
        except ValueError:
            continue
        assert (found == array).all(), flipped[:128]


@pytest.mark.parametrize("size", [0, 3, 10, 100, 128, 150])
def test_a_cut_file_is_refused(tmp_path, size):
    path = tmp_path / "a.npy"
    np.save(path, ARRAYS[0])
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"a\.npy"):
        read_array(path)


def test_objects_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"a\.npy is not an array"):
        read_array(tmp_path / "a.npy")
