"""Arrays in `.npy` files. The header is matched against the form that NumPy writes: NumPy's own
reader parses it as Python, and fails on a damaged one in a dozen ways."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

import numpy as np

# With the version of the format, 1.0.
MAGIC = b"\x93NUMPY\x01\x00"
HEADER = re.compile(
    r"\{'descr': (?P<descr>.+), 'fortran_order': (?P<fortran>False|True), "
    r"'shape': \((?P<shape>[\d, ]*)\),? ?\} *\n"
)
REAL = ("<f4", "<f2", "<f8")
DType = np.dtype | str


class _Header(NamedTuple):
    dtype: np.dtype
    shape: tuple[int, ...]
    order: Literal["C", "F"]
    end: int


def map_array(path: Path, dtype: DType, shape: tuple[int, ...] | None = None) -> np.memmap:
    """Map an array; nothing is read but its header.

    dtype (dtype): The type that it must have.
    shape (tuple[int, ...] | None): The shape that it must have; None for any.
    RAISES (ValueError): If the file is damaged, or holds another array.
    """
    with path.open("rb") as file:
        header = _read_header(file, [dtype])
        if shape is not None and header.shape != shape:
            raise ValueError(f"{path.name} has the shape {header.shape} instead of {shape}")
        return np.memmap(file, header.dtype, "r", header.end, header.shape, header.order)


def read_array(path: Path, dtypes: Iterable[DType] = REAL) -> np.ndarray:
    """RETURNS (ndarray): An array of one of these types.
    RAISES (ValueError): If the file is damaged, or holds something else."""
    with path.open("rb") as file:
        header = _read_header(file, dtypes)
        values = np.fromfile(file, header.dtype, math.prod(header.shape))
    return values.reshape(header.shape, order=header.order)


def header_of(shape: tuple[int, ...], dtype: np.dtype, size: int) -> bytes:
    """RETURNS (bytes): A header of `size` bytes, so that a larger shape fits in its place."""
    text = repr({"descr": dtype.str, "fortran_order": False, "shape": shape})
    length = size - len(MAGIC) - 2
    return MAGIC + length.to_bytes(2, "little") + text.ljust(length - 1).encode("ascii") + b"\n"


def _read_header(file: BinaryIO, dtypes: Iterable[DType]) -> _Header:
    name = Path(file.name).name
    types: list[np.dtype] = [np.dtype(each) for each in dtypes]
    known = {repr(np.lib.format.dtype_to_descr(each)): each for each in types}
    start = file.read(len(MAGIC) + 2)
    text = file.read(int.from_bytes(start[len(MAGIC) :], "little")).decode("latin1")
    match = HEADER.fullmatch(text)
    if not start.startswith(MAGIC) or match is None or match["descr"] not in known:
        raise ValueError(f"{name} is not an array of type {' or '.join(known)}")
    dtype = known[match["descr"]]
    shape = tuple(int(number) for number in match["shape"].split(",") if number.strip())
    size, end = os.fstat(file.fileno()).st_size, file.tell()
    if size != end + math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name} has {size} bytes, which is not the size of its shape {shape}")
    return _Header(dtype, shape, "F" if match["fortran"] == "True" else "C", end)
