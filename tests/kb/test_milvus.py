"""Vectors in Milvus: the same answers as vectors in files, and what can go wrong with a server."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spacy.vocab import Vocab

from spacy_elq.errors import ElqError
from spacy_elq.kb.build import VectorSource, build_kb
from spacy_elq.kb.build.build_state import building_directory
from spacy_elq.kb.build.vector_writers import discard_upload
from spacy_elq.kb.check import check_files, index_recall
from spacy_elq.kb.files.manifest import Manifest
from spacy_elq.kb.knowledge_base import FaissKB
from spacy_elq.kb.milvus import vectors as milvus
from spacy_elq.kb.milvus.server import MilvusAddress, MilvusCollection
from spacy_elq.kb.milvus.vectors import MilvusVectorStore, expressions
from spacy_elq.kb.search.file_vectors import FileVectorStore
from spacy_elq.types import Entity

from .helpers import ENTITIES, WIDTH, HashEncoder

pytestmark = pytest.mark.slow

pytest.importorskip("pymilvus")
server = pytest.importorskip("milvus_lite.adapter.grpc.server")

COUNT, TABLE_WIDTH = 60, 6


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    """A server of the protocol, as a cluster is, in a thread."""
    running, database, port = server.start_server_in_thread(str(tmp_path_factory.mktemp("milvus")))
    yield f"http://127.0.0.1:{port}"
    running.stop(grace=0)
    database.close()


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 5, COUNT)
    counts[7] = 40  # one that takes all of the first places
    owners = np.repeat(np.arange(COUNT), counts).astype("i4")
    vectors = rng.standard_normal((len(owners), TABLE_WIDTH)).astype("f4")
    vectors[owners == 7] = vectors[owners == 7][0] * 3
    vectors[owners == 20] = vectors[owners == 9][0]  # equal scores
    return vectors, owners


@pytest.fixture(scope="module")
def table(uri, data):
    vectors, owners = data
    collection = MilvusCollection(MilvusAddress.parse(f"milvus:{uri}"), "table")
    collection.create(TABLE_WIDTH)
    collection.write(0, vectors, owners, again=False)
    collection.finish()
    return MilvusVectorStore(collection, owners, COUNT, TABLE_WIDTH)


@pytest.fixture(scope="module")
def local(data):
    return FileVectorStore(*data, COUNT)


def build(out, index, encoder=None, entities=ENTITIES, **kwargs):
    return build_kb(entities, out, encoder or HashEncoder(), index=index, progress=False, **kwargs)


def same(one, other):
    np.testing.assert_array_equal(one.rows, other.rows)
    np.testing.assert_array_equal(one.scores, other.scores)


# The table


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**32 - 1),
    k=st.integers(1, COUNT + 5),
    share=st.sampled_from([None, 0.0, 0.02, 0.3, 0.7, 0.98, 1.0]),
    named=st.sampled_from([1, 4, 10_000]),
    hits=st.sampled_from([3, 1 << 14]),
)
def test_finds_what_exact_search_of_files_finds(table, local, seed, k, share, named, hits):
    rng = np.random.default_rng(seed)
    queries = rng.standard_normal((3, TABLE_WIDTH)).astype("f4")
    alive = None if share is None else rng.random(COUNT) < share
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(milvus.expressions, "__defaults__", (named,))
        patch.setattr(milvus, "MAX_HITS", hits if k < 8 else 1 << 14)
        same(table.search(queries, k, alive), local.search(queries, k, alive))


def test_ties_go_to_the_smaller_row(table, data):
    vectors, owners = data
    query = vectors[owners == 9][:1]
    scores = table.scores(query, np.array([[9, 20]]))
    found = table.search(query, COUNT)
    places = [found.rows[0].tolist().index(row) for row in (9, 20)]
    assert scores[0, 1] == scores[0, 0] == found.scores[0, places[1]]
    assert places[1] == places[0] + 1


def test_an_entity_of_many_vectors_does_not_hide_the_others(table, local, data):
    query = data[0][data[1] == 7][:1]
    assert (table.search(query, 3).rows[0] >= 0).all()
    same(table.search(query, 3), local.search(query, 3))


def test_vectors_and_scores(table, local):
    rows = np.array([7, -1, 3, 7, 59])
    for one, other in zip(table.vectors_of(rows), local.vectors_of(rows), strict=True):
        np.testing.assert_array_equal(one, other)
    queries = np.eye(TABLE_WIDTH, dtype="f4")[:2]
    some = np.array([[1, -1, 7], [7, 1, 0]])
    np.testing.assert_array_equal(table.scores(queries, some), local.scores(queries, some))
    none = np.full((2, 2), -1)
    assert np.isneginf(table.scores(queries, none)).all()
    alive = np.arange(COUNT) % 3 == 0
    for mask in (None, alive):
        for one, other in zip(table.matrix(mask), local.matrix(mask), strict=True):
            np.testing.assert_array_equal(one, other)


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 50))
def test_expressions_admit_each_entity_once(mask, most):
    alive = np.array(mask, dtype=bool)
    found = []
    for text in expressions(alive, most):
        code = compile(text or "True", "filter", "eval")
        rows = [row for row in range(len(alive)) if eval(code, {"entity": row})]
        assert text.count(",") < most
        found += rows
    assert sorted(found) == np.flatnonzero(alive).tolist()


def test_other_kinds_of_index_score_exactly(uri, data, local):
    vectors, owners = data
    collection = MilvusCollection(MilvusAddress.parse(f"milvus:{uri}?index=hnsw"), "graph")
    collection.create(TABLE_WIDTH)
    collection.write(0, vectors, owners, again=False)
    collection.finish()
    table = MilvusVectorStore(collection, owners, COUNT, TABLE_WIDTH)
    queries = np.random.default_rng(1).standard_normal((20, TABLE_WIDTH)).astype("f4")
    found, truth = table.search(queries, 5), local.search(queries, 5)
    assert not table.is_exact
    assert (found.rows == truth.rows).mean() > 0.9
    np.testing.assert_array_equal(found.scores, local.scores(queries, found.rows))


def test_recall_of_other_kinds_is_measured(tmp_path, uri, monkeypatch):
    build(tmp_path / "kb", f"milvus:{uri}?index=HNSW")
    kb = FaissKB.open(tmp_path / "kb", Vocab())
    assert index_recall(kb) == 1.0
    reverse = lambda self, queries, k, alive=None: FileVectorStore(  # noqa: E731
        *self.matrix(), self.entities
    ).search(-queries, k)
    monkeypatch.setattr(MilvusVectorStore, "search", reverse)
    assert index_recall(kb) < 0.5


# The knowledge base


@pytest.fixture
def pair(tmp_path, uri):
    """The same entities with vectors in files, and in Milvus."""
    build(tmp_path / "files", "exact")
    build(tmp_path / "remote", f"milvus:{uri}")
    return [FaissKB.open(tmp_path / name, Vocab()) for name in ("files", "remote")]


def queries(n=5):
    return np.random.default_rng(3).standard_normal((n, WIDTH)).astype("f4")


def agree(pair, k=6):
    same(*(kb.search(queries(), k) for kb in pair))
    for one, other in zip(*(kb.vector_matrix() for kb in pair), strict=True):
        np.testing.assert_array_equal(one, other)


def test_same_answers_and_no_vectors_here(pair):
    files, remote = pair
    agree(pair)
    assert isinstance(remote.view.base.vectors, MilvusVectorStore)
    assert "vectors.npy" in files.manifest.files
    assert "vectors.npy" not in remote.manifest.files
    assert not list(remote.path.glob("upload*"))
    np.testing.assert_array_equal(files.get_vector("Q90"), remote.get_vector("Q90"))
    check_files(remote)
    assert index_recall(remote) == 1.0


def test_live_changes_restrictions_and_compaction(pair, encoder):
    before = pair[1].manifest.search["collection"]
    new = [Entity("N1", "New", "thing", type="city"), Entity("Q90", "Paris", "changed")]
    for kb in pair:
        kb.add(new, *encoder.encode(new))
        kb.remove(["Q3", "E7"])
    agree(pair)
    for kb in pair:
        with kb.restrict(types=["person"], ids=["N1", "E1"]):
            assert {e.id for e in kb.records(kb.search(queries(1), 3).rows[0])} == {
                "Q167646",
                "N1",
                "E1",
            }
    reader = FaissKB.open(pair[1].path, Vocab())
    old = pair[0].search(queries(), 4)
    for kb in pair:
        assert kb.compact(progress=False)
    agree(pair)
    assert pair[1].manifest.search["collection"] != before
    # Whoever has the old state open goes on with its collection.
    same(reader.search(queries(), 4), old)
    assert reader.refresh()
    same(reader.search(queries(), 4), pair[0].search(queries(), 4))
    check_files(pair[1])


def test_compacts_to_nothing_and_back(tmp_path, uri, encoder):
    build(tmp_path / "kb", f"milvus:{uri}", entities=ENTITIES[:2])
    kb = FaissKB.open(tmp_path / "kb", Vocab())
    kb.remove(["Q90", "Q167646"])
    assert kb.compact(progress=False)
    assert len(kb) == 0
    kb.add(ENTITIES[:1], *encoder.encode(ENTITIES[:1]))
    assert kb.compact(progress=False)
    assert isinstance(kb.view.base.vectors, MilvusVectorStore)
    assert kb.search(queries(1), 2).rows.tolist() == [[0, -1]]


def test_copies_refer_to_the_collection(pair, tmp_path):
    files, remote = pair
    remote.to_disk(tmp_path / "copy")
    copies = (
        FaissKB.open(tmp_path / "copy", Vocab()),
        pickle.loads(pickle.dumps(remote)),
        FaissKB(Vocab(), WIDTH).from_bytes(remote.to_bytes()),
    )
    for copy in copies:
        assert copy.manifest.search == remote.manifest.search
        same(copy.search(queries(), 4), files.search(queries(), 4))


def test_another_process_connects_by_itself(pair):
    expected = pair[1].search(queries(), 4)  # this process is connected
    code = (
        "import sys, pickle, numpy as np; kb, q = pickle.load(sys.stdin.buffer);"
        "sys.stdout.buffer.write(pickle.dumps(kb.search(q, 4)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=pickle.dumps((pair[1], queries())),
        capture_output=True,
        check=True,
    )
    same(pickle.loads(done.stdout), expected)


def test_given_vectors(tmp_path, uri):
    vectors = np.random.default_rng(0).standard_normal((len(ENTITIES), WIDTH)).astype("f2")
    source = VectorSource.from_matrix(vectors, "given")
    manifest = build(tmp_path / "kb", f"milvus:{uri}#mine", source)
    assert (manifest.dtype, manifest.vectors) == ("float32", len(ENTITIES))
    assert manifest.search["collection"].startswith("mine_")
    kb = FaissKB.open(tmp_path / "kb", Vocab())
    np.testing.assert_array_equal(kb.vector_matrix()[0], vectors.astype("f4"))


# Builds that break off


class Breaks(HashEncoder):
    def encode(self, entities):
        if len(self.encoded) >= 20:
            raise KeyboardInterrupt
        return super().encode(entities)


def collections(uri):
    return set(MilvusCollection(MilvusAddress.parse(f"milvus:{uri}"), "").client.list_collections())


def test_goes_on_where_an_upload_stopped(tmp_path, uri, monkeypatch):
    spec, out = f"milvus:{uri}", tmp_path / "kb"
    with pytest.raises(KeyboardInterrupt):
        build(out, spec, Breaks(), batch_size=10)
    assert not out.exists()
    # The worst moment: sent, but not noted down.
    note = building_directory(out) / "progress.json"
    done = json.loads(note.read_text())
    assert (done["entities"], done["place"]) == (20, f"{spec}#elq")
    before = collections(uri)
    sent = HashEncoder()
    chunk, owners = sent.encode(ENTITIES[20:25])
    name = json.loads((building_directory(out) / "upload.json").read_text())["collection"]
    MilvusCollection(MilvusAddress.parse(spec), name).write(
        done["vectors"], chunk, owners + 20, again=False
    )
    encoder = HashEncoder()
    build(out, spec, encoder, batch_size=7)
    assert encoder.encoded == [entity.id for entity in ENTITIES[20:]]
    assert collections(uri) == before
    build(tmp_path / "files", "exact")
    agree([FaissKB.open(tmp_path / n, Vocab()) for n in ("files", "kb")])


def test_drops_an_upload_that_is_of_no_use(tmp_path, uri):
    before = collections(uri)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "kb", f"milvus:{uri}", Breaks(), batch_size=10)
    assert len(collections(uri) - before) == 1
    build(tmp_path / "kb", "exact")
    assert collections(uri) == before


def test_says_that_an_unfinished_collection_is_gone(tmp_path, uri):
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "kb", f"milvus:{uri}", Breaks(), batch_size=10)
    work = building_directory(tmp_path / "kb")
    discard_upload(work, f"milvus:{uri}#elq")
    with pytest.raises(ElqError, match="ELQ268"):
        build(tmp_path / "kb", f"milvus:{uri}", batch_size=10)


# Milvus Lite, and what goes wrong


def test_a_file_of_milvus_lite(tmp_path):
    build(tmp_path / "kb", f"milvus:{tmp_path / 'vectors.db'}")
    build(tmp_path / "files", "exact")
    agree([FaissKB.open(tmp_path / name, Vocab()) for name in ("files", "kb")])
    code = f"""
import numpy as np
from spacy.vocab import Vocab
from spacy_elq.kb.knowledge_base import FaissKB
FaissKB.open({str(tmp_path / "kb")!r}, Vocab()).search(np.ones((1, {WIDTH}), "f4"), 1)
"""
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ELQ267" in other.stderr
    assert other.stderr.count("Traceback") <= 2  # of our error, from theirs: nothing logged


@pytest.mark.parametrize(
    "spec",
    [
        "milvus:",
        "milvus:vectors",
        "milvus:http://me:secret@host",
        "milvus:a.db?M=16",
        "milvus:a.db?index=BOGUS",
        "milvus:a.db#1",
    ],
)
def test_addresses_that_mean_nothing(spec, tmp_path):
    with pytest.raises(ElqError, match="ELQ260"):
        build(tmp_path / "kb", spec)
    assert not list(tmp_path.iterdir())


def test_addresses():
    address = MilvusAddress.parse("milvus:http://host:19530?index=hnsw#wiki")
    assert address == MilvusAddress("http://host:19530", "HNSW", "wiki")
    assert MilvusAddress.parse(address.spec) == address
    local = MilvusAddress.parse("milvus:vectors.db")
    assert local.is_file
    assert Path(local.uri).is_absolute()
    assert MilvusAddress.parse(local.spec) == local


def test_no_server(tmp_path):
    with pytest.raises(ElqError, match="ELQ262"):
        build(tmp_path / "kb", "milvus:http://127.0.0.1:1")


def test_halves_are_refused(tmp_path, uri):
    with pytest.raises(ElqError, match="ELQ266"):
        build(tmp_path / "kb", f"milvus:{uri}", dtype="float16")


def test_without_pymilvus(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(ElqError, match=r"ELQ261.*spacy-elq\[milvus\]"):
        build(tmp_path / "kb", "milvus:http://127.0.0.1:1")


def test_a_collection_that_is_gone_or_another(tmp_path, uri):
    manifest = build(tmp_path / "kb", f"milvus:{uri}")
    collection = MilvusCollection(
        MilvusAddress.parse(manifest.index), manifest.search["collection"]
    )
    with pytest.raises(ElqError, match=f"ELQ264.*{manifest.vectors} vectors of width {WIDTH}"):
        collection.check(WIDTH + 1, manifest.vectors)
    collection.client.delete(collection.name, ids=[3])
    kb = FaissKB.open(tmp_path / "kb", Vocab())  # opens: nothing is asked of the server yet
    with pytest.raises(ElqError, match="ELQ264"):
        kb.search(queries(1), 1)
    collection.drop()
    with pytest.raises(ElqError, match="ELQ263"):
        kb.search(queries(1), 1)


def test_check_finds_owners_that_differ(table, data):
    manifest = Manifest(entities=COUNT, vectors=len(data[1]), width=TABLE_WIDTH)
    assert not list(table.problems(manifest))
    owners = data[1].copy()
    owners[-1] -= 1
    other = MilvusVectorStore(table._collection, owners, COUNT, TABLE_WIDTH)
    assert "another entity" in "".join(other.problems(manifest))


def test_a_vector_store_that_is_not_installed(tmp_path):
    with pytest.raises(ElqError, match=r"ELQ274.*'nowhere'"):
        build(tmp_path / "kb", "nowhere:http://localhost")


# What somebody else's files name


@pytest.fixture
def stranger(tmp_path, uri, monkeypatch):
    """A knowledge base that somebody else built on this server, and what is connected to."""
    from spacy_elq.kb.milvus import server as ours

    build(tmp_path / "kb", f"milvus:{uri}")
    connected = []
    real = ours.connect
    monkeypatch.setattr(ours, "_named", set())
    monkeypatch.setattr(ours, "connect", lambda address: connected.append(address) or real(address))
    return tmp_path / "kb", connected


def test_the_token_goes_to_a_server_that_the_user_named(stranger, uri, monkeypatch, encoder):
    path, _ = stranger
    sent = []
    import pymilvus

    real = pymilvus.MilvusClient
    monkeypatch.setattr(
        pymilvus, "MilvusClient", lambda uri, token, **kw: sent.append(token) or real(uri, **kw)
    )
    monkeypatch.setenv("MILVUS_TOKEN", "secret")
    kb = FaissKB.open(path, Vocab())
    kb.add(ENTITIES[:1], *encoder.encode(ENTITIES[:1]))
    for other in (None, "http://elsewhere:19530", f"{uri}1", uri.replace("http", "https")):
        if other:
            monkeypatch.setenv("MILVUS_URI", other)
        for use in (lambda: kb.search(queries(1), 1), lambda: kb.compact(progress=False)):
            with pytest.raises(ElqError, match=r"ELQ290.*MILVUS_URI"):
                use()
    assert not sent
    monkeypatch.setenv("MILVUS_URI", f"{uri}/")
    assert kb.search(queries(1), 1).rows.shape == (1, 1)
    assert sent == ["secret"]


def test_a_build_names_its_server(stranger, uri, monkeypatch, tmp_path):
    monkeypatch.setenv("MILVUS_TOKEN", "")
    build(tmp_path / "mine", f"milvus:{uri}")
    assert MilvusAddress.parse(f"milvus:{uri}").is_named


@pytest.mark.parametrize("place", ["generation-7", "generation-1", "generation-1.building"])
@pytest.mark.parametrize("own", [True, False])
def test_a_stray_note_drops_nothing(stranger, uri, encoder, place, own):
    path, connected = stranger
    before, index = collections(uri), Manifest.read(path).index
    name = Manifest.read(path).search["collection"]  # finished: in use
    (path / place).mkdir()
    note = {"index": index if own else "milvus:http://127.0.0.1:1#elq", "collection": name}
    (path / place / "upload.json").write_text(json.dumps(note))
    connected.clear()
    kb = FaissKB.open(path, Vocab())
    kb.tidy()
    assert own or not connected
    kb.add(ENTITIES[:1], *encoder.encode(ENTITIES[:1]))
    assert kb.compact(progress=False)
    assert before <= collections(uri)
    assert {address.uri for address in connected} == {uri}


@pytest.mark.parametrize(
    "note",
    ["[]", "{}", '{"index": 3}', "null", "[" * 100_000, '{"index": "milvus:x"}', "\0"],
)
def test_notes_that_mean_nothing(stranger, note):
    path, connected = stranger
    (path / "generation-7").mkdir()
    (path / "generation-7" / "upload.json").write_text(note)
    connected.clear()
    FaissKB.open(path, Vocab()).tidy()
    assert not connected
    assert not (path / "generation-7").exists()


def test_collections_of_others_are_not_dropped(stranger, uri):
    path, _ = stranger
    other = MilvusCollection(MilvusAddress.parse(f"milvus:{uri}"), "theirs")
    other.create(4)  # without an index, as that of an unfinished build
    (path / "generation-7").mkdir()
    note = {"index": Manifest.read(path).index, "collection": "theirs"}
    (path / "generation-7" / "upload.json").write_text(json.dumps(note))
    FaissKB.open(path, Vocab()).tidy()
    assert "theirs" in collections(uri)


def test_a_file_that_only_a_manifest_names_is_not_made(tmp_path, monkeypatch):
    from spacy_elq.kb.milvus import server as ours

    build(tmp_path / "kb", f"milvus:{tmp_path / 'vectors.db'}")
    monkeypatch.setattr(ours, "_named", set())
    manifest = tmp_path / "kb" / "manifest.json"
    other = tmp_path / "other.db"
    manifest.write_text(manifest.read_text().replace("vectors.db", other.name))
    with pytest.raises(ElqError, match="ELQ267"):
        FaissKB.open(tmp_path / "kb", Vocab()).search(queries(1), 1)
    assert not other.exists()
