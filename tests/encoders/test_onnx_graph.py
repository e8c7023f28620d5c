"""Graphs of ONNX Runtime: the vectors of torch, and never those of other weights."""

import os
import shutil
import warnings
from collections import Counter

import numpy as np
import onnx
import pytest
import spacy
import torch

from spacy_elq.encoders import onnx_graph
from spacy_elq.encoders.entity import EntityEncoder, load_entity_encoder
from spacy_elq.encoders.inference import InferenceSettings, infer
from spacy_elq.encoders.onnx_graph import GRAPHS, find_graph, forget_graphs
from spacy_elq.encoders.token_types import add_shapes, shape_table
from spacy_elq.encoders.word_shapes import N_SHAPES
from spacy_elq.errors import ElqError
from spacy_elq.types import Entity

from ..helpers import TEXTS, train

FP32 = InferenceSettings(backend="onnx", precision="fp32")
INT8 = InferenceSettings(backend="onnx", precision="int8")
ENTITIES = [Entity(id="Q90", title="Paris", description="capital of France", aliases=("Lutetia",))]


@pytest.fixture(scope="module")
def transformer(tiny_bert):
    return EntityEncoder(str(tiny_bert)).transformer


@pytest.fixture
def no_new_graphs(monkeypatch):
    def refuse(*args):
        raise AssertionError("a graph is made")

    monkeypatch.setattr(onnx_graph, "make_graph", refuse)


def a_batch(rows, length, seed=0):
    ids = np.random.default_rng(seed).integers(5, 40, (rows, length))
    mask = np.arange(length) < np.linspace(1, length, rows).round()[:, None]
    return ids, mask


def cosines(one, other):
    return (one * other).sum(-1) / np.linalg.norm(one, axis=-1) / np.linalg.norm(other, axis=-1)


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "length"), [(1, 1), (1, 7), (2, 3), (5, 20), (64, 64)])
def test_a_graph_computes_what_torch_does(transformer, rows, length):
    ids, mask = a_batch(rows, length)
    expected = infer(transformer, ids, mask, InferenceSettings(precision="fp32")).numpy()[mask]
    found = infer(transformer, ids, mask, FP32).numpy()[mask]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    quantized = infer(transformer, ids, mask, INT8).numpy()[mask]
    assert (quantized != found).any()
    assert cosines(quantized, expected).min() > 0.98


@pytest.mark.slow
def test_second_products_of_feed_forward_layers_are_quantized_by_blocks(transformer):
    graph = onnx.load_from_string(find_graph(transformer, "int8").content).graph
    products = Counter(node.op_type for node in graph.node)
    layers = transformer.config.num_hidden_layers
    assert products["MatMulNBits"] == layers
    assert products["MatMulInteger"] == 5 * layers  # query, key, value, output, and the first


@pytest.mark.slow
def test_a_graph_reads_the_types_of_a_model_that_has_learned_them(tiny_bert):
    transformer = EntityEncoder(str(tiny_bert)).transformer
    add_shapes(transformer)
    with torch.no_grad():
        shape_table(transformer).weight[1:] += 0.5 * torch.randn(N_SHAPES - 1, 32)
    ids, mask = a_batch(5, 20)
    vectors = []
    for types in (None, np.zeros_like(ids), ids % N_SHAPES):
        expected = infer(transformer, ids, mask, InferenceSettings(precision="fp32"), types)
        found = infer(transformer, ids, mask, FP32, types).numpy()[mask]
        np.testing.assert_allclose(found, expected.numpy()[mask], atol=1e-5)
        vectors.append(found)
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert np.abs(vectors[2] - vectors[1]).max() > 0.01


@pytest.mark.slow
def test_a_graph_ends_with_the_weights_it_is_of(tiny_bert):
    transformer = EntityEncoder(str(tiny_bert)).transformer
    ids, mask = a_batch(2, 5)
    before = infer(transformer, ids, mask, FP32).numpy()
    graph = find_graph(transformer, "fp32")
    assert find_graph(transformer, "fp32") is graph
    with torch.no_grad():
        transformer.embeddings.word_embeddings.weight.mul_(1.5)
    after = infer(transformer, ids, mask, FP32).numpy()
    assert find_graph(transformer, "fp32") is not graph
    expected = infer(transformer, ids, mask, InferenceSettings()).numpy()
    np.testing.assert_allclose(after[mask], expected[mask], atol=1e-5)
    assert np.abs(after - before)[mask].max() > 0.01


def test_a_transformer_that_is_trained_runs_in_torch(tiny_bert, no_new_graphs):
    transformer = EntityEncoder(str(tiny_bert)).transformer
    forget_graphs(transformer)
    ids, mask = a_batch(2, 5)
    found = infer(transformer, ids, mask, INT8).numpy()
    assert (found == infer(transformer, ids, mask, InferenceSettings()).numpy()).all()


def test_training_makes_no_graphs(make_nlp, no_new_graphs):
    nlp = make_nlp()
    nlp.get_pipe("elq").set_inference(backend="onnx")
    train(nlp, steps=1)
    assert nlp(TEXTS[0]["text"]).text == TEXTS[0]["text"]


@pytest.mark.slow
def test_saved_graphs_are_used_again(
    trained_path, tmp_path, tmp_path_factory, monkeypatch, no_new_graphs
):
    texts = [row["text"] for row in TEXTS]
    nlp = spacy.load(shutil.copytree(trained_path, tmp_path_factory.mktemp("copy") / "pipeline"))
    elq = nlp.get_pipe("elq")
    monkeypatch.undo()
    elq.set_inference(backend="onnx", precision="int8")
    expected = [links(doc) for doc in nlp.pipe(texts)]
    elq.add_entities(ENTITIES)
    nlp.to_disk(tmp_path / "saved")
    files = sorted(file.relative_to(tmp_path) for file in tmp_path.rglob("*.onnx"))
    assert [str(file.parent) for file in files] == [
        "saved/elq/entity_encoder",
        "saved/elq/model",
    ]
    monkeypatch.setattr(onnx_graph, "make_graph", None)
    again = spacy.load(tmp_path / "saved")
    assert again.get_pipe("elq").entity_encoder.inference == INT8
    assert [links(doc) for doc in again.pipe(texts)] == expected
    again.get_pipe("elq").add_entities([Entity(id="Q1", title="New")])
    carried = spacy.load(trained_path).from_bytes(nlp.to_bytes())
    assert [links(doc) for doc in carried.pipe(texts)] == expected
    in_torch = spacy.load(tmp_path / "saved")
    in_torch.get_pipe("elq").set_inference(backend="torch", precision="auto")
    assert [links(doc) for doc in in_torch.pipe(texts)]
    in_torch.to_disk(tmp_path / "saved")  # over the files that it was loaded from
    assert len(list(tmp_path.rglob("*.onnx"))) == 2


def links(doc):
    return [(ent.start_char, ent.end_char, ent.kb_id_) for ent in doc.ents]


@pytest.fixture(scope="module")
def saved_encoder(tiny_bert, tmp_path_factory):
    encoder = EntityEncoder(str(tiny_bert), inference=FP32)
    encoder.encode(ENTITIES)
    path = tmp_path_factory.mktemp("graphs") / "encoder"
    encoder.to_disk(path)
    return path


@pytest.mark.slow
def test_a_graph_of_other_weights_is_left_out(saved_encoder, tiny_bert, tmp_path):
    other = EntityEncoder(str(tiny_bert))
    with torch.no_grad():
        other.transformer.embeddings.word_embeddings.weight.mul_(1.5)
    other.mark_weights_changed()
    other.to_disk(tmp_path / "other")
    assert not list((tmp_path / "other").glob("*.onnx"))
    name = "graph-fp32.onnx"
    (tmp_path / "other" / name).write_bytes((saved_encoder / name).read_bytes())
    loaded = load_entity_encoder(str(tmp_path / "other"), inference=FP32)
    with pytest.warns(UserWarning, match="ELQ135"):
        vectors = loaded.encode(ENTITIES)[0]
    np.testing.assert_allclose(vectors, other.encode(ENTITIES)[0], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"not a graph", None])
def test_a_damaged_graph_is_named(saved_encoder, tmp_path, content):
    load_entity_encoder(str(saved_encoder)).to_disk(tmp_path / "copy")
    file = tmp_path / "copy" / "graph-fp32.onnx"
    content = file.read_bytes()[:1000] if content is None else content
    file.unlink()
    file.write_bytes(content)
    with pytest.raises(ElqError, match=r"ELQ131.*graph-fp32\.onnx"):
        load_entity_encoder(str(tmp_path / "copy"), inference=FP32).encode(ENTITIES)


@pytest.mark.slow
def test_a_copy_that_was_never_loaded_has_the_graphs(saved_encoder, tmp_path, no_new_graphs):
    load_entity_encoder(str(saved_encoder)).to_disk(tmp_path / "copy")
    copy = load_entity_encoder(str(tmp_path / "copy"), inference=FP32)
    copy.encode(ENTITIES)
    assert set(GRAPHS[copy.transformer].by_precision) == {"fp32"}


def test_without_the_extra_torch_runs(tiny_bert, monkeypatch, no_new_graphs):
    monkeypatch.setattr(onnx_graph, "find_spec", lambda name: None)
    onnx_graph._is_installed.cache_clear()
    with pytest.warns(UserWarning, match=r"ELQ134.*onnxruntime, onnx, onnxscript"):
        found = EntityEncoder(str(tiny_bert), inference=INT8).encode(ENTITIES)[0]
    onnx_graph._is_installed.cache_clear()
    assert (found == EntityEncoder(str(tiny_bert)).encode(ENTITIES)[0]).all()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_has_its_own_session(transformer):
    ids, mask = a_batch(64, 64)
    expected = infer(transformer, ids, mask, FP32).numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        same = np.allclose(infer(transformer, ids, mask, FP32).numpy(), expected, atol=1e-5)
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(("backend", "precision"), [("torch", "int8"), ("onnx", "bf16")])
def test_what_a_backend_cannot_do_is_refused(make_nlp, backend, precision):
    elq = make_nlp().get_pipe("elq")
    with pytest.raises(ElqError, match="ELQ142"):
        elq.set_inference(backend=backend, precision=precision)
    assert elq.entity_encoder.inference == InferenceSettings()


def test_a_model_that_has_no_graph_is_refused(tiny_bert, monkeypatch):
    monkeypatch.setattr(onnx_graph, "_export", None)
    with pytest.raises(ElqError, match="ELQ143"):
        EntityEncoder(str(tiny_bert), inference=FP32).encode(ENTITIES)
