"""`elq optimize`: a pipeline whose encoders run in ONNX Runtime."""

import pytest
import spacy
from typer.testing import CliRunner

from spacy_elq.cli import app
from spacy_elq.encoders import onnx_graph
from spacy_elq.encoders.inference import InferenceSettings
from spacy_elq.evaluation.compare_inference import compare_inference

from ..helpers import TEXTS


def run(*args):
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.mark.slow
def test_optimize_writes_a_pipeline_that_says_what_it_gains(trained_path, tmp_path, monkeypatch):
    questions = tmp_path / "questions.txt"
    questions.write_text("\n".join(row["text"] for row in TEXTS), encoding="utf8")
    result = run("optimize", trained_path, tmp_path / "out", "-i", questions)
    assert result.exit_code == 0, result.output
    header, before, after, _, summary = result.stdout.splitlines()
    columns = ["inference", "ms a text", "times", "texts/s in batches", "times", "links"]
    assert header.split() == " ".join(columns).split()
    assert before.startswith("torch fp32") and after.startswith("onnx int8")
    assert "links are the same" in summary
    monkeypatch.setattr(onnx_graph, "make_graph", None)  # it has been made
    nlp = spacy.load(tmp_path / "out")
    elq = nlp.get_pipe("elq")
    assert elq.entity_encoder.inference == InferenceSettings(backend="onnx", precision="int8")
    assert sum(len(doc.ents) for doc in nlp.pipe(row["text"] for row in TEXTS)) == int(
        after.split()[-1]
    )
    elq.add_entities([{"id": "Q1", "title": "universe"}])
    again = run("optimize", trained_path, tmp_path / "out")
    assert again.exit_code == 1 and "ELQ211" in again.output


def test_what_cannot_be_is_refused_before_the_work(trained_path, tmp_path, monkeypatch):
    impossible = run("optimize", trained_path, tmp_path / "out", "--precision", "bf16")
    assert impossible.exit_code == 1 and "ELQ142" in impossible.output
    unknown = run("optimize", trained_path, tmp_path / "out", "--backend", "tpu")
    assert unknown.exit_code == 1 and "ELQ110" in unknown.output
    monkeypatch.setattr(onnx_graph, "find_spec", lambda name: None)
    missing = run("optimize", trained_path, tmp_path / "out")
    assert missing.exit_code == 1 and "ELQ144" in missing.output
    empty = tmp_path / "empty.txt"
    empty.write_text("\n\n", encoding="utf8")
    nothing = run(
        "optimize",
        trained_path,
        tmp_path / "out",
        "--backend",
        "torch",
        "--precision",
        "fp32",
        "-i",
        empty,
    )
    assert nothing.exit_code == 1 and "ELQ406" in nothing.output
    assert not (tmp_path / "out").exists()


def test_the_comparison_is_of_both_ways(trained_path):
    nlp = spacy.load(trained_path)
    texts = [row["text"] for row in TEXTS]
    half = InferenceSettings(precision="bf16")
    before, after, difference = compare_inference(nlp, nlp.get_pipe("elq"), texts, half)
    assert nlp.get_pipe("elq").entity_encoder.inference == half
    assert after.links == [links(doc) for doc in nlp.pipe(texts)]
    nlp.get_pipe("elq").set_inference(precision="fp32")
    assert before.links == [links(doc) for doc in nlp.pipe(texts)]
    both = [one.keys() & other.keys() for one, other in zip(before.links, after.links, strict=True)]
    assert difference.same == sum(map(len, both)) > 0
    assert any(
        (one != other).any() for one, other in zip(before.vectors, after.vectors, strict=True)
    )
    assert 0.9 < difference.min_cosine <= difference.cosine
    assert 0 < difference.score <= difference.max_score


def links(doc):
    return {(ent.start_char, ent.end_char, ent.kb_id_): ent._.elq for ent in doc.ents}
