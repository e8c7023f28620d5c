import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_elq.kb.search import flat_index as index_module
from spacy_elq.kb.search.flat_index import FlatIndex, best, products, top_k


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("f4")


def plain_top(scores, k):
    """Column numbers by falling score, then rising number, one query at a time."""
    return [sorted(range(len(line)), key=lambda j: (-line[j], j))[:k] for line in scores.tolist()]


@settings(max_examples=60)
@given(st.integers(0, 4), st.integers(1, 700), st.integers(1, 12), st.integers(0, 5))
def test_top_k_sorts_like_plain_python(queries, vectors, k, seed):
    # Few distinct values: equal scores everywhere.
    scores = np.random.default_rng(seed).integers(0, 50, (queries, vectors)).astype("f4")
    found, columns = top_k(scores, k)
    expected = plain_top(scores, k)
    assert [[c for c in line if c >= 0] for line in columns.tolist()] == expected
    assert columns.shape == found.shape == (queries, k)
    assert (np.isneginf(found) == (columns < 0)).all()


def test_best_pads():
    scores, rows = best(np.array([[1.0, 2.0]], "f4"), np.array([[7, 3]]), 4)
    assert rows.tolist() == [[3, 7, -1, -1]]
    assert scores.tolist() == [[2.0, 1.0, -np.inf, -np.inf]]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_exact_search_by_blocks(monkeypatch, dtype):
    monkeypatch.setattr(index_module, "SCORES_AT_ONCE", 700)
    vectors, queries = random(500, 8).astype(dtype), random(3, 8, seed=1)
    scores, rows = FlatIndex(vectors).search(queries, 7)
    expected = queries.astype("f8") @ vectors.astype("f8").T
    assert rows.tolist() == plain_top(expected, 7)
    np.testing.assert_allclose(scores, np.take_along_axis(expected, rows, 1), rtol=1e-4, atol=1e-5)


def test_exact_search_of_many_queries(monkeypatch):
    monkeypatch.setattr(index_module, "QUERIES_AT_ONCE", 4)
    vectors, queries = random(500, 8), random(11, 8, seed=1)
    scores, rows = FlatIndex(vectors).search(queries, 7)
    assert (rows.shape, scores.shape) == ((11, 7), (11, 7))
    assert rows.tolist() == plain_top(queries @ vectors.T, 7)


@pytest.mark.parametrize("queries", [1, 3, 8, 9])
def test_few_queries_are_multiplied_the_other_way_round(monkeypatch, queries):
    vectors, queries = random(500, 8), random(queries, 8, seed=1)
    monkeypatch.setattr(index_module, "MANY_NUMBERS", vectors.size)
    found = products(queries, torch.from_numpy(vectors))
    assert found.flags.c_contiguous
    np.testing.assert_allclose(found, queries @ vectors.T, rtol=1e-4, atol=1e-5)


def test_exact_search_among_some():
    vectors, queries = random(500, 8), random(3, 8, seed=1)
    live = np.zeros(500, dtype=bool)
    live[[4, 70, 499]] = True
    scores, rows = FlatIndex(vectors).search(queries, 5, live)
    expected = np.where(live, queries @ vectors.T, -np.inf)
    assert rows[:, :3].tolist() == plain_top(expected, 3)
    assert (rows[:, 3:] == -1).all()
    assert np.isneginf(scores[:, 3:]).all()
