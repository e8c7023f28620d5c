"""The component on top of a `transformer` component that others may share."""

import numpy as np
import pytest
import spacy
import torch

from spacy_elq import ElqError
from spacy_elq.encoders.question import change_encoder, encoder_settings
from spacy_elq.kb.loaders import kb_from_directory
from spacy_elq.ml.model import get_encoder, get_heads

from ..helpers import TEXTS, examples, train


@pytest.fixture
def shared(tiny_bert, elq_config, kb_path):
    from spacy.util import fix_random_seed

    fix_random_seed(0)
    nlp = spacy.blank("en")
    nlp.add_pipe(
        "transformer",
        config={
            "model": {
                "name": str(tiny_bert),
                "tokenizer_config": {"use_fast": True},
                "get_spans": {
                    "@span_getters": "spacy-transformers.strided_spans.v1",
                    "window": 16,
                    "stride": 10,
                },
            }
        },
    )
    encoder = {"@architectures": "spacy-elq.TransformerListener.v1"}
    model = {"@architectures": "spacy-elq.ELQ.v1", "encoder": encoder, "pretrained": None}
    nlp.add_pipe("elq", config={**elq_config, "model": model})
    nlp.initialize()
    nlp.get_pipe("elq").set_kb(kb_from_directory(kb_path))
    return nlp


@pytest.mark.slow
def test_learns_by_heart_and_trains_the_shared_transformer(shared, tmp_path):
    parameter = shared.get_pipe("transformer").model.transformer.encoder.layer[0].output.dense
    before = parameter.weight.detach().numpy().copy()
    train(shared, steps=120)
    assert not np.array_equal(parameter.weight.detach().numpy(), before)
    assert shared.evaluate(examples(shared))["elq_strong_f"] == 1.0
    shared.to_disk(tmp_path / "pipeline")
    loaded = spacy.load(tmp_path / "pipeline")
    for row in TEXTS:
        wanted = [(s["start"], s["end"], s["id"]) for s in row["spans"]]
        found = [(e.start_char, e.end_char, e.kb_id_) for e in loaded(row["text"]).ents]
        assert found == wanted


@pytest.mark.slow
def test_windows_of_a_long_document_share_out_its_characters(shared):
    text = " ".join(["is georgia north of armenia"] * 8)
    doc = shared.get_pipe("transformer")(shared.make_doc(text))
    (batch,) = get_encoder(shared.get_pipe("elq").model).predict([doc])
    owned = np.zeros(len(text), dtype=int)
    assert len(batch.windows) > 1
    for window in batch.windows:
        seen = set()
        for start, end in window.chars.tolist():
            if start >= 0 and window.core[0] <= start < window.core[1]:
                seen |= set(range(start, end))
        owned[sorted(seen)] += 1
    letters = np.array([not char.isspace() for char in text])
    assert (owned[letters] == 1).all()


@pytest.mark.slow
def test_shapes_of_words_take_part_in_the_mention_logits(shared):
    model = shared.get_pipe("elq").model

    def logits(text):
        doc = shared.get_pipe("transformer")(shared.make_doc(text))
        (batch,) = model.predict([doc])
        return batch.logits.numpy()

    cased, uncased = "Is it Paris? It was Paris of Georgia.", "is it paris? it was."
    before = logits(cased), logits(uncased)
    with torch.no_grad():
        for weights in get_heads(model).shapes.parameters():
            weights += 1.0
    assert np.abs(logits(cased) - before[0]).max() > 0.5
    np.testing.assert_array_equal(logits(uncased), before[1])


@pytest.mark.slow
@pytest.mark.parametrize("texts", [[""], ["", "is georgia north of armenia", " "]])
def test_empty_texts(shared, texts):
    assert [len(doc.text) for doc in shared.pipe(texts)] == [len(text) for text in texts]


@pytest.mark.slow
def test_it_has_no_length_of_its_own(shared, tmp_path):
    elq = shared.get_pipe("elq")
    with pytest.raises(ElqError, match="ELQ132"):
        _ = elq.max_length
    with pytest.raises(ElqError, match="ELQ132"):
        elq.max_length = 9
    change_encoder(get_encoder(elq.model), max_batch_items=100)
    shared.to_disk(tmp_path / "pipeline")
    loaded = spacy.load(tmp_path / "pipeline").get_pipe("elq")
    assert encoder_settings(get_encoder(loaded.model)).max_batch_items == 100
