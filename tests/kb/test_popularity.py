"""Popularity: what a knowledge base keeps of it, through builds, live changes and compaction."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spacy.vocab import Vocab

from spacy_elq import ElqError
from spacy_elq.entities.records import entity_from_dict, entity_to_dict
from spacy_elq.kb.build import build_kb
from spacy_elq.kb.check import check_files
from spacy_elq.kb.files.manifest import POPULARITY, Manifest
from spacy_elq.kb.files.popularity import LIMIT
from spacy_elq.kb.knowledge_base import FaissKB
from spacy_elq.kb.loaders import kb_from_entities
from spacy_elq.types import Entity

from .helpers import CHANGED, ENTITIES, NEW, HashEncoder

KNOWN = {"Q90": 900, "Q167646": 2.5, "Q8409": 120}


def deviations(values, of):
    """Standard deviations from the mean of the logarithms, by plain arithmetic."""
    logs = [math.log(value) for value in of]
    mean = sum(logs) / len(logs)
    deviation = math.sqrt(sum((log - mean) ** 2 for log in logs) / len(logs)) or 1.0
    found = [
        math.nan if value is None else (math.log(value) - mean) / deviation for value in values
    ]
    return np.clip(found, -LIMIT, LIMIT)


def popularity(kb, ids):
    return kb.popularity(np.array([kb.row(id_) for id_ in ids]))


def near(found, expected):
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.fixture
def kb(tmp_path):
    build_kb(ENTITIES, tmp_path / "kb", HashEncoder(), progress=False)
    return FaissKB.open(tmp_path / "kb", Vocab())


def test_is_measured_against_the_other_entities(kb):
    near(popularity(kb, [*KNOWN, "Q3"]), deviations([*KNOWN.values(), None], KNOWN.values()))
    assert kb.popularity(np.array([[-1, 0], [1, 2]])).shape == (2, 2)
    assert np.isnan(kb.popularity(np.array([-1])))[0]
    assert [entity.popularity for entity in kb][:4] == [900, 2.5, 120, None]


def test_live_changes_have_theirs_on_the_scale_of_the_files(kb):
    assert np.isnan(popularity(kb, ["Q3"]))[0]
    kb.add([NEW, CHANGED, Entity("Q3", "Straße", popularity=50)], *HashEncoder().encode([NEW] * 3))
    ids, values = ["N1", "Q90", "Q3", "Q8409"], [7, None, 50, 120]
    view = kb.view
    near(popularity(kb, ids), deviations(values, KNOWN.values()))
    kb.remove(["N1"])
    near(popularity(kb, ids[1:]), deviations(values[1:], KNOWN.values()))
    near(popularity(view, ids), deviations(values, KNOWN.values()))  # a view never changes
    again = FaissKB.open(kb.path, Vocab())
    near(popularity(again, ids[1:]), deviations(values[1:], KNOWN.values()))


def test_compaction_measures_anew(kb, tmp_path):
    kb.add([NEW, CHANGED], *HashEncoder().encode([NEW, CHANGED]))
    kb.remove(["Q8409"])
    assert kb.compact(progress=False)
    now = {"Q167646": 2.5, "N1": 7}
    near(popularity(kb, [*now, "Q90"]), deviations([*now.values(), None], now.values()))
    kb.to_disk(tmp_path / "copy")
    for other in (
        FaissKB.open(tmp_path / "copy", Vocab()),
        FaissKB(Vocab(), 1).from_bytes(kb.to_bytes()),
    ):
        near(popularity(other, now), deviations(now.values(), now.values()))
        check_files(other)
    kb.remove(list(now))
    assert kb.compact(progress=False)
    assert kb.view.popularity_scale is None
    assert not (kb.manifest.home(kb.path) / POPULARITY).exists()


def test_without_any_there_is_no_file(tmp_path):
    plain = [Entity("A", "A"), Entity("B", "B", popularity=0)]
    build_kb(plain, tmp_path / "kb", HashEncoder(), progress=False)
    assert not (tmp_path / "kb" / POPULARITY).exists()
    kb = FaissKB.open(tmp_path / "kb", Vocab())
    assert np.isnan(kb.popularity(np.arange(2))).all()
    more = [Entity("C", "C", popularity=3), Entity("D", "D", popularity=30)]
    kb.add(more, *HashEncoder().encode(more))
    assert np.isnan(kb.popularity(np.arange(2))).all()
    near(popularity(kb, "CD"), deviations([3, 30], [3, 30]))
    kb.remove(["C", "D"])
    assert kb.view.popularity_scale is None


def test_changes_in_memory_have_their_own_scale():
    kb = FaissKB(Vocab(), 8)
    kb.add(ENTITIES, *HashEncoder().encode(ENTITIES))
    near(popularity(kb, KNOWN), deviations(KNOWN.values(), KNOWN.values()))


@given(
    st.lists(st.none() | st.floats(1e-300, 1e300) | st.integers(1, 10**300), min_size=1, max_size=9)
)
def test_any_positive_number_will_do(values):
    kb = FaissKB(Vocab(), 1)
    entities = [Entity(str(i), "A", popularity=value) for i, value in enumerate(values)]
    kb.add(entities, np.ones((len(values), 1), "f4"))
    known = [value for value in values if value is not None]
    found = popularity(kb, map(str, range(len(values))))
    if known and np.std([math.log(v) for v in known]) > 1e-3:
        np.testing.assert_allclose(found, deviations(values, known), atol=1e-2)
    assert np.isnan(found).tolist() == [value is None for value in values]


def test_none_at_all_is_the_least(tmp_path):
    entities = [Entity(str(v), "A", popularity=v) for v in (0, 1, 10, 100)]
    kb = FaissKB(Vocab(), 1)
    kb.add(entities, np.ones((4, 1), "f4"))
    near(kb.popularity(np.arange(4)), [-LIMIT, *deviations([1, 10, 100], [1, 10, 100])])


def test_another_field_may_be_it_now_and_later(tmp_path):
    records = [
        entity_from_dict({"id": c, "title": c, "pagerank": i + 1}) for i, c in enumerate("ABC")
    ]
    manifest = build_kb(
        records, tmp_path / "kb", HashEncoder(), popularity_field="pagerank", progress=False
    )
    assert manifest == Manifest.read(tmp_path / "kb")
    kb = FaissKB.open(tmp_path / "kb", Vocab())
    near(popularity(kb, "ABC"), deviations([1, 2, 3], [1, 2, 3]))
    later = [
        entity_from_dict({"id": "D", "title": "D", "pagerank": "2"}),
        Entity("A", "A", popularity=3),
    ]
    kb.add(later, *HashEncoder().encode(later))
    near(popularity(kb, "ABCD"), deviations([3, 2, 3, 2], [1, 2, 3]))
    assert kb.compact(progress=False)
    assert kb.manifest.popularity_field == "pagerank"
    near(popularity(kb, "ABCD"), deviations([3, 2, 3, 2], [3, 2, 3, 2]))
    assert [entity.extra for entity in kb] == [{}] * 4
    with pytest.raises(ElqError, match=r'ELQ323.*entity .X.: "pagerank"'):
        kb.add([Entity("X", "X", extra={"pagerank": "high"})], np.ones((1, 8), "f4"))


def test_a_field_that_no_entity_has_is_named(tmp_path):
    with pytest.warns(UserWarning, match="ELQ284.*'page_rank'"):
        build_kb(
            ENTITIES[3:],
            tmp_path / "kb",
            HashEncoder(),
            popularity_field="page_rank",
            progress=False,
        )


def test_a_cache_is_made_again_for_another_field(tmp_path, vocab):
    source = tmp_path / "entities.jsonl"
    source.write_text('{"id": "A", "title": "A", "views": 3, "links": 4}\n')
    for field, known in (("", None), ("views", 3), ("links", 4), ("links", 4)):
        load = kb_from_entities(source, tmp_path / "cache", field)
        assert load(vocab, HashEncoder()).entity("A").popularity == known


@pytest.mark.parametrize("value", [-1, True, "high", [], float("inf"), "inf", 10**400, "-0.5"])
def test_what_is_no_popularity_is_refused(value):
    with pytest.raises(ElqError, match=r'ELQ323.*"popularity" must be a number, 0 or more'):
        entity_from_dict({"id": "A", "title": "A", "popularity": value})


@pytest.mark.parametrize(
    "value, read", [(None, None), (math.nan, None), ("3.5", 3.5), (7, 7), (0, 0)]
)
def test_what_is_one_is_kept_as_it_is(value, read):
    entity = entity_from_dict({"id": "A", "title": "A", "popularity": value})
    assert entity.popularity == read and type(entity.popularity) is type(read)
    assert entity_from_dict(json.loads(json.dumps(entity_to_dict(entity)))) == entity


def test_records_of_an_earlier_release_may_hold_anything_there(kb):
    import sqlite3

    path = kb.path / "entities.sqlite"
    for text in ('{"popularity": "high"}', '{"popularity": -3}'):
        with sqlite3.connect(path) as db:
            db.execute("UPDATE entities SET extra = ? WHERE id = 'Q3'", (text,))
        db.close()
        assert FaissKB.open(kb.path, Vocab()).entity("Q3").popularity is None
