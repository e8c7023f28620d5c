import faiss
import numpy as np
import pytest

from spacy_elq.errors import ElqError
from spacy_elq.kb.build import train_index as train
from spacy_elq.kb.build import try_index
from spacy_elq.kb.build.train_index import VectorFile, build_index, check_faiss_spec
from spacy_elq.kb.search.faiss_index import FaissIndex, is_learned

SPECS = ["Flat", "SQfp16", "HNSW16", "IVF8,Flat", "RR16,IVF8,SQ8", "RR16,IVF8,SQ8,RFlat"]


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("f4")


def build(tmp_path, vectors, spec):
    np.save(tmp_path / "vectors.npy", vectors)
    return build_index(tmp_path, VectorFile(tmp_path / "vectors.npy"), spec)


def recall(rows, scores, k=5):
    truth = np.argsort(-scores, axis=1)[:, :k]
    return np.mean([len({*a} & {*b}) / k for a, b in zip(rows, truth, strict=True)])


def test_which_indexes_learn_lists():
    assert all(map(is_learned, ("IVF8,SQ8", "RR32,IVF64,RaBitQ")))
    assert not any(map(is_learned, ("exact", "HNSW32", "SQ8", "milvus:http://h#IVF")))


@pytest.mark.parametrize("spec", SPECS)
def test_index_is_written_and_mapped(tmp_path, spec):
    vectors, queries = random(600, 16), random(20, 16, seed=1)
    index = FaissIndex.open(build(tmp_path, vectors, spec))
    scores, rows = index.search(queries, 5, effort=max(index.effort, 8))
    assert recall(rows, queries @ vectors.T) >= 0.9
    assert (np.diff(scores, axis=1) <= 0).all()


@pytest.mark.parametrize("spec", [*SPECS, "PQ4x4"])  # PQ takes no mask: what it finds is filtered
def test_only_live_vectors_are_found(tmp_path, spec):
    vectors, queries = random(600, 16), random(20, 16, seed=1)
    live = np.random.default_rng(2).random(600) < 0.3
    index = FaissIndex.open(build(tmp_path, vectors, spec))
    bits = np.packbits(live, bitorder="little")
    _, rows = index.search(queries, 20, bits, index.max_effort)
    assert live[rows[rows >= 0]].all()
    if spec != "PQ4x4":
        assert (rows >= 0).all()
        assert recall(rows[:, :5], np.where(live, queries @ vectors.T, -np.inf)) >= 0.9


def test_effort_is_nprobe_or_the_queue(tmp_path):
    ivf = FaissIndex.open(build(tmp_path, random(600, 16), "RR16,IVF8,SQ8"))
    assert (ivf.effort, ivf.max_effort) == (1, 8)
    ivf.effort = 100
    assert ivf.effort == 8
    graph = FaissIndex.open(build(tmp_path, random(600, 16), "HNSW8"))
    graph.effort = 77
    assert (graph.effort, graph.max_effort) == (77, 600)
    refined = FaissIndex.open(build(tmp_path, random(600, 16), "HNSW8,Refine(SQ8)"))
    assert (refined.effort, refined.max_effort) == (16, 600)
    flat = FaissIndex.open(build(tmp_path, random(600, 16), "SQ8"))
    assert (flat.effort, flat.max_effort) == (0, 0)


def test_an_index_that_looks_twice_is_searched_as_far_as_is_asked(tmp_path):
    vectors, queries = random(2000, 16), random(20, 16, seed=1)
    index = FaissIndex.open(build(tmp_path, vectors, "IVF32,SQ8,RFlat"))
    shares = [recall(index.search(queries, 5, effort=n)[1], queries @ vectors.T) for n in (1, 32)]
    assert shares[0] < 0.5
    assert shares[1] == 1.0


def test_index_pads_when_it_finds_too_few(tmp_path):
    index = FaissIndex.open(build(tmp_path, random(3, 4), "Flat"))
    scores, rows = index.search(random(1, 4, seed=1), 5)
    assert rows[0, 3:].tolist() == [-1, -1]
    assert np.isneginf(scores[0, 3:]).all()


@pytest.mark.parametrize("spec", ["SQ8", "IVF8,SQ8", "HNSW8"])
def test_a_mapped_index_refuses_changes(tmp_path, spec):
    index = FaissIndex.open(build(tmp_path, random(600, 16), spec)).index
    for change in (index.add, index.remove_ids, index.train):
        with pytest.raises(ElqError, match="ELQ226"):
            change(random(1, 16))
    assert index.ntotal == 600


def test_threads_and_products_are_as_before(tmp_path):
    index = FaissIndex.open(build(tmp_path, random(100, 16), "Flat"))
    faiss.omp_set_num_threads(2)
    threshold = faiss.cvar.distance_compute_blas_threshold
    for queries in (1, 64):
        index.search(random(queries, 16), 5)
        assert faiss.omp_get_max_threads() == 2
        assert faiss.cvar.distance_compute_blas_threshold == threshold


def test_a_forked_process_searches_after_its_parent_did(tmp_path):
    import multiprocessing

    index = FaissIndex.open(build(tmp_path, random(2000, 16), "IVF8,SQ8"))
    expected = index.search(random(64, 16), 5)[1]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    worker = context.Process(target=lambda: queue.put(index.search(random(64, 16), 5)[1]))
    worker.start()
    np.testing.assert_array_equal(queue.get(timeout=30), expected)
    worker.join()


def test_specs(tmp_path):
    assert [check_faiss_spec(spec, 8) for spec in ("auto", "exact", "SQ8")] == [
        "auto",
        "exact",
        "SQ8",
    ]
    with pytest.raises(ElqError, match=r"ELQ215.*Nonsense9"):
        check_faiss_spec("Nonsense9", 8)
    with pytest.raises(ElqError, match=r"ELQ215.*IVF64"):
        build(tmp_path, random(5, 8), "IVF64,Flat")


@pytest.mark.parametrize("stop", [0, 200, 400])
def test_an_interrupted_build_goes_on(tmp_path, monkeypatch, stop):
    monkeypatch.setattr(train, "ADD_AT_ONCE", 100)
    monkeypatch.setattr(train, "SAVE_EVERY", 200)
    vectors = random(600, 16)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.save(tmp_path / "vectors.npy", vectors)
    file = VectorFile(tmp_path / "vectors.npy")
    take, taken = VectorFile.take, []

    def interrupt(self, rows):
        if isinstance(rows, slice) and rows.start == stop:
            raise KeyboardInterrupt
        return take(self, rows)

    def watch(self, rows):
        taken.append(rows.start)
        return take(self, rows)

    with monkeypatch.context() as patch:
        patch.setattr(VectorFile, "take", interrupt)
        with pytest.raises(KeyboardInterrupt):
            build_index(tmp_path, file, "IVF8,SQ8")
    monkeypatch.setattr(VectorFile, "take", watch)
    index = FaissIndex.open(build_index(tmp_path, file, "IVF8,SQ8"))
    assert taken == list(range(stop, 600, 100))  # not trained again, nothing added twice
    _, rows = index.search(vectors, 1, effort=8)
    assert rows[:, 0].tolist() == list(range(600))


@pytest.mark.slow
def test_an_unfinished_index_of_something_else_is_no_use(tmp_path):
    build(tmp_path, random(600, 16), "IVF8,SQ8")
    assert FaissIndex.open(build(tmp_path, random(500, 16), "IVF8,SQ8")).index.ntotal == 500


def test_a_faiss_without_gpu_says_so(tmp_path, monkeypatch):
    index = FaissIndex.open(build(tmp_path, random(100, 16), "Flat"))
    monkeypatch.delattr(faiss, "StandardGpuResources", raising=False)
    with pytest.raises(ElqError, match=r"ELQ225.*GPU 0"):
        index.on_gpu(0)


def test_an_index_is_copied_to_the_gpu(tmp_path, monkeypatch):
    def refuse(resources, device, index):
        raise RuntimeError(f"Error in somewhere:\nno device {device}")

    index = FaissIndex.open(build(tmp_path, random(100, 16), "Flat"))
    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", refuse, raising=False)
    with pytest.raises(ElqError, match=r"ELQ225.*no device 3"):
        index.on_gpu(3)
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", lambda r, d, copied: copied)
    copied = index.on_gpu(0)
    np.testing.assert_array_equal(
        copied.search(random(2, 16), 3)[1], index.search(random(2, 16), 3)[1]
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "spec",
    [
        *("HNSW0", "HNSW1", "HNSW-1", "IVF0,Flat", "IVF0_HNSW0,Flat", "RR0,Flat", "RQ0x0"),
        *("PQ0", "PQ3x99", "PQ4x0", "IVF4,PQ7", "IVF4(PQ0),Flat", "OPQ0,PQ4", "SQ99"),
        *("IVF99999999999999999999,Flat", "HNSW99999999999", "PCAR999999999,Flat"),
        *("", " ", "garbage", "Flat,Flat", "a\0b", "\udcff", "IVF4", "x" * 300_000),
    ],
)
def test_no_factory_string_ends_the_process(spec):
    with pytest.raises(ElqError, match="ELQ215"):
        check_faiss_spec(spec, 8)


@pytest.mark.slow
@pytest.mark.parametrize("spec", ["PQ4", "IVF100000,PQ4x4fs", "OPQ4,PQ4", "HNSW2"])
def test_unusual_factory_strings_are_tried(spec):
    assert check_faiss_spec(spec, 8) == spec


def test_usual_factory_strings_need_no_trial(monkeypatch):
    monkeypatch.setattr(try_index, "_try", None)
    for spec in ("RR8,IVF64,RaBitQ", "IVF64,SQ8", "IVF9,Flat", "HNSW32", "SQfp16", "Flat"):
        assert check_faiss_spec(spec, 8) == spec
