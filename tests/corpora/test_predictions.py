"""Predictions as rows."""

import pytest
import spacy

from spacy_elq.corpora.predictions import text_from_prediction
from spacy_elq.corpora.spans_jsonl import text_to_dict
from spacy_elq.gold import set_gold

from ..helpers import TEXTS, train


@pytest.mark.slow
def test_predictions_of_the_component_carry_scores_and_candidates(make_nlp):
    nlp = make_nlp()
    train(nlp, steps=80)
    doc = nlp(TEXTS[2]["text"])
    reference = nlp.make_doc(doc.text)
    set_gold(reference, [reference.char_span(3, 10, label="ENTITY", kb_id="Q3")], fields={"id": 5})
    row = text_to_dict(text_from_prediction(doc, reference))
    assert row["id"] == 5
    assert row["gold"] == [{"start": 3, "end": 10, "id": "Q3"}]
    (span,) = row["spans"]
    link = doc.ents[0]._.elq
    assert (span["start"], span["end"], span["id"], span["label"]) == (3, 10, "Q3", "country")
    assert (span["score"], span["title"]) == (link.score, "Georgia")
    assert span["candidates"][0] == {
        "id": "Q3", "title": "Georgia", "score": link.candidates[0].score,
    }  # fmt: skip
    assert "prob" not in span
    nlp.get_pipe("elq").calibration = {"method": "platt", "slope": 0.0, "intercept": 0.0}
    (span,) = text_to_dict(text_from_prediction(nlp(doc.text)))["spans"]
    assert span["prob"] == 0.5
    assert "gold" not in text_to_dict(text_from_prediction(doc))
    blank = spacy.blank("en")("nothing")
    assert text_to_dict(text_from_prediction(blank)) == {"text": "nothing", "spans": []}
