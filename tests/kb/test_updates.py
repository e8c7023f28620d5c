"""What may be added, changed and removed: what can't be read again is refused before it is kept."""

import datetime

import numpy as np
import pytest

from spacy_elq.errors import ElqError
from spacy_elq.kb.knowledge_base import FaissKB
from spacy_elq.kb.updates import apply_updates, as_entities, embed_changed, lookup_entities
from spacy_elq.types import Entity

from .helpers import ENTITIES, WIDTH, HashEncoder

BAD = {
    "empty id": (Entity("", "Zorblax"), "ELQ232"),
    "empty title": (Entity("Z", ""), "ELQ232"),
    "NUL": (Entity("Z\0", "Zorblax"), "ELQ256"),
    "number as id": (Entity(5, "Zorblax"), "ELQ323"),
    "one alias": (Entity("Z", "Zorblax", aliases="Zorb"), "ELQ269"),
    "number as alias": (Entity("Z", "Zorblax", aliases=(5,)), "ELQ323"),
    "count": (Entity("Z", "Zorblax", aliases=("A",), counts={"A": "many"}), "ELQ323"),
    "no extra": (Entity("Z", "Zorblax", extra=None), "ELQ269"),
    "date": (Entity("Z", "Zorblax", extra={"born": datetime.date(2020, 1, 1)}), "ELQ269.*date"),
    "numpy": (Entity("Z", "Zorblax", extra={"rank": np.float32(1)}), "ELQ269.*float32"),
    "surrogate": (Entity("Z", "Zor\ud800"), "ELQ269"),
}


@pytest.mark.parametrize("entity, code", BAD.values(), ids=BAD)
def test_what_could_not_be_read_again_is_refused(kb, directory, vocab, entity, code):
    good = Entity("G", "Good")
    with pytest.raises(ElqError, match=code):
        kb.add([good, entity], np.ones((2, WIDTH), "f4"))
    with pytest.raises(ElqError, match=code):
        as_entities([entity])
    assert list(FaissKB.open(directory, vocab)) == list(kb) == ENTITIES


def test_values_that_are_no_json_are_refused_in_dicts_too():
    for record in ({"title": "Zor\ud800"}, {"title": "Z", "rank": np.int64(1)}):
        with pytest.raises(ElqError, match="ELQ269"):
            as_entities([{"id": "Z", **record}])


def test_the_fields_of_an_entity_win_over_others_of_the_same_name(kb, directory, vocab):
    entity = Entity("X", "Ex", extra={"id": "Y", "aliases": "x", "rank": 1})
    kb.add([entity], np.ones((1, WIDTH), "f4"))
    for one in (kb, FaissKB.open(directory, vocab)):
        assert one.entity("X") == Entity("X", "Ex", extra={"rank": 1})
        assert one.entity("Y") is None


def test_an_update_needs_an_id(kb):
    with pytest.raises(ElqError, match=r"ELQ232.*'id'"):
        lookup_entities(kb.view, [{"title": "x"}])
    with pytest.raises(ElqError, match="ELQ231"):
        lookup_entities(kb.view, ["Q90"])


def test_membership_is_by_id(kb):
    kb.add([Entity("N", "New")], np.ones((1, WIDTH), "f4"))
    kb.remove(["Q3"])
    assert [id_ for id_ in ("Q90", "N", "Q3", "Paris", 5) if id_ in kb] == ["Q90", "N"]


def test_one_id_is_no_list_of_ids(kb, encoder):
    kb.add([Entity("m", "Em"), Entity("n", "En")], np.ones((2, WIDTH), "f4"))
    with pytest.raises(ElqError, match=r"ELQ270.*list of ids.*str"):
        kb.remove("m")
    with pytest.raises(ElqError, match=r"ELQ210.*5"):
        kb.remove([5])
    assert kb.remove(iter(["m"])) == 1


def test_only_what_has_another_text_is_embedded_again(kb):
    new = Entity("N", "New", aliases=("Newer",))
    kb.add([new], *HashEncoder().encode([new]))
    changes = [
        {"id": "N", "type": "thing"},
        {"id": "Q90", "description": "city"},
        {"id": "Q8409", "aliases": [{"name": "Alexander", "count": 3}, "alexander"]},
        {"id": "Q3", "rank": 2},
        {"id": "Q4", "aliases": ["chk"]},
    ]
    encoder, old = HashEncoder(), lookup_entities(kb.view, changes)
    entities = apply_updates(old, changes)
    vectors, owners = embed_changed(encoder, kb.view, entities, old)
    assert encoder.encoded == ["Q90", "Q4"]
    expected = HashEncoder().encode(entities)
    np.testing.assert_array_equal(vectors, expected[0])
    np.testing.assert_array_equal(owners, expected[1])
    nothing = embed_changed(encoder, kb.view, old, old)
    np.testing.assert_array_equal(nothing[0], HashEncoder().encode(old)[0])
    assert encoder.encoded == ["Q90", "Q4"]
