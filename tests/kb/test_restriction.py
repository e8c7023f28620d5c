"""Searches among some of the entities, whatever the index, with live changes."""

import asyncio
import copy
import gc
import pickle
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import pytest

from spacy_elq.errors import ElqError
from spacy_elq.kb.build import build_kb
from spacy_elq.kb.files.catalogue import Catalogue
from spacy_elq.kb.knowledge_base import FaissKB
from spacy_elq.kb.live import restriction
from spacy_elq.kb.loaders import rebuild
from spacy_elq.kb.search import file_vectors as vectors_module
from spacy_elq.types import Entity

from .helpers import HashEncoder

KINDS = ("city", "person", "river")
ENTITIES = [
    Entity(f"E{i}", f"Thing {i % 50}", aliases=(f"alias {i}",) * (i % 2), type=KINDS[i % 3])
    for i in range(600)
]
ADDED = [Entity("N1", "Thing 1", type="city"), Entity("N2", "Thing 1", type="lake")]


@pytest.fixture(params=["exact", "SQfp16", "RR16,IVF8,SQ8"])
def kb(request, tmp_path, vocab, monkeypatch):
    build_kb(ENTITIES, tmp_path / "kb", HashEncoder(16), index=request.param, progress=False)
    kb = FaissKB.open(tmp_path / "kb", vocab)
    kb.add(ADDED, *HashEncoder(16).encode(ADDED))
    kb.remove(["E0", "E1"])
    return kb


def queries():
    return np.random.default_rng(5).standard_normal((6, 16)).astype("f4")


def plain_ids(kb, allowed, k):
    """The k best of the live entities that `allowed` lets pass, by plain sorting."""
    entities = [entity for entity in kb if allowed(entity)]
    vectors, owners = HashEncoder(16).encode(entities)
    scores = np.full((6, len(entities)), -np.inf)
    np.maximum.at(scores.T, owners, (queries() @ vectors.T).T)
    return [[entities[i].id for i in np.argsort(-line)[:k]] for line in scores]


def found_ids(kb, k):
    rows = kb.search(queries(), k).rows
    return [[entity.id for entity in kb.records(line[line >= 0])] for line in rows]


@pytest.mark.slow
@pytest.mark.parametrize("few", [0, 10_000])  # by the index under a mask, or one by one
@pytest.mark.parametrize(
    "chosen",
    [
        {"types": ["city"]},
        {"types": ["person", "lake"]},
        {"ids": ["E7", "N1", "E9"]},
        {"types": ["lake"], "ids": ["E3"]},
    ],
)
def test_exactly_k_of_those_that_may_be_found(kb, chosen, few, monkeypatch):
    monkeypatch.setattr(vectors_module, "FEW", few)

    def allowed(entity):
        return entity.type in chosen.get("types", ()) or entity.id in chosen.get("ids", ())

    with kb.restrict(**chosen):
        found, expected = found_ids(kb, 12), plain_ids(kb, allowed, 12)
        assert [len(line) for line in found] == [len(line) for line in expected]
        assert np.mean([{*a} == {*b} for a, b in zip(found, expected, strict=True)]) > 0.8
    assert {len(line) for line in found_ids(kb, 12)} == {12}
    assert any(not allowed(entity) for entity in kb.records(kb.search(queries(), 12).rows[0]))


@pytest.mark.slow
def test_names_are_restricted_too(kb):
    assert {entity.type for entity in kb.named("thing 1")} == {*KINDS, "lake"} - {"river"} | {
        "river"
    }
    with kb.restrict(types=["city"]):
        assert {entity.type for entity in kb.named("thing 1")} == {"city"}
        assert "N1" in [entity.id for entity in kb.named("thing 1")]
    with kb.restrict(ids=["N2"]):
        assert [entity.id for entity in kb.named("thing 1")] == ["N2"]


@pytest.mark.slow
def test_changes_are_seen_under_a_restriction(kb):
    kb.restrict(types=["lake"])
    assert found_ids(kb, 3) == [["N2"]] * 6
    more = [Entity("N3", "Third", type="lake"), Entity("N2", "Second", type="city")]
    kb.add(more, *HashEncoder(16).encode(more))
    assert found_ids(kb, 3) == [["N3"]] * 6
    kb.remove(["N3"])
    assert found_ids(kb, 3) == [[]] * 6
    kb.restrict()
    assert {len(line) for line in found_ids(kb, 3)} == {3}


@pytest.mark.slow
def test_restrictions_nest_and_survive_an_error(kb):
    kb.restrict(types=["city"])
    with pytest.raises(RuntimeError), kb.restrict(ids=["E7"]):
        assert found_ids(kb, 2) == [["E7"]] * 6
        raise RuntimeError
    assert {entity.type for entity in kb.records(kb.search(queries(), 5).rows[0])} == {"city"}


@pytest.mark.slow
def test_unknown_types_and_ids(kb):
    with pytest.raises(ElqError, match=r"ELQ237.*type village.*: .*city"):
        kb.restrict(types=["city", "village"])
    for gone in ("E0", "nobody"):
        with pytest.raises(ElqError, match=rf"ELQ210.*{gone}"):
            kb.restrict(ids=["E5", gone])
    assert not kb.restriction


@pytest.mark.slow
def test_nothing_or_one_string_is_not_what_to_restrict_to(kb):
    kb.restrict(types=["city"])
    for nothing in ({"types": []}, {"ids": iter(())}, {"types": [], "ids": ()}):
        with pytest.raises(ElqError, match="ELQ271"):
            kb.restrict(**nothing)
    for one in ({"types": "city"}, {"ids": "E5"}):
        with pytest.raises(ElqError, match=r"ELQ270.*list of"):
            kb.restrict(**one)
    assert kb.restriction.types == ("city",)
    kb.restrict(types=[], ids=["E5"])
    assert found_ids(kb, 3) == [["E5"]] * 6
    kb.restrict(types=None, ids=None)
    assert not kb.restriction


@pytest.mark.slow
def test_a_restriction_to_many_added_entities_is_fast(vocab):
    kb = FaissKB(vocab, 2)
    many = [Entity(f"E{i}", "Thing") for i in range(10_000)]
    kb.add(many, np.ones((len(many), 2), "f4"))
    list(kb)  # read once
    start = time.process_time()
    kb.restrict(ids=[entity.id for entity in many])
    kb.find_names(np.zeros(1, "u8"))
    assert time.process_time() - start < 0.3  # 50 million comparisons would take longer


@pytest.mark.slow
def test_a_restriction_travels_with_the_knowledge_base(kb):
    kb.restrict(ids=["E5", "N2"])
    again = pickle.loads(pickle.dumps(kb))
    assert found_ids(again, 3) == found_ids(kb, 3)
    assert {*found_ids(again, 3)[0]} == {"E5", "N2"}
    assert {*found_ids(rebuild(kb, HashEncoder(16)), 3)[0]} == {"E5", "N2"}


def test_types_of_a_catalogue(tmp_path):
    catalogue = Catalogue.build(tmp_path / "c.sqlite", ENTITIES[:5])
    assert catalogue.types() == ["city", "person", "river"]
    assert catalogue.rows_of_types(["city", "river"]).tolist() == [0, 3, 2]
    assert catalogue.rows_of_types(["lake"]).tolist() == []
    plan = catalogue._db.execute(
        "EXPLAIN QUERY PLAN SELECT group_concat(row) FROM entities WHERE type = 'city'"
    ).fetchall()
    assert "COVERING INDEX" in str(plan)


@pytest.fixture
def few(vocab):
    """Three entities in memory."""
    kb = FaissKB(vocab, 2)
    kb.add([Entity("A", "a"), Entity("B", "b"), Entity("C", "c")], np.eye(3, 2, dtype="f4"))
    return kb


def ids(kb):
    rows = kb.search(np.ones((1, 2), "f4"), 3).rows[0]
    return sorted(entity.id for entity in kb.records(rows[rows >= 0]))


def test_each_thread_has_its_own(few):
    barrier = threading.Barrier(3)

    def run(id_):
        before = ids(few)
        with few.restrict(ids=[id_]):
            barrier.wait()
            inside = ids(few)
            barrier.wait()
        return before, inside, ids(few)

    few.restrict(ids=["A", "B"])
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(run, "ABC"))
    assert found == [(["A", "B", "C"], [id_], ["A", "B", "C"]) for id_ in "ABC"]
    assert ids(few) == ["A", "B"]


def test_each_task_has_its_own(few):
    async def run(id_):
        with few.restrict(ids=[id_]):
            await asyncio.sleep(0)
            inside = ids(few)
            assert await asyncio.to_thread(ids, few) == inside
        return inside, ids(few)

    async def run_all():
        return await asyncio.gather(*map(run, "ABC"))

    assert asyncio.run(run_all()) == [([id_], ["A", "B", "C"]) for id_ in "ABC"]


def test_blocks_may_end_in_any_order(few):
    first, second = ExitStack(), ExitStack()
    first.enter_context(few.restrict(ids=["A"]))
    second.enter_context(few.restrict(ids=["B"]))
    first.close()
    assert ids(few) == ["B"]
    second.close()
    assert ids(few) == ["A", "B", "C"]


def test_without_a_block_it_holds_until_the_block_around_it_ends(few):
    few.restrict(ids=["A", "B"])
    with few.restrict(ids=["A"]):
        few.restrict(ids=["C"])
        few.restrict(ids=["B"])
        assert ids(few) == ["B"]
    assert ids(few) == ["A", "B"]
    few.restrict()
    assert ids(few) == ["A", "B", "C"]


def test_a_copy_is_restricted_as_its_maker_was_in_every_thread(few):
    with few.restrict(ids=["B"]):
        copies = pickle.loads(pickle.dumps(few)), copy.deepcopy(few)
    with ThreadPoolExecutor(1) as pool:
        assert [pool.submit(ids, each).result() for each in copies] == [["B"], ["B"]]
    with copies[0].restrict():
        assert ids(copies[0]) == ["A", "B", "C"]
    assert ids(copies[0]) == ["B"]


def test_what_is_gone_leaves_no_restriction_behind(vocab):
    kb = FaissKB(vocab, 2)
    kb.add([Entity("A", "a")], np.ones((1, 2), "f4"))
    kb.restrict(ids=["A"])
    known = restriction._LEVELS.get()
    scope = weakref.ref(kb.scope)
    assert scope() in known
    del kb
    gc.collect()
    assert scope() is None
