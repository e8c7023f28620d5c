import pytest
import spacy
from spacy.tokens import Doc, SpanGroup
from spacy.training import Example

from spacy_elq.evaluation.scorer import make_elq_scorer, predicted_spans
from spacy_elq.gold import FIELDS_KEY, RANKS_KEY, set_gold

TEXT = "does Paris Hilton know Berlin"
PARIS, HILTON, BERLIN = (1, 2), (1, 3), (4, 5)


@pytest.fixture(scope="module")
def vocab():
    return spacy.blank("en").vocab


@pytest.fixture
def example(vocab):
    """Builds an example from {(first token, end token): id} of gold and of predicted mentions."""

    def build(gold, predicted, topic=None, ranks=None):
        reference = Doc(vocab, words=TEXT.split())
        set_gold(reference, spans(reference, gold))
        if topic:
            reference.user_data[FIELDS_KEY] = {"topic_id": topic}
        doc = Doc(vocab, words=TEXT.split())
        doc.set_ents(spans(doc, predicted))
        if ranks is not None:
            doc.user_data[RANKS_KEY] = ranks
        return Example(doc, reference)

    return build


def spans(doc, mentions):
    chars = {bounds: doc[slice(*bounds)] for bounds in mentions}
    return [
        doc.char_span(span.start_char, span.end_char, label="ENTITY", kb_id=mentions[bounds])
        for bounds, span in chars.items()
    ]


def test_weak_and_strong_scores(example):
    examples = [
        example({HILTON: "Q1", BERLIN: "Q64"}, {PARIS: "Q1", BERLIN: "Q64"}),
        example({BERLIN: "Q64"}, {}),
    ]
    scores = make_elq_scorer()(examples)
    assert scores["elq_weak_p"] == 1.0
    assert scores["elq_weak_r"] == pytest.approx(2 / 3)
    assert scores["elq_weak_f"] == pytest.approx(0.8)
    assert scores["elq_strong_p"] == 0.5
    assert scores["elq_strong_r"] == pytest.approx(1 / 3)
    assert scores["elq_strong_f"] == pytest.approx(0.4)
    assert scores["elq_links_per_text"] == 1.0


def test_mention_recall_ignores_the_entity(example):
    scores = make_elq_scorer()([example({HILTON: "Q1", BERLIN: "Q64"}, {PARIS: "Q90"})])
    assert scores["elq_mention_r"] == 0.5
    assert scores["elq_mention_p"] == 1.0
    assert scores["elq_weak_f"] == 0.0


def test_unknown_measures_are_left_out(example):
    scores = make_elq_scorer()([example({BERLIN: "Q64"}, {})], seen_ids=None)
    assert not {"elq_r1", "elq_r10", "elq_topic_r", "elq_seen_weak_f"} & set(scores)


def test_ranks_of_gold_entities(example):
    examples = [
        example({HILTON: "Q1", BERLIN: "Q64"}, {}, ranks=[1, 7]),
        example({HILTON: "Q1", BERLIN: "Q64"}, {}, ranks=[None, 11]),
        example({BERLIN: "Q64"}, {}),
    ]
    scores = make_elq_scorer()(examples)
    assert scores["elq_r1"] == 0.25
    assert scores["elq_r10"] == 0.5


def test_topic_recall_counts_only_texts_with_a_topic(example):
    examples = [
        example({}, {PARIS: "Q90"}, topic="q90"),
        example({}, {PARIS: "Q90"}, topic="Q64"),
        example({}, {PARIS: "Q90"}),
    ]
    assert make_elq_scorer()(examples)["elq_topic_r"] == 0.5


@pytest.mark.parametrize("seen", [["Q64"], {"Q64"}])
def test_seen_and_unseen_entities_are_scored_apart(example, seen):
    scores = make_elq_scorer()(
        [
            example({HILTON: "Q1", BERLIN: "Q64"}, {PARIS: "Q1", BERLIN: "Q64"}),
            example({BERLIN: "Q64"}, {BERLIN: "Q2"}),
        ],
        seen_ids=seen,
        threshold=-2.9,
    )
    assert scores["elq_seen_weak_f"] == pytest.approx(2 / 3)
    assert scores["elq_seen_strong_f"] == pytest.approx(2 / 3)
    assert scores["elq_unseen_weak_f"] == pytest.approx(2 / 3)
    assert scores["elq_unseen_strong_f"] == 0.0


def test_matches_without_case_are_seen_without_case(example):
    case = example({HILTON: "Q1", BERLIN: "Q64"}, {HILTON: "q1", BERLIN: "q64"})
    scores = make_elq_scorer()([case], seen_ids=["q1"])
    assert scores["elq_weak_f"] == 1.0
    assert (scores["elq_seen_strong_f"], scores["elq_unseen_strong_f"]) == (1.0, 1.0)


@pytest.mark.parametrize("spans_key", ["", "links"])
def test_links_that_a_set_does_not_count_are_not_scored(example, spans_key):
    predicted = {HILTON: "Q1", BERLIN: "Q64"}
    case = example({HILTON: "Q1"}, predicted)
    case.predicted.spans["links"] = spans(case.predicted, predicted)
    scorer = make_elq_scorer(overlapping=bool(spans_key))

    def precision(**fields):
        case.reference.user_data[FIELDS_KEY] = fields
        return scorer([case], spans_key=spans_key)["elq_weak_p"]

    assert precision() == 0.5
    assert precision(evaluation_span=[0, 17]) == 1.0
    assert precision(optional=[{"start": 23, "end": 29, "id": "Q64"}]) == 1.0


def test_overlapping_links_are_scored_from_their_span_group(example):
    case = example({PARIS: "Q90", HILTON: "Q1"}, {HILTON: "Q1"})
    doc = case.predicted
    doc.spans["links"] = SpanGroup(
        doc, name="links", spans=spans(doc, {HILTON: "Q1"}) + spans(doc, {PARIS: "Q90"})
    )
    assert make_elq_scorer()([case])["elq_strong_r"] == 0.5
    scores = make_elq_scorer(overlapping=True)([case], spans_key="links")
    assert scores["elq_strong_r"] == 1.0


def test_entities_without_an_id_are_no_links(vocab):
    doc = Doc(vocab, words=TEXT.split())
    doc.set_ents([doc.char_span(5, 10, label="GPE")])
    assert predicted_spans(doc) == []
    assert predicted_spans(doc, "elq") == []
