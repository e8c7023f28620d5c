"""Which index is chosen, and how far it is searched, against exact search by plain numpy."""

import numpy as np
import pytest

from spacy_elq.errors import ElqError
from spacy_elq.kb.build import VectorSource, build_kb
from spacy_elq.kb.build import choose_index as choose
from spacy_elq.kb.build import index_stage as indexing
from spacy_elq.kb.build.choose_index import index_plans, number_of_lists, parse_size
from spacy_elq.kb.build.index_stage import IndexOptions, kept_queries
from spacy_elq.kb.build.tune_index import Queries, recall, subsample, synthetic_queries
from spacy_elq.kb.check import check_files, index_recall
from spacy_elq.kb.knowledge_base import FaissKB
from spacy_elq.kb.search.faiss_index import SearchSettings
from spacy_elq.kb.search.stored_kb import open_exact_store
from spacy_elq.types import Entity

WIDTH = 64


def clustered(count, seed=0):
    """Vectors around a hundred centres: what lists are good for."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((100, WIDTH))
    vectors = centres[rng.integers(100, size=count)] + 0.4 * rng.standard_normal((count, WIDTH))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype("f4")


@pytest.fixture
def few_are_exact(monkeypatch):
    """Indexes are for the large; here a thousand vectors are large."""
    monkeypatch.setattr(choose, "EXACT_UP_TO", 1000)


def build(tmp_path, vectors, identity="", **settings):
    entities = [Entity(f"E{i}", f"Thing {i}") for i in range(len(vectors))]
    options = IndexOptions(**{"queries": lambda: Queries(clustered(200, 1), "mine"), **settings})
    source = VectorSource.from_matrix(vectors, "f", identity=identity)
    return build_kb(entities, tmp_path / "kb", source, options=options, progress=False)


def test_plans_by_number_width_and_memory():
    assert [plan.spec for plan in index_plans(50_000, 1024, 4, 1)] == ["exact"]
    found = index_plans(1_000_000, 1024, 2, 4 << 30)
    assert [plan.spec for plan in found] == ["RR1024,IVF2048,RaBitQ", "IVF2048,SQ8", "exact"]
    assert found[0].size == pytest.approx(157e6, rel=0.02)  # as the file that FAISS writes
    assert found[2].size == 2_048_000_000
    assert len(index_plans(1_000_000, 1024, 2, 1 << 29)) == 1
    with pytest.raises(ElqError, match=r"ELQ227.*1,000,000.*0\.15 GB.*0\.10"):
        index_plans(1_000_000, 1024, 2, int(0.1 * (1 << 30)))


def test_number_of_lists():
    assert [number_of_lists(n) for n in (10, 60_000, 1_000_000, 6_000_000)] == [64, 512, 2048, 4096]


@pytest.mark.parametrize(
    ("text", "size"), [("2GB", 2 << 30), ("1.5 g", 3 << 29), ("800MB", 800 << 20), ("7", 7)]
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "2 apples", "-1GB", "0MB"])
def test_no_sizes(text):
    with pytest.raises(ElqError, match="ELQ236"):
        parse_size(text)


def test_recall_by_hand():
    truth = np.array([[1, 2, 3], [4, 5, -1]])
    found = np.array([[3, 9, 1, -1], [5, -1, -1, 4]])
    assert recall(truth, found) == pytest.approx(4 / 5)
    assert recall(np.full((2, 3), -1), found) == 1.0


def test_held_queries_are_new_points_near_the_vectors():
    vectors = clustered(2000)
    queries = synthetic_queries(vectors, 300).vectors
    assert queries.shape == (300, WIDTH)
    nearest = (queries @ vectors.T).max(axis=1) / np.linalg.norm(queries, axis=1)
    assert 0.6 < nearest.mean() < 0.99
    np.testing.assert_array_equal(queries, synthetic_queries(vectors, 300).vectors)


def test_thin():
    assert subsample(np.arange(10), 4).tolist() == [0, 3, 6, 9]
    assert subsample(np.arange(3), 4).tolist() == [0, 1, 2]


@pytest.mark.slow
def test_auto_reaches_the_recall_and_keeps_what_it_took(tmp_path, vocab, few_are_exact, capsys):
    vectors = clustered(4000)
    manifest = build(tmp_path, vectors, min_recall=0.95)
    assert manifest.index == f"RR{WIDTH},IVF128,RaBitQ"
    settings = SearchSettings.from_manifest(manifest.search, 0)
    assert (settings.recall >= 0.95, settings.queries, settings.sample) == (True, "mine", 200)
    assert 0 < settings.effort < 128
    kb = FaissKB.open(tmp_path / "kb", vocab)
    queries = clustered(300, 2)  # others than it was tuned with
    truth = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
    found = kb.search(queries, 10)
    assert recall(truth, found.rows) > 0.92
    expected = np.take_along_axis(queries @ vectors.T, found.rows, axis=1)
    np.testing.assert_allclose(found.scores, expected, rtol=1e-5)
    check_files(kb)
    assert index_recall(kb) >= 0.95
    np.testing.assert_array_equal(
        kept_queries(tmp_path / "kb", manifest).vectors, clustered(200, 1)
    )
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_a_recall_that_no_index_reaches_ends_in_exact_search(tmp_path, few_are_exact, monkeypatch):
    monkeypatch.setattr(indexing, "tune_search", lambda *args: SearchSettings(4, recall=0.9))
    manifest = build(tmp_path, clustered(4000), min_recall=0.95)
    assert manifest.index == "exact"
    assert manifest.search == {}
    names = {path.name for path in (tmp_path / "kb").iterdir()}
    assert not names & {"index.faiss", "queries.npy", "index.part", "index.part.json"}


@pytest.mark.slow
def test_little_memory_means_the_best_that_fits(tmp_path, few_are_exact, monkeypatch, capsys):
    monkeypatch.setattr("spacy_elq.kb.build.tune_index.RERANK_SIZES", (10,))
    entities = [Entity(f"E{i}", f"Thing {i}") for i in range(4000)]
    options = IndexOptions(max_ram=200_000, min_recall=1.0)
    source = VectorSource.from_matrix(clustered(4000), "f")
    manifest = build_kb(entities, tmp_path / "kb", source, options=options)
    assert manifest.index.endswith("RaBitQ")
    told = " ".join(capsys.readouterr().err.split())
    assert "less than the requested 1.0" in told
    assert "tune with --queries" in told
    assert "exact search" in told


@pytest.mark.slow
def test_an_interrupted_tuning_keeps_the_index(tmp_path, few_are_exact, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    vectors = clustered(4000)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(indexing, "tune_search", interrupt)
        build(tmp_path, vectors, min_recall=0.95)
    monkeypatch.setattr("spacy_elq.kb.build.train_index._train", interrupt)
    assert build(tmp_path, vectors, min_recall=0.95).index.endswith("RaBitQ")


@pytest.mark.slow
def test_an_unfinished_index_of_other_vectors_is_no_use(
    tmp_path, few_are_exact, monkeypatch, vocab
):
    def interrupt(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(indexing, "tune_search", interrupt)
        build(tmp_path, clustered(4000, seed=5), identity="other")
    vectors = clustered(4000)
    build(tmp_path, vectors)
    found = FaissKB.open(tmp_path / "kb", vocab).search(vectors[:50], 1)
    assert found.rows[:, 0].tolist() == list(range(50))


def test_options_are_checked():
    for value in (0, 1.5):
        with pytest.raises(ElqError, match=rf"ELQ239.*{value}"):
            IndexOptions(min_recall=value)


@pytest.mark.slow
def test_queries_of_another_width_are_refused(tmp_path, few_are_exact):
    with pytest.raises(ElqError, match="ELQ219"):
        build(tmp_path, clustered(4000), queries=lambda: Queries(np.ones((3, 5), "f4"), "x"))


def test_vectors_too_large_for_float16(tmp_path):
    vectors = np.ones((3, 4), "f4")
    vectors[1, 2] = 1e5
    entities = [Entity(f"E{i}", "t") for i in range(3)]
    source = VectorSource.from_matrix(vectors, "f")
    build_kb(entities, tmp_path / "kb", source, progress=False)
    with pytest.raises(ElqError, match=r"ELQ229.*E1"):
        build_kb(entities, tmp_path / "half", source, dtype="float16", progress=False)


@pytest.mark.slow
def test_exact_table_ignores_the_index(tmp_path, few_are_exact):
    vectors = clustered(4000)
    manifest = build(tmp_path, vectors, min_recall=0.5)
    queries = clustered(20, 3)
    found = open_exact_store(tmp_path / "kb", manifest).search(queries, 5).rows
    np.testing.assert_array_equal(found, np.argsort(-(queries @ vectors.T), axis=1)[:, :5])
