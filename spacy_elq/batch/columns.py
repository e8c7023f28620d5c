"""Batches of rows as columns: a dict of lists or arrays, an Arrow table or record batch, a pandas
DataFrame. What goes in comes out, with more columns."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from ..errors import ElqError, Errors

Columns = TypeVar("Columns")


def names_of(batch: Any) -> list[str]:
    """RETURNS (list[str]): The names of a batch's columns."""
    if _is_arrow(batch):
        return list(batch.schema.names)
    if _is_pandas(batch):
        return [str(name) for name in batch.columns]
    if isinstance(batch, Mapping):
        return list(batch)
    raise ElqError(Errors.ELQ136.format(found=type(batch).__name__))


def column(batch: Any, name: str) -> list[Any]:
    """RETURNS (list): The values of a column, of Python's types as far as there are such.
    RAISES (ElqError): If the batch is no such thing, or lacks the column."""
    names = names_of(batch)
    if name not in names:
        raise ElqError(Errors.ELQ137.format(name=name, names=", ".join(map(repr, names))))
    values = batch.column(name).to_pylist() if _is_arrow(batch) else batch[name]
    return list(values.tolist() if hasattr(values, "tolist") else values)


def rows(batch: Any) -> Iterator[dict[str, Any]]:
    """YIELDS (dict): Each row, without what it lacks."""
    names = names_of(batch)
    for values in zip(*(column(batch, name) for name in names), strict=True):
        yield {
            name: plain(value)
            for name, value in zip(names, values, strict=True)
            if not is_missing(value)
        }


def with_columns(batch: Columns, new: Mapping[str, list[Any]], schema: Any) -> Columns:
    """Add columns, in place of those of the same names.

    schema (pyarrow.Schema): Their types.
    RETURNS (Columns): Another batch, of the same kind.
    """
    if _is_arrow(batch):
        return _with_arrow_columns(batch, new, schema)
    if _is_pandas(batch):
        return _with_series(batch, new)
    if any(hasattr(values, "dtype") for values in batch.values()):  # type: ignore[attr-defined]
        new = {name: _array_of(values) for name, values in new.items()}
    return {**batch, **new}  # type: ignore[dict-item, return-value]


def is_missing(value: Any) -> bool:
    """RETURNS (bool): Whether a cell is empty: None, NaN, or what pandas has for both."""
    return value is None or (not isinstance(value, (str, list, tuple)) and _differs(value))


def _differs(value: Any) -> bool:
    """Whether a value differs from itself, as only NaN, NaT and NA do."""
    try:
        return not bool(value == value)
    except (TypeError, ValueError):  # pandas.NA; arrays
        return not hasattr(value, "shape")


def plain(value: Any) -> Any:
    """RETURNS (Any): A value with lists in place of arrays."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    return [plain(each) for each in value] if isinstance(value, (list, tuple)) else value


def _with_arrow_columns(batch: Any, new: Mapping[str, list[Any]], schema: Any) -> Any:
    import pyarrow as pa

    batch = batch.select([name for name in batch.schema.names if name not in new])
    for name, values in new.items():
        batch = batch.append_column(schema.field(name), pa.array(values, schema.field(name).type))
    return batch


def _with_series(batch: Any, new: Mapping[str, list[Any]]) -> Any:
    import pandas as pd

    return batch.assign(
        **{name: pd.Series(values, batch.index, dtype=object) for name, values in new.items()}
    )


def _array_of(values: list[Any]) -> Any:
    """RETURNS (ndarray): Of objects: NumPy would make lists of one length a matrix."""
    import numpy as np

    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _is_arrow(batch: Any) -> bool:
    pa = sys.modules.get("pyarrow")
    return pa is not None and isinstance(batch, (pa.Table, pa.RecordBatch))


def _is_pandas(batch: Any) -> bool:
    pd = sys.modules.get("pandas")
    return pd is not None and isinstance(batch, pd.DataFrame)
