"""Trained weights as changes to an encoder: written, applied, refused."""

import json

import numpy as np
import pytest
import spacy
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from spacy_elq.encoders.question import get_transformer
from spacy_elq.errors import ElqError
from spacy_elq.ml.model import get_encoder, get_heads
from spacy_elq.ml.pretrained import load_untrained_encoder, save_changes

from ..helpers import ENTITIES, TEXTS, train

pytestmark = pytest.mark.slow
TYPES = "embeddings.token_type_embeddings.weight"


@pytest.fixture(scope="module")
def make_nlp_with(elq_config, kb_path):
    def make(**model):
        from spacy_elq.kb.loaders import kb_from_directory

        nlp = spacy.blank("en")
        config = {**elq_config, "model": {**elq_config["model"], **model}}
        nlp.add_pipe("elq", config=config)
        nlp.initialize()
        nlp.get_pipe("elq").set_kb(kb_from_directory(kb_path))
        return nlp

    return make


@pytest.fixture(scope="module")
def trained(make_nlp_with):
    nlp = make_nlp_with()
    train(nlp, steps=15)
    return nlp


def weights_of(nlp):
    model = nlp.get_pipe("elq").model
    return {
        **get_transformer(get_encoder(model)).state_dict(),
        **{f"heads.{n}": t for n, t in get_heads(model).state_dict().items()},
    }


def save(nlp, tiny_bert, path, bits=8):
    save_changes([nlp.get_pipe("elq").model], load_untrained_encoder(str(tiny_bert)), path, bits)
    return str(path)


def test_a_model_begins_with_the_weights_that_were_saved(
    trained, make_nlp_with, tiny_bert, tmp_path
):
    path = save(trained, tiny_bert, tmp_path / "all.safetensors")
    begun = make_nlp_with(pretrained=path)
    expected = weights_of(trained)
    for name, found in weights_of(begun).items():
        np.testing.assert_allclose(found, expected[name], atol=2e-4, err_msg=name)
    for text in (row["text"] for row in TEXTS):
        joint = [
            nlp.get_pipe("elq").rank_mentions([nlp.make_doc(text)]).joint
            for nlp in (trained, begun)
        ]
        np.testing.assert_allclose(joint[1], joint[0], atol=0.05)


def test_pretrained_weights_need_no_initialize(trained, elq_config, tiny_bert, tmp_path):
    path = save(trained, tiny_bert, tmp_path / "all.safetensors")
    nlp = spacy.blank("en")
    config = {**elq_config, "model": {**elq_config["model"], "pretrained": path}}
    elq = nlp.add_pipe("elq", config=config)
    with pytest.raises(ElqError, match="ELQ105"):
        nlp("who lives in paris")
    elq.add_entities(ENTITIES)
    nlp.to_disk(tmp_path / "pipeline")
    for row in TEXTS:
        expected = [(e.text, e.kb_id_) for e in trained(row["text"]).ents]
        assert [(e.text, e.kb_id_) for e in nlp(row["text"]).ents] == expected
        loaded = spacy.load(tmp_path / "pipeline")
        assert [(e.text, e.kb_id_) for e in loaded(row["text"]).ents] == expected
    elq.remove_entities([entity["id"] for entity in ENTITIES])
    assert not nlp(TEXTS[0]["text"]).ents


@pytest.mark.parametrize("priors", [True, False])
def test_weights_of_an_earlier_release_link_as_they_did(
    trained, make_nlp_with, tiny_bert, tmp_path, priors
):
    """They lack the features of case, and the priors."""
    nlp = make_nlp_with(pretrained=save(trained, tiny_bert, tmp_path / "new.safetensors"))
    with torch.no_grad():
        heads = get_heads(nlp.get_pipe("elq").model)
        heads.names.mention[6:], heads.names.entity[3:] = 0, 0
        for weights in heads.priors.parameters():
            weights[:] = 0
    with safe_open(tmp_path / "new.safetensors", "pt") as file:
        options = json.loads(file.metadata()["heads"])
        del options["priors"]
        metadata = {**file.metadata(), "heads": json.dumps(options)}
    tensors = load_file(tmp_path / "new.safetensors")
    tensors["heads.names.mention"] = tensors["heads.names.mention"][:6].contiguous()
    tensors["heads.names.entity"] = tensors["heads.names.entity"][:3].contiguous()
    for name in ("popularity", "share", "link"):
        del tensors[f"heads.priors.{name}"]
    save_file(tensors, tmp_path / "old.safetensors", metadata)
    old = make_nlp_with(pretrained=str(tmp_path / "old.safetensors"), priors=priors)
    old.to_disk(tmp_path / "saved")
    for row in TEXTS:
        expected = nlp.get_pipe("elq").rank_mentions([nlp.make_doc(row["text"])])
        for other in (old, spacy.load(tmp_path / "saved")):
            found = other.get_pipe("elq").rank_mentions([other.make_doc(row["text"])])
            assert found.rows.tolist() == expected.rows.tolist()
            np.testing.assert_array_equal(found.raw_scores, expected.raw_scores)


def test_pretrained_weights_can_be_trained_on(trained, elq_config, tiny_bert, tmp_path):
    path = save(trained, tiny_bert, tmp_path / "weights.safetensors")
    nlp = spacy.blank("en")
    config = {**elq_config, "model": {**elq_config["model"], "pretrained": path}}
    elq = nlp.add_pipe("elq", config=config)
    elq.add_entities(ENTITIES)
    before = train(nlp, steps=1)  # with no call before, and no `initialize`
    assert train(nlp, steps=5)["elq"] < before["elq"]
    kept = {name: value.clone() for name, value in weights_of(nlp).items()}
    nlp.initialize()
    for name, value in weights_of(nlp).items():
        assert torch.equal(value, kept[name]), name


def test_a_knowledge_base_elsewhere_needs_no_initialize(
    trained, elq_config, tiny_bert, tmp_path, kb_path
):
    path = save(trained, tiny_bert, tmp_path / "all.safetensors")
    nlp = spacy.blank("en")
    model = {**elq_config["model"], "pretrained": path}
    nlp.add_pipe("elq", config={**elq_config, "model": model, "kb_path": str(kb_path)})
    text = TEXTS[0]["text"]
    expected = [(e.text, e.kb_id_) for e in trained(text).ents]
    assert [(e.text, e.kb_id_) for e in nlp(text).ents] == expected


@pytest.mark.parametrize("bits", [2, 5, 8])
def test_changes_are_whole_numbers_times_a_scale(trained, make_nlp_with, tiny_bert, tmp_path, bits):
    path = save(trained, tiny_bert, tmp_path / "coarse.safetensors", bits)
    begun = weights_of(make_nlp_with(pretrained=path))
    base = load_untrained_encoder(str(tiny_bert)).state_dict()
    name = "encoder.layer.0.intermediate.dense.weight"
    change = (weights_of(trained)[name] - base[name]).double().numpy()
    step = np.abs(change).max(axis=1, keepdims=True) / (2 ** (bits - 1) - 1)
    found = (begun[name] - base[name]).double().numpy()
    np.testing.assert_allclose(found, np.round(change / step) * step, atol=1e-6)
    assert load_file(path)[f"{name}.planes"].numel() * 8 == change.size * bits


def test_of_several_trainings_the_mean_is_saved(trained, make_nlp_with, tiny_bert, tmp_path):
    other = make_nlp_with()
    train(other, steps=5)
    models = [nlp.get_pipe("elq").model for nlp in (trained, other)]
    path = tmp_path / "mean.safetensors"
    save_changes(models, load_untrained_encoder(str(tiny_bert)), path, bits=8)
    begun, one, two = map(weights_of, (make_nlp_with(pretrained=str(path)), trained, other))
    for name, found in begun.items():
        expected = (one[name].double() + two[name].double()) / 2
        np.testing.assert_allclose(found, expected, atol=2e-4, err_msg=name)
    with pytest.raises(ElqError, match="ELQ123"):
        models[1] = make_nlp_with(name_features=False).get_pipe("elq").model
        save_changes(models, load_untrained_encoder(str(tiny_bert)), path, bits=8)


def test_what_was_not_trained_takes_no_room(trained, make_nlp_with, tiny_bert, tmp_path):
    path = save(make_nlp_with(), tiny_bert, tmp_path / "none.safetensors")
    assert all(name.startswith("heads.") for name in load_file(path))


def test_changes_to_another_encoder_are_refused(
    trained, make_nlp_with, tiny_bert, tmp_path, elq_config
):
    path = save(trained, tiny_bert, tmp_path / "w.safetensors")
    other = load_untrained_encoder(str(tiny_bert))
    with torch.no_grad():
        other.encoder.layer[0].output.dense.weight[0, 0] += 1e-3
    other.save_pretrained(tmp_path / "other")
    for file in tiny_bert.glob("*token*"):
        (tmp_path / "other" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "other" / "vocab.txt").write_bytes((tiny_bert / "vocab.txt").read_bytes())
    encoder = {**elq_config["model"]["encoder"], "name": str(tmp_path / "other")}
    with pytest.raises(ElqError, match="ELQ118"):
        make_nlp_with(pretrained=path, encoder=encoder)


def test_word_shapes_are_saved_exactly(trained, make_nlp_with, tiny_bert, tmp_path, elq_config):
    nlp = make_nlp_with()
    with torch.no_grad():
        shapes = get_heads(nlp.get_pipe("elq").model).shapes
        for weights in (*shapes.parameters(), weights_of(nlp)[TYPES]):
            weights += torch.randn(weights.shape)
    path = save(nlp, tiny_bert, tmp_path / "w.safetensors", bits=2)
    begun, expected = weights_of(make_nlp_with(pretrained=path)), weights_of(nlp)
    for name in (TYPES, *(f"heads.shapes.{name}" for name, _ in shapes.named_parameters())):
        np.testing.assert_allclose(begun[name], expected[name], rtol=1e-6, err_msg=name)
    encoder = {**elq_config["model"]["encoder"], "word_shapes": False}
    with pytest.raises(ElqError, match=r"ELQ118.*word_shapes"):
        make_nlp_with(pretrained=path, encoder=encoder)


def test_weights_from_before_word_shapes(make_nlp_with, tiny_bert, tmp_path, elq_config):
    encoder = {**elq_config["model"]["encoder"], "word_shapes": False}
    old = make_nlp_with(word_shapes=False, encoder=encoder)
    old.get_pipe("elq").set_training(freeze=["embeddings", "pooler"])
    train(old, steps=2)
    path = save(old, tiny_bert, tmp_path / "new.safetensors")
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    options = json.loads(metadata["heads"])
    del options["word_shapes"]
    save_file(load_file(path), path, {**metadata, "heads": json.dumps(options)})
    begun = make_nlp_with(pretrained=path)
    text = "The Paris of Georgia is Paris"
    joint = [
        nlp.get_pipe("elq").rank_mentions([nlp.make_doc(text)]).joint
        for nlp in (begun, make_nlp_with(pretrained=path, word_shapes=False, encoder=encoder))
    ]
    np.testing.assert_array_equal(*joint)


def test_other_heads_are_refused(trained, make_nlp_with, tiny_bert, tmp_path):
    path = save(trained, tiny_bert, tmp_path / "w.safetensors")
    with pytest.raises(ElqError, match="ELQ119"):
        make_nlp_with(pretrained=path, name_features=False)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not safetensors", None])
def test_files_that_are_no_weights_are_refused(content, make_nlp_with, tmp_path):
    path = tmp_path / "bad.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ElqError, match="ELQ117" if content is None else "ELQ121"):
        make_nlp_with(pretrained=str(path))


@pytest.mark.parametrize("lost", ["base", "heads", "heads_", "planes", "scale"])
def test_a_weight_file_that_lacks_a_part_is_named(
    trained, make_nlp_with, tiny_bert, tmp_path, lost
):
    from safetensors import safe_open
    from safetensors.torch import save_file

    path = tmp_path / "all.safetensors"
    save(trained, tiny_bert, path)
    with safe_open(path, framework="pt") as file:
        metadata = {k: v for k, v in file.metadata().items() if k != lost}
    if lost == "heads_":
        metadata["heads"] = "{"
    tensors = {k: v for k, v in load_file(path).items() if not k.endswith(f".{lost}")}
    save_file(tensors, path, metadata)
    with pytest.raises(ElqError, match="ELQ121"):
        make_nlp_with(pretrained=str(path))
