from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import spacy
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from spacy_elq import ElqError
from spacy_elq.encoders.question import get_transformer
from spacy_elq.encoders.transformer_files import WEIGHTS
from spacy_elq.ml.model import get_encoder
from spacy_elq.ml.model_files import DESCRIPTION, HEADS

FILES = ["cfg", f"model/{DESCRIPTION}", f"model/{HEADS}", f"model/{WEIGHTS}", "model/config.json"]


def weights_of(nlp):
    return get_transformer(get_encoder(nlp.get_pipe("elq").model)).state_dict()


def test_files_come_back_and_transformers_reads_them(make_nlp, tmp_path, recwarn):
    nlp = make_nlp()
    nlp.to_disk(tmp_path / "a")
    loaded = spacy.load(tmp_path / "a")
    assert all(torch.equal(t, weights_of(loaded)[n]) for n, t in weights_of(nlp).items())
    assert not [w for w in recwarn if "state_dict" in str(w.message)]
    other = AutoModel.from_pretrained(str(tmp_path / "a" / "elq" / "model")).state_dict()
    assert all(torch.equal(t, other[n]) for n, t in weights_of(nlp).items())


@pytest.mark.slow
def test_saving_over_what_was_loaded(make_nlp, tmp_path):
    make_nlp().to_disk(tmp_path / "a")
    nlp = spacy.load(tmp_path / "a")
    vector = weights_of(nlp)["embeddings.word_embeddings.weight"]
    vector += 1
    nlp.to_disk(tmp_path / "a")
    again = weights_of(spacy.load(tmp_path / "a"))["embeddings.word_embeddings.weight"]
    np.testing.assert_array_equal(again.numpy(), vector.numpy())


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(make_nlp, tmp_path, name):
    make_nlp().to_disk(tmp_path / "a")
    (tmp_path / "a" / "elq" / name).unlink()
    with pytest.raises(ElqError, match=rf"ELQ1[13]1.*{name}"):
        spacy.load(tmp_path / "a")


@pytest.mark.slow
@pytest.mark.parametrize("share", [0, 0.5])
@pytest.mark.parametrize("name", FILES)
def test_a_cut_file_is_named(make_nlp, tmp_path, name, share):
    make_nlp().to_disk(tmp_path / "a")
    file = tmp_path / "a" / "elq" / name
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ElqError, match=rf"ELQ1[13]1.*{name}"):
        spacy.load(tmp_path / "a")


@pytest.mark.slow
@pytest.mark.parametrize(
    "content",
    ["{}", "[]", "{", '{"seen_ids": 3, "changed": {}}', '{"seen_ids": [], "changed": {"a": 3}}'],
)
def test_settings_that_are_none_are_named(make_nlp, tmp_path, content):
    make_nlp().to_disk(tmp_path / "a")
    (tmp_path / "a" / "elq" / "cfg").write_text(content)
    with pytest.raises(ElqError, match=r"ELQ131.*cfg"):
        spacy.load(tmp_path / "a")


@pytest.mark.slow
def test_stored_settings_are_checked(make_nlp, tmp_path):
    nlp = make_nlp()
    nlp.get_pipe("elq").top_k = 3
    nlp.to_disk(tmp_path / "a")
    cfg = tmp_path / "a" / "elq" / "cfg"
    cfg.write_text(re.sub(r"(10,\s*)3\b", r"\g<1>-3", cfg.read_text()))
    with pytest.raises(ElqError, match=r"ELQ112.*top_k"):
        spacy.load(tmp_path / "a")


@pytest.mark.slow
def test_weights_are_never_unpickled(make_nlp, tmp_path):
    make_nlp().to_disk(tmp_path / "a")
    torch.save({"a": Path("a")}, tmp_path / "a" / "elq" / "model" / WEIGHTS)
    with pytest.raises(ElqError, match=rf"ELQ131.*{WEIGHTS}"):
        spacy.load(tmp_path / "a")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "off", "name"),
    [
        ("nil", False, r"nil_cosine"),
        ("name_features", False, r"names\.mention"),
        ("context_window", 0, r"context\.share"),
    ],
)
def test_a_config_with_other_heads_than_the_weights_is_named(make_nlp, tmp_path, option, off, name):
    make_nlp(model={option: off}).to_disk(tmp_path / "a")
    config = tmp_path / "a" / "config.cfg"
    text = config.read_text()
    assert f"\n{option} = {str(off).lower()}\n" in text
    config.write_text(text.replace(f"\n{option} = {str(off).lower()}\n", "\n"))
    with pytest.raises(ElqError, match=f"ELQ124.*{name}"):
        spacy.load(tmp_path / "a")


@pytest.mark.slow
def test_weights_of_another_transformer_are_named(make_nlp, tmp_path):
    make_nlp().to_disk(tmp_path / "a")
    weights = tmp_path / "a" / "elq" / "model" / WEIGHTS
    state = load_file(weights)
    state["embeddings.word_embeddings.weight"] = torch.zeros(3, 2)
    save_file(state, weights)
    with pytest.raises(ElqError, match=r"ELQ124.*word_embeddings"):
        spacy.load(tmp_path / "a")
