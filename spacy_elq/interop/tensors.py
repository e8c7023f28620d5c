"""PyTorch files: a large matrix read block by block, and the tensors of a checkpoint.

Only torch's weights-only loader unpickles anything, and it creates nothing but tensors.
"""

from __future__ import annotations

import math
import struct
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ElqError, Errors
from ..files import check_file

if TYPE_CHECKING:
    import torch

# What torch raises for files that are cut, damaged or of another kind.
BROKEN = (RuntimeError, EOFError, ValueError, LookupError, OSError, AttributeError, TypeError)
# Bytes of the local header of a zip file before the name; the last four are two lengths.
ZIP_HEADER = 30


@dataclass(frozen=True)
class MatrixFile:
    """A matrix in a file that is read by rows and never kept in memory.

    offset (int): Bytes before the first row.
    shape (tuple[int, int]): Rows and columns.
    """

    path: Path
    offset: int
    shape: tuple[int, int]
    dtype: np.dtype

    @classmethod
    def open(cls, path: Path) -> MatrixFile:
        """Find the matrix in a file that `torch.save` wrote (`.t7`).

        RAISES (ElqError): If the file is not a PyTorch file, is cut, or holds something else.
        """
        tensor, offset = _locate(path)
        dtypes = {"torch.float32": "<f4", "torch.float16": "<f2", "torch.float64": "<f8"}
        name = str(getattr(tensor, "dtype", type(tensor).__name__))
        if name not in dtypes or tensor.dim() != 2 or not tensor.is_contiguous():
            shape = tuple(getattr(tensor, "shape", ()))
            raise ElqError(Errors.ELQ503.format(path=path, found=f"{name} {shape}"))
        dtype = np.dtype(dtypes[name])
        offset += tensor.storage_offset() * dtype.itemsize
        matrix = cls(path, offset, (tensor.shape[0], tensor.shape[1]), dtype)
        matrix._check_size()
        return matrix

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        """RETURNS (ndarray): Consecutive rows, (n, columns)."""
        start, stop, _ = rows.indices(len(self))
        row_bytes = self.shape[1] * self.dtype.itemsize
        count = max(0, stop - start) * self.shape[1]
        with self.path.open("rb") as file:
            file.seek(self.offset + start * row_bytes)
            return np.fromfile(file, dtype=self.dtype, count=count).reshape(-1, self.shape[1])

    def _check_size(self) -> None:
        missing = self.offset + math.prod(self.shape) * self.dtype.itemsize
        missing -= self.path.stat().st_size
        if missing > 0 or sys.byteorder != "little":
            raise _cannot_read(self.path, f"{missing} bytes missing")


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a checkpoint, memory-mapped if its format allows it.

    RAISES (ElqError): If the file is not a PyTorch file, is cut, or holds something else.
    """
    import torch

    check_file(path, "checkpoint")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except _broken() as error:
        raise _cannot_read(path, error) from None
    if not isinstance(state, dict) or not all(map(torch.is_tensor, state.values())):
        raise ElqError(Errors.ELQ504.format(path=path, found=type(state).__name__))
    return state


def _locate(path: Path) -> tuple[Any, int]:
    """Load a tensor without its numbers, and find where these begin in the file."""
    import torch

    check_file(path, "entity vectors")
    try:
        if _is_zip(path):
            tensor = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            return tensor, _zip_data(path) if torch.is_tensor(tensor) else 0
        # The format before torch 1.6: description, count (eight bytes), numbers.
        with path.open("rb") as file, torch.serialization.skip_data():
            return torch.load(file, map_location="cpu", weights_only=True), file.tell() + 8
    except _broken() as error:
        raise _cannot_read(path, error) from None


def _zip_data(path: Path) -> int:
    """The offset of a file's only tensor, which torch stores without compression."""
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        (data,) = (info for info in archive.infolist() if "/data/" in info.filename)
        file.seek(data.header_offset)
        name, extra = struct.unpack("<HH", file.read(ZIP_HEADER)[-4:])
        return data.header_offset + ZIP_HEADER + name + extra


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _broken() -> tuple[type[Exception], ...]:
    from pickle import UnpicklingError

    return (*BROKEN, UnpicklingError, zipfile.BadZipFile)


def _cannot_read(path: Path, error: Exception | str) -> ElqError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    reason = lines[0][:120]
    return ElqError(Errors.ELQ502.format(path=path, kind="a PyTorch file", reason=reason))
