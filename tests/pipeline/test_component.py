"""The component, in the order a user meets it."""

import shutil

import numpy as np
import pytest
import spacy
from spacy.tokens import Doc, DocBin, Span

from spacy_elq import ElqError, Link
from spacy_elq.annotate import spans_of_writer
from spacy_elq.linking.decoding import DecodingSettings
from spacy_elq.pipeline.factory import DEFAULT_CONFIG

from ..helpers import TEXTS, examples


@pytest.fixture
def trained(trained_path, tmp_path):
    # A copy: what is added to the knowledge base of a pipeline is written to its directory.
    return spacy.load(shutil.copytree(trained_path, tmp_path / "trained"))


def links(doc):
    return [(e.start_char, e.end_char, e.kb_id_) for e in doc.ents]


def gold(row):
    return [(s["start"], s["end"], s["id"]) for s in row["spans"]]


def test_add_pipe_needs_no_config():
    nlp = spacy.blank("en")
    elq = nlp.add_pipe("elq")
    assert nlp.pipe_names == ["elq"]
    assert elq.threshold == nlp.get_pipe_config("elq")["threshold"]


def test_the_default_config_is_the_documented_one():
    nlp = spacy.blank("en")
    nlp.add_pipe("elq")
    config = nlp.get_pipe_config("elq")
    assert {key: config[key] for key in DEFAULT_CONFIG} == DEFAULT_CONFIG
    assert config["model"]["encoder"]["name"] == "minilm"
    assert config["threshold"] == DecodingSettings().threshold


@pytest.mark.slow
def test_uninitialized_and_without_kb_are_told_apart(elq_config):
    nlp = spacy.blank("en")
    nlp.add_pipe("elq", config=elq_config)
    with pytest.raises(ElqError, match="ELQ106"):
        nlp("who is mercury")
    nlp.initialize()
    with pytest.raises(ElqError, match="ELQ105"):
        nlp("who is mercury")


def test_learns_a_few_texts_by_heart(trained):
    for row in TEXTS:
        assert links(trained(row["text"])) == gold(row)


def test_annotations(trained):
    doc = trained("is georgia north of armenia")
    (ent,) = doc.ents
    assert (ent.text, ent.kb_id_, ent.label_) == ("georgia", "Q3", "country")
    link = ent._.elq
    assert isinstance(link, Link)
    assert (link.id, link.title, link.description) == ("Q3", "Georgia", "country in the Caucasus")
    assert link.score == pytest.approx(link.mention_score + link.entity_score)
    assert link.candidates[0].id == "Q3"
    assert sum(np.exp(c.score) for c in link.candidates) == pytest.approx(1.0, abs=1e-5)
    group = doc.spans["elq"]
    assert [span.kb_id_ for span in group] == ["Q3"]
    assert group.attrs["scores"] == [link.score]
    assert doc[0:1]._.elq is None


@pytest.mark.slow
def test_an_entity_without_a_type_still_has_a_label(trained):
    (ent,) = trained("how hot is mercury").ents
    assert (ent.label_, ent.kb_id_) == ("ENTITY", "Q5")


@pytest.mark.slow
def test_links_survive_docbin_and_bytes(trained):
    doc = trained("who did paris marry")
    restored = [
        Doc(trained.vocab).from_bytes(doc.to_bytes()),
        next(DocBin(docs=[doc]).get_docs(trained.vocab)),
    ]
    for other in restored:
        assert other.ents[0]._.elq == doc.ents[0]._.elq


@pytest.mark.slow
def test_pipe_gives_what_single_calls_give(trained):
    texts = [row["text"] for row in TEXTS] + ["", "paris " * 60]
    single = [links(trained(text)) for text in texts]
    assert [links(doc) for doc in trained.pipe(texts, batch_size=3)] == single
    assert [links(doc) for doc in trained.pipe(texts, batch_size=100)] == single


EMPTY = ["", " ", "\n\t \n", "?!...", "\U0001f600", "\u0301"]


@pytest.mark.slow
@pytest.mark.parametrize("text", EMPTY)
def test_texts_with_nothing_to_link(trained, text):
    assert trained(text).ents == ()


@pytest.mark.slow
def test_empty_texts_do_not_disturb_a_batch(trained):
    docs = list(trained.pipe([*EMPTY, "is georgia north of armenia", *EMPTY]))
    assert [links(doc) for doc in docs if doc.ents] == [[(3, 10, "Q3")]]


@pytest.mark.slow
def test_nothing_is_lost_in_100_000_characters(trained):
    sentence = "is georgia north of armenia"
    filler = "what time is it " * 6_000
    doc = trained(f"{sentence} {filler} {sentence}")
    assert len(doc.text) > 96_000
    found = [e for e in doc.ents if e.kb_id_ == "Q3"]
    assert found[0].start_char == 3
    assert found[-1].start_char == len(doc.text) - len(sentence) + 3


@pytest.mark.slow
def test_a_token_of_5000_characters(trained):
    doc = trained("x" * 5_000 + " is georgia north of armenia")
    assert links(doc) == [(5_004, 5_011, "Q3")]


@pytest.mark.slow
def test_offsets_after_emoji_and_combining_marks(trained):
    text = "\U0001f600\U0001f468\u200d\U0001f469 a\u0301 is georgia north of armenia"
    assert "georgia" in [ent.text for ent in trained(text).ents]


@pytest.mark.slow
def test_settings_hold_from_the_next_call_on(trained):
    elq = trained.get_pipe("elq")
    text = "is georgia north of armenia"
    assert trained(text).ents
    elq.threshold = 0.0
    assert not trained(text).ents
    elq.threshold = -2.0
    elq.top_k = 2
    assert len(trained(text).ents[0]._.elq.candidates) <= 3  # two retrieved, and a namesake
    with pytest.raises(ElqError, match="ELQ112"):
        elq.top_k = 0
    assert elq.top_k == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("top_k", 2.5),
        ("threshold", float("nan")),
        ("span_group_threshold", "x"),
        ("overwrite", "no"),
        ("rank_gold", None),
        ("spans_key", None),
        ("mentions", 3),
        ("max_length", 20.5),
    ],
)
def test_settings_of_another_type_are_refused_and_the_old_ones_stay(trained, name, value):
    elq = trained.get_pipe("elq")
    before = getattr(elq, name)
    with pytest.raises(ElqError, match=f"ELQ122.*'{name}'"):
        setattr(elq, name, value)
    assert getattr(elq, name) == before


@pytest.mark.slow
def test_floor_lets_more_links_into_the_span_group_than_into_ents(trained):
    elq = trained.get_pipe("elq")
    elq.span_group_threshold = -50.0
    doc = trained("who did paris marry")
    assert links(doc) == [(8, 13, "Q2")]
    assert len(doc.spans["elq"]) > 1
    scores = doc.spans["elq"].attrs["scores"]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.slow
def test_a_floor_above_the_threshold_takes_no_link_away(trained):
    elq = trained.get_pipe("elq")
    elq.span_group_threshold = 0.0
    doc = trained("who did paris marry")
    assert links(doc) == [(8, 13, "Q2")]
    assert "Q2" in [span.kb_id_ for span in doc.spans["elq"]]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["top_entity_by_mention", "thresholded_entity_by_mention"])
def test_given_mentions_need_no_mention_score(trained, kind):
    elq = trained.get_pipe("elq")
    elq.mentions, elq.threshold, elq.threshold_type = "mine", -100.0, kind
    elq.mention_threshold = 1000.0
    doc = trained.make_doc("is georgia north of armenia")
    doc.spans["mine"] = [doc[1:2], doc[1:2], doc[0:4]]
    doc = elq(doc)
    assert {(s.start, s.end) for s in doc.spans["elq"]} == {(1, 2), (0, 4)}
    with pytest.raises(ElqError, match="ELQ109"):
        elq.mentions = "elq"


@pytest.mark.slow
def test_given_mentions_are_only_disambiguated(trained):
    elq = trained.get_pipe("elq")
    elq.mentions = "ents"
    elq.threshold = -100.0
    doc = trained.make_doc("is georgia north of armenia")
    doc.ents = [Span(doc, 1, 2, label="GPE"), Span(doc, 4, 5, label="GPE")]
    doc = elq(doc)
    assert [(e.text, e.label_) for e in doc.ents] == [("georgia", "GPE"), ("armenia", "GPE")]
    assert doc.ents[0].kb_id_ == "Q3"
    assert doc.ents[0]._.elq.mention_score == 0.0
    elq.mentions = "mine"
    doc = trained.make_doc("is georgia north of armenia")
    doc.spans["mine"] = [doc[1:2]]
    assert links(elq(doc)) == [(3, 10, "Q3")]
    with pytest.warns(UserWarning, match=r"ELQ130.*'mine'"):
        assert not elq(trained.make_doc("is georgia north of armenia")).ents


@pytest.mark.slow
def test_given_mentions_keep_their_tokens(trained):
    """Their wordpieces may cover less (white space) or more (a part of a word)."""
    elq = trained.get_pipe("elq")
    elq.mentions, elq.threshold = "ents", -100.0
    doc = Doc(trained.vocab, ["is", "georgia", "\n", "north", "of", "armen", "ia"])
    doc.ents = [Span(doc, 1, 3, label="GPE"), Span(doc, 5, 6, label="GPE")]
    doc = elq(doc)
    assert [(e.text, bool(e.kb_id_)) for e in doc.ents] == [("georgia \n", True), ("armen", True)]
    assert {(s.start, s.end) for s in doc.spans["elq"]} == {(1, 3), (5, 6)}
    assert all(ent._.elq is not None for ent in doc.ents)


@pytest.mark.slow
def test_entities_that_are_there_are_kept_or_overwritten(trained):
    elq = trained.get_pipe("elq")
    for overwrite, expected in ((True, ("Q3", "")), (False, ("", ""))):
        elq.overwrite = overwrite
        doc = trained.make_doc("is georgia north of armenia")
        doc.ents = [Span(doc, 0, 2, label="X"), Span(doc, 4, 5, label="Y")]
        doc = elq(doc)
        assert tuple(ent.kb_id_ for ent in doc.ents) == expected
        assert doc.ents[1].label_ == "Y"


@pytest.mark.slow
def test_running_again_leaves_nothing_stale(trained):
    elq = trained.get_pipe("elq")
    doc = trained("is georgia north of armenia")
    elq.threshold = 0.0
    doc = elq(doc)
    assert (doc.ents, list(doc.spans["elq"])) == ((), [])
    assert not any(token.ent_kb_id for token in doc)


@pytest.mark.slow
def test_entities_added_changed_and_removed_live(trained, tmp_path):
    elq = trained.get_pipe("elq")
    text = "is georgia north of armenia"
    elq.remove_entities(["Q3", "Q4"])
    assert "Q3" not in [e.kb_id_ for e in trained(text).ents]
    added = {"id": "N1", "title": "Georgia", "description": "new here", "type": "test"}
    elq.add_entities([added])
    elq.mentions, elq.threshold = "ents", -100.0

    def linked(nlp):
        doc = nlp.make_doc(text)
        doc.ents = [Span(doc, 1, 2, label="X")]
        (ent,) = nlp.get_pipe("elq")(doc).ents
        return ent.kb_id_, ent._.elq.description

    assert linked(trained) == ("N1", "new here")
    elq.add_entities([{**added, "description": "changed"}])
    assert linked(trained) == ("N1", "changed")
    trained.to_disk(tmp_path / "pipeline")
    assert linked(spacy.load(tmp_path / "pipeline")) == ("N1", "changed")


@pytest.mark.slow
def test_disk_and_bytes_round_trips_keep_links_and_changed_settings(trained, tmp_path, elq_config):
    elq = trained.get_pipe("elq")
    elq.threshold = -2.25
    expected = [links(trained(row["text"])) for row in TEXTS]
    trained.to_disk(tmp_path / "pipeline")
    loaded = spacy.load(tmp_path / "pipeline")
    blank = spacy.blank("en")
    blank.add_pipe("elq", config=elq_config)
    blank.from_bytes(trained.to_bytes())
    for nlp in (loaded, blank):
        assert nlp.get_pipe("elq").threshold == -2.25
        assert nlp.get_pipe("elq").cfg["seen_ids"] == ["Q1", "Q2", "Q3", "Q4", "Q5", "Q6"]
        assert [links(nlp(row["text"])) for row in TEXTS] == expected


@pytest.mark.slow
def test_an_override_wins_over_a_saved_change(trained, tmp_path):
    trained.get_pipe("elq").threshold = -2.25
    trained.to_disk(tmp_path / "pipeline")
    nlp = spacy.load(tmp_path / "pipeline", config={"components.elq.threshold": -1.0})
    assert nlp.get_pipe("elq").threshold == -1.0


@pytest.mark.slow
def test_saving_hard_links_the_knowledge_base(trained, tmp_path):
    trained.to_disk(tmp_path / "a")
    trained.to_disk(tmp_path / "b")
    first, second = (tmp_path / x / "elq" / "kb" / "vectors.npy" for x in "ab")
    assert first.stat().st_ino == second.stat().st_ino


@pytest.mark.slow
def test_the_entity_encoder_can_be_left_out(trained, tmp_path):
    trained.to_disk(tmp_path / "whole")
    assert (tmp_path / "whole" / "elq" / "entity_encoder" / "model.safetensors").exists()
    trained.get_pipe("elq").save_entity_encoder = False
    trained.to_disk(tmp_path / "small")
    assert not (tmp_path / "small" / "elq" / "entity_encoder").exists()
    assert spacy.load(tmp_path / "small")("is georgia north of armenia").ents


@pytest.mark.slow
def test_saving_over_another_pipeline_leaves_nothing_of_it(trained, tmp_path, elq_config):
    trained.to_disk(tmp_path / "pipeline")
    trained.get_pipe("elq").save_entity_encoder = False
    blank = spacy.blank("en")
    blank.add_pipe("elq", config=elq_config)
    blank.initialize()
    blank.to_disk(tmp_path / "pipeline", exclude=["elq"])
    blank.get_pipe("elq").to_disk(tmp_path / "pipeline" / "elq", exclude=["entity_encoder"])
    assert (tmp_path / "pipeline" / "elq" / "entity_encoder").exists()
    with pytest.raises(ElqError, match="ELQ105"):
        spacy.load(tmp_path / "pipeline")("georgia")
    trained.to_disk(tmp_path / "pipeline")
    assert not (tmp_path / "pipeline" / "elq" / "entity_encoder").exists()


@pytest.mark.slow
def test_a_kb_of_another_width_or_encoder_is_refused(trained):
    from spacy_elq.kb.knowledge_base import FaissKB

    elq = trained.get_pipe("elq")
    with pytest.raises(ElqError, match="ELQ107"):
        elq.set_kb(FaissKB(trained.vocab, 7, normalized=True))
    with pytest.raises(ElqError, match="ELQ108"):
        elq.set_kb(FaissKB(trained.vocab, 32))
    with pytest.raises(ElqError, match="ELQ213"):
        elq.set_kb(FaissKB(trained.vocab, 32, normalized=True, fingerprint="another"))
    assert trained("is georgia north of armenia").ents


@pytest.mark.slow
def test_an_empty_kb_links_nothing(trained):
    from spacy_elq.kb.knowledge_base import FaissKB

    elq = trained.get_pipe("elq")
    fingerprint = elq.kb.fingerprint
    elq.set_kb(FaissKB(trained.vocab, 32, normalized=True, fingerprint=fingerprint))
    elq.threshold = -100.0
    for kind in ("joint", "top_entity_by_mention", "thresholded_entity_by_mention"):
        elq.threshold_type = kind
        assert trained("is georgia north of armenia").ents == ()
    elq.add_entities([{"id": "N1", "title": "Georgia"}])
    assert [e.kb_id_ for e in trained("is georgia north of armenia").ents][:1] == ["N1"]


@pytest.mark.slow
def test_scores(trained):
    scores = trained.evaluate(examples(trained))
    assert (scores["elq_weak_f"], scores["elq_strong_f"], scores["elq_r1"]) == (1.0, 1.0, 1.0)


@pytest.mark.slow
def test_alignment_of_tokens_that_share_a_wordpiece(trained):
    doc = Doc(
        trained.vocab, words=["is", "geor", "gia", "north"], spaces=[True, False, True, False]
    )
    doc = trained.get_pipe("elq")(doc)
    assert [(ent.start, ent.end, ent.kb_id_) for ent in doc.ents] == [(1, 3, "Q3")]


@pytest.mark.slow
def test_two_linkers_may_write_to_one_group(trained, trained_path):
    """What one of them links stays when the other one does; a second call replaces both."""
    trained.add_pipe("elq", name="more", source=spacy.load(trained_path))
    one, other = trained.get_pipe("elq"), trained.get_pipe("more")
    one.restrict(ids=["Q2"])
    other.restrict(ids=["Q5"])
    other.threshold = other.mention_threshold = -1000.0
    other.overwrite = False
    doc = trained("who did paris marry")
    for again in (doc, trained(doc)):
        written = [spans_of_writer(again, "elq", name) for name in ("elq", "more")]
        assert [{span.kb_id_ for span in spans} for spans in written] == [{"Q2"}, {"Q5"}]
        assert len(again.spans["elq"]) == sum(map(len, written))
        assert ("paris", "Q2") in [(ent.text, ent.kb_id_) for ent in again.ents]
        assert {ent.kb_id_ for ent in again.ents} == {"Q2", "Q5"}
        assert all(ent._.elq.id == ent.kb_id_ for ent in again.ents)


@pytest.mark.slow
def test_ranks_of_another_evaluation_do_not_count(trained):
    gold = examples(trained)
    assert "elq_r1" in trained.evaluate(gold)
    trained.get_pipe("elq").rank_gold = False
    assert "elq_r1" not in trained.get_pipe("elq").score(gold)
