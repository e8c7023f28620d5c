"""Thresholds from one pass agree with the component at each of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_elq import ElqError
from spacy_elq.evaluation.evaluate import keep_countable
from spacy_elq.evaluation.metrics import PRF, count_matches, strong_match, weak_match
from spacy_elq.evaluation.scorer import score_links
from spacy_elq.evaluation.threshold_curve import (
    ScoredLinks,
    compute_curve,
    is_correct,
    links_above,
    read_scored_links,
)
from spacy_elq.gold import set_gold

from ..helpers import examples, train

FLOOR = -9.0


@st.composite
def texts(draw):
    """Mentions side by side, links among them; scores repeat."""
    found = []
    for _ in range(draw(st.integers(0, 4))):
        gold = [("AB"[i % 2], 10 * i, 10 * i + 5) for i in range(draw(st.integers(0, 3)))]
        places = draw(st.permutations(range(4)))[: draw(st.integers(0, 4))]
        links = [(draw(st.sampled_from("AB")), 10 * i + draw(st.integers(0, 2)), 10 * i + 5)
                 for i in places]  # fmt: skip
        score = st.integers(-17, 0).map(lambda n: n / 2)
        scores = sorted((draw(score) for _ in links), reverse=True)
        found.append(ScoredLinks(gold, links, scores))
    return found


def counted(texts, threshold, match):
    """The definition: at one threshold, everything anew."""
    total = PRF()
    for text in texts:
        above = [link for link, score in zip(text.links, text.scores, strict=True)
                 if score > threshold]  # fmt: skip
        total.add(count_matches(text.gold, above, match), len(above), len(text.gold))
    return total


@pytest.mark.slow
@given(texts(), st.sampled_from([weak_match, strong_match]), st.floats(-9, 1))
def test_every_point_is_what_counting_anew_gives(texts, match, between):
    curve = compute_curve(texts, FLOOR, match)
    assert (np.diff(curve.thresholds) < 0).all()
    assert curve.thresholds[-1] >= FLOOR
    points = [(float(t), i) for i, t in enumerate(curve.thresholds)]
    for threshold, i in [*points, (between, curve.at(between))]:
        total = counted(texts, threshold, match)
        assert (curve.correct[i], curve.predicted[i], curve.gold) == (
            total.correct, total.predicted, total.gold,
        )  # fmt: skip
        assert (curve.p[i], curve.r[i]) == (total.p, total.r)
        assert curve.f[i] == pytest.approx(total.f)


@pytest.mark.slow
@given(texts(), st.floats(0.05, 1))
def test_goals(texts, wanted):
    curve = compute_curve(texts, FLOOR)
    assert curve.f[curve.best()] == curve.f.max()
    reached = [r for p, r, n in zip(curve.p, curve.r, curve.predicted, strict=True)
               if n and p >= wanted]  # fmt: skip
    if reached:
        i = curve.at_precision(wanted)
        assert curve.p[i] >= wanted
        assert curve.r[i] == max(reached)
    else:
        with pytest.raises(ElqError, match="ELQ441"):
            curve.at_precision(wanted)


def test_right_links():
    text = ScoredLinks([("A", 0, 5)], [("A", 1, 5), ("B", 6, 9)], [-1.0, -2.0])
    assert is_correct([text, text]).tolist() == [True, False, True, False]
    assert is_correct([text], strong_match).tolist() == [False, False]
    assert is_correct([]).tolist() == []


def test_links_that_match_nothing_are_not_counted_anew():
    asked = 0

    def match(gold, link):
        nonlocal asked
        asked += 1
        return weak_match(gold, link)

    gold = [("A", 10 * i, 10 * i + 5) for i in range(10)]
    links = [("B", 10 * i, 10 * i + 5) for i in range(100)]
    compute_curve([ScoredLinks(gold, links, [-i / 10 for i in range(100)])], FLOOR - 20, match)
    assert asked <= len(gold) * len(links)


@pytest.fixture(scope="module")
def swept(request, elq_config, kb_path):
    """A pipeline, half trained so that links of many scores overlap, and its curve."""
    import spacy
    from spacy.util import fix_random_seed

    from spacy_elq.kb.loaders import kb_from_directory

    fix_random_seed(0)
    nlp = spacy.blank("en")
    nlp.add_pipe("elq", config=elq_config)
    nlp.initialize()
    elq = nlp.get_pipe("elq")
    elq.set_kb(kb_from_directory(kb_path))
    train(nlp, steps=25)
    references = [example.reference for example in examples(nlp)]
    with links_above(elq, -30.0):
        found = [read_scored_links(nlp(doc.text), doc, "elq") for doc in references]
    assert elq.span_group_threshold is None
    return nlp, references, compute_curve(found, -30.0)


@pytest.mark.slow
def test_the_component_gives_what_the_sweep_says(swept):
    from spacy.training import Example

    nlp, references, curve = swept
    elq = nlp.get_pipe("elq")
    assert curve.predicted[-1] > 10
    for i in np.linspace(0, len(curve.thresholds) - 1, 8).astype(int):
        elq.threshold = float(curve.thresholds[i])
        predicted = [nlp(doc.text) for doc in references]
        assert sum(len(doc.ents) for doc in predicted) == curve.predicted[i]
        pairs = zip(predicted, references, strict=True)
        scores = score_links([Example(doc, reference) for doc, reference in pairs])
        assert scores["elq_weak_p"] == pytest.approx(curve.p[i])
        assert scores["elq_weak_r"] == pytest.approx(curve.r[i])


@pytest.mark.slow
def test_links_that_a_set_does_not_count_are_left_out(swept):
    nlp, references, _ = swept
    elq = nlp.get_pipe("elq")
    elq.threshold = -30.0
    (reference,) = [doc for doc in references if "quick" not in doc.text][:1]
    doc = nlp(reference.text)
    link = doc.ents[0]
    set_gold(reference, [], fields={"evaluation_span": [link.end_char, len(doc.text)]})
    before = read_scored_links(doc, reference, "elq").links
    assert link.start_char not in [start for _, start, _ in before]
    keep_countable([doc], [reference])
    assert sorted(before) == sorted((e.kb_id_, e.start_char, e.end_char) for e in doc.ents)


@pytest.mark.parametrize(("name", "value"), [("threshold_type", "top_entity_by_mention"),
                                             ("mentions", "ents")])  # fmt: skip
def test_other_ways_to_decide_are_refused(swept, name, value):
    elq = swept[0].get_pipe("elq")
    before = getattr(elq, name)
    setattr(elq, name, value)
    with pytest.raises(ElqError, match="ELQ440"), links_above(elq, -5.0):
        pass
    setattr(elq, name, before)
