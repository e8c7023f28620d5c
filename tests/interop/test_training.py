"""The published losses, written out pair by pair, against a step of an imported pipeline."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import spacy
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from spacy_elq.corpora.spans_jsonl import docs_from_texts, text_from_dict
from spacy_elq.ml.model import get_encoder, get_heads
from spacy_elq.training.targets import without_gold_ranks
from spacy_elq.training.trainer import Trainer

ROWS: list[dict[str, Any]] = [
    {"text": "who did paris marry in georgia", "spans": [(8, 13, "Q2"), (23, 30, "w3")]},
    {"text": "how hot is mercury", "spans": [(11, 18, "Q5")]},
    {"text": "is mercury in paris", "spans": [(3, 10, "Q5"), (14, 19, "Q1")]},
]
LINES = {"Q1": 0, "Q2": 1, "w3": 2, "Q5": 3}
NEIGHBOURS = 25


def references(nlp):
    rows = [
        {**row, "spans": [{"start": s, "end": e, "id": i} for s, e, i in row["spans"]]}
        for row in ROWS
    ]
    return list(docs_from_texts(nlp, [text_from_dict(row, "test") for row in rows]))


def gold_places(tokenizer):
    """(text, first wordpiece, last, line of the entity) of each gold mention, [CLS] = 0."""
    for t, row in enumerate(ROWS):
        offsets = tokenizer(row["text"], return_offsets_mapping=True)["offset_mapping"][1:-1]
        for start, end, id_ in row["spans"]:
            inside = [i for i, (a, b) in enumerate(offsets, 1) if a < end and b > start]
            yield t, inside[0], inside[-1], LINES[id_]


def mention_loss(elq, logits, tokenizer):
    gold = {place[:3] for place in gold_places(tokenizer)}
    pairs = []
    for t, row in enumerate(ROWS):
        length = len(tokenizer(row["text"]).input_ids)
        a, b, c = logits[t].unbind(-1)
        for i in range(length):
            for j in range(i, min(length, i + elq.max_mention_length + 1)):
                pairs.append((a[i] + b[j] + c[i : j + 1].sum(), float((t, i, j) in gold)))
    scores, targets = zip(*pairs, strict=True)
    return binary_cross_entropy_with_logits(torch.stack(scores), torch.tensor(targets))


def entity_loss_of_hard_negatives(queries, places, vectors):
    """Rank by rank: one mention's gold among the neighbours takes that rank from its whole text."""
    order = np.argsort(-(queries.detach().numpy() @ vectors.T), axis=1)[:, :NEIGHBOURS]
    pairs = [(q @ torch.from_numpy(vectors[line]), 1.0) for q, (*_, line) in zip(queries, places)]  # noqa: B905
    for rank in range(NEIGHBOURS):
        for text in range(len(ROWS)):
            mentions = [i for i, place in enumerate(places) if place[0] == text]
            if all(order[i, rank] != places[i][3] for i in mentions):
                pairs += [
                    (queries[i] @ torch.from_numpy(vectors[order[i, rank]]), 0.0) for i in mentions
                ]
    assert len(pairs) < len(places) * (NEIGHBOURS + 1)  # some rank was dropped
    scores, targets = zip(*pairs, strict=True)
    return binary_cross_entropy_with_logits(torch.stack(scores), torch.tensor(targets))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["hard_negatives", "in_batch"])
def test_losses_and_gradients_are_the_published_ones(imported, published, kind):
    nlp = spacy.load(imported)
    elq: Any = nlp.get_pipe("elq")
    elq.max_length = 64  # the texts fit
    in_batch = kind == "in_batch"
    changed = {
        "entity_loss": kind,
        "hard_negatives": NEIGHBOURS,
        "train_entity_encoder": in_batch,
    }
    settings = elq.training.changed(**changed)
    trainer = Trainer(elq.model, elq.linked_kb, settings)
    docs = [nlp.make_doc(row["text"]) for row in ROWS]
    found = trainer.accumulate(docs, references(nlp), elq.settings)

    tokenizer = published.tokenizer
    encoded = tokenizer([row["text"] for row in ROWS], padding=True, return_tensors="pt")
    published.question.zero_grad()
    published.entity.zero_grad()
    published.scorer.zero_grad()
    vectors = published.question(**encoded).last_hidden_state
    places = list(gold_places(tokenizer))
    queries = torch.stack([vectors[t, i : j + 1].mean(0) for t, i, j, _ in places])
    mention = mention_loss(elq, published.scorer(vectors), tokenizer)
    if in_batch:
        records = elq.kb.records([line for *_, line in places])
        rows = [torch.tensor([elq.entity_encoder._elq_ids(record)]) for record in records]
        entities = torch.stack([published.entity(ids).last_hidden_state[0, 0] for ids in rows])
        entity = cross_entropy(queries @ entities.T, torch.arange(len(places)))  # Q5 comes twice
    else:
        entity = entity_loss_of_hard_negatives(queries, places, published.vectors)
    (mention + entity).backward()

    assert found == pytest.approx((mention.item(), entity.item()), rel=1e-4)
    ours = {
        "question": get_encoder(elq.model).layers[0].transformer,
        "scorer": get_heads(elq.model).mention_scorer.layers,
        "entity": elq.entity_encoder.transformer,
    }
    for name, module in ours.items():
        theirs = dict(getattr(published, name).named_parameters())
        for parameter, tensor in module.named_parameters():
            if theirs[parameter].grad is not None:
                torch.testing.assert_close(
                    tensor.grad, theirs[parameter].grad, rtol=1e-3, atol=1e-5
                )


def test_ranks_with_a_gold_entity_are_dropped_for_the_whole_text():
    negatives = np.array([[4, -1, 5], [6, 7, 8], [1, 2, -1]])
    kept = without_gold_ranks(negatives, np.array([7, 7, 9]))
    assert kept.tolist() == [[4, -1, 5], [6, -1, 8], [1, 2, -1]]
