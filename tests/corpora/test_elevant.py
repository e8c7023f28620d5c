"""ELEVANT's benchmarks and linked articles."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_elq import ElqError
from spacy_elq.corpora.elevant import read_benchmark, read_linked, write_benchmark, write_linked
from spacy_elq.corpora.spans_jsonl import (
    ConversionStats,
    LinkedSpan,
    LinkedText,
    text_from_dict,
    text_to_dict,
)

from .strategies import rows

ARTICLE = {
    "id": 7,
    "title": "Mars & Co",
    "text": "Mars 🚀 and Bounty, since 1930, by Frank in Zürich",
    "evaluation_span": [0, 34],
    "labels": [
        {"id": 0, "span": [0, 4], "entity_id": "Q31305", "name": "Mars", "type": "Q431289"},
        {"id": 1, "span": [11, 17], "entity_id": "Q895167", "name": "Bounty", "optional": True},
        {"id": 2, "span": [25, 29], "entity_id": "Q2", "name": "1930", "type": "DATETIME"},
        {"id": 3, "span": [34, 39], "entity_id": "Unknown12", "name": "Frank"},
        {"id": 4, "span": [34, 39], "entity_id": "<NO_MAPPING>", "name": "Unknown"},
    ],
}


def write_lines(path, records):
    path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf8")
    return path


def read_lines(path):
    return [json.loads(line) for line in path.open(encoding="utf8")]


def test_a_benchmark(tmp_path):
    stats = ConversionStats()
    (row,) = read_benchmark(write_lines(tmp_path / "a.jsonl", [ARTICLE]), stats)
    assert text_to_dict(row) == {
        "text": ARTICLE["text"],
        "spans": [{"start": 0, "end": 4, "id": "Q31305", "title": "Mars", "type": "Q431289"}],
        "id": 7,
        "title": "Mars & Co",
        "evaluation_span": [0, 34],
        "optional": [
            {"start": 11, "end": 17, "id": "Q895167", "title": "Bounty"},
            {"start": 25, "end": 29, "id": "Q2", "title": "1930", "type": "DATETIME"},
        ],
        "nil": [{"start": 34, "end": 39, "id": "Unknown12", "title": "Frank"}],
        "unmapped": [{"start": 34, "end": 39, "id": "<NO_MAPPING>", "title": "Unknown"}],
    }
    assert stats.unlinked == 0
    write_benchmark([row], tmp_path / "b.jsonl")
    (again,) = read_benchmark(tmp_path / "b.jsonl", stats)
    for name in ("spans", "optional", "nil", "unmapped"):
        places = [text_to_dict(each)[name] for each in (row, again)]
        ids = [[(p["start"], p["end"], p["id"]) for p in some] for some in places]
        assert ids[0] == ids[1], name


def test_labels_inside_others_are_alternatives(tmp_path):
    labels = [
        {"id": 0, "span": [0, 9], "entity_id": "Q1", "name": "A, B", "parent": None},
        {"id": 1, "span": [0, 4], "entity_id": "Q2", "name": "A", "parent": 0},
        {"id": 2, "span": [6, 9], "entity_id": "Q3", "name": "B", "parent": 0, "optional": True},
    ]
    path = write_lines(tmp_path / "a.jsonl", [{"id": 0, "text": "Aaaa, Bbb", "labels": labels}])
    (row,) = read_benchmark(path, ConversionStats())
    assert [span.id for span in row.spans] == ["Q1"]
    assert [place["id"] for place in row.fields["alt"]] == ["Q2"]
    assert [place["id"] for place in row.fields["optional"]] == ["Q3"]
    write_benchmark([row], path)
    ((first, second, third),) = [record["labels"] for record in read_lines(path)]
    assert (first["children"], second["parent"], third["parent"]) == ([1, 2], 0, 0)


def test_linked_articles_have_what_elevant_reads(tmp_path):
    link = {
        "start": 3, "end": 8, "id": "Q90", "score": -0.5,
        "candidates": [{"id": "Q90", "title": "Paris", "score": -0.1}, {"id": "Q2"}],
    }  # fmt: skip
    gold = [{"start": 3, "end": 8, "id": "Q2", "title": "Paris Hilton"}]
    row = text_from_dict({"text": "in Paris", "spans": [link], "gold": gold, "id": "dev-1"}, "test")
    write_linked([row, LinkedText("é")], tmp_path / "a.jsonl")
    first, second = read_lines(tmp_path / "a.jsonl")
    assert first == {
        "id": 0,
        "title": "dev-1",
        "text": "in Paris",
        "evaluation_span": [0, 8],
        "entity_mentions": [
            {
                "span": [3, 8],
                "recognized_by": "spacy-elq",
                "id": "Q90",
                "linked_by": "spacy-elq",
                "score": -0.5,
                "candidates": ["Q90", "Q2"],
            }
        ],
        "labels": [
            {
                "id": 0, "span": [3, 8], "entity_id": "Q2", "name": "Paris Hilton", "parent": None,
                "children": [], "optional": False, "type": "OTHER",
            }
        ],
    }  # fmt: skip
    assert (second["id"], second["entity_mentions"]) == (1, [])
    back, _ = read_linked(tmp_path / "a.jsonl", ConversionStats())
    assert back.fields["gold"] == [{**gold[0], "type": "OTHER"}]
    assert back.spans[0].fields["candidates"] == [{"id": "Q90"}, {"id": "Q2"}]


def test_mentions_without_an_entity_are_counted(tmp_path):
    record = {"id": 1, "text": "ab", "entity_mentions": [{"span": [0, 1]}]}
    stats = ConversionStats()
    (row,) = read_linked(write_lines(tmp_path / "a.jsonl", [record]), stats)
    assert (row.spans, stats.unlinked) == ((), 1)


def test_null_is_as_good_as_no_field(tmp_path):
    nulls = dict.fromkeys(("entity_mentions", "labels", "evaluation_span"))
    path = write_lines(tmp_path / "a.jsonl", [{"id": 1, "text": "ab", **nulls}])
    (linked,), (benchmark,) = (
        read_linked(path, ConversionStats()),
        read_benchmark(path, ConversionStats()),
    )
    assert linked.spans == benchmark.spans == ()
    span = LinkedSpan(0, 1, "Q1", {"candidates": None})
    write_linked([LinkedText("ab", (span,), {"evaluation_span": None, "gold": None})], path)
    (record,) = read_lines(path)
    assert record["entity_mentions"][0]["candidates"] == record["labels"] == []
    assert record["evaluation_span"] == [0, 2]


@pytest.mark.parametrize("candidates", ["Q1", 5, [7], [None]])
def test_candidates_that_are_no_ids_are_named(tmp_path, candidates):
    mention = {"span": [0, 1], "id": "Q1", "candidates": candidates}
    record = {"id": 1, "text": "ab", "entity_mentions": [mention]}
    with pytest.raises(ElqError, match=r"ELQ323.*a\.jsonl:1.*candidates"):
        list(read_linked(write_lines(tmp_path / "a.jsonl", [record]), ConversionStats()))


def test_nested_labels_know_each_other(tmp_path):
    spans = (
        LinkedSpan(0, 12, "A"),
        LinkedSpan(0, 5, "B"),
        LinkedSpan(1, 4, "C"),
        LinkedSpan(0, 12, "D"),
    )
    write_benchmark([LinkedText("abcdefghijklm", spans)], tmp_path / "a.jsonl")
    ((labels),) = [record["labels"] for record in read_lines(tmp_path / "a.jsonl")]
    assert [label["parent"] for label in labels] == [None, 0, 1, None]
    assert [label["children"] for label in labels] == [[1], [2], [], []]


@pytest.mark.slow
@given(texts=st.lists(rows(), max_size=4))
@pytest.mark.parametrize(
    ("write", "read"), [(write_benchmark, read_benchmark), (write_linked, read_linked)]
)
def test_round_trip(write, read, texts, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "elevant.jsonl"
    write(texts, path)
    back = list(read(path, ConversionStats()))
    assert [row.text for row in back] == [row.text for row in texts]
    places = [
        [(s.start, s.end, s.id) for s in row.spans]
        + [(s["start"], s["end"], s["id"]) for s in row.fields.get("alt", ())]
        for row in back
    ]
    assert list(map(sorted, places)) == [
        sorted((s.start, s.end, s.id) for s in row.spans) for row in texts
    ]
    # What ELEVANT shows of a mention is what the text has there.
    for row, record in zip(texts, read_lines(path), strict=True):
        places = [m["span"] for m in record.get("entity_mentions", record.get("labels"))]
        surfaces = [record["text"][start:end] for start, end in places]
        assert surfaces == [row.text[span.start : span.end] for span in row.spans]


@pytest.mark.parametrize(
    ("record", "code"),
    [
        ({"text": "a", "labels": 1}, "ELQ323"),
        ({"text": "a", "labels": ["x"]}, "ELQ323"),
        ({"text": "a", "labels": [{"entity_id": "Q1"}]}, "ELQ323"),
        ({"text": "a", "labels": [{"span": [0, 1, 2], "entity_id": "Q1"}]}, "ELQ323"),
        ({"text": "a", "labels": [{"span": [0, 9], "entity_id": "Q1"}]}, "ELQ307"),
        ({"labels": []}, "ELQ304"),
    ],
)
def test_bad_articles_are_named(tmp_path, record, code):
    with pytest.raises(ElqError, match=rf"{code}.*a\.jsonl:1"):
        list(read_benchmark(write_lines(tmp_path / "a.jsonl", [record]), ConversionStats()))


@pytest.mark.parametrize(
    ("entity", "is_one"),
    [("NILE_RIVER", True), ("Unknown_Soldier", True), ("Q1", True), ("NIL", False),
     ("NIL12", False), ("<NIL>", False), ("Unknown", False), ("Unknown3", False), ("", False)],
)  # fmt: skip
def test_labels_of_no_entity(tmp_path, entity, is_one):
    label = {"id": 0, "span": [0, 1], "entity_id": entity, "name": "A"}
    path = write_lines(tmp_path / "a.jsonl", [{"id": 0, "text": "A", "labels": [label]}])
    (row,) = read_benchmark(path, ConversionStats())
    assert len(row.spans) == is_one
