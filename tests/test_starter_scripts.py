"""The scripts that prepare what the starter weights are trained on."""

import bz2
import json
import subprocess
import sys
from pathlib import Path

import pytest
import srsly
import torch

from spacy_elq.kb.files.names import fold

pytestmark = pytest.mark.slow

SCRIPTS = Path(__file__).parents[1] / "projects" / "starter" / "scripts"

RECORDS = {
    "/m/1": {
        "wikidata_id": "Q1",
        "label": "Ada Moor",
        "description": "Welsh actress and singer",
        "alternatives": ["Ada"],
        "wikipedia": "https://en.wikipedia.org/wiki/Ada_Moor",
    },
    "/m/2": {
        "wikidata_id": "Q2",
        "label": "Bee Moor",
        "description": "writer born in Wales",
        "alternatives": [],
        "wikipedia": "https://en.wikipedia.org/wiki/Bee_Moor_(writer)",
    },
    "/m/3": {
        "wikidata_id": "Q3",
        "label": "Wales",
        "description": "country in the west",
        "alternatives": [],
        "wikipedia": "https://en.wikipedia.org/wiki/Wales",
    },
    "/m/4": {
        "wikidata_id": "",
        "label": "none",
        "description": "",
        "alternatives": [],
        "wikipedia": "",
    },
}

# How documents are written.
CASES = {"as it is": str, "small": str.lower, "capitals": str.upper}


def run(script, *arguments):
    command = [sys.executable, str(SCRIPTS / script), *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    assets, corpus = (tmp_path_factory.mktemp(name) for name in ("assets", "corpus"))
    (assets / "entity2wikidata.json").write_text(json.dumps(RECORDS))
    for part in ("train", "valid"):
        (assets / f"annotated_wd_data_{part}_answerable.txt").write_text(
            "Q1\tP1\tQ3\twho is ada moor's mother\n"
            "Q2\tP1\tQ3\twhat did she write\n"
            "Q9\tP1\tQ3\twho is nobody\n"
            "Q3\tR1\tQ1\tWho lives in Wales?\n"
        )
    questions = [
        {"utterance": "where is ada from", "url": "http://www.freebase.com/view/en/ada_moor"},
        {"utterance": "and bob", "url": "http://www.freebase.com/view/en/bob"},
        {"utterance": "who rules", "url": "http://www.freebase.com/view/en/wales"},
    ] * 30
    packed = bz2.compress(json.dumps(questions).encode())
    (assets / "webquestions.examples.train.json.bz2").write_bytes(packed)
    run("prepare.py", assets, corpus)
    return corpus


def read(path):
    return list(srsly.read_jsonl(path))


def named(row):
    return [(row["text"][s["start"] : s["end"]], s["id"]) for s in row["spans"]]


def test_questions_are_kept_with_the_name_that_stands_there(corpus):
    simple = read(corpus / "simplequestions-dev.jsonl")
    assert [named(row) for row in simple] == [[("ada moor", "Q1")], [("Wales", "Q3")]]
    train = read(corpus / "train.jsonl")
    assert [named(row) for row in train] == [
        [("ada moor", "Q1")],
        [("Wales", "Q3")],
        *([[("ada", "Q1")]] * 52),
    ]
    held_out = read(corpus / "webquestions-dev.jsonl")
    assert [row["topic_id"] for row in held_out] == ["Q1", "Q3"] * 4
    assert [named(row) for row in held_out] == [[("ada", "Q1")], []] * 4
    entities = read(corpus / "entities.jsonl")
    assert [entity["id"] for entity in entities] == ["Q1", "Q2", "Q3"]


def test_texts_are_made_of_entities_and_questions(corpus, tmp_path):
    paths = [corpus / "entities.jsonl", corpus / "train.jsonl"]
    for name in ("one", "two"):
        run("augment.py", *paths, tmp_path / f"{name}-entities.jsonl", tmp_path / f"{name}.jsonl")
    entities = {e["id"]: e for e in read(tmp_path / "one-entities.jsonl")}
    assert entities["Q1"]["aliases"] == ["Ada", "Moor"]
    assert entities["Q3"]["aliases"] == []
    rows = read(tmp_path / "one.jsonl")
    assert rows == read(tmp_path / "two.jsonl")
    names = {i: {fold(n) for n in (e["title"], *e["aliases"])} for i, e in entities.items()}
    for row in rows:
        assert all(fold(name) in names[id_] for name, id_ in named(row))
    mentions = [named(row) for row in rows]
    assert any(len(found) > 1 for found in mentions)  # pairs
    assert any(not found for found in mentions)  # strangers
    assert any(fold(name) == "moor" for found in mentions for name, _ in found)
    assert any(("Wales", "Q3") in found and len(found) > 1 for found in mentions)  # described


def test_documents_are_written_as_people_write(tmp_path):
    tokenized = {
        "text": 'In 1987 , the " Moor Dept " ( MD ) hired a well - known Ada Moor ; it \'s big .',
        "spans": [{"start": 56, "end": 64, "id": "Q1"}, {"start": 67, "end": 69, "id": "Q1"}],
        "nil": [{"start": 67, "end": 69}],
        "complete": False,
    }
    question = {"text": "who is Ada", "spans": [{"start": 7, "end": 10, "id": "Q1"}]}
    held_out = {"text": "WHO IS BEE", "spans": []}
    for name, rows in (("t", [tokenized] * 40), ("q", [question, held_out]), ("h", [held_out])):
        srsly.write_jsonl(tmp_path / f"{name}.jsonl", rows)
    run(
        *("documents.py", tmp_path / "out.jsonl", "--tokenized", tmp_path / "t.jsonl"),
        *("--questions", tmp_path / "q.jsonl", "--held-out", tmp_path / "h.jsonl"),
    )
    texts = list(srsly.read_jsonl(tmp_path / "out.jsonl"))
    assert len(texts) == 41 and question in texts
    written = 'In 1987, the "Moor Dept" (MD) hired a well-known Ada Moor; it\'s big.'
    of_case = {
        kind: [t for t in texts if t["text"] == change(written)] for kind, change in CASES.items()
    }
    assert all(of_case.values()) and sum(map(len, of_case.values())) == 40
    for text in texts:
        if text["text"] != question["text"]:
            assert text["nil"] == []
            assert [text["text"][s["start"] : s["end"]].lower() for s in text["spans"]] == [
                "ada moor"
            ]
    unknown = {
        kind: {t["text"][u["start"] : u["end"]] for t in found for u in t["unknown"]}
        for kind, found in of_case.items()
    }
    assert unknown["as it is"] == {"it"}
    assert unknown["small"] == {"it", "in", "moor dept", "md"}


def test_the_weights_of_last_words_are_set(tmp_path):
    from safetensors import safe_open
    from safetensors.torch import save_file

    path = tmp_path / "weights.safetensors"
    tensors = {"heads.names.entity": torch.tensor([3.0, 2.0, 1.0, -0.5]), "other": torch.ones(2)}
    save_file(tensors, path, {"format": "1"})
    run("short_forms.py", path, "--short-form", 4, "--shared=-1")
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"format": "1"}
        assert file.get_tensor("heads.names.entity").tolist() == [3.0, 2.0, 1.0, -0.5, 4.0, -1.0]
        assert file.get_tensor("other").tolist() == [1.0, 1.0]
