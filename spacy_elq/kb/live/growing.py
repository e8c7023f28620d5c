"""Arrays that grow at their end."""

from __future__ import annotations

import numpy as np

FIRST_CAPACITY = 16


class GrowingArray:
    """Rows that are appended in amortised constant time.

    What `array` returned before stays as it is: searches in other threads go on with it.

    row_shape (tuple[int, ...]): Shape of one row.
    dtype (str): For example "float32".
    """

    def __init__(self, row_shape: tuple[int, ...], dtype: str) -> None:
        self._buffer = np.empty((FIRST_CAPACITY, *row_shape), dtype=dtype)
        self._rows = 0

    def __len__(self) -> int:
        return self._rows

    @property
    def array(self) -> np.ndarray:
        """RETURNS (ndarray): The rows (n, *row_shape), not a copy."""
        return self._buffer[: self._rows]

    def append(self, block: np.ndarray) -> None:
        """Add rows (n, *row_shape) at the end."""
        end = self._rows + len(block)
        if end > len(self._buffer):
            shape = (max(end, 2 * len(self._buffer)), *self._buffer.shape[1:])
            grown = np.empty(shape, self._buffer.dtype)
            grown[: self._rows] = self.array
            self._buffer = grown
        self._buffer[self._rows : end] = block
        self._rows = end
