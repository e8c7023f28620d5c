"""Linking to entities of some types, or to some entities, alone."""

import pytest

from spacy_elq.errors import ElqError

from ..helpers import TEXTS

QUESTION = "who did paris marry"


@pytest.fixture
def nlp(make_nlp):
    return make_nlp(threshold=-1000.0, mention_threshold=-1000.0)


def candidates(nlp, text=QUESTION):
    doc = nlp(text)
    return {candidate.id for span in doc.spans["elq"] for candidate in span._.elq.candidates}


@pytest.mark.slow
def test_links_and_candidates_are_of_the_type(nlp):
    elq = nlp.get_pipe("elq")
    assert candidates(nlp) == {f"Q{i}" for i in range(1, 7)}
    with elq.restrict(types=["city", "state"]):
        assert candidates(nlp) == {"Q1", "Q4"}
        assert {
            ent.kb_id_ for doc in nlp.pipe(row["text"] for row in TEXTS) for ent in doc.ents
        } <= {
            "Q1",
            "Q4",
        }
    assert candidates(nlp) == {f"Q{i}" for i in range(1, 7)}


@pytest.mark.slow
def test_ids_and_types_add_up(nlp):
    elq = nlp.get_pipe("elq")
    elq.restrict(types=["country"], ids=["Q2", "Q5"])
    assert candidates(nlp) == {"Q2", "Q3", "Q5"}
    elq.restrict(ids=["Q6"])
    assert candidates(nlp) == {"Q6"}
    elq.restrict()
    assert len(candidates(nlp)) == 6


@pytest.mark.slow
def test_names_of_others_do_not_count(nlp):
    elq = nlp.get_pipe("elq")
    with elq.restrict(types=["country"]):
        assert [entity.id for entity in elq.kb.named("georgia")] == ["Q3"]
        assert elq.kb.named("paris") == []


@pytest.mark.slow
def test_the_block_ends_though_the_entities_were_embedded_again_in_it(nlp):
    elq = nlp.get_pipe("elq")
    elq.restrict(types=["city", "state"])
    with elq.restrict(ids=["Q6"]):
        elq.linked_kb.mark_stale()  # as after a training step of the entity encoder
        assert candidates(nlp) == {"Q6"}
    assert candidates(nlp) == {"Q1", "Q4"}


@pytest.mark.slow
def test_unknown_types_and_ids_change_nothing(nlp):
    elq = nlp.get_pipe("elq")
    with pytest.raises(ElqError, match="ELQ237"):
        elq.restrict(types=["galaxy"])
    with pytest.raises(ElqError, match="ELQ210"):
        elq.restrict(ids=["Q999"])
    assert len(candidates(nlp)) == 6
