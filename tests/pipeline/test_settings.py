"""Settings: which values are allowed, and which hold after saving and loading."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import spacy

from spacy_elq import ElqError
from spacy_elq.encoders.question import change_encoder, encoder_settings
from spacy_elq.ml.architectures import HeadSettings
from spacy_elq.ml.model import get_encoder
from spacy_elq.pipeline.linker_settings import LinkerSettings

from ..helpers import TEXTS

PLATT = {"method": "platt", "slope": 1.5, "intercept": 0.5}
# Of the encoder: what the config of the tests has, what is set in a call, what `load` overrides.
ENCODER = [
    ("max_length", 64, 25, 30),
    ("overlap", 24, 40, 30),
    ("truncate", False, True, True),
    ("max_batch_items", 4096, 100, 50),
    ("precision", "auto", "bf16", "fp32"),
]


@pytest.fixture
def saved(trained_path, tmp_path):
    return shutil.copytree(trained_path, tmp_path / "saved")


@pytest.fixture
def untrained(elq_config):
    return spacy.blank("en").add_pipe("elq", config=elq_config)


def in_encoder(nlp):
    return encoder_settings(get_encoder(nlp.get_pipe("elq").model)).model_dump()


def load(path, **settings):
    """Load with overrides of the component's settings; `__` in a name stands for a dot."""
    config = {f"components.elq.{n.replace('__', '.')}": value for n, value in settings.items()}
    return spacy.load(path, config=config)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "configured", "set_", "override"), ENCODER)
def test_what_the_config_says_of_the_encoder_holds(saved, name, configured, set_, override):
    assert in_encoder(spacy.load(saved))[name] == configured
    assert in_encoder(load(saved, **{f"model__encoder__{name}": override}))[name] == override
    nlp = spacy.load(saved)
    change_encoder(get_encoder(nlp.get_pipe("elq").model), **{name: set_})
    nlp.to_disk(saved)
    assert in_encoder(spacy.load(saved))[name] == set_
    assert in_encoder(load(saved, **{f"model__encoder__{name}": override}))[name] == override


@pytest.mark.slow
def test_the_encoder_reads_what_an_override_says(saved):
    text = "what time is it " * 20 + "is georgia north of armenia"
    assert spacy.load(saved)(text).ents
    assert not load(saved, model__encoder__truncate=True)(text).ents


@pytest.mark.slow
def test_bytes_keep_what_was_set_in_the_encoder(saved, elq_config):
    nlp = spacy.load(saved)
    nlp.get_pipe("elq").max_length = 25
    other = spacy.blank("en")
    other.add_pipe("elq", config=elq_config)
    assert in_encoder(other.from_bytes(nlp.to_bytes()))["max_length"] == 25


@pytest.mark.slow
def test_what_was_set_for_training_is_saved(saved):
    nlp = spacy.load(saved)
    nlp.get_pipe("elq").set_training(head_lr_factor=np.float32(2.0), freeze=("pooler",))
    nlp.to_disk(saved)
    training = spacy.load(saved).get_pipe("elq").training
    assert (training.head_lr_factor, training.freeze) == (2.0, ["pooler"])
    overridden = load(saved, training__head_lr_factor=3.0).get_pipe("elq").training
    assert (overridden.head_lr_factor, overridden.freeze) == (3.0, ["pooler"])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "value"), [("max_length", 20), ("alias_vectors", False)])
def test_entity_settings_other_than_those_of_the_vectors_are_refused(saved, name, value):
    with pytest.raises(ElqError, match=f"ELQ133.*{name}"):
        load(saved, **{f"entity_encoder__{name}": value})


@pytest.mark.slow
def test_an_entity_encoder_that_was_set_is_loaded(saved, tiny_bert):
    from spacy_elq.encoders.entity import EntityEncoder, EntityEncoderSettings

    nlp = spacy.load(saved)
    settings = EntityEncoderSettings(max_length=20)
    nlp.get_pipe("elq").entity_encoder = EntityEncoder(str(tiny_bert), settings)
    nlp.to_disk(saved)
    assert spacy.load(saved).get_pipe("elq").entity_encoder.settings == settings


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("threshold", float("inf"), float("inf")),
        ("threshold", float("-inf"), float("-inf")),
        ("threshold", np.float32(-2), -2.0),
        ("mention_threshold", float("-inf"), float("-inf")),
        ("span_group_threshold", np.float64(-3.25), -3.25),
        ("top_k", np.int64(5), 5),
        ("overwrite", np.bool_(False), False),
        ("calibration", {**PLATT, "slope": np.float64(1.5)}, PLATT),
        (
            "calibration",
            {"method": "isotonic", "scores": np.array([-2.0, -1.0]), "probs": (0, np.int64(1))},
            {"method": "isotonic", "scores": [-2.0, -1.0], "probs": [0.0, 1.0]},
        ),
    ],
)
def test_allowed_values_can_be_saved(saved, name, value, expected):
    nlp = spacy.load(saved)
    setattr(nlp.get_pipe("elq"), name, value)
    got = getattr(nlp.get_pipe("elq"), name)
    assert (type(got), got) == (type(expected), expected)
    nlp.to_disk(saved)
    got = getattr(spacy.load(saved).get_pipe("elq"), name)
    assert (type(got), got) == (type(expected), expected)
    spacy.load(saved)(TEXTS[0]["text"])


@pytest.mark.slow
def test_a_path_of_a_knowledge_base_can_be_saved(saved, kb_path, tmp_path):
    shutil.copytree(kb_path, tmp_path / "kb")
    nlp = spacy.load(saved)
    nlp.get_pipe("elq").kb_path = Path(tmp_path / "kb")
    nlp.to_disk(saved)
    assert spacy.load(saved).get_pipe("elq").kb_path == str(tmp_path / "kb")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kb_path", 5),
        ("threshold", float("nan")),
        ("span_group_threshold", np.float32("nan")),
        ("top_k", 2.0),
    ],
)
def test_other_values_are_refused_and_the_old_ones_stay(saved, name, value):
    elq = spacy.load(saved).get_pipe("elq")
    before = getattr(elq, name)
    with pytest.raises(ElqError, match=f"ELQ122.*{name}"):
        setattr(elq, name, value)
    assert getattr(elq, name) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value"),
    [("overlap", -5), ("max_length", -1), ("max_length", 2), ("max_batch_items", 0)],
)
def test_a_config_of_the_encoder_that_is_out_of_range(saved, elq_config, name, value):
    config = {**elq_config, "model": {**elq_config["model"], "encoder": {name: value}}}
    with pytest.raises(ElqError, match=f"ELQ112.*{name}"):
        spacy.blank("en").add_pipe("elq", config=config)
    with pytest.raises(ElqError, match=f"ELQ112.*{name}"):
        load(saved, **{f"model__encoder__{name}": value})


def test_an_overlap_that_would_lose_mentions_is_refused(elq_config, untrained):
    encoder = elq_config["model"]["encoder"] | {"overlap": 19}
    config = {**elq_config, "model": {**elq_config["model"], "encoder": encoder}}
    with pytest.raises(ElqError, match=r"ELQ125.*overlap is 19.*to 20 or more"):
        spacy.blank("en").add_pipe("elq", config=config)
    encoder["truncate"] = True  # a single window has no border
    spacy.blank("en").add_pipe("elq", config=config)
    untrained.max_mention_length = 12
    with pytest.raises(ElqError, match=r"ELQ125.*overlap is 24"):
        untrained.max_mention_length = 13
    assert untrained.max_mention_length == 12


def test_a_length_that_would_lose_mentions_is_refused(elq_config, untrained):
    encoder = elq_config["model"]["encoder"] | {"max_length": 21}
    config = {**elq_config, "model": {**elq_config["model"], "encoder": encoder}}
    with pytest.raises(ElqError, match=r"ELQ126.*max_length is 21.*to 22 or more"):
        spacy.blank("en").add_pipe("elq", config=config)
    encoder["truncate"] = True
    spacy.blank("en").add_pipe("elq", config=config)
    untrained.max_length = 22
    with pytest.raises(ElqError, match="ELQ126"):
        untrained.max_length = 21
    with pytest.raises(ElqError, match="ELQ126"):
        untrained.max_mention_length = 11
    assert (untrained.max_length, untrained.max_mention_length) == (22, 10)


@pytest.mark.slow
@pytest.mark.parametrize("value", [2, -1, 7.5, True])
def test_a_length_that_is_out_of_range(saved, value):
    elq = spacy.load(saved).get_pipe("elq")
    with pytest.raises(ElqError, match=r"ELQ1(12|22).*max_length"):
        elq.max_length = value
    assert elq.max_length == 64


def test_threads_that_set_different_settings_lose_none(make_nlp, monkeypatch):
    elq = make_nlp().get_pipe("elq")
    changed, begun, other_is_done = LinkerSettings.changed, threading.Event(), threading.Event()

    def slowly(settings, **values):
        result = changed(settings, **values)
        if "threshold" in values:
            begun.set()
            other_is_done.wait(0.2)  # the other thread has to wait for this one
        return result

    def set_top_k():
        elq.top_k = 3
        other_is_done.set()

    monkeypatch.setattr(LinkerSettings, "changed", slowly)
    first = threading.Thread(target=setattr, args=(elq, "threshold", -7.5))
    first.start()
    assert begun.wait(10)
    second = threading.Thread(target=set_top_k)
    second.start()
    first.join()
    second.join()
    assert (elq.threshold, elq.top_k) == (-7.5, 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"context_window": -1}, "ELQ112.*context_window"),
        ({"scale": float("nan")}, "ELQ122.*scale.*a number"),
        ({"cosine": "yes"}, "ELQ122.*cosine.*true or false"),
    ],
)
def test_settings_of_the_heads_are_checked(settings, message):
    with pytest.raises(ElqError, match=message):
        HeadSettings(**settings)


def test_settings_are_listed_as_attributes(untrained):
    assert {*LinkerSettings.model_fields, "kb_path", "max_length", "set_kb"} <= set(dir(untrained))


def test_an_attribute_error_inside_a_property_is_told(untrained, monkeypatch):
    from spacy_elq.pipeline.component import ElqLinker

    monkeypatch.setattr(ElqLinker, "kb", property(lambda self: self.linked_kb.no_such_thing))
    with pytest.raises(AttributeError, match=r"'LinkedKB'.*no_such_thing"):
        untrained.kb  # noqa: B018
    with pytest.raises(AttributeError, match=r"'ElqLinker'.*'treshold'"):
        untrained.treshold  # noqa: B018


def test_cfg_refuses_changes(untrained):
    for change in (
        lambda: untrained.cfg.update(threshold=-3.0),
        lambda: untrained.cfg.pop("threshold"),
    ):
        with pytest.raises((NotImplementedError, TypeError)):
            change()
    with pytest.raises(NotImplementedError, match=r"ELQ151.*get_pipe\('elq'\)\.threshold"):
        untrained.cfg["threshold"] = -3.0
    assert isinstance(untrained.cfg, dict)  # or spaCy does not pass it to the scorer
    assert untrained.cfg["threshold"] == untrained.threshold


def test_messages_name_the_component_as_it_is_called_now(elq_config, tmp_path):
    source = spacy.blank("en")
    source.add_pipe("elq", config=elq_config)
    nlp = spacy.blank("en")
    linker = nlp.add_pipe("elq", source=source, name="linker")
    with pytest.raises(ElqError, match=r"ELQ105.*'linker'"):
        linker.kb  # noqa: B018
    linker.kb_path = tmp_path / "nowhere"
    with pytest.raises(ElqError, match=r"ELQ243.*components\.linker\.kb_path"):
        linker.linked_kb.from_disk(tmp_path, None)
