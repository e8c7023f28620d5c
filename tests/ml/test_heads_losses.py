"""Heads and losses against plain float64 arithmetic, and their gradients against differences."""

import numpy as np
import pytest
import torch

from spacy_elq.errors import ElqError
from spacy_elq.linking.decoding import span_logits as numpy_span_logits
from spacy_elq.ml.heads import (
    EntityScorer,
    Heads,
    MentionContext,
    MentionPooling,
    MentionScorer,
    span_logits,
)
from spacy_elq.training.losses import (
    EntityMatrix,
    hard_negatives_loss,
    in_batch_scores,
    mention_loss,
    softmax_loss,
    with_nil,
)

RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(2, 5, 4))
SPANS = np.array([[0, 0, 0], [0, 1, 3], [1, 2, 4], [1, 4, 4]])


def pool(kind):
    torch.manual_seed(0)
    module = MentionPooling(4, kind).double()
    out = module(torch.from_numpy(VECTORS), SPANS).detach().numpy()
    return module, out


def test_all_avg_is_the_mean_of_a_spans_vectors():
    expected = [VECTORS[b, i : j + 1].mean(0) for b, i, j in SPANS]
    np.testing.assert_allclose(pool("all_avg")[1], expected, atol=1e-12)


def test_fl_avg_is_the_mean_of_first_and_last():
    expected = [(VECTORS[b, i] + VECTORS[b, j]) / 2 for b, i, j in SPANS]
    np.testing.assert_allclose(pool("fl_avg")[1], expected, atol=1e-12)


@pytest.mark.parametrize("kind", ["all_avg_linear", "fl_linear"])
def test_linear_aggregations(kind):
    module, out = pool(kind)
    weight = module.linear.weight.detach().numpy()
    bias = module.linear.bias.detach().numpy()
    for row, (b, i, j) in zip(out, SPANS, strict=True):
        both = np.concatenate([VECTORS[b, i], VECTORS[b, j]])
        x = VECTORS[b, i : j + 1].mean(0) if kind == "all_avg_linear" else both
        np.testing.assert_allclose(row, weight @ x + bias, atol=1e-12)


def test_mlp_scorer_is_linear_relu_linear():
    torch.manual_seed(0)
    scorer = MentionScorer(4, "qa_mlp").eval()
    first, last = scorer.layers[0], scorer.layers[3]
    x = VECTORS.astype("f4")
    hidden = np.maximum(x @ first.weight.detach().numpy().T + first.bias.detach().numpy(), 0)
    expected = hidden @ last.weight.detach().numpy().T + last.bias.detach().numpy()
    np.testing.assert_allclose(scorer(torch.from_numpy(x)).detach().numpy(), expected, atol=1e-5)


def test_cosine_queries_have_the_learned_scale_as_length():
    mentions = torch.from_numpy(VECTORS.reshape(-1, 4))
    np.testing.assert_allclose(EntityScorer()(mentions), mentions)
    queries = EntityScorer(cosine=True, scale=7.0)(mentions).detach()
    np.testing.assert_allclose(queries.norm(dim=-1), 7.0, rtol=1e-5)
    cosine = torch.nn.functional.cosine_similarity(queries, mentions)
    np.testing.assert_allclose(cosine, 1.0, rtol=1e-5)


@pytest.mark.parametrize("reach", [1, 4, 100])
def test_context_adds_a_share_of_the_direction_of_what_is_near(reach):
    def unit(vector):
        return vector / np.linalg.norm(vector)

    lengths = [5, 3]  # the second text has two places of padding
    spans = np.array([[0, 0, 0], [0, 1, 3], [0, 4, 4], [1, 1, 2]])
    module = MentionContext(reach).double()
    module.share.data.fill_(0.5)
    means = np.stack([VECTORS[b, i : j + 1].mean(0) for b, i, j in spans])
    near, stretch = module.stretches(spans, np.array(lengths), VECTORS.shape[1])
    near_means = [VECTORS[b, i : j + 1].mean(0) for b, i, j in near]
    found = module(torch.from_numpy(np.concatenate([means, near_means])), stretch)
    for row, mean, (b, i, j) in zip(found.detach().numpy(), means, spans, strict=True):
        near = VECTORS[b, max(0, i - reach) : min(lengths[b], j + reach + 1)].mean(0)
        np.testing.assert_allclose(row, unit(mean) + 0.5 * unit(near), atol=1e-12)


@pytest.mark.parametrize("options", [{"context_window": 64}, {"nil": True}])
def test_context_and_nil_need_cosine(options):
    with pytest.raises(ElqError, match=f"ELQ116.*{next(iter(options))}"):
        Heads(4, cosine=False, **options)


def test_the_score_of_no_entity_is_a_cosine_too():
    scorer = EntityScorer(cosine=True, scale=7.0, nil=True)
    scorer.nil_cosine.data.fill_(0.6)
    assert float(scorer.nil_score.detach()) == pytest.approx(4.2)
    assert EntityScorer(cosine=True).nil_score is None


@pytest.mark.parametrize("kind", ["all_avg", "fl_avg", "all_avg_linear"])
def test_queries_are_mentions_in_their_context_at_the_learned_scale(kind):
    def unit(vectors):
        return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)

    torch.manual_seed(0)
    heads = Heads(4, aggregation=kind, cosine=True, scale=7.0, context_window=1).double()
    vectors = torch.from_numpy(VECTORS)
    with torch.no_grad():
        mentions = heads.pooling(vectors, SPANS).numpy()
        found = heads.queries(vectors, SPANS, np.array([5, 5])).numpy()
    near = [VECTORS[b, max(0, i - 1) : j + 2].mean(0) for b, i, j in SPANS]
    np.testing.assert_allclose(found, 7 * unit(unit(mentions) + unit(np.stack(near))), rtol=1e-6)


def test_torch_and_numpy_span_logits_agree():
    logits = RNG.normal(size=(3, 7, 3)).astype("f4")
    starts, ends = RNG.random((3, 7)) < 0.8, RNG.random((3, 7)) < 0.8
    expected = numpy_span_logits(logits, starts, ends, 4)
    tensors = (torch.from_numpy(a) for a in (logits, starts, ends))
    np.testing.assert_allclose(span_logits(*tensors, 4).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(("module", "kind"), [(MentionScorer, "mlp"), (MentionPooling, "avg")])
def test_unknown_kinds_are_refused(module, kind):
    with pytest.raises(ElqError, match="ELQ110"):
        module(4, kind)


def log1p_exp(x):
    return np.logaddexp(0, x)


def test_mention_loss_is_the_mean_over_real_spans():
    logits = RNG.normal(size=(2, 3, 2))
    logits[0, 2, 1] = -np.inf
    gold = np.zeros(logits.shape, dtype=bool)
    gold[0, 0, 1] = gold[1, 1, 0] = True
    pairs = [(x, g) for x, g in zip(logits.flat, gold.flat, strict=True) if np.isfinite(x)]
    terms = [log1p_exp(-x) if g else log1p_exp(x) for x, g in pairs]
    tensors = torch.from_numpy(logits), torch.from_numpy(gold)
    assert float(mention_loss(*tensors)) == pytest.approx(np.mean(terms))
    assert float(mention_loss(*tensors, reduction="sum")) == pytest.approx(np.sum(terms))


def cross_entropy(scores, target):
    return float(
        np.mean([np.logaddexp.reduce(s) - s[t] for s, t in zip(scores, target, strict=True)])
    )


def test_in_batch_copies_of_an_entity_count_only_when_exact():
    queries, entities = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4))
    entities[2] = entities[0]
    scores = queries @ entities.T
    tensors = torch.from_numpy(queries), torch.from_numpy(entities), torch.tensor([5, 6, 5])
    gold = torch.arange(3)
    exact = float(softmax_loss(in_batch_scores(*tensors, exact=True), gold))
    assert exact == pytest.approx(cross_entropy(scores, [0, 1, 2]))
    scores[0, 2] = scores[2, 0] = -np.inf
    loss = float(softmax_loss(in_batch_scores(*tensors), gold))
    assert loss == pytest.approx(cross_entropy(scores, [0, 1, 2]))


def test_entities_compete_with_there_being_none():
    scores, hidden = RNG.normal(size=(3, 4)), np.array([False, True, False])
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


def test_hard_negatives_loss():
    scores, gold = RNG.normal(size=6), np.array([1, 0, 0, 1, 0, 0], dtype=bool)
    expected = np.mean(np.where(gold, log1p_exp(-scores), log1p_exp(scores)))
    result = hard_negatives_loss(torch.from_numpy(scores), torch.from_numpy(gold))
    assert float(result) == pytest.approx(expected)


def test_entity_matrix_scores_each_entity_by_its_best_vector():
    vectors = RNG.normal(size=(6, 4))
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


def test_gradients_of_the_entity_matrix():
    matrix = EntityMatrix(torch.from_numpy(RNG.normal(size=(5, 4)).astype("f4")),
                          torch.tensor([0, 0, 1, 2, 2]), 3)  # fmt: skip
    queries = torch.from_numpy(RNG.normal(size=(2, 4)).astype("f4")).requires_grad_()
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
