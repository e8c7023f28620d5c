"""The forward pass of inference against transformers' own."""

import numpy as np
import pytest
import torch

from spacy_elq.encoders import fast_bert
from spacy_elq.encoders.fast_bert import _activate, last_layer

SMALL = {
    "vocab_size": 90,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
}


def make(kind, **options):
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**SMALL, pad_token_id=1, **options)
    model = getattr(transformers, f"{kind}Model")(config).eval()
    with torch.no_grad():  # new layer norms and biases are ones and zeros
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


def wordpieces(*lengths):
    ids = np.random.default_rng(0).integers(2, SMALL["vocab_size"], (len(lengths), max(lengths)))
    mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
    ids[~mask] = 1
    return ids, mask


def own_forward(model, ids, mask):
    return model(
        input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask).long()
    ).last_hidden_state


def assert_same(model, ids, mask, tolerance=1e-5):
    with torch.inference_mode():
        actual, expected = last_layer(model, ids, mask), own_forward(model, ids, mask)
    real = torch.from_numpy(mask)
    torch.testing.assert_close(actual[real], expected[real], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", ["Bert", "Roberta", "XLMRoberta", "Albert"])
@pytest.mark.parametrize("lengths", [(9,), (1,), (6, 6), (12, 7, 1), (2, 5, 5, 1, 5)])
def test_same_vectors_as_transformers(kind, lengths):
    assert_same(make(kind), *wordpieces(*lengths))


@pytest.mark.parametrize("lengths", [(6, 6), (12, 7, 1)])
def test_same_vectors_where_padding_is_computed(lengths, monkeypatch):
    model = make("Bert")
    assert not fast_bert.computes_padding(model)
    monkeypatch.setattr(fast_bert, "WITHOUT_PADDING", ())  # as on a GPU
    assert fast_bert.computes_padding(model)
    assert_same(model, *wordpieces(*lengths))


@pytest.mark.parametrize("kind", ["Bert", "Albert"])
def test_same_vectors_in_bfloat16(kind):
    ids, mask = wordpieces(12, 7, 1)
    with torch.autocast("cpu", torch.bfloat16):
        assert_same(make(kind), ids, mask, tolerance=2e-2)


def test_few_numbers_of_rows_in_bfloat16(monkeypatch):
    """oneDNN keeps code for each."""
    model, seen = make("Bert"), set()
    model.encoder.layer[1].output.dense.register_forward_hook(
        lambda layer, rows, result: seen.add(len(rows[0]))
    )
    batches = [wordpieces(*lengths) for lengths in ((n, *(9,) * (n // 2)) for n in range(1, 40))]
    encode = torch.inference_mode()(lambda: [last_layer(model, *batch) for batch in batches])
    with torch.autocast("cpu", torch.bfloat16):
        filled = encode()
        assert len(seen) < 30 and max(seen) <= 1.1 * (39 + 19 * 9)
        monkeypatch.setattr(fast_bert, "_fillers", lambda rows: 0)
        assert all(map(torch.equal, filled, encode()))
    seen.clear()
    encode()
    assert seen == {mask.sum() for _, mask in batches}  # float32 needs no more


@pytest.mark.parametrize(
    "options",
    [
        {"is_decoder": True},
        {"hidden_act": "relu"},
        {"attn_implementation": "eager"},
        {"position_embedding_type": "relative_key"},
    ],
)
def test_other_settings_count(options):
    model = make("Bert", **options)
    ids, mask = wordpieces(10, 4)
    assert_same(model, ids, mask)
    with torch.inference_mode():
        usual = last_layer(make("Bert"), ids, mask)
        other = last_layer(model, ids, mask)
    if "attn_implementation" not in options:  # the same by another way
        assert not torch.allclose(usual, other, atol=1e-3)


def test_dropout_in_training():
    model = make("Bert", hidden_dropout_prob=0.5).train()
    ids, mask = wordpieces(10, 10)
    vectors = []
    for forward in (last_layer, own_forward):
        torch.manual_seed(1)
        vectors.append(forward(model, ids, mask))
    torch.testing.assert_close(*vectors)


def test_changes_of_single_layers_count():
    """As those of adapters and quantization, which put other modules in place of linear layers."""
    model = make("Bert")
    ids, mask = wordpieces(10, 4)
    before = last_layer(model, ids, mask)
    model.encoder.layer[0].attention.self.value = torch.nn.Linear(32, 32)
    assert not torch.allclose(before, last_layer(model, ids, mask), atol=1e-3)
    assert_same(model, ids, mask)


def test_gradients_as_transformers():
    model = make("Bert")
    ids, mask = wordpieces(10, 4)
    gradients = []
    for forward in (last_layer, own_forward):
        model.zero_grad()
        forward(model, ids, mask)[torch.from_numpy(mask)].square().sum().backward()
        gradients.append(model.encoder.layer[0].attention.self.query.weight.grad.clone())
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


def test_activations_see_few_shapes_however_many_the_batches_have():
    """oneDNN keeps something for each shape, which fragments the memory."""
    seen = set()

    def record(rows):
        seen.add(rows.shape)
        return torch.nn.functional.gelu(rows)

    for count in (*range(1, 300), 1000, 4095):
        rows = torch.randn(count, 5)
        torch.testing.assert_close(_activate(record, rows.clone()), torch.nn.functional.gelu(rows))
    assert len(seen) == 8
