"""Packages of pipelines: the extras in `meta.json`, and the hub that takes them."""

from __future__ import annotations

import shutil
from importlib import import_module
from pathlib import Path

import pytest
import spacy
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


@pytest.mark.slow
def test_the_hub_takes_the_package(make_nlp, tmp_path, monkeypatch):
    """What `spacy huggingface-hub push` does with a wheel, up to the upload."""
    hub = pytest.importorskip("spacy_huggingface_hub.push")
    nlp = make_nlp()
    nlp.meta["performance"], nlp.meta["notes"] = {"elq_weak_f": 0.5}, "It links."
    nlp.to_disk(tmp_path / "pipeline")
    package = import_module("spacy.cli.package").package
    package(tmp_path / "pipeline", tmp_path, name="tiny", version="1.0.0", create_sdist=False)
    built = tmp_path / "en_tiny-1.0.0"
    shutil.copy(built / "meta.json", built / "en_tiny")  # as its setup.py does
    wheel = shutil.make_archive(str(tmp_path / "wheel"), "zip", built, "en_tiny")
    wheel = Path(wheel).rename(tmp_path / "en_tiny-1.0.0-py3-none-any.whl")
    uploaded = tmp_path / "uploaded"

    def upload(repo_id, folder_path, **options):
        shutil.copytree(folder_path, uploaded)
        return f"https://hub/{repo_id}/tree/main"

    monkeypatch.setattr(hub.HfApi, "create_repo", lambda *_, **options: None)
    monkeypatch.setattr(hub, "upload_folder", upload)
    url = hub.push(wheel, "someone", silent=True)["whl_url"]
    assert url == "https://hub/someone/en_tiny/resolve/main/en_tiny-any-py3-none-any.whl"
    assert (uploaded / "en_tiny-any-py3-none-any.whl").read_bytes() == wheel.read_bytes()
    readme = (uploaded / "README.md").read_text(encoding="utf8")
    assert readme.startswith("---\ntags:\n- spacy\nlanguage:\n- en\n")
    assert "| `ELQ_WEAK_F` | 50.00 |" in readme and "It links." in readme
    # What is there is a pipeline with its knowledge base.
    assert len(spacy.load(uploaded).get_pipe("elq").kb) == len(nlp.get_pipe("elq").kb)
