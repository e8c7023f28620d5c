"""Imported pipelines against the published arithmetic, written out one span at a time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import spacy
import torch

from spacy_elq.corpora.wordpieces import Wordpieces
from spacy_elq.errors import ElqError
from spacy_elq.interop.exact import predict_links

from .helpers import LINKED_TEXTS, MAX_LENGTH, Published
from .published_evaluation import published_window, set_published_window

pytestmark = pytest.mark.slow


def plain_links(published: Published, ids: list[int], settings: dict[str, Any]) -> list[Any]:
    """The published inference for one row of wordpieces, special tokens included."""
    with torch.no_grad():
        vectors = published.question(input_ids=torch.tensor([ids])).last_hidden_state[0]
        start, end, inside = published.scorer(vectors).T.tolist()
    widest, kind = settings["max_mention_length"], settings["threshold_type"]
    spans = [
        (start[i] + end[j] + math.fsum(inside[i : j + 1]), i, j)
        for i in range(len(ids))
        for j in range(i, min(len(ids), i + widest + 1))
    ]
    spans = sorted(spans, reverse=True)[: settings["num_cand_mentions"]]
    joint_mode = kind == "joint"
    cut = settings["threshold" if joint_mode else "mention_threshold"]
    kept = [span for span in spans if -math.log1p(math.exp(-span[0])) > cut] or spans
    links = []
    for logit, i, j in kept:
        query = vectors[i : j + 1].mean(0).numpy()
        scores = published.vectors @ query
        best = np.argsort(-scores)[: settings["top_k"]]
        total = np.log(np.exp(scores[best] - scores[best[0]]).sum())
        joint, raw = -math.log1p(math.exp(-logit)) - total, float(scores[best[0]])
        if {
            "joint": joint > settings["threshold"],
            "top_entity_by_mention": logit > settings["mention_threshold"],
            "thresholded_entity_by_mention": logit > settings["mention_threshold"]
            and raw > settings["threshold"],
        }[kind]:
            links.append((joint if joint_mode else raw, str(best[0]), i, j))
    links.sort(reverse=True)
    result, taken = [], set()
    for score, entity, i, j in links:
        if kind == "top_entity_by_mention" or taken.isdisjoint(range(i, j + 1)):
            result.append((entity, i - 1, j, score))
            taken |= set(range(i, j + 1))
    return result


BASE = {
    "threshold": -4.0,
    "mention_threshold": -0.6931,
    "threshold_type": "joint",
    "top_k": 10,
    "num_cand_mentions": 50,
    "max_mention_length": 4,
}


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"threshold": -2.0, "top_k": 3},
        {"num_cand_mentions": 4, "max_mention_length": 1},
        {"max_length": 7},
        {"threshold_type": "top_entity_by_mention"},
        {"threshold_type": "top_entity_by_mention", "mention_threshold": 9.0},
        {"threshold_type": "thresholded_entity_by_mention", "mention_threshold": -1.5},
    ],
)
def test_links_are_those_of_the_published_arithmetic(imported, published, changed):
    nlp = spacy.load(imported)
    elq: Any = nlp.get_pipe("elq")
    settings = {**BASE, **changed}
    if settings["threshold_type"] == "thresholded_entity_by_mention":  # on the raw entity score
        raw = elq.rank_mentions([nlp.make_doc(text) for text in LINKED_TEXTS]).raw_scores[:, 0]
        settings["threshold"] = float(np.quantile(raw, 0.25))
    for name, value in settings.items():
        setattr(elq, name, value)
    found = predict_links(elq, list(nlp.pipe(LINKED_TEXTS, disable=["elq"])))
    assert any(found) or settings["mention_threshold"] == 9.0
    room = settings.get("max_length", MAX_LENGTH) - 2
    for text, links in zip(LINKED_TEXTS, found, strict=True):
        pieces = published.tokenizer.encode(text, add_special_tokens=False)[:room]
        tokenizer = published.tokenizer
        ids = [tokenizer.cls_token_id, *pieces, tokenizer.sep_token_id]
        expected = plain_links(published, ids, settings)
        assert [link[:3] for link in links] == [link[:3] for link in expected]
        np.testing.assert_allclose([x[3] for x in links], [x[3] for x in expected], atol=1e-4)


def test_documents_are_linked_as_wordpieces_are(imported):
    nlp = spacy.load(imported)
    elq: Any = nlp.get_pipe("elq")
    elq.threshold = -4.0
    room, seen = MAX_LENGTH - 2, 0
    for doc in nlp.pipe(LINKED_TEXTS):
        wordpieces = Wordpieces(str(imported / "elq" / "entity_encoder")).encode(doc.text)
        (links,) = predict_links(elq, [nlp.make_doc(doc.text)])
        for link in links:
            first, last = max(link.start, 0), min(link.end, len(wordpieces.ids), room)
            if first < last:
                span = doc.char_span(*wordpieces.chars_of(first, last), alignment_mode="expand")
                here = [
                    each
                    for each in doc.spans["elq"]
                    if (each.start, each.end) == (span.start, span.end)
                ]
                assert max(each._.elq.score for each in here) >= link.score - 1e-4
                seen += 1
    assert seen > 5


def test_a_labelled_text_is_read_in_its_own_window(imported, published):
    nlp = spacy.load(imported)
    elq: Any = nlp.get_pipe("elq")
    elq.threshold = -4.0
    text = LINKED_TEXTS[-2]
    pieces = Wordpieces(str(imported / "elq" / "entity_encoder")).encode(text)
    mention = (len(pieces.ids) - 3, len(pieces.ids) - 1)
    tokenizer = published.tokenizer
    specials = (tokenizer.cls_token_id, tokenizer.sep_token_id)
    doc = nlp.make_doc(text)
    window = set_published_window(doc, pieces, [mention], MAX_LENGTH, specials)
    assert window.start > 0
    assert window == published_window(len(pieces.ids), [mention], MAX_LENGTH)
    ids = [specials[0], *pieces.ids[window.start : window.stop], specials[1]]
    expected = plain_links(published, ids, BASE)
    (found,) = predict_links(elq, [doc])
    assert found
    assert [(e, s - window.start, t - window.start) for e, s, t, _ in found] == [
        link[:3] for link in expected
    ]


def test_links_in_wordpieces_need_one_window_a_text(make_nlp):
    nlp = make_nlp()
    with pytest.raises(ElqError, match="ELQ518"):
        predict_links(nlp.get_pipe("elq"), [nlp.make_doc("who did paris marry")])


def test_settings_of_an_imported_pipeline_are_kept(imported, tmp_path):
    nlp = spacy.load(imported)
    elq: Any = nlp.get_pipe("elq")
    elq.max_length = 25
    elq.threshold = -1.25
    nlp.to_disk(tmp_path / "again")
    again: Any = spacy.load(tmp_path / "again").get_pipe("elq")
    assert (again.max_length, again.threshold) == (25, -1.25)
    with pytest.raises(ElqError, match="ELQ112"):
        elq.max_length = 2
