"""Heads against plain float64 arithmetic."""

import numpy as np
import pytest
import torch

from spacy_elq.encoders.word_shapes import N_SHAPES
from spacy_elq.errors import ElqError
from spacy_elq.linking.decoding import span_logits
from spacy_elq.ml.heads import (
    EntityScorer,
    Heads,
    MentionContext,
    MentionPooling,
    MentionScorer,
    ShapeWeights,
    torch_span_logits,
)

VECTORS = np.random.default_rng(0).normal(size=(2, 5, 4))
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
    near, stretch = module.nearby_ranges(spans, np.array(lengths), VECTORS.shape[1])
    near_means = [VECTORS[b, i : j + 1].mean(0) for b, i, j in near]
    found = module(torch.from_numpy(np.concatenate([means, near_means])), stretch)
    for row, mean, (b, i, j) in zip(found.detach().numpy(), means, spans, strict=True):
        near = VECTORS[b, max(0, i - reach) : min(lengths[b], j + reach + 1)].mean(0)
        np.testing.assert_allclose(row, unit(mean) + 0.5 * unit(near), atol=1e-12)


def test_weights_of_features_that_came_later_stay_without_effect():
    heads = Heads(4, name_features=True, priors=True)
    with torch.no_grad():
        for parameter in heads.parameters():
            parameter.fill_(0.5)
    old = {n: torch.ones_like(p) for n, p in heads.state_dict().items() if "priors" not in n}
    old |= {"names.mention": torch.ones(6), "names.entity": torch.ones(3)}
    heads.load_state_dict(old)
    assert heads.names.mention.tolist() == [1] * 6 + [0] * 3
    assert heads.name_weights().tolist() == [1] * 3 + [0] * 4
    assert heads.priors.popularity.tolist() == heads.priors.link.tolist() == [0, 0]
    with pytest.raises(RuntimeError, match=r"size mismatch.*names\.entity"):
        heads.load_state_dict(old | {"names.entity": torch.ones(9)})
    del old["names.entity"]
    with pytest.raises(RuntimeError, match=r"Missing.*names\.entity"):
        heads.load_state_dict(old)


def test_names_have_no_prior_where_it_is_switched_off():
    heads = Heads(4, name_features=True)
    assert heads.priors is None
    assert len(heads.name_weights()) == 7 and float(heads.name_weights()[-1].detach()) == 0
    assert Heads(4, priors=True).name_weights() is None


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
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(3, 7, 3)).astype("f4")
    starts, ends = rng.random((3, 7)) < 0.8, rng.random((3, 7)) < 0.8
    expected = span_logits(logits, starts, ends, 4)
    tensors = (torch.from_numpy(a) for a in (logits, starts, ends))
    np.testing.assert_allclose(torch_span_logits(*tensors, 4).numpy(), expected, atol=1e-5)


def test_a_word_adds_to_its_logits_and_to_the_bounds_beside_it():
    torch.manual_seed(0)
    module = ShapeWeights()
    shapes = np.random.default_rng(2).integers(0, N_SHAPES, (3, 7, 3))
    assert not module(shapes).any()
    for weights in module.parameters():
        torch.nn.init.normal_(weights)
    table = {n: np.append(0.0, w.detach().double()) for n, w in module.named_parameters()}
    own, before, after = np.moveaxis(shapes, 2, 0)
    expected = [
        table["start"][own] + table["before"][before],
        table["end"][own] + table["after"][after],
        table["inside"][own],
    ]
    np.testing.assert_allclose(module(shapes).detach(), np.stack(expected, 2), atol=1e-6)


@pytest.mark.parametrize(("module", "kind"), [(MentionScorer, "mlp"), (MentionPooling, "avg")])
def test_unknown_kinds_are_refused(module, kind):
    with pytest.raises(ElqError, match="ELQ110"):
        module(4, kind)
