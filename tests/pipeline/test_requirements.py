"""What `spacy package` reads in `meta.json`: the extras that a pipeline needs."""

from __future__ import annotations

from importlib import import_module

import pytest
import srsly
from spacy.util import get_minor_version_range

from spacy_elq.about import __version__
from spacy_elq.pipeline.requirements import _parse, needed_extras, note_extras

RANGE = get_minor_version_range(__version__)
HERE = {"encoder.backend": "torch", "entity_encoder.backend": "torch", "save_entity_encoder": True}


@pytest.mark.parametrize(
    "settings, index, encoder, expected",
    [
        ({}, "exact", "minilm", set()),
        ({"encoder.backend": "onnx"}, "exact", "minilm", {"onnx"}),
        ({"entity_encoder.backend": "onnx"}, "IVF64,Flat", "some/path", {"onnx"}),
        ({}, "milvus:./a.db", "minilm", {"milvus"}),
        ({"save_entity_encoder": False}, "", "minilm", {"minilm"}),
        ({"save_entity_encoder": False}, "", "bert-base-uncased", set()),
    ],
)
def test_extras_of_a_pipeline(settings, index, encoder, expected):
    assert needed_extras({**HERE, **settings}, index, encoder) == expected


def test_a_shared_encoder_has_no_backend_of_its_own():
    settings = {name: value for name, value in HERE.items() if name != "encoder.backend"}
    assert needed_extras(settings, "exact", "minilm") == set()


def parsed(requirements):
    """Without regard to the order of bounds and extras."""
    return [_parse(each) or each for each in requirements]


@pytest.mark.parametrize(
    "listed, extras, expected",
    [
        (None, set(), []),
        (None, {"onnx", "milvus"}, [f"spacy-elq[milvus,onnx]{RANGE}"]),
        (["jieba>=1"], {"onnx"}, [f"spacy-elq[onnx]{RANGE}", "jieba>=1"]),
        ([f"spacy-elq[onnx]{RANGE}"], set(), [f"spacy-elq{RANGE}"]),
        # Noted by an earlier release; extras that the user wants.
        (["Spacy_ELQ[serve]>=0.0.1,<0.1"], {"onnx"}, [f"spacy-elq[onnx,serve]{RANGE}"]),
        (["spacy-elq @ git+https://a.b/c"], {"onnx"}, ["spacy-elq[onnx] @ git+https://a.b/c"]),
        (["spacy-elq-more>=1", "no requirement"], set(), ["spacy-elq-more>=1", "no requirement"]),
    ],
)
def test_requirements_in_meta(listed, extras, expected):
    meta = {} if listed is None else {"requirements": listed}
    for _ in range(2):
        note_extras(meta, extras)
        assert parsed(meta.get("requirements", [])) == parsed(expected)


@pytest.mark.slow
def test_spacy_package_finds_them(make_nlp, tmp_path):
    get_meta = import_module("spacy.cli.package").get_meta

    def packaged(nlp):
        nlp.to_disk(tmp_path)
        meta = get_meta(tmp_path, srsly.read_json(tmp_path / "meta.json"))
        return [r.partition(">")[0].partition("<")[0] for r in meta["requirements"]]

    nlp = make_nlp()
    nlp.get_pipe("elq").set_inference(backend="onnx")
    assert packaged(nlp) == ["spacy-elq[onnx]"]
    del nlp.meta["requirements"]  # as a file from before that, which says nothing of them
    assert packaged(nlp) == ["spacy-elq[onnx]"]
