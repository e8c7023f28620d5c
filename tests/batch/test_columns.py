"""Batches of every kind, without a pipeline."""

import numpy as np
import pyarrow as pa
import pytest

from spacy_elq.batch.columns import column, is_missing, rows, with_columns
from spacy_elq.errors import ElqError

pd = pytest.importorskip("pandas")
DATA = {"id": ["a", "b", "c"], "names": [["x"], [], ["y", "z"]], "n": [1, 2, 3]}
NEW = {"n": [[1, 2], [3, 4], [5, 6]], "why": [None, None, "bad"]}
SCHEMA = pa.schema({"n": pa.list_(pa.int64()), "why": pa.string()})


def arrays(data):
    result = {}
    for name, values in data.items():
        result[name] = np.empty(len(values), dtype=object)
        result[name][:] = values
    return result


KINDS = {
    "lists": dict,
    "arrays": arrays,
    "table": pa.table,
    "record batch": pa.RecordBatch.from_pydict,
    "frame": lambda data: pd.DataFrame(data, index=[7, 7, 2]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_kind_comes_back(kind):
    batch = KINDS[kind](DATA)
    before = {name: column(batch, name) for name in DATA}
    result = with_columns(batch, NEW, SCHEMA)
    assert type(result) is type(batch)
    assert {name: column(batch, name) for name in DATA} == before == DATA
    assert {name: list(map(list, column(result, name))) for name in ("id", "n")} == {
        "id": [["a"], ["b"], ["c"]],
        "n": NEW["n"],
    }
    assert column(result, "why") == NEW["why"]
    if kind == "frame":
        assert result.index.tolist() == [7, 7, 2]
    assert list(rows(batch)) == [
        {"id": "a", "names": ["x"], "n": 1},
        {"id": "b", "names": [], "n": 2},
        {"id": "c", "names": ["y", "z"], "n": 3},
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_that_is_missing(kind):
    with pytest.raises(ElqError, match=r"ELQ137.*'text'.*'id', 'names', 'n'"):
        column(KINDS[kind](DATA), "text")


def test_what_is_no_batch():
    with pytest.raises(ElqError, match=r"ELQ136.*list"):
        column([{"text": "a"}], "text")


@pytest.mark.parametrize(
    "value, expected",
    [
        *[(each, True) for each in (None, float("nan"), np.nan, pd.NA, pd.NaT)],
        *[(each, False) for each in ("", 0, [], "nan", np.array([1, 2]), np.array([]), [None])],
    ],
)
def test_empty_cells(value, expected):
    assert is_missing(value) == expected
