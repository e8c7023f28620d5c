"""Entity encoder against a bare transformers forward."""

import numpy as np
import pytest
import torch

from spacy_elq import ElqError, Entity
from spacy_elq.encoders import entity as entity_module
from spacy_elq.encoders.entity import EntityEncoder, EntityEncoderSettings, load_entity_encoder
from spacy_elq.encoders.model_paths import resolve_model_path
from spacy_elq.encoders.windows import pad

ENTITIES = [
    Entity("1", "paris", "capital city", ("city of light",)),
    Entity("2", "georgia", ""),
    Entity("3", "mercury", "metal in thermometers", ("quicksilver", "hg")),
]


@pytest.fixture(scope="module")
def bare(tiny_bert):
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(str(tiny_bert)).eval()
    tokenizer = AutoTokenizer.from_pretrained(str(tiny_bert))

    def hidden(ids):
        with torch.inference_mode():
            return model(torch.tensor([ids])).last_hidden_state[0].double().numpy()

    return tokenizer, hidden


def unit(x):
    return x / np.linalg.norm(x)


def test_names_are_means_of_name_and_described_title(tiny_bert, bare):
    tokenizer, hidden = bare

    def text_vector(text):
        return unit(hidden(tokenizer(text).input_ids).mean(0))

    vectors, owners = EntityEncoder(str(tiny_bert), max_batch_items=40).encode(ENTITIES)
    assert owners.tolist() == [0, 0, 1, 2, 2, 2]
    named = [(e, name) for e in ENTITIES for name in e.names]
    for vector, (entity, name) in zip(vectors, named, strict=True):
        expected = text_vector(name)
        if entity.description:
            weight = 1 if name == entity.title else 0.75
            described = text_vector(f"{entity.title}: {entity.description}")
            expected = unit(expected + weight * described)
        np.testing.assert_allclose(vector, expected, atol=1e-5)


def test_elq_template_is_the_published_input(tiny_bert, bare):
    tokenizer, hidden = bare
    settings = EntityEncoderSettings(template="elq", pooling="cls", normalize=False, max_length=12)
    vectors, owners = EntityEncoder(str(tiny_bert), settings).encode(ENTITIES)
    assert owners.tolist() == [0, 1, 2]
    for vector, entity in zip(vectors, ENTITIES, strict=True):
        title = tokenizer.encode(entity.title, add_special_tokens=False)
        description = tokenizer.encode(entity.description, add_special_tokens=False)
        body = [*title, tokenizer.convert_tokens_to_ids("[unused2]"), *description][:10]
        ids = [tokenizer.cls_token_id, *body, tokenizer.sep_token_id]
        np.testing.assert_allclose(vector, hidden(ids)[0], atol=1e-5)


def test_gradients_flow_into_the_same_first_vectors(tiny_bert):
    encoder = EntityEncoder(str(tiny_bert))
    vectors, owners = encoder.encode(ENTITIES)
    first = vectors[[owners.tolist().index(i) for i in range(3)]]
    trained = encoder.forward_entities(ENTITIES)
    np.testing.assert_allclose(trained.detach(), first, atol=1e-5)
    trained.sum().backward()
    assert encoder.transformer.embeddings.word_embeddings.weight.grad.abs().sum() > 0


def test_fingerprint_names_weights_and_settings(tiny_bert, tmp_path):
    encoder = EntityEncoder(str(tiny_bert))
    before = encoder.fingerprint
    assert EntityEncoder(str(tiny_bert)).fingerprint == before
    other = EntityEncoder(str(tiny_bert), EntityEncoderSettings(pooling="cls"))
    assert other.fingerprint != before
    encoder.to_disk(tmp_path / "saved")
    assert load_entity_encoder(str(tmp_path / "saved")).fingerprint == before
    with torch.no_grad():
        encoder.transformer.embeddings.word_embeddings.weight[7] += 1
    encoder.mark_weights_changed()
    assert encoder.fingerprint != before


def test_untrained_weights_are_linked_and_trained_ones_leave_the_source_alone(tiny_bert, tmp_path):
    encoder = EntityEncoder(str(tiny_bert))
    for name in ("a", "b"):
        encoder.to_disk(tmp_path / name)
    source, *saved = (d / "model.safetensors" for d in (tiny_bert, tmp_path / "a", tmp_path / "b"))
    assert {path.stat().st_ino for path in saved} == {source.stat().st_ino}
    before = source.read_bytes()
    with torch.no_grad():
        encoder.transformer.embeddings.word_embeddings.weight[7] += 1
    encoder.mark_weights_changed()
    encoder.to_disk(tmp_path / "a")
    assert source.read_bytes() == before
    assert saved[0].read_bytes() != before
    assert load_entity_encoder(str(tmp_path / "a")).fingerprint == encoder.fingerprint


@pytest.mark.parametrize("template", ["names", "elq"])
def test_equal_texts_are_read_once(tiny_bert, template, monkeypatch):
    encoder = EntityEncoder(str(tiny_bert), EntityEncoderSettings(template=template))
    expected, owners = encoder.encode(ENTITIES)
    read = []

    def record(ids, *args):
        read.extend(map(tuple, ids))
        return pad(ids, *args)

    monkeypatch.setattr(entity_module, "pad", record)
    vectors, _ = encoder.encode(ENTITIES * 3)
    np.testing.assert_allclose(vectors, np.tile(expected, (3, 1)), atol=1e-5)
    texts = {"names": len(owners) + 2, "elq": 3}  # two descriptions
    assert len(read) == len(set(read)) == texts[template]


def test_fingerprints_tell_the_arithmetic_of_names_apart(tiny_bert, monkeypatch):
    def fingerprint(template):
        return EntityEncoder(str(tiny_bert), EntityEncoderSettings(template=template)).fingerprint

    before = fingerprint("names"), fingerprint("elq")
    monkeypatch.setattr(entity_module, "NAMES_ARITHMETIC", 1)
    assert fingerprint("names") != before[0]
    assert fingerprint("elq") == before[1]


def test_no_entities(tiny_bert):
    vectors, owners = EntityEncoder(str(tiny_bert)).encode([])
    assert (vectors.shape, owners.shape) == ((0, 32), (0,))


@pytest.mark.parametrize(
    ("name", "code"), [("./nowhere", "ELQ101"), ("/a/b/c", "ELQ101"), ("a/b/c", "ELQ101")]
)
def test_missing_paths_are_not_taken_for_hub_ids(name, code):
    with pytest.raises(ElqError, match=code):
        resolve_model_path(name)


def test_a_directory_without_a_model(tmp_path):
    with pytest.raises(ElqError, match="ELQ102"):
        resolve_model_path(str(tmp_path))
    assert resolve_model_path("bert-base-uncased") == "bert-base-uncased"


def test_wrong_settings_are_refused():
    with pytest.raises(ElqError, match="ELQ110"):
        EntityEncoderSettings(pooling="max")
    with pytest.raises(ElqError, match=r"ELQ112.*max_length"):
        EntityEncoderSettings(max_length=0)
    with pytest.raises(ElqError, match=r"ELQ122.*normalize"):
        EntityEncoderSettings(normalize=3)


@pytest.mark.parametrize("template", ["names", "elq"])
def test_no_more_is_read_than_the_model_has_positions_for(tiny_bert, template):
    entities = [Entity("1", "paris", "capital city " * 100)]

    def vectors(max_length):
        settings = EntityEncoderSettings(template=template, max_length=max_length)
        return EntityEncoder(str(tiny_bert), settings).encode(entities)[0]

    np.testing.assert_array_equal(vectors(600), vectors(64))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *((name, content) for name in ("config.json", "tokenizer.json", "entity_encoder.json")
          for content in (b"", b"{", b"[1]", b"\xff\xfe", b"null", b"[" * 100_000)),
        ("config.json", b"{}"),
        ("config.json", b'{"model_type": "bert", "hidden_size": "x"}'),
        ("model.safetensors", b""),
        ("model.safetensors", b"\xff" * 100),
        ("model.safetensors", b"\0" * 100),
    ],
)  # fmt: skip
def test_damaged_files_are_one_error(tiny_bert, tmp_path, name, content):
    EntityEncoder(str(tiny_bert)).to_disk(tmp_path / "saved")
    (tmp_path / "saved" / name).unlink()
    (tmp_path / "saved" / name).write_bytes(content)
    with pytest.raises(ElqError, match=r"ELQ1\d\d"):
        encoder = load_entity_encoder(str(tmp_path / "saved"))
        assert encoder.width == encoder.encode([Entity("Q1", "paris")])[0].shape[1]
        encoder.fingerprint  # noqa: B018


@pytest.mark.parametrize("settings", [{}, {"alias_vectors": False}, {"template": "elq"}])
def test_vectors_are_counted_beforehand(tiny_bert, settings):
    encoder = EntityEncoder(str(tiny_bert), EntityEncoderSettings(**settings))
    counts = [encoder.count_vectors(entity) for entity in ENTITIES]
    assert counts == np.bincount(encoder.encode(ENTITIES)[1]).tolist()


@pytest.mark.parametrize("weights, expected", [(1_000, 2048), (85_000_000, 32), (10**9, 32)])
def test_batches_are_smaller_for_large_models(tiny_bert, monkeypatch, weights, expected):
    encoder = EntityEncoder(str(tiny_bert))
    monkeypatch.setattr(encoder.transformer, "num_parameters", lambda **options: weights)
    assert encoder.entities_at_once == expected
