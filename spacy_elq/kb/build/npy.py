"""NumPy files that grow: appended to block by block, and mapped once they are whole."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

HEADER_BYTES = 128


class NpyAppender:
    """Write a .npy file a block of rows at a time; only the blocks are in memory.

    path (Path): The file, made if it is not there.
    row_shape (tuple[int, ...]): Shape of one row.
    dtype (str): For example "float32".
    rows (int): How many rows of an existing file to go on from; what follows them is dropped.
    """

    def __init__(
        self, path: Path, row_shape: tuple[int, ...], dtype: str, *, rows: int = 0
    ) -> None:
        self.row_shape = row_shape
        self.dtype = np.dtype(dtype).newbyteorder("<")
        self.rows = rows
        self._file = path.open("r+b" if rows else "w+b")
        self._file.truncate(HEADER_BYTES + rows * self._row_bytes)
        self._file.seek(0, os.SEEK_END)

    @property
    def _row_bytes(self) -> int:
        return int(np.prod(self.row_shape, dtype=np.int64)) * self.dtype.itemsize

    def append(self, block: np.ndarray) -> None:
        """Add rows (n, *row_shape) at the end."""
        self._file.write(np.ascontiguousarray(block, dtype=self.dtype).tobytes())
        self.rows += len(block)

    def flush(self) -> None:
        """Wait until all rows are on disk, under a header that counts them."""
        self._file.seek(0)
        self._file.write(_header((self.rows, *self.row_shape), self.dtype))
        self._file.seek(0, os.SEEK_END)
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; rows appended after the last flush are not counted by its header."""
        self._file.close()


def _header(shape: tuple[int, ...], dtype: np.dtype) -> bytes:
    """Version 1.0 of the format, padded so that a larger shape fits in its place."""
    text = repr({"descr": dtype.str, "fortran_order": False, "shape": shape})
    size = HEADER_BYTES - len(np.lib.format.MAGIC_PREFIX) - 4
    padded = text.ljust(size - 1).encode("latin1") + b"\n"
    return np.lib.format.MAGIC_PREFIX + b"\x01\x00" + size.to_bytes(2, "little") + padded
