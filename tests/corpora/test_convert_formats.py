import json

import pytest
import spacy
from spacy.tokens import DocBin
from spacy.training import Corpus

from spacy_elq import ElqError
from spacy_elq.corpora.convert import FORMATS, convert, find_format, read_any
from spacy_elq.corpora.readers import create_spans_jsonl_reader
from spacy_elq.corpora.spans_jsonl import ConversionStats
from spacy_elq.gold import gold_fields, gold_spans

ROWS = [
    {
        "text": "is Paris Hilton in Paris?",
        "spans": [
            {"start": 3, "end": 15, "id": "Q1", "label": "person", "score": -0.25},
            {"start": 3, "end": 8, "id": "Q90"},
        ],
        "id": "web-1",
        "more": {"tags": ["a", "b"], "n": 3},
    },
    {"text": "", "spans": []},
    {"text": "nothing here", "spans": [], "topic": "Q5"},
]


@pytest.fixture(scope="module")
def nlp():
    return spacy.blank("en")


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf8")
    return path


def read_json(path):
    return [json.loads(line) for line in path.read_text(encoding="utf8").splitlines()]


@pytest.mark.slow
def test_round_trip_through_spacy_keeps_everything(nlp, source, tmp_path):
    stats = convert(source, tmp_path / "a.spacy", nlp)
    assert stats == ConversionStats(texts=3, spans=2)
    # Another vocabulary knows none of the strings yet.
    back = convert(tmp_path / "a.spacy", tmp_path / "back.jsonl", spacy.blank("en"))
    assert back == stats
    assert read_json(tmp_path / "back.jsonl") == ROWS


def test_spacys_own_reader_sees_the_gold(nlp, source, tmp_path):
    convert(source, tmp_path / "a.spacy", nlp)
    example = next(iter(Corpus(tmp_path / "a.spacy")(spacy.blank("en"))))
    assert [span.kb_id_ for span in gold_spans(example.reference)] == ["Q1", "Q90"]
    assert [ent.kb_id_ for ent in example.reference.ents] == ["Q1"]
    assert gold_fields(example.reference)["id"] == "web-1"
    assert not example.predicted.ents


def test_a_linked_spacy_corpus_of_other_origin(nlp, tmp_path):
    doc = nlp.make_doc("Paris and Berlin")
    doc.set_ents([doc.char_span(0, 5, label="GPE", kb_id="Q90")])
    DocBin(docs=[doc]).to_disk(tmp_path / "a.spacy")
    convert(tmp_path / "a.spacy", tmp_path / "a.jsonl", nlp)
    assert read_json(tmp_path / "a.jsonl") == [
        {
            "text": "Paris and Berlin",
            "spans": [{"start": 0, "end": 5, "id": "Q90", "label": "GPE"}],
        }
    ]


def test_formats_are_told_by_suffix_or_name(source, tmp_path, nlp):
    assert find_format(tmp_path / "a.jsonl.gz") is FORMATS["spans-jsonl"]
    assert find_format(tmp_path / "a.b.spacy") is FORMATS["spacy"]
    odd = tmp_path / "rows.txt"
    source.rename(odd)
    stats = convert(odd, tmp_path / "out.bin", nlp, read_as="spans-jsonl", write_as="spacy")
    assert stats.texts == 3
    with pytest.raises(ElqError, match="ELQ312"):
        convert(odd, tmp_path / "out.jsonl", nlp)
    with pytest.raises(ElqError, match=r"ELQ311.*spans-jsonl"):
        find_format(odd, "conll2003")


def test_a_bad_line_leaves_the_target_alone(source, tmp_path, nlp):
    source.write_text('{"text": "a"}\n{"text": 1}\n')
    target = tmp_path / "a.jsonl"
    target.write_text("old")
    with pytest.raises(ElqError, match=r"rows\.jsonl:2"):
        convert(source, target, nlp)
    assert target.read_text() == "old"


@pytest.mark.parametrize("content", [b"", b"text", b"x\x9c"])
def test_a_damaged_spacy_file_is_named(tmp_path, nlp, content):
    (tmp_path / "a.spacy").write_bytes(content)
    with pytest.raises(ElqError, match="ELQ310"):
        list(read_any(tmp_path / "a.spacy", nlp))


def test_reader_yields_examples_without_predictions(nlp, source):
    examples = list(create_spans_jsonl_reader(source)(nlp))
    assert [example.text for example in examples] == [row["text"] for row in ROWS]
    assert [span.kb_id_ for span in gold_spans(examples[0].reference)] == ["Q1", "Q90"]
    assert not examples[0].predicted.ents
    assert not examples[0].predicted.spans
    assert len(list(create_spans_jsonl_reader(str(source), limit=2)(nlp))) == 2


def test_reader_can_be_read_again(nlp, source):
    corpus = create_spans_jsonl_reader(source)
    assert len(list(corpus(nlp))) == len(list(corpus(nlp))) == 3


@pytest.mark.parametrize("path", [None, "", "missing.jsonl"])
def test_reader_names_a_missing_file_when_it_is_called(nlp, path):
    corpus = create_spans_jsonl_reader(path)
    with pytest.raises(ElqError, match="ELQ313"):
        next(corpus(nlp))


def test_reader_is_registered():
    reader = spacy.registry.readers.get("spacy-elq.SpansJsonl.v1")
    assert reader is create_spans_jsonl_reader
