"""The formats of the published files, one by one."""

from __future__ import annotations

import json
import os

import faiss
import numpy as np
import pytest
import torch

from spacy_elq.errors import ElqError
from spacy_elq.interop.indexes import check_faiss_file
from spacy_elq.interop.params import CheckpointParams
from spacy_elq.interop.tensors import MatrixFile, read_state_dict
from spacy_elq.interop.titles import read_catalogue
from spacy_elq.types import Entity


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil",)


def vectors(n: int = 200, width: int = 8) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, width)).astype(np.float32)


@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_matrices_are_read_by_rows(tmp_path, new_format, dtype):
    tensor = torch.from_numpy(vectors()).to(dtype)
    path = tmp_path / "v.t7"
    torch.save(tensor, path, _use_new_zipfile_serialization=new_format)
    matrix = MatrixFile.open(path)
    assert matrix.shape == (200, 8)
    for rows in (slice(0, 200), slice(50, 60), slice(190, 500), slice(5, 5)):
        np.testing.assert_array_equal(matrix[rows], tensor.numpy()[rows])


def test_a_part_of_a_larger_tensor(tmp_path):
    torch.save(torch.from_numpy(vectors())[40:90], tmp_path / "v.t7")
    np.testing.assert_array_equal(MatrixFile.open(tmp_path / "v.t7")[:], vectors()[40:90])


@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize("keep", [0, 3, 300, -100])
def test_cut_files_are_refused(tmp_path, new_format, keep):
    path = tmp_path / "cut.t7"
    torch.save(torch.from_numpy(vectors()), path, _use_new_zipfile_serialization=new_format)
    path.write_bytes(path.read_bytes()[:keep])
    for read in (MatrixFile.open, read_state_dict):
        with pytest.raises(ElqError, match=r"ELQ502.*cut\.t7"):
            read(path)


@pytest.mark.parametrize("new_format", [True, False])
def test_nothing_is_unpickled(tmp_path, monkeypatch, new_format):
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Evil()}, "evil.bin", _use_new_zipfile_serialization=new_format)
    for read in (MatrixFile.open, read_state_dict):
        with pytest.raises(ElqError, match=r"ELQ502.*evil\.bin"):
            read(tmp_path / "evil.bin")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    "wrong", [torch.ones(3), torch.ones(3, 2, dtype=torch.int64), torch.ones(2, 3).T, {"a": 1}]
)
def test_other_tensors_are_refused(tmp_path, wrong):
    torch.save(wrong, tmp_path / "w.t7")
    with pytest.raises(ElqError, match=r"ELQ503.*w\.t7"):
        MatrixFile.open(tmp_path / "w.t7")


def test_params(tmp_path):
    values = {
        "bert_model": "bert-large-uncased",
        "mention_scoring_method": "qa",
        "lowercase": False,
    }
    expected = CheckpointParams("bert-large-uncased", False, "qa_mlp")
    path = tmp_path / "params.txt"
    for text in (str(values), json.dumps(values), f"{values}\nNamespace(x=1)\n"):
        path.write_text(text)
        assert CheckpointParams.read(path) == expected


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("__import__('os').mkdir('evil')", "ELQ500"),
        ("[1, 2]", "ELQ500"),
        ("", "ELQ500"),
        ("{'bert_model': None}", "ELQ501"),
        ("{'bert_model': 'b', 'max_context_length': '32'}", "ELQ501"),
        ("{'bert_model': 'b', 'mention_aggregation_type': 'all_mlp'}", "ELQ501"),
        ("{'bert_model': 'b', 'add_linear': True}", "ELQ501"),
    ],
)
def test_wrong_params(tmp_path, text, code):
    path = tmp_path / "params.txt"
    path.write_text(text)
    with pytest.raises(ElqError, match=rf"{code}.*params\.txt"):
        CheckpointParams.read(path)


def write_index(path, index, data):
    if not index.is_trained:
        index.train(data)
    index.add(data)
    faiss.write_index(index, str(path))
    return path


def ivf(width: int) -> faiss.Index:
    index = faiss.index_factory(width, "IVF4,Flat", faiss.METRIC_INNER_PRODUCT)
    index.nprobe = 3
    return index


def test_indexes(tmp_path):
    data, path = vectors(), tmp_path / "index.pkl"
    assert check_faiss_file(write_index(path, faiss.IndexFlatIP(8), data), data) == "exact"
    hnsw = faiss.IndexHNSWFlat(8, 16, faiss.METRIC_INNER_PRODUCT)
    assert check_faiss_file(write_index(path, hnsw, data), data) == "HNSW16"
    assert check_faiss_file(write_index(path, ivf(8), data), data) == "IVF4,Flat"


def test_wrong_indexes_are_refused_by_name(tmp_path):
    data, path = vectors(), tmp_path / "index.pkl"
    write_index(path, faiss.IndexFlatIP(8), data)
    for wrong, code in (
        (vectors(100), "ELQ508"),
        (vectors(200, 9), "ELQ508"),
        (data[::-1], "ELQ509"),
    ):
        with pytest.raises(ElqError, match=rf"{code}.*index\.pkl"):
            check_faiss_file(path, wrong)
    write_index(path, faiss.IndexFlatL2(8), data)
    with pytest.raises(ElqError, match=r"ELQ510.*distance"):
        check_faiss_file(path, data)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ElqError, match=r"ELQ502.*index\.pkl"):
        check_faiss_file(path, data)


def test_an_imported_index_searches_as_far_as_its_file_says(tmp_path):
    from spacy_elq.kb.search.faiss_index import FaissIndex

    path = write_index(tmp_path / "index.pkl", ivf(8), vectors())
    assert FaissIndex.open(path).index.nprobe == 3


def test_id2title(tmp_path, monkeypatch):
    monkeypatch.setattr("spacy_elq.interop.titles.BLOCK", 7)  # so that strings are cut
    titles = {"0": 'A "b", }', "1": "Ünï", "2": "C", "3": "D"}
    (tmp_path / "id2title.json").write_text(json.dumps(titles), encoding="utf8")
    (tmp_path / "id2text.json").write_text(json.dumps({"0": "first", "2": "third"}))
    (tmp_path / "id2wikidata.json").write_text(json.dumps({"1": "Q1", "3": "Q1"}), encoding="utf8")
    assert list(read_catalogue(tmp_path / "id2title.json")) == [
        Entity("0", 'A "b", }', "first", extra={"line": 0}),
        Entity("Q1", "Ünï", extra={"line": 1}),
        Entity("2", "C", "third", extra={"line": 2}),
        Entity("Q1#3", "D", extra={"line": 3}),
    ]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[1]", "ELQ505"),
        ('{"0": "a", ', "ELQ505"),
        ('{"0" "a"}', "ELQ505"),
        ('{"1": "a"}', "ELQ506"),
    ],
)
def test_wrong_id2title(tmp_path, text, code):
    (tmp_path / "id2title.json").write_text(text)
    with pytest.raises(ElqError, match=rf"{code}.*id2title\.json"):
        list(read_catalogue(tmp_path / "id2title.json"))
