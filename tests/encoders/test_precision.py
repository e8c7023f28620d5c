"""`precision = "auto"`: bfloat16 only where the hardware multiplies it."""

import logging

import numpy as np
import pytest
import torch
from spacy.util import logger
from spacy.vocab import Vocab

from spacy_elq.encoders.entity import EntityEncoder, EntityEncoderSettings
from spacy_elq.encoders.inference import InferenceSettings
from spacy_elq.encoders.precision import _has_bf16, autocast, uses_bf16
from spacy_elq.encoders.question import EncoderSettings
from spacy_elq.kb.build import build_kb
from spacy_elq.kb.files.manifest import Manifest
from spacy_elq.kb.knowledge_base import FaissKB
from spacy_elq.pipeline.factory import DEFAULT_CONFIG
from spacy_elq.training.training_settings import TrainingSettings
from spacy_elq.types import Entity

ENTITIES = [Entity(id="Q90", title="Paris", description="capital of France", aliases=("Lutetia",))]


@pytest.fixture
def hardware(monkeypatch):
    """Pretend that the processors have these capabilities."""

    def has(cpu=(), gpu=False):
        _has_bf16.cache_clear()
        capabilities = dict.fromkeys(cpu, True)
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: gpu)

    yield has
    _has_bf16.cache_clear()


@pytest.mark.parametrize(
    ("cpu", "expected"),
    [
        (["avx2"], False),
        (["avx2", "avx512_f"], False),  # has instructions to convert bfloat16 only
        (["amx_tile", "amx_int8"], False),
        (["avx512_f", "avx512_bf16"], True),
        (["amx_tile", "amx_bf16"], True),
    ],
)
def test_auto_asks_the_cpu(hardware, cpu, expected):
    hardware(cpu=cpu)
    assert uses_bf16("auto", "cpu") is expected
    assert uses_bf16("bf16", "cpu") and not uses_bf16("fp32", "cpu")


@pytest.mark.parametrize("supported", [False, True])
def test_auto_asks_the_gpu(hardware, supported):
    hardware(cpu=["amx_bf16"] if not supported else [], gpu=supported)
    assert uses_bf16("auto", "cuda") is supported
    assert not uses_bf16("auto", "mps")


def test_an_older_torch_that_cannot_say_computes_in_float32(hardware, monkeypatch):
    hardware(cpu=["amx_bf16"])
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert not uses_bf16("auto", "cpu")


def test_matrix_products_follow_the_precision(hardware):
    hardware(cpu=["amx_bf16"])
    a = torch.ones(2, 2)
    for name, dtype in [
        ("fp32", torch.float32),
        ("bf16", torch.bfloat16),
        ("auto", torch.bfloat16),
    ]:
        with autocast(name, "cpu"):
            assert (a @ a).dtype == dtype


def test_entities_follow_the_precision(hardware, tiny_bert):
    hardware(cpu=["amx_bf16"])

    def vectors(name):
        inference = InferenceSettings(precision=name)
        return EntityEncoder(str(tiny_bert), inference=inference).encode(ENTITIES)[0]

    exact, half = vectors("fp32"), vectors("bf16")
    assert (exact != half).any()
    np.testing.assert_allclose(exact, half, atol=0.05)
    assert (vectors("auto") == half).all()


def test_the_precision_does_not_change_what_an_encoder_is(tiny_bert):
    half = EntityEncoder(str(tiny_bert), inference=InferenceSettings(precision="bf16"))
    assert half.fingerprint == EntityEncoder(str(tiny_bert), EntityEncoderSettings()).fingerprint


def test_a_knowledge_base_says_how_its_vectors_were_computed(hardware, tiny_bert, tmp_path):
    hardware(cpu=["amx_bf16"])
    for name, inference in [
        ("torch fp32", InferenceSettings(precision="fp32")),
        ("torch bf16", InferenceSettings()),
    ]:
        encoder = EntityEncoder(str(tiny_bert), inference=inference)
        build_kb(ENTITIES, tmp_path / "kb", encoder, progress=False, overwrite=True)
        assert Manifest.read(tmp_path / "kb").inference == name
    kb = FaissKB.open(tmp_path / "kb", Vocab())
    kb.remove(["Q90"])
    new = [Entity(id="Q1", title="universe")]
    kb.add(new, *encoder.encode(new))
    kb.compact(progress=False)
    assert Manifest.read(tmp_path / "kb").inference == "torch bf16"
    assert InferenceSettings(backend="onnx", precision="int8").name_on("cpu") == "onnx int8"
    assert InferenceSettings(backend="onnx").name_on("cpu") == "onnx fp32"
    assert InferenceSettings(backend="onnx").name_on("mps") == "torch fp32"


def test_auto_is_the_default_everywhere():
    assert EncoderSettings().precision == TrainingSettings().precision == "auto"
    assert DEFAULT_CONFIG["entity_encoder"]["precision"] == "auto"
    assert DEFAULT_CONFIG["model"]["encoder"]["precision"] == "auto"


def test_the_choice_is_logged_once(hardware, monkeypatch, caplog):
    hardware(cpu=["avx2"])
    monkeypatch.setattr(logger, "propagate", True)
    with caplog.at_level(logging.INFO, logger="spacy"):
        for _ in range(3):
            uses_bf16("auto", "cpu")
        uses_bf16("fp32", "cpu")
    assert [record.getMessage() for record in caplog.records] == [
        "elq: precision 'auto' is fp32 on this CPU"
    ]
