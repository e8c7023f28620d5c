"""docs/review.md, from predictions to training data, without the tools."""

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import spacy
import srsly

from spacy_elq.corpora.readers import create_spans_jsonl_reader
from spacy_elq.gold import gold_spans, nil_spans, unknown_spans

from ..helpers import run, write_jsonl

REVIEW = Path(__file__).parents[2] / "projects" / "review"
CANDIDATES = [
    {"id": "Q41421", "title": "Michael Jordan", "score": -0.3},
    {"id": "Q810", "title": "Jordan", "score": -1.5},
]
LINKED = [
    {
        "text": "🏀 Jordan flew to Amman with Bob and Ann.",
        "spans": [
            {"start": 2, "end": 8, "id": "Q41421", "label": "person", "score": -0.4,
             "title": "Michael Jordan", "candidates": CANDIDATES},
            {"start": 17, "end": 22, "id": "Q3805", "label": "city", "score": -0.1},
            {"start": 28, "end": 31, "id": "Q5", "label": "person"},
        ],
        "id": 7,
    },
    {"text": "Jordan is a country.", "spans": [{"start": 0, "end": 6, "id": "Q810"}]},
]  # fmt: skip


def convert(source, target, *options):
    result = run("convert", source, target, "--quiet", *options)
    assert result.exit_code == 0, result.output
    return target


def examples(path):
    for example in create_spans_jsonl_reader(path)(spacy.blank("en")):
        doc = example.reference
        yield (
            [(span.text, span.kb_id_) for span in gold_spans(doc)],
            [span.text for span in nil_spans(doc)],
            [span.text for span in unknown_spans(doc)],
        )


def annotate(task):
    """As an annotator: another entity for Jordan, none for Bob, and Ann is new."""
    results = task["predictions"][0]["result"]
    for result in results:
        value = result["value"]
        if result["type"] == "choices" and value["text"] in ("Jordan", "Bob"):
            value["choices"] = ["Q810"] if value["text"] == "Jordan" else ["NIL"]
    place = {"start": 37, "end": 40, "text": "Ann", "labels": ["person"]}
    results.append({"id": "new", "type": "labels", "value": place})
    return {"id": 1, "data": task["data"], "annotations": [{"result": results}]}


def test_with_label_studio(tmp_path):
    linked = write_jsonl(tmp_path / "linked.jsonl", LINKED)
    tasks = json.loads(convert(linked, tmp_path / "tasks.label-studio.json").read_text("utf8"))
    exported = [annotate(tasks[0]), {"id": 2, "data": tasks[1]["data"], "annotations": []}]
    (tmp_path / "export.json").write_text(json.dumps(exported))
    result = run(
        "convert", tmp_path / "export.json", tmp_path / "reviewed.jsonl", "--from", "label-studio"
    )
    assert "nobody annotated, left out: 1" in result.output
    (text,) = srsly.read_jsonl(tmp_path / "reviewed.jsonl")
    assert (text["id"], text["spans"][1]) == (7, LINKED[0]["spans"][1])
    (found,) = examples(tmp_path / "reviewed.jsonl")
    assert found == ([("Jordan", "Q810"), ("Amman", "Q3805")], ["Bob"], ["Ann"])
    convert(tmp_path / "reviewed.jsonl", tmp_path / "train.spacy")
    convert(tmp_path / "train.spacy", tmp_path / "again.jsonl")
    assert list(examples(tmp_path / "again.jsonl")) == [found]


def recipe(monkeypatch):
    """The recipe as Prodigy gets it."""
    known = {}

    def register(name, **arguments):
        return lambda function: known.setdefault(name, function)

    monkeypatch.setitem(sys.modules, "prodigy", SimpleNamespace(recipe=register))
    spec = importlib.util.spec_from_file_location("recipe", REVIEW / "prodigy_recipe.py")
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    return known["elq.review"]


def test_with_prodigy(tmp_path, monkeypatch):
    linked = write_jsonl(tmp_path / "linked.jsonl", [*LINKED, {"text": "nothing"}])
    source = convert(linked, tmp_path / "tasks.prodigy-choice.jsonl")
    tasks = list(recipe(monkeypatch)("my_links", source)["stream"])
    assert [task["accept"] for task in tasks] == [["Q41421"], ["Q3805"], ["Q5"], ["Q810"]]
    answers = [{"accept": ["Q810"]}, {}, {"accept": ["NIL"]}, {"answer": "ignore"}]
    done = [{**task, "answer": "accept", **answer} for task, answer in zip(tasks, answers,
                                                                          strict=True)]  # fmt: skip
    reviewed = write_jsonl(tmp_path / "reviewed.prodigy.jsonl", done)
    assert list(examples(convert(reviewed, tmp_path / "reviewed.jsonl"))) == [
        ([("Jordan", "Q810"), ("Amman", "Q3805")], ["Bob"], []),
        ([], [], ["Jordan"]),
    ]


def test_the_recipe_needs_prodigy_only_to_run(monkeypatch):
    monkeypatch.setitem(sys.modules, "prodigy", None)
    spec = importlib.util.spec_from_file_location("recipe", REVIEW / "prodigy_recipe.py")
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


def test_the_labeling_interface_has_the_names_of_the_results():
    import xml.etree.ElementTree as ET

    from spacy_elq.corpora.label_studio import CHOICES, ENTITY_TAG, LABEL_TAG, TEXT_TAG

    tags = {tag.get("name"): tag for tag in ET.parse(REVIEW / "labeling.xml").getroot()}
    assert {TEXT_TAG, LABEL_TAG, ENTITY_TAG} <= set(tags)
    assert (tags[ENTITY_TAG].get("value"), tags[TEXT_TAG].get("value")) == (f"${CHOICES}", "$text")
