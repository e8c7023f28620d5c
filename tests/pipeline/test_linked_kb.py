"""Live changes of a loaded pipeline, and pipelines that refer to a knowledge base outside."""

import shutil

import pytest
import spacy
from spacy.vocab import Vocab

from spacy_elq.errors import ElqError
from spacy_elq.kb.knowledge_base import FaissKB
from spacy_elq.linking.decoding import DecodingSettings

from ..helpers import ENTITIES, TEXTS, train

pytestmark = pytest.mark.slow

ADDED = {"id": "N1", "title": "Armenia", "description": "north of Iran", "type": "country"}


@pytest.fixture(scope="module")
def trained_path(tmp_path_factory, elq_config, kb_path):
    """A trained pipeline that refers to a knowledge base beside it: KB and pipeline/."""
    directory = tmp_path_factory.mktemp("trained")
    FaissKB.open(kb_path, Vocab()).to_disk(directory / "KB")
    spacy.util.fix_random_seed(0)
    nlp = spacy.blank("en")
    nlp.add_pipe("elq", config={**elq_config, "kb_path": str(directory / "KB")})
    nlp.initialize()
    train(nlp)
    nlp.to_disk(directory / "pipeline")
    return directory


@pytest.fixture
def place(trained_path, tmp_path):
    """A copy of both, for a test to change."""
    shutil.copytree(trained_path, tmp_path / "place")
    return tmp_path / "place"


def load(place, name="pipeline", kb="KB"):
    return spacy.load(place / name, config={"components.elq.kb_path": str(place / kb)})


def best(nlp, text):
    nlp.get_pipe("elq").threshold = -100.0
    return nlp(text).ents[0]._.elq


def test_changes_are_seen_by_the_next_call_of_every_process_and_kept(place):
    nlp, other = load(place), load(place)
    assert best(nlp, "quicksilver").id == "Q6"
    nlp.get_pipe("elq").remove_entities(["Q6"])
    nlp.get_pipe("elq").add_entities([ADDED])
    nlp.get_pipe("elq").update_entities([{"id": "Q5", "aliases": ["quicksilver"]}])
    for one in (nlp, other, load(place)):
        found = best(one, "quicksilver")
        assert (found.id, found.description) == ("Q5", "planet nearest to the sun")
        assert one.get_pipe("elq").kb.entity("N1").description == "north of Iran"
    record = nlp.get_pipe("elq").kb.entity("Q5")
    assert (record.title, record.extra) == ("Mercury", {"rank": 1})


def test_update_refuses_what_is_not_there(place):
    elq = load(place).get_pipe("elq")
    with pytest.raises(ElqError, match=r"ELQ210.*nobody"):
        elq.update_entities([{"id": "Q1", "title": "Lutetia"}, {"id": "nobody", "title": "N"}])
    assert elq.kb.entity("Q1").title == "Paris"


def test_an_update_keeps_what_others_change_meanwhile(place, monkeypatch):
    elq, other = load(place).get_pipe("elq"), load(place).get_pipe("elq")
    encode, others = elq.entity_encoder.encode, [{"id": "Q5", "aliases": ["quicksilver"]}]

    def encode_slowly(entities):
        while others:
            other.update_entities([others.pop()])
        return encode(entities)

    monkeypatch.setattr(elq.entity_encoder, "encode", encode_slowly)
    elq.update_entities([{"id": "Q5", "description": "next to the sun"}])
    for one in (elq, other):
        found = one.linked_kb.refresh().entity("Q5")
        assert (found.description, found.aliases) == ("next to the sun", ("quicksilver",))
        assert one.kb.row("Q5") in one.kb.lookup(["quicksilver"])[0]


def test_an_embedded_one_is_changed_where_it_is(place):
    nlp = load(place)
    nlp.get_pipe("elq").kb_path = None
    nlp.to_disk(place / "whole")
    for loaded in (spacy.load(place / "whole"), spacy.load(place / "whole")):
        assert loaded.get_pipe("elq").kb.path == place / "whole" / "elq" / "kb"
        loaded.get_pipe("elq").add_entities([ADDED])
        assert len(loaded.get_pipe("elq").kb) == len(ENTITIES) + 1
    assert len(load(place).get_pipe("elq").kb) == len(ENTITIES)


def test_a_reference_costs_no_bytes_of_the_knowledge_base(place, trained_path, elq_config):
    assert not (place / "pipeline" / "elq" / "kb").exists()
    nlp = spacy.load(place / "pipeline")  # where it was trained
    assert nlp.get_pipe("elq").kb.path == trained_path / "KB"
    nlp = load(place)
    assert nlp.get_pipe("elq").kb.path == place / "KB"
    nlp.to_disk(place / "again")
    assert not (place / "again" / "elq" / "kb").exists()
    blank = spacy.blank("en")
    blank.add_pipe("elq", config={**elq_config, "kb_path": str(place / "KB")})
    data = nlp.to_bytes(exclude=["vocab"])
    assert b"planet nearest to the sun" not in data
    blank.from_bytes(data, exclude=["vocab"])
    for text in TEXTS:
        assert [e.kb_id_ for e in blank(text["text"]).ents] == [
            e.kb_id_ for e in nlp(text["text"]).ents
        ]


def test_a_reference_that_leads_nowhere_says_how_to_override_it(place):
    with pytest.raises(ElqError, match=r"ELQ243.*nowhere.*components\.elq\.kb_path"):
        load(place, kb="nowhere")
    nlp = spacy.load(place / "pipeline", exclude=["elq"])
    assert not nlp.pipe_names


def test_a_reference_is_checked_by_fingerprint(place):
    manifest = place / "KB" / "manifest.json"
    fingerprint = FaissKB.open(place / "KB", Vocab()).fingerprint
    manifest.write_text(manifest.read_text().replace(fingerprint, "f" * len(fingerprint)))
    with pytest.raises(ElqError, match=r"ELQ213.*ffff"):
        load(place)


def test_another_knowledge_base_becomes_the_reference(place, kb_path):
    nlp = load(place)
    elq = nlp.get_pipe("elq")
    elq.kb.to_disk(place / "other")
    elq.set_kb(FaissKB.open(place / "other", nlp.vocab))
    assert elq.kb_path == str(place / "other")
    elq.set_kb(FaissKB.open(place / "other", nlp.vocab, in_place=False))
    elq.add_entities([ADDED])
    with pytest.raises(ElqError, match=r"ELQ244.*kb_path = None"):
        nlp.to_disk(place / "new")
    elq.kb_path = None
    nlp.to_disk(place / "new")
    assert spacy.load(place / "new").get_pipe("elq").kb.entity("N1").title == "Armenia"


def test_a_knowledge_base_is_set_by_its_path(place):
    nlp = load(place)
    nlp.get_pipe("elq").kb.to_disk(place / "other")
    FaissKB.open(place / "other", Vocab()).remove(["Q6"])
    for path in (place / "other", str(place / "other")):
        nlp.get_pipe("elq").set_kb(path)
        assert "Q6" not in nlp.get_pipe("elq").kb
    with pytest.raises(ElqError, match="ELQ200"):
        nlp.get_pipe("elq").set_kb("nowhere")


def test_a_reference_that_is_set_holds_from_the_next_call_on(place):
    nlp = load(place)
    elq = nlp.get_pipe("elq")
    elq.kb.to_disk(place / "other")
    FaissKB.open(place / "other", Vocab()).remove(["Q6"])
    elq.kb_path = str(place / "other" / ".." / "other")
    assert best(nlp, "quicksilver").id != "Q6"
    assert elq.kb.path.resolve() == (place / "other").resolve()
    nlp.to_disk(place / "pipeline")
    assert "Q6" not in spacy.load(place / "pipeline").get_pipe("elq").kb
    elq.kb_path = str(place / "nowhere")
    with pytest.raises(ElqError, match="nowhere"):
        nlp("quicksilver")


def test_a_reference_inside_of_the_pipeline_is_kept_when_it_is_saved(place):
    nlp = load(place)
    elq = nlp.get_pipe("elq")
    elq.kb.to_disk(place / "pipeline" / "elq" / "kb")
    elq.kb_path = str(place / "pipeline" / "elq" / "kb")
    nlp.to_disk(place / "pipeline")
    assert len(spacy.load(place / "pipeline").get_pipe("elq").kb) == len(ENTITIES)


def test_the_first_call_may_remove_entities(place, elq_config):
    blank = spacy.blank("en")
    blank.add_pipe("elq", config={**elq_config, "kb_path": str(place / "KB")})
    blank.get_pipe("elq").remove_entities(["Q6"])
    assert "Q6" not in FaissKB.open(place / "KB", Vocab())


def test_settings_can_be_left_where_they_are(place, elq_config):
    nlp = load(place)
    expected = [[e.kb_id_ for e in nlp(row["text"]).ents] for row in TEXTS]
    for excluded_at in ("reading", "writing"):
        nlp.get_pipe("elq").threshold = -1.0
        exclude = ["cfg"] if excluded_at == "writing" else []
        nlp.get_pipe("elq").to_disk(place / excluded_at, exclude=exclude)
        blank = spacy.blank("en")
        elq = blank.add_pipe("elq", config={**elq_config, "kb_path": str(place / "KB")})
        elq.from_disk(place / excluded_at, exclude=["cfg"])
        assert elq.threshold == DecodingSettings().threshold
        assert [[e.kb_id_ for e in blank(row["text"]).ents] for row in TEXTS] == expected
        other = spacy.blank("en")
        elq = other.add_pipe("elq", config={**elq_config, "kb_path": str(place / "KB")})
        elq.from_bytes(nlp.get_pipe("elq").to_bytes(), exclude=["cfg"])
        assert elq.threshold == DecodingSettings().threshold
        assert [[e.kb_id_ for e in other(row["text"]).ents] for row in TEXTS] == expected


def test_an_interrupted_save_keeps_the_settings(place, monkeypatch):
    nlp = load(place)
    nlp.to_disk(place / "saved")
    before = (place / "saved" / "elq" / "cfg").read_bytes()
    nlp.get_pipe("elq").threshold = -1.0

    def interrupt(path, value):
        path.write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr("srsly.write_json", interrupt)
    with pytest.raises(KeyboardInterrupt):
        nlp.get_pipe("elq").to_disk(place / "saved" / "elq")
    assert (place / "saved" / "elq" / "cfg").read_bytes() == before


def test_one_entity_is_no_list_of_entities(place):
    elq = load(place).get_pipe("elq")
    for change in (elq.add_entities, elq.update_entities):
        with pytest.raises(ElqError, match=r"ELQ270.*list of entities.*dict"):
            change(ADDED)
    with pytest.raises(ElqError, match=r"ELQ270.*list of ids"):
        elq.remove_entities("Q6")
    assert len(elq.kb) == len(ENTITIES)
