"""Changes in memory: each makes another state, in one step, and leaves the one before as it was."""

import numpy as np
import pytest
from spacy.vocab import Vocab

from spacy_elq.kb.knowledge_base import FaissKB
from spacy_elq.kb.live import delta as delta_module
from spacy_elq.kb.live.delta import Change, Delta
from spacy_elq.types import Entity

FAR = np.full((1, 8), 9.0, "f4")
QUERY = np.ones((1, 8), "f4")


def change(id_, title, base_row=None):
    return Change.of(Entity(id_, title), base_row, FAR)


def titles(delta):
    return [entity.title for entity in delta]


def found(view):
    rows = view.search(QUERY, 3).rows[0]
    return [entity.id for entity in view.records(rows[rows >= 0])]


def test_a_delta_stays_as_it_is():
    empty = Delta.of(8, 5)
    one = empty.apply([change("a", "A"), change("b", "B", base_row=2)])
    two = one.apply([change("a", "A again"), Change("b", 2, None), change("c", "C", base_row=4)])
    three = two.apply([change("b", "B again", base_row=2), Change("a", None, None)])
    assert [titles(delta) for delta in (empty, one, two, three)] == [
        [],
        ["A", "B"],
        ["A again", "C"],
        ["C", "B again"],
    ]
    assert [delta.row("a") for delta in (empty, one, two, three)] == [None, 5, 7, None]
    assert [delta.row("b") for delta in (empty, one, two, three)] == [None, 6, None, 9]
    assert [len(delta) for delta in (empty, one, two, three)] == [0, 2, 2, 2]
    assert [delta.n_shadowed for delta in (empty, one, two, three)] == [0, 1, 2, 2]
    assert [delta.is_shadowed("c") for delta in (one, two, three)] == [False, True, True]
    assert one.alive.tolist() == [True, True, False, True, True]
    assert three.alive is two.alive
    assert one.search(QUERY, 3).rows.tolist() == [[5, 6, -1]]
    assert three.search(QUERY, 3).rows.tolist() == [[8, 9, -1]]
    assert len(three.matrix()[0]) == len(two.matrix()[0]) == 2


def test_its_changes_lead_to_it_again():
    one = Delta.of(8, 5, [change("a", "A"), change("b", "B", base_row=2), Change("d", 3, None)])
    one.apply([change("a", "A again"), change("e", "E", base_row=4)])
    again = Delta.of(8, 5, one.changes())
    assert (titles(again), again.n_shadowed) == (["A", "B"], 2)
    assert again.alive.tolist() == [True, True, False, False, True]


def test_two_changes_of_the_same_delta():
    one = Delta.of(8, 5, [change("a", "A")])
    assert titles(one.apply([change("b", "B")])) == ["A", "B"]
    assert titles(one.apply([change("c", "C")])) == ["A", "C"]
    assert titles(one) == ["A"]


@pytest.mark.parametrize("restricted", [False, True])
@pytest.mark.parametrize("durable", [False, True])
def test_others_see_all_of_a_change_or_nothing(kb, monkeypatch, restricted, durable, directory):
    """At no moment of a change is there anything but the state before or the one after it."""
    kb = FaissKB.open(directory, Vocab(), in_place=durable)
    kb.add([Entity("Q1", "Old", type="city"), Entity("Q2", "Gone", type="city")], FAR.repeat(2, 0))
    if restricted:
        kb.restrict(types=["city"])
    seen = []

    def look():
        seen.append((kb.entity("Q1").title, found(kb.view)[0], len(kb.lookup(["Old"])[0]), len(kb)))

    append, retire = delta_module.GrowingArray.append, delta_module._Rows.retire

    def look_and_append(self, block):
        look()
        append(self, block)
        look()

    def look_and_retire(self, *args):
        look()
        result = retire(self, *args)
        look()
        return result

    before = len(kb)
    monkeypatch.setattr(delta_module.GrowingArray, "append", look_and_append)
    monkeypatch.setattr(delta_module._Rows, "retire", look_and_retire)
    kb.add([Entity("Q1", "New", type="city"), Entity("N3", "Third", type="city")], FAR.repeat(2, 0))
    assert {*seen} == {("Old", "Q1", 1, before)}
    look()
    assert seen[-1] == ("New", "Q2", 0, before + 1)
    assert found(kb.view) == ["Q2", "Q1", "N3"]


def test_masks_are_those_of_the_moment_that_is_asked_for(kb, monkeypatch):
    """Another thread may ask for the masks of another moment meanwhile."""
    kb.restrict(types=["city"])
    before = kb.view
    kb.add([Entity("N", "New", type="city")], FAR)
    after = kb.view
    make = kb.restriction._make

    def meanwhile(base, delta):
        masks = make(base, delta)
        if delta is after.delta:
            before.search(QUERY, 3)
        return masks

    monkeypatch.setattr(kb.restriction, "_make", meanwhile)
    assert found(after) == ["N", "Q90"]
