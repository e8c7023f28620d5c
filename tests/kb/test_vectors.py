import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_elq.errors import ElqError
from spacy_elq.kb.build.train_index import VectorFile, build_index
from spacy_elq.kb.search import file_vectors as vectors_module
from spacy_elq.kb.search.faiss_index import FaissIndex
from spacy_elq.kb.search.file_vectors import (
    FileVectorStore,
    best_vector_per_entity,
    check_vectors,
)

WIDTH = 5


def plain_scores(vectors, owners, queries, entities):
    scores = np.full((len(queries), entities), -np.inf)
    for vector, owner in zip(vectors.astype("f8"), owners, strict=True):
        scores[:, owner] = np.maximum(scores[:, owner], queries.astype("f8") @ vector)
    return scores


@st.composite
def tables(draw):
    """Integer-valued vectors, so that scores are exact, with many equal ones among them."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    entities = draw(st.integers(1, 60))
    owners = np.repeat(np.arange(entities), rng.integers(1, 6, entities)).astype("i4")
    vectors = rng.integers(-1, 2, (len(owners), WIDTH)).astype("f4")
    queries = rng.integers(-2, 3, (draw(st.integers(0, 4)), WIDTH)).astype("f4")
    alive = rng.random(entities) < draw(st.sampled_from([0.1, 0.5, 1.0]))
    return vectors, owners, queries, alive


@settings(max_examples=150)
@given(tables(), st.integers(1, 12))
def test_search_is_a_sort_of_all_live_entities(table, k):
    vectors, owners, queries, alive = table
    expected = plain_scores(vectors, owners, queries, len(alive))
    found = FileVectorStore(vectors, owners, len(alive)).search(queries, k, alive)
    for line, rows, scores in zip(expected, found.rows, found.scores, strict=True):
        order = sorted(np.flatnonzero(alive).tolist(), key=lambda row: (-line[row], row))[:k]
        padding = k - len(order)
        assert rows.tolist() == order + [-1] * padding
        assert scores.tolist() == [*line[order].tolist(), *[-np.inf] * padding]


@pytest.mark.slow
@pytest.mark.parametrize("spec", ["PQ2x4", "SQ8,RFlat"])
def test_dead_vectors_do_not_take_the_places_of_living_ones(tmp_path, spec, monkeypatch):
    """Of an index that takes no mask too, even where those are all further from the query."""
    monkeypatch.setattr(vectors_module, "FEW", 0)
    vectors = np.random.default_rng(4).standard_normal((600, 4)).astype("f4")
    alive = np.arange(600) < 250
    vectors[alive] -= 9
    np.save(tmp_path / "vectors.npy", vectors)
    index = build_index(tmp_path, VectorFile(tmp_path / "vectors.npy"), spec)
    table = FileVectorStore(vectors, np.arange(600), 600, FaissIndex.open(index))
    found = table.search(np.ones((3, 4), "f4"), 10, alive)
    assert (found.rows >= 0).all()
    assert alive[found.rows].all()


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(3)
    owners = np.repeat(np.arange(200), rng.integers(1, 4, 200)).astype("i4")
    vectors = rng.standard_normal((len(owners), WIDTH)).astype("f4")
    queries = rng.standard_normal((7, WIDTH)).astype("f4")
    rows = rng.integers(-1, 200, (7, 30))
    table = FileVectorStore(vectors, owners, 200)
    scores = table.scores(queries, rows)
    monkeypatch.setattr(vectors_module, "PAIRS_AT_ONCE", 11)
    assert (table.scores(queries, rows) == scores).all()


def test_scores_do_not_depend_on_the_batch():
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((300, 384)).astype("f4")
    queries = rng.standard_normal((9, 384)).astype("f4")
    table = FileVectorStore(vectors, np.arange(300), 300)
    together = table.search(queries, 5)
    for i in range(9):
        alone = table.search(queries[i : i + 1], 5)
        assert (alone.scores[0] == together.scores[i]).all()
        assert (alone.rows[0] == together.rows[i]).all()
    assert (table.scores(queries, together.rows) == together.scores).all()


def test_equal_vectors_come_in_row_order():
    vectors = np.ones((500, 3), "f4")
    found = FileVectorStore(vectors, np.arange(500), 500).search(np.ones((2, 3), "f4"), 4)
    assert found.rows.tolist() == [[0, 1, 2, 3]] * 2


def test_scores_of_an_approximate_index_are_exact(tmp_path):
    rng = np.random.default_rng(0)
    owners = np.repeat(np.arange(200), 2)
    vectors = rng.standard_normal((400, 16)).astype("f4")
    queries = rng.standard_normal((8, 16)).astype("f4")
    np.save(tmp_path / "vectors.npy", vectors)
    path = build_index(tmp_path, VectorFile(tmp_path / "vectors.npy"), "SQ4")
    index = FaissIndex.open(path)
    found = FileVectorStore(vectors, owners, 200, index).search(queries, 10)
    expected = plain_scores(vectors, owners, queries, 200)
    np.testing.assert_allclose(
        found.scores, np.take_along_axis(expected, found.rows, 1), rtol=1e-5, atol=1e-5
    )
    truth = np.argsort(-expected, axis=1)[:, :10]
    assert np.mean([len(set(a) & set(b)) for a, b in zip(found.rows, truth, strict=True)]) > 9


@pytest.mark.parametrize(
    "vectors, owners, message",
    [
        (np.ones((2, 4)), [0, 1], "ELQ209.*shape"),
        (np.ones(5), [0, 1], "ELQ209.*shape"),
        (np.ones((2, 5)), [0, 1, 1], "ELQ209.*owners"),
        (np.ones((2, 5)), [0, 0], "ELQ209.*each of the 2"),
        (np.ones((3, 5)), [0, 1, 2], "ELQ209.*each of the 2"),
        (np.ones((3, 5)), [1, 0, 1], "ELQ209.*ascending"),
        (np.array([[1.0] * 5, [np.nan] * 5]), [0, 1], "ELQ208.*'b'"),
        (np.array([[np.inf] * 5, [1.0] * 5]), [0, 1], "ELQ208.*'a'"),
    ],
)
def test_wrong_vectors_are_refused(vectors, owners, message):
    with pytest.raises(ElqError, match=message):
        check_vectors(["a", "b"], vectors, np.array(owners), WIDTH)


def test_only_queries_with_equal_entities_are_searched_wider(monkeypatch):
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((500, WIDTH)).astype("f4")
    queries = rng.standard_normal((4, WIDTH)).astype("f4")
    vectors[100:200] = 9 * queries[2]
    table = FileVectorStore(vectors, np.arange(500), 500)
    search, asked, scored = table._exact.search, [], []

    def spy(of, k, live):
        asked.append(len(of))
        return search(of, k, live)

    monkeypatch.setattr(table._exact, "search", spy)
    real = FileVectorStore.scores
    monkeypatch.setattr(
        FileVectorStore,
        "scores",
        lambda self, of, rows: scored.append(int((rows >= 0).sum())) or real(self, of, rows),
    )
    found = table.search(queries, 3)
    expected = plain_scores(vectors, np.arange(500), queries, 500)
    for line, rows in zip(expected, found.rows, strict=True):
        assert rows.tolist() == np.argsort(-line, kind="stable")[:3].tolist()
    assert found.rows[2].tolist() == [100, 101, 102]
    assert asked[0] == 4 and set(asked[1:]) == {1}
    assert sum(scored) < 100 + 4 * 3 + 4  # what is in view too narrowly gets no exact scores


@given(st.lists(st.lists(st.integers(-1, 5), min_size=7, max_size=7), max_size=4))
def test_the_best_vector_of_each_entity_keeps_its_place(lines):
    rows = np.array(lines, dtype=np.int64).reshape(-1, 7)
    scores = np.broadcast_to(np.arange(7, 0, -1, dtype="f4"), rows.shape)
    found, kept = best_vector_per_entity(scores, rows)
    expected = [[-1 if row in line[:i] else row for i, row in enumerate(line)] for line in lines]
    assert kept.tolist() == expected
    assert (found == np.where(kept >= 0, scores, -np.inf)).all()
    assert found.dtype == np.float32
