"""Losses against plain float64 arithmetic, and their gradients against differences."""

import numpy as np
import pytest
import torch

from spacy_elq.training.losses import (
    EntityMatrix,
    hard_negatives_loss,
    in_batch_scores,
    mention_loss,
    softmax_loss,
    with_nil,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def log1p_exp(x):
    return np.logaddexp(0, x)


def test_mention_loss_is_the_mean_over_real_spans(rng):
    logits = rng.normal(size=(2, 3, 2))
    logits[0, 2, 1] = -np.inf
    gold = np.zeros(logits.shape, dtype=bool)
    gold[0, 0, 1] = gold[1, 1, 0] = True
    pairs = [(x, g) for x, g in zip(logits.flat, gold.flat, strict=True) if np.isfinite(x)]
    terms = [log1p_exp(-x) if g else log1p_exp(x) for x, g in pairs]
    tensors = torch.from_numpy(logits), torch.from_numpy(gold)
    assert float(mention_loss(*tensors)) == pytest.approx(np.mean(terms))
    assert float(mention_loss(*tensors, reduction="sum")) == pytest.approx(np.sum(terms))


def test_spans_that_are_left_out_of_the_mention_loss_have_no_share(rng):
    logits, gold = rng.normal(size=(2, 3, 2)), np.zeros((2, 3, 2), dtype=bool)
    logits[1, 2, 0] = -np.inf
    gold[0, 0, 1] = gold[1, 1, 0] = True
    left_out = np.zeros_like(gold)
    left_out[0, 1] = left_out[1, 2] = True
    kept = np.isfinite(logits) & ~left_out
    terms = np.where(gold, log1p_exp(-logits), log1p_exp(logits))[kept]
    tensors = [torch.from_numpy(each) for each in (logits, gold, left_out)]
    tensors[0].requires_grad_()
    for reduction, expected in (("mean", terms.mean()), ("sum", terms.sum())):
        loss = mention_loss(*tensors[:2], left_out=tensors[2], reduction=reduction)
        assert float(loss.detach()) == pytest.approx(expected)
    loss.backward()
    assert ((tensors[0].grad.numpy() != 0) == kept).all()
    nothing = mention_loss(*tensors[:2], left_out=torch.ones_like(tensors[1]))
    assert float(nothing.detach()) == 0.0


def cross_entropy(scores, target):
    return float(
        np.mean([np.logaddexp.reduce(s) - s[t] for s, t in zip(scores, target, strict=True)])
    )


def test_in_batch_copies_of_an_entity_count_only_when_exact(rng):
    queries, entities = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    entities[2] = entities[0]
    scores = queries @ entities.T
    tensors = torch.from_numpy(queries), torch.from_numpy(entities), torch.tensor([5, 6, 5])
    gold = torch.arange(3)
    exact = float(softmax_loss(in_batch_scores(*tensors, gold, exact=True), gold))
    assert exact == pytest.approx(cross_entropy(scores, [0, 1, 2]))
    scores[0, 2] = scores[2, 0] = -np.inf
    loss = float(softmax_loss(in_batch_scores(*tensors, gold), gold))
    assert loss == pytest.approx(cross_entropy(scores, [0, 1, 2]))
    # The first mention is of another process.
    others = in_batch_scores(tensors[0][1:], *tensors[1:], gold[1:])
    assert others.numpy() == pytest.approx(scores[1:])


def test_entities_compete_with_there_being_none(rng):
    scores, hidden = rng.normal(size=(3, 4)), np.array([False, True, False])
    gold = np.array([2, 0, 3])
    nil = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    tensors = torch.from_numpy(scores), torch.from_numpy(gold), nil, torch.from_numpy(hidden)
    loss = softmax_loss(*with_nil(*tensors))
    expected = np.c_[scores, np.full(3, 0.3)]
    expected[1, 0] = -np.inf
    assert float(loss.detach()) == pytest.approx(cross_entropy(expected, [2, 4, 3]))
    loss.backward()
    share = np.exp(expected) / np.exp(expected).sum(1, keepdims=True)
    assert float(nil.grad) == pytest.approx((share[:, 4].sum() - 1) / 3)


def test_nil_is_right_for_a_mention_without_an_entity(rng):
    scores = rng.normal(size=(3, 4))
    gold, hidden = torch.tensor([-1, 2, -1]), torch.tensor([False, False, True])
    nil = torch.tensor(0.3, dtype=torch.float64)
    loss = softmax_loss(*with_nil(torch.from_numpy(scores), gold, nil, hidden))
    expected = np.c_[scores, np.full(3, 0.3)]
    assert float(loss) == pytest.approx(cross_entropy(expected, [4, 2, 4]))


def test_hard_negatives_loss(rng):
    scores, gold = rng.normal(size=6), np.array([1, 0, 0, 1, 0, 0], dtype=bool)
    expected = np.mean(np.where(gold, log1p_exp(-scores), log1p_exp(scores)))
    result = hard_negatives_loss(torch.from_numpy(scores), torch.from_numpy(gold))
    assert float(result) == pytest.approx(expected)


def test_entity_matrix_scores_each_entity_by_its_best_vector(rng):
    vectors = rng.normal(size=(6, 4))
    owners = np.array([0, 0, 2, 3, 3, 3])  # entities 1 and 4, the last one, have none
    # Towards each vector in turn, that every one of them is the best of its entity once.
    queries = vectors[[1, 2, 5]]
    expected = np.full((3, 5), -np.inf)
    for entity in (0, 2, 3):
        expected[:, entity] = (queries @ vectors[owners == entity].T).max(1)
    matrix = EntityMatrix(torch.from_numpy(vectors), torch.from_numpy(owners), 5)
    scores = matrix.scores(torch.from_numpy(queries))
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    loss = float(softmax_loss(scores, torch.tensor([0, 2, 3])))
    assert loss == pytest.approx(cross_entropy(expected, [0, 2, 3]), abs=1e-6)


def test_gradients_of_the_entity_matrix(rng):
    matrix = EntityMatrix(torch.from_numpy(rng.normal(size=(5, 4)).astype("f4")),
                          torch.tensor([0, 0, 1, 2, 2]), 3)  # fmt: skip
    queries = torch.from_numpy(rng.normal(size=(2, 4)).astype("f4")).requires_grad_()
    gold = torch.tensor([0, 2])
    softmax_loss(matrix.scores(queries), gold).backward()
    step = 1e-2
    for i in range(2):
        for h in range(4):
            moved = [queries.detach().clone() for _ in range(2)]
            moved[0][i, h] += step
            moved[1][i, h] -= step
            up, down = (float(softmax_loss(matrix.scores(q), gold)) for q in moved)
            assert float(queries.grad[i, h]) == pytest.approx((up - down) / (2 * step), abs=2e-3)
