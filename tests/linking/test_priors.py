"""What is known of entities without the text: learned shares of their scores."""

import math

import numpy as np
import pytest
import torch
from spacy.lang.en import English
from thinc.api import Adam

from spacy_elq.cli._display import Display
from spacy_elq.gold import gold_spans
from spacy_elq.linking import propose, rank
from spacy_elq.ml.model import get_heads
from spacy_elq.ml.priors import link_features, popularity_features
from spacy_elq.training import entity_loss, trainer

from ..helpers import TEXTS, examples

TWINS = [
    {"id": "big", "title": "Denver", "popularity": 9000},
    {"id": "small", "title": "Denver", "popularity": 3},
    {"id": "unknown", "title": "Denver"},
]
TEXT = "who lives in denver"
WEIGHTS = {"popularity": [0.75, -0.5], "share": [0.25], "link": [0.5, -0.25]}
LINKED = [
    {"id": "D", "title": "Denver", "aliases": [{"name": "denver", "link_probability": 0.125}]},
    {"id": "L", "title": "lives", "aliases": [{"name": "lives", "link_probability": 0.0}]},
]


def weigh(elq, **weights):
    with torch.no_grad():
        for name, values in weights.items():
            getattr(get_heads(elq.model).priors, name)[:] = torch.tensor(values)


def linked(elq):
    """The entity of the mention "denver", whatever its score."""
    mentions = elq.rank_mentions([English(elq.vocab).make_doc(TEXT)], [[(13, 19)]])
    return elq.kb.records(mentions.rows[0, :1])[0].id


@pytest.fixture
def elq(make_nlp):
    elq = make_nlp().get_pipe("elq")
    with torch.no_grad():
        get_heads(elq.model).names.entity[:3] = 99.0
    return elq


def test_the_more_popular_namesake_wins_if_that_was_learned(elq):
    elq.add_entities(TWINS)
    for sign, best in ((1.0, "big"), (-1.0, "small")):
        weigh(elq, popularity=[sign, 0.0])
        assert linked(elq) == best
    weigh(elq, popularity=[0.0, -5.0])
    assert linked(elq) == "unknown"
    weigh(elq, popularity=[1.0, 0.0])
    elq.update_entities([{"id": "small", "popularity": 10**6}])
    assert linked(elq) == "small"


def test_the_usual_namesake_wins_if_that_was_learned(elq):
    for counts, best in (((5, 1, 0), "big"), ((1, 50, 3), "small")):
        elq.add_entities(
            {**entity, "aliases": [{"name": "denver", "count": count}]}
            for entity, count in zip(TWINS, counts, strict=True)
        )
        weigh(elq, share=[9.0])
        assert linked(elq) == best


def test_of_very_many_namesakes_the_popular_one_is_kept(elq, monkeypatch):
    monkeypatch.setattr(rank, "MAX_NAMESAKES", 2)
    elq.top_k = 1
    many = [{"id": f"D{i}", "title": "Denver", "popularity": 1 + i} for i in range(9)]
    elq.add_entities(many)
    weigh(elq, popularity=[20.0, 0.0])
    assert linked(elq) == "D8"


def test_scores_are_the_sum_of_their_shares(elq):
    elq.add_entities(
        {**e, "aliases": [{"name": "denver", "count": i}]} for i, e in enumerate(TWINS)
    )
    heads = get_heads(elq.model)
    weigh(elq, **WEIGHTS)
    with torch.no_grad():
        heads.names.entity[:] = torch.tensor([0.5, 0.25, 0.125, -0.5, 0.0, 0.0])
    spans = {s.text: s for s in elq.explain(TEXT, limit=99).spans}
    candidates = {c.id: c for c in spans["denver"].candidates}
    weigh(elq, popularity=[0.0, 0.0], share=[0.0])
    plain = {c.id: c for s in elq.explain(TEXT).spans if s.text == "denver" for c in s.candidates}
    logs = np.log([9000, 3])
    z = (logs - logs.mean()) / logs.std()
    assert [candidates[i].popularity_share for i in ("big", "small", "unknown")] == pytest.approx(
        [0.75 * z[0] - 0.5, 0.75 * z[1] - 0.5, 0.0], abs=1e-5
    )
    for i, id_ in enumerate(("big", "small", "unknown")):
        share = 0.5 + 0.25 * np.log((1 + i) / 6)
        assert candidates[id_].name_share == pytest.approx(share, abs=1e-3)
        more = candidates[id_].raw_score - plain[id_].raw_score
        expected = share - 0.5 + candidates[id_].popularity_share
        assert more == pytest.approx(expected, abs=1e-3)
    assert list(candidates.values()) == sorted(candidates.values(), key=lambda c: -c.raw_score)


def test_a_last_word_makes_its_entities_likelier_if_that_was_learned(elq):
    elq.add_entities([{"id": "E", "title": "Elmer Quux"}, {"id": "R", "title": "Rita Quux"}])
    for learned, expected in ((0.0, 0.0), (40.0, 40.0 - 2.0 * np.log(2))):
        with torch.no_grad():
            get_heads(elq.model).names.entity[4:] = torch.tensor([learned, -2.0 * (learned > 0)])
        (span,) = (s for s in elq.explain("who is Quux", limit=99).spans if s.text == "Quux")
        assert span.names == ()
        found = {c.id: c for c in span.candidates if c.name == "short form"}
        assert set(found) == {"E", "R"}
        assert [c.name_share for c in found.values()] == pytest.approx([expected] * 2, rel=1e-5)
    assert [c.id for c in span.candidates][:2] == list(found)


def test_without_popularity_the_weights_change_nothing(make_nlp, trained_path):
    import spacy

    nlp = spacy.load(trained_path)
    elq = nlp.get_pipe("elq")
    docs = [nlp.make_doc(row["text"]) for row in TEXTS]
    before = elq.rank_mentions(docs)
    weigh(elq, **WEIGHTS)
    after = elq.rank_mentions(docs)
    assert np.array_equal(after.rows, before.rows)
    assert np.array_equal(after.raw_scores, before.raw_scores)


def test_features_of_popularity():
    found = popularity_features(np.array([[0.5, np.nan], [-3.0, 0.0]], dtype=np.float32))
    assert found.tolist() == [[[0.5, 1], [0, 0]], [[-3, 1], [0, 1]]]


def test_features_of_link_probability():
    probabilities = np.array([0.125, 0.0, 1.0, 2.0**-14, 0.5], dtype=np.float32)
    expected = [[math.log(0.125 / 0.875), 1], [0, 0], [5, 1], [-5, 1], [0, 1]]
    np.testing.assert_allclose(link_features(probabilities), expected, atol=1e-6)
    assert link_features(probabilities.reshape(5, 1)).shape == (5, 1, 2)


def logits(elq, text=TEXT):
    return {span.text: span.logit for span in elq.explain(text, limit=999).spans}


def test_a_span_gains_by_the_link_probability_of_its_name(elq):
    elq.add_entities(LINKED)
    before = logits(elq)
    weigh(elq, link=WEIGHTS["link"])
    gains = {"denver": 0.5 * math.log(0.125 / 0.875) - 0.25, "lives": 0.5 * -5 - 0.25}
    explained = elq.explain(TEXT, limit=999)
    for span in explained.spans:
        assert span.link_share == pytest.approx(gains.get(span.text, 0.0), abs=1e-5)
    for text, logit in logits(elq).items():
        assert logit == pytest.approx(before[text] + gains.get(text, 0.0), abs=1e-5)
    assert gains.keys() <= before.keys()
    shown = Display().format_explanation(explained, limit=999, n_candidates=0)
    assert shown.count("link -") == shown.count(f"link {gains['denver']:+.2f}") + 1


def test_without_known_link_probabilities_nothing_is_computed(elq, monkeypatch):
    elq.add_entities(TWINS)
    weigh(elq, link=WEIGHTS["link"])
    monkeypatch.setattr(propose, "link_features", None)
    assert "denver" in logits(elq)


def test_link_probabilities_count_only_with_priors(make_nlp):
    elq = make_nlp(model={"priors": False}).get_pipe("elq")
    before = logits(elq)
    elq.add_entities(LINKED)
    other = make_nlp(model={"priors": False}).get_pipe("elq")
    other.add_entities({"id": e["id"], "title": e["title"]} for e in LINKED)
    assert logits(elq) == logits(other) != before


@pytest.mark.slow
@pytest.mark.parametrize("dropout", [0.0, 1.0])
def test_training_sees_and_learns_link_probabilities(make_nlp, monkeypatch, dropout):
    nlp = make_nlp(training={"prior_dropout": dropout})
    elq = nlp.get_pipe("elq")
    known = [{"name": "paris", "link_probability": 0.25}, {"name": "who", "link_probability": 0.0}]
    elq.update_entities([{"id": "Q1", "aliases": known}])
    link = get_heads(elq.model).priors.link
    seen = []
    original = trainer.mention_loss
    monkeypatch.setattr(
        trainer,
        "mention_loss",
        lambda scores, *args, **options: (
            seen.append(scores.detach().numpy()) or original(scores, *args, **options)
        ),
    )
    gold = examples(nlp, TEXTS)
    for weights in ([0.0, 0.0], WEIGHTS["link"]):
        weigh(elq, link=weights)
        elq.update(gold)
    without, scores = (scores[np.isfinite(scores)] for scores in seen)
    gains = 0.5 * np.array([math.log(0.25 / 0.75), -5.0]) - 0.25
    found = np.unique(np.round(scores - without, 4))
    expected = sorted({0.0, *np.round(gains, 4).tolist()}) if not dropout else [0.0]
    np.testing.assert_allclose(found, expected, atol=2e-4)
    elq.finish_update(Adam(1e-3))
    assert np.array_equal(link.detach().numpy(), np.float32(WEIGHTS["link"])) == bool(dropout)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["full_softmax", "hard_negatives"])
def test_training_sees_the_scores_of_linking(make_nlp, monkeypatch, loss):
    nlp = make_nlp(training={"entity_loss": loss, "prior_dropout": 0.0})
    elq = nlp.get_pipe("elq")
    elq.update_entities(
        {"id": f"Q{i}", "popularity": 10**i, "aliases": [{"name": "paris", "count": i}]}
        for i in range(1, 5)
    )
    weigh(elq, **WEIGHTS)
    with torch.no_grad():
        get_heads(elq.model).names.entity[:] = torch.tensor([0.5, 0.25, 0.125, -0.5, 0.0, 0.0])
    seen = []
    name = "softmax_loss" if loss == "full_softmax" else "hard_negatives_loss"
    original = getattr(entity_loss, name)
    monkeypatch.setattr(
        entity_loss,
        name,
        lambda scores, gold: seen.append((scores, gold)) or original(scores, gold),
    )
    gold = examples(nlp, TEXTS[:2])
    nlp.update(gold, sgd=Adam(0.0))
    ((scores, _),) = seen
    elq.top_k = len(elq.kb)
    given = [[(s.start_char, s.end_char) for s in gold_spans(eg.reference)] for eg in gold]
    mentions = elq.rank_mentions([eg.predicted for eg in gold], given)
    expected = np.take_along_axis(mentions.raw_scores, mentions.rows.argsort(axis=1), axis=1)
    if loss == "full_softmax":
        found = scores.detach().numpy()[:, :-1]  # the last one is that of none
        found = found[:, np.isfinite(found[0])]
    else:  # the gold entity, then the others, less the score of none
        nil = float(get_heads(elq.model).entity_scorer.nil_score.detach())
        found = np.sort(scores.detach().numpy().reshape(2, -1) + nil, axis=1)
        expected = np.sort(expected, axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["full_softmax", "hard_negatives", "in_batch"])
def test_every_loss_learns_priors_if_there_are_any(make_nlp, loss):
    def learned(popularity, dropout=0.0):
        nlp = make_nlp(training={"entity_loss": loss, "prior_dropout": dropout})
        elq = nlp.get_pipe("elq")
        if popularity:
            elq.update_entities(
                {"id": id_, "popularity": n} for id_, n in (("Q1", 900), ("Q2", 3), ("Q5", 50))
            )
        nlp.update(examples(nlp), sgd=Adam(1e-3))
        priors = get_heads(elq.model).priors
        return bool(priors.popularity.detach().any()), bool(priors.share.detach().any())

    assert learned(popularity=True) == (True, False)
    assert learned(popularity=True, dropout=1.0) == (False, False)
    assert learned(popularity=False) == (False, False)
