"""Formats that others evaluate with, by the commands."""

import json

import pytest
import srsly

from ..helpers import run, write_jsonl

# "is Paris big": linked right; "Paris" outside of what was annotated; "Paris" that need not be.
ARTICLES = [
    {
        "id": 4, "title": "a", "text": "is 🚀 Paris big, Paris?", "evaluation_span": [0, 14],
        "labels": [{"id": 0, "span": [5, 10], "entity_id": "Q90", "name": "Paris"}],
    },
    {
        "id": 5, "title": "b", "text": "Paris or Rome", "evaluation_span": [0, 13],
        "labels": [
            {"id": 0, "span": [0, 5], "entity_id": "Q167646", "name": "Paris", "optional": True},
            {"id": 1, "span": [9, 13], "entity_id": "Q220", "name": "Rome"},
        ],
    },
]  # fmt: skip


@pytest.fixture
def benchmark(tmp_path):
    return write_jsonl(tmp_path / "small.benchmark.jsonl", ARTICLES)


def scores(pipeline, data, tmp_path, *options):
    out = tmp_path / "scores.json"
    result = run("evaluate", pipeline, data, "--output", out, "--quiet", *options)
    assert result.exit_code == 0, result.output
    whole = json.loads(out.read_text())["results"][0]["scores"]
    return whole["elq_weak_p"], whole["elq_weak_r"]


@pytest.mark.slow
def test_a_benchmark_counts_what_was_annotated(benchmark, pipeline, tmp_path):
    # One link counts, and is right; of two mentions to find, it is one.
    assert scores(pipeline, benchmark, tmp_path) == (1.0, 0.5)


@pytest.mark.slow
def test_the_format_can_be_named(benchmark, pipeline, tmp_path):
    odd = benchmark.rename(tmp_path / "small.txt")
    options = ("--from", "elevant-benchmark")
    assert scores(pipeline, odd, tmp_path, *options) == (1.0, 0.5)


@pytest.mark.slow
def test_a_benchmark_as_nif_has_the_same_gold(benchmark, pipeline, tmp_path):
    assert run("convert", benchmark, tmp_path / "small.ttl", "--quiet").exit_code == 0
    # NIF does not say what counts: three links, one of them right.
    assert scores(pipeline, tmp_path / "small.ttl", tmp_path) == (pytest.approx(1 / 3), 0.5)


@pytest.mark.slow
def test_predictions_for_elevant(benchmark, pipeline, tmp_path):
    options = ("--predictions", tmp_path / "out", "--to", "elevant", "--quiet")
    assert run("evaluate", pipeline, benchmark, *options).exit_code == 0
    out = tmp_path / "out" / "small.benchmark.linked_articles.jsonl"
    first, _ = map(json.loads, out.read_text(encoding="utf8").splitlines())
    assert (first["id"], first["title"], first["text"]) == (4, "a", ARTICLES[0]["text"])
    (mention,) = first["entity_mentions"]
    assert (mention["span"], mention["id"], mention["linked_by"]) == ([5, 10], "Q90", "spacy-elq")
    assert [label["entity_id"] for label in first["labels"]] == ["Q90"]


@pytest.mark.slow
def test_convert_through_every_format(benchmark, tmp_path):
    chain = ["a.jsonl", "a.spacy", "a.linked_articles.jsonl", "a.ttl", "b.benchmark.jsonl"]
    source = benchmark
    for name in chain:
        result = run("convert", source, tmp_path / name)
        assert result.exit_code == 0, result.output
        source = tmp_path / name
    records = [json.loads(line) for line in source.read_text(encoding="utf8").splitlines()]
    assert [[label["span"] for label in record["labels"]] for record in records] == [
        [[5, 10]],
        [[9, 13]],
    ]


def test_mentions_without_an_entity_are_kept_as_such(tmp_path):
    label = {"id": 0, "span": [0, 1], "entity_id": "Unknown1", "name": "a"}
    source = write_jsonl(
        tmp_path / "a.benchmark.jsonl", [{"id": 1, "text": "a", "labels": [label]}]
    )
    run("convert", source, tmp_path / "a.jsonl")
    (text,) = srsly.read_jsonl(tmp_path / "a.jsonl")
    assert [(span["start"], span["end"]) for span in text["nil"]] == [(0, 1)]
