from __future__ import annotations

import numpy as np
import pytest
import spacy
import torch

from spacy_elq import ElqError
from spacy_elq.encoders.question import get_transformer
from spacy_elq.model import get_encoder
from spacy_elq.model_files import WEIGHTS


def weights_of(nlp):
    return get_transformer(get_encoder(nlp.get_pipe("elq").model)).state_dict()


def test_weights_are_in_their_own_file_and_come_back(make_nlp, tmp_path, recwarn):
    nlp = make_nlp()
    nlp.to_disk(tmp_path / "a")
    weights, rest = tmp_path / "a" / "elq" / WEIGHTS, tmp_path / "a" / "elq" / "model"
    values = weights_of(nlp)["embeddings.word_embeddings.weight"].numpy()
    assert values.tobytes() in weights.read_bytes()
    assert values[0].tobytes() not in rest.read_bytes()
    loaded = spacy.load(tmp_path / "a")
    assert all(torch.equal(t, weights_of(loaded)[n]) for n, t in weights_of(nlp).items())
    assert not [w for w in recwarn if "state_dict" in str(w.message)]


def test_saving_over_what_was_loaded(make_nlp, tmp_path):
    make_nlp().to_disk(tmp_path / "a")
    nlp = spacy.load(tmp_path / "a")
    vector = weights_of(nlp)["embeddings.word_embeddings.weight"]
    vector += 1
    nlp.to_disk(tmp_path / "a")
    again = weights_of(spacy.load(tmp_path / "a"))["embeddings.word_embeddings.weight"]
    np.testing.assert_array_equal(again.numpy(), vector.numpy())


def test_pipelines_with_the_weights_among_the_bytes_load(make_nlp, tmp_path):
    nlp = make_nlp()
    nlp.to_disk(tmp_path / "a")
    directory = tmp_path / "a" / "elq"
    (directory / WEIGHTS).unlink()
    (directory / "model").write_bytes(nlp.get_pipe("elq").model.to_bytes())
    loaded = spacy.load(tmp_path / "a")
    assert all(torch.equal(t, weights_of(loaded)[n]) for n, t in weights_of(nlp).items())


@pytest.mark.parametrize(
    ("option", "off", "name"),
    [
        ("nil", False, r"nil_cosine"),
        ("names", False, r"names\.mention"),
        ("context", 0, r"context\.share"),
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


def test_weights_of_another_transformer_are_named(make_nlp, tmp_path):
    make_nlp().to_disk(tmp_path / "a")
    weights = tmp_path / "a" / "elq" / WEIGHTS
    state = torch.load(weights, weights_only=True)
    state["embeddings.word_embeddings.weight"] = torch.zeros(3, 2)
    torch.save(state, weights)
    with pytest.raises(ElqError, match=r"ELQ124.*word_embeddings"):
        spacy.load(tmp_path / "a")
