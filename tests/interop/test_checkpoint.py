from __future__ import annotations

import json
import shutil
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import spacy
import torch

from spacy_elq.errors import ElqError
from spacy_elq.interop import checkpoint
from spacy_elq.interop.checkpoint import LinkingOptions, import_checkpoint, import_directory
from spacy_elq.ml.model import get_heads

from ..helpers import WIDTH
from .helpers import IDS

PREFIX = "classification_heads."


def do_import(files, out, **options):
    import_checkpoint(files, out, progress=False, **options)
    nlp = spacy.load(out)
    return nlp, nlp.get_pipe("elq")


def without(state, part):
    return {name: tensor for name, tensor in state.items() if part not in name}


@pytest.mark.slow
def test_entities_and_vectors(imported, published):
    elq: Any = spacy.load(imported).get_pipe("elq")
    assert [entity.id for entity in elq.kb] == IDS
    assert [entity.extra["line"] for entity in elq.kb] == list(range(len(IDS)))
    vectors, owners = elq.kb.vector_matrix()
    np.testing.assert_array_equal(vectors, published.vectors)
    assert owners.tolist() == list(range(len(IDS)))
    assert not import_directory(imported).exists()


@pytest.mark.slow
def test_the_entity_encoder_comes_along(imported, published, tmp_path):
    # A copy: what is added is written there.
    elq: Any = spacy.load(shutil.copytree(imported, tmp_path / "copy")).get_pipe("elq")
    assert elq.entity_encoder.fingerprint == elq.kb.fingerprint
    elq.add_entities([{"id": "new", "title": "Paris", "description": " capital of France"}])
    np.testing.assert_allclose(elq.kb.get_vector("new"), published.vectors[0], atol=1e-5)


@pytest.mark.slow
def test_without_vectors_the_entities_are_embedded(published, tmp_path):
    _, elq = do_import(replace(published.files, vectors=None), tmp_path / "out")
    np.testing.assert_allclose(elq.kb.vector_matrix()[0], published.vectors, atol=1e-5)


@pytest.mark.slow
def test_without_entity_encoder(published, save, tmp_path):
    state = without(published.state, "cand_encoder")
    files = replace(published.files, weights=save("some.bin", state))
    with pytest.warns(UserWarning, match="ELQ550"):
        _, elq = do_import(files, tmp_path / "out")
    assert not (tmp_path / "out" / "elq" / "entity_encoder").exists()
    with pytest.raises(ElqError, match="ELQ213"):
        elq.add_entities([{"id": "new", "title": "Paris"}])
    with pytest.raises(ElqError, match=r"ELQ515.*some\.bin"):
        do_import(replace(files, vectors=None), tmp_path / "other")


@pytest.mark.slow
def test_an_entity_encoder_that_made_other_vectors_is_left_out(published, save, tmp_path):
    vectors = torch.from_numpy(published.vectors) + 1
    files = replace(published.files, vectors=save("other.t7", vectors))
    with pytest.warns(UserWarning, match="ELQ551"):
        _, elq = do_import(files, tmp_path / "out")
    assert not elq.save_entity_encoder
    np.testing.assert_array_equal(elq.kb.vector_matrix()[0], vectors.numpy())


@pytest.mark.slow
def test_without_mention_scorer_given_mentions_are_linked(published, save, tmp_path):
    state = without(published.state, PREFIX)
    files = replace(published.files, weights=save("some.bin", state))
    with pytest.warns(UserWarning, match="ELQ519"):
        nlp, elq = do_import(files, tmp_path / "out")
    assert elq.mentions == "ents"
    doc = nlp.make_doc("who did paris marry")
    doc.set_ents([doc.char_span(8, 13, label="X")])
    elq.threshold = -99.0
    assert elq(doc).ents[0].kb_id_ in IDS


@pytest.mark.slow
@pytest.mark.parametrize("method", ["qa_linear", "qa_mlp", "qa"])
@pytest.mark.parametrize("aggregation", ["all_avg", "fl_avg", "all_avg_linear", "fl_linear"])
def test_heads(published, save, tmp_path, method, aggregation):
    encoders = without(published.state, PREFIX)
    state = {f"module.{name}": tensor for name, tensor in encoders.items()}
    expected = {}
    shapes = {"": (3, WIDTH)} if method == "qa_linear" else {"0.": (WIDTH, WIDTH), "3.": (3, WIDTH)}
    for place, shape in shapes.items():
        expected[f"mention_scores.bound_classifier.{place}weight"] = torch.randn(shape)
        expected[f"mention_scores.bound_classifier.{place}bias"] = torch.randn(shape[0])
    if aggregation.endswith("_linear"):
        width = WIDTH * (2 if aggregation == "fl_linear" else 1)
        name = "get_context_embeds.mention_agg_linear"
        expected |= {f"{name}.weight": torch.randn(WIDTH, width), f"{name}.bias": torch.ones(WIDTH)}
    state |= {f"module.{PREFIX}{name}": tensor for name, tensor in expected.items()}
    heads = {"mention_scoring_method": method, "mention_aggregation_type": aggregation}
    files = replace(
        published.files,
        weights=save("heads.bin", state),
        params=save("params.txt", json.dumps({**published.params, **heads})),
    )
    _, elq = do_import(files, tmp_path / "out")
    loaded = get_heads(elq.model)
    names = {"mention_scores.bound_classifier": loaded.mention_scorer.layers}
    names["get_context_embeds.mention_agg_linear"] = loaded.pooling.linear
    found = {
        f"{prefix}.{name}": tensor
        for prefix, module in names.items()
        for name, tensor in module.state_dict().items()
    }
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.slow
def test_options(published, tmp_path):
    options = LinkingOptions(-1.5, "top_entity_by_mention", -0.5, 20)
    _, elq = do_import(published.files, tmp_path / "out", options=options)
    assert (elq.threshold, elq.threshold_type, elq.mention_threshold) == (
        -1.5,
        "top_entity_by_mention",
        -0.5,
    )
    assert elq.max_length == 20
    with pytest.raises(ElqError, match="ELQ110"):
        do_import(published.files, tmp_path / "b", options=LinkingOptions(threshold_type="best"))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda s: {**s, "bert.weight": torch.ones(1)}, "ELQ511"),
        (lambda s: without(s, "context_encoder"), "ELQ512"),
        (lambda s: without(s, "encoder.layer.1.attention.self.key"), "ELQ513"),
        (lambda s: {name: tensor[..., :8] for name, tensor in s.items()}, "ELQ513"),
        (lambda s: torch.ones(3), "ELQ504"),
        (lambda s: {**s, "epoch": 3}, "ELQ504"),
    ],
)
def test_wrong_weights_are_refused_by_name(published, save, tmp_path, change, code):
    files = replace(published.files, weights=save("wrong.bin", change(published.state)))
    with pytest.raises(ElqError, match=rf"{code}.*wrong\.bin"):
        do_import(files, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_vectors_must_fit(published, save, tmp_path):
    files = replace(published.files, vectors=save("short.t7", torch.ones(39, WIDTH)))
    with warnings.catch_warnings(), pytest.raises(ElqError, match=r"ELQ517.*short\.t7.*39.*40"):
        warnings.simplefilter("ignore")
        do_import(files, tmp_path / "out")
    files = replace(published.files, vectors=save("thin.t7", torch.ones(40, 8)))
    with pytest.raises(ElqError, match=r"ELQ517.*thin\.t7"):
        do_import(files, tmp_path / "out")


def test_an_unknown_encoder_is_refused(published, tmp_path):
    with pytest.raises(ElqError, match="ELQ101"):
        do_import(replace(published.files, encoder="/no/such/dir"), tmp_path / "out")


@pytest.mark.slow
def test_an_interrupted_import_goes_on(published, tmp_path, monkeypatch, capsys):
    from spacy_elq.interop.tensors import MatrixFile

    read = MatrixFile.__getitem__
    monkeypatch.setattr(checkpoint, "BATCH_SIZE", 10)

    def broken_off(self, rows):
        if rows.start == 20 and rows.stop == 30:
            raise KeyboardInterrupt
        return read(self, rows)

    monkeypatch.setattr(MatrixFile, "__getitem__", broken_off)
    with pytest.raises(KeyboardInterrupt):
        do_import(published.files, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    asked = []

    def watched(self, rows):
        asked.append((rows.start, rows.stop))
        return read(self, rows)

    monkeypatch.setattr(MatrixFile, "__getitem__", watched)
    _, elq = do_import(published.files, tmp_path / "out")
    assert {(20, 30), (30, 40)} <= set(asked)
    assert not {(0, 10), (10, 20)} & set(asked)
    np.testing.assert_array_equal(elq.kb.vector_matrix()[0], published.vectors)


@pytest.mark.slow
def test_what_is_there_is_replaced_only_when_asked(published, tmp_path):
    out = tmp_path / "out"
    do_import(published.files, out)
    with pytest.raises(ElqError, match="ELQ211"):
        do_import(published.files, out)
    _, elq = do_import(published.files, out, options=LinkingOptions(-1.0), overwrite=True)
    assert elq.threshold == -1.0
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    with pytest.raises(ElqError, match="ELQ520"):
        do_import(published.files, other, overwrite=True)


@pytest.mark.slow
def test_imported_pipelines_can_be_trained(imported):
    from thinc.api import Adam

    from ..helpers import examples

    nlp = spacy.load(imported)
    rows = [{"text": "who did paris marry", "spans": [{"start": 8, "end": 13, "id": "Q2"}]}]
    gold = examples(nlp, rows)
    optimizer = Adam(1e-3, L2=0.0, use_averages=False)
    first = nlp.update(gold, sgd=optimizer, losses={})["elq"]
    for _ in range(10):
        last = nlp.update(gold, sgd=optimizer, losses={})["elq"]
    assert last < first


@pytest.mark.slow
def test_command(published, tmp_path):
    from typer.testing import CliRunner

    from spacy_elq.cli import app

    files = published.files
    named = {"--weights": files.weights, "--params": files.params, "--entities": files.entities}
    arguments = ["import-checkpoint", str(tmp_path / "out"), "--vectors", str(files.vectors)]
    arguments += [str(part) for pair in named.items() for part in pair]
    result = CliRunner().invoke(app, [*arguments, "--threshold", "-1.5", "--quiet"])
    assert result.exit_code == 0, result.output
    assert spacy.load(tmp_path / "out").get_pipe("elq").threshold == -1.5  # type: ignore[attr-defined]
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 1
    assert "ELQ211" in again.output
    assert "Traceback" not in again.output
