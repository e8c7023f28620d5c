"""Word shapes in the model: nothing changes before they are learned, nor ever in uncased texts."""

import json

import numpy as np
import pytest
import spacy
import torch
import transformers
from safetensors.torch import load_file, save_file
from thinc.api import Adam
from transformers import AutoModel, DistilBertConfig, DistilBertModel

from spacy_elq.encoders.fast_bert import last_layer
from spacy_elq.encoders.question import change_encoder, get_transformer
from spacy_elq.encoders.token_types import add_shapes, shape_table
from spacy_elq.encoders.word_shapes import N_SHAPES
from spacy_elq.ml.model import get_encoder, get_heads
from spacy_elq.training.trainer import Trainer

from ..helpers import TEXTS, examples, train

CASED = "Is Paris of Georgia? The River of Paris is in Georgia, at MERCURY 2."
UNCASED = ["Is paris of georgia?", *(row["text"] for row in TEXTS)]


@pytest.fixture
def make(make_nlp, elq_config):
    def make(*, heads=True, types=True, **config):
        model = elq_config["model"]
        encoder = {**model["encoder"], "word_shapes": types}
        return make_nlp(model={"word_shapes": heads, "encoder": encoder}, **config)

    return make


def parts(nlp):
    model = nlp.get_pipe("elq").model
    return get_heads(model), get_transformer(get_encoder(model))


def teach(nlp):
    """Give the shapes random effects."""
    heads, transformer = parts(nlp)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weights in heads.shapes.parameters() if heads.shapes else ():
            weights.copy_(torch.randn(weights.shape, generator=generator))
        if (table := shape_table(transformer)) is not None:
            table.weight[1:] += torch.randn(table.weight[1:].shape, generator=generator)
    return nlp


def logits(nlp, *texts):
    docs = [nlp.make_doc(text) for text in texts]
    return np.concatenate(
        [batch.logits.numpy().ravel() for batch in nlp.get_pipe("elq").model.predict(docs)]
    )


def test_nothing_changes_before_training(make):
    texts = (CASED, *UNCASED)
    without = logits(make(heads=False, types=False), *texts)
    for heads, types in ((True, False), (False, True), (True, True)):
        np.testing.assert_array_equal(logits(make(heads=heads, types=types), *texts), without)


@pytest.mark.parametrize(("heads", "types"), [(True, False), (False, True), (True, True)])
def test_what_is_learned_holds_for_cased_texts_alone(make, heads, types):
    nlp = make(heads=heads, types=types)
    before = logits(nlp, *UNCASED), logits(nlp, CASED)
    teach(nlp)
    np.testing.assert_array_equal(logits(nlp, *UNCASED), before[0])
    assert np.abs(logits(nlp, CASED) - before[1]).max() > 0.1


def test_the_token_types_of_a_trained_encoder_can_be_switched_off(make):
    nlp = teach(make(heads=False))
    change_encoder(get_encoder(nlp.get_pipe("elq").model), word_shapes=False)
    np.testing.assert_array_equal(logits(nlp, CASED), logits(make(heads=False), CASED))


def test_saved_and_loaded(make, tmp_path):
    nlp = teach(make())
    nlp.to_disk(tmp_path / "pipeline")
    files = tmp_path / "pipeline" / "elq" / "model"
    assert json.loads((files / "config.json").read_bytes())["type_vocab_size"] == N_SHAPES
    assert AutoModel.from_pretrained(files).config.type_vocab_size == N_SHAPES
    loaded = spacy.load(tmp_path / "pipeline")
    np.testing.assert_array_equal(logits(loaded, CASED), logits(nlp, CASED))
    other = make().from_bytes(nlp.to_bytes())
    np.testing.assert_array_equal(logits(other, CASED), logits(nlp, CASED))


def test_pipelines_from_before_link_as_they_did(make, tmp_path):
    old = make(heads=False, types=False)
    old.to_disk(tmp_path / "pipeline")
    config = tmp_path / "pipeline" / "config.cfg"
    config.write_text(config.read_text().replace("word_shapes = false\n", ""))
    heads = tmp_path / "pipeline" / "elq" / "model" / "heads.safetensors"
    assert not [name for name in load_file(heads) if name.startswith("shapes.")]
    loaded = spacy.load(tmp_path / "pipeline")
    np.testing.assert_array_equal(logits(loaded, CASED), logits(old, CASED))
    train(loaded, steps=1)
    loaded.to_disk(tmp_path / "again")
    np.testing.assert_array_equal(
        logits(spacy.load(tmp_path / "again"), CASED), logits(loaded, CASED)
    )


def test_other_missing_weights_are_an_error(make, tmp_path):
    make().to_disk(tmp_path / "pipeline")
    heads = tmp_path / "pipeline" / "elq" / "model" / "heads.safetensors"
    weights = load_file(heads)
    del weights["names.mention"]
    save_file(weights, heads)
    with pytest.raises(Exception, match="ELQ124"):
        spacy.load(tmp_path / "pipeline")


@pytest.mark.parametrize(
    ("frozen", "learned"),
    [
        (["embeddings", "pooler"], True),
        (["pooler"], True),
        (["embeddings.token_type_embeddings"], False),
        (["embeddings", "embeddings.token_type_embeddings.weight"], False),
        (["embeddings", "encoder", "pooler"], False),
    ],
)
def test_the_token_types_are_learned_unless_nothing_is(make, frozen, learned):
    nlp = make(training={"freeze": frozen})
    elq = nlp.get_pipe("elq")
    Trainer(elq.model, elq.linked_kb, elq.training)
    assert shape_table(parts(nlp)[1]).weight.requires_grad is learned


def step(nlp):
    """One step with texts that have words of every class."""
    after = ". It was in Rome that NATO and McDonald met 2 of them"
    texts = [{**row, "text": row["text"] + after} for row in TEXTS]
    nlp.update(examples(nlp, texts), sgd=Adam(1e-3, L2=0.0, use_averages=False))


def test_shapes_learn_with_frozen_embeddings(make):
    nlp = make(training={"freeze": ["embeddings", "pooler"], "head_lr_factor": 0.0})
    heads, transformer = parts(nlp)
    table = shape_table(transformer).weight
    words = transformer.embeddings.word_embeddings.weight.clone()
    before = table.detach().clone()
    step(nlp)
    assert torch.equal(table, before)  # at the rate of the heads
    assert all(weights.any() for weights in heads.shapes.parameters())
    nlp.get_pipe("elq").set_training(head_lr_factor=1.0)
    step(nlp)
    assert not torch.equal(table, before)
    assert torch.equal(transformer.embeddings.word_embeddings.weight, words)


def test_an_encoder_without_token_types_does_without():
    config = DistilBertConfig(vocab_size=30, dim=8, n_layers=1, n_heads=2, hidden_dim=8)
    model = DistilBertModel(config)
    add_shapes(model)
    assert shape_table(model) is None


@pytest.mark.parametrize("kind", ["Roberta", "XLMRoberta", "Electra", "Albert"])
def test_other_encoders_with_token_types(kind):
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=8, embedding_size=8, max_position_embeddings=20,
    )  # fmt: skip
    model = getattr(transformers, f"{kind}Model")(config).eval()
    ids = np.arange(3, 11).reshape(2, 4)
    mask = np.ones(ids.shape, dtype=bool)
    types = ids % N_SHAPES
    with torch.inference_mode():
        before = last_layer(model, ids, mask)
        add_shapes(model)
        table = shape_table(model)
        assert torch.equal(last_layer(model, ids, mask, types), before)
        table.weight[1:] += torch.randn(table.weight[1:].shape)
        found = last_layer(model, ids, mask, types)
        expected = model(
            input_ids=torch.from_numpy(ids), token_type_ids=torch.from_numpy(types)
        ).last_hidden_state
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(found, before, atol=1e-2)
    trained = table.weight.clone()
    add_shapes(model)  # a model that has been trained with shapes is left as it is
    assert torch.equal(shape_table(model).weight, trained)
