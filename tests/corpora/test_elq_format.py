"""ELQ's files: its rows in, its rows out, and the same again."""

import gzip
import json
import random

import numpy as np
import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from spacy_elq import ElqError
from spacy_elq.cli import app
from spacy_elq.corpora.convert import convert
from spacy_elq.corpora.elq_format import ElqReader, ElqWriter
from spacy_elq.corpora.elq_outs import OutsReader, OutsWriter
from spacy_elq.corpora.entity_lines import EntityLines
from spacy_elq.corpora.readers import create_elq_jsonl_reader, shuffle_stream
from spacy_elq.corpora.spans_jsonl import LinkedSpan, LinkedText, text_from_dict, text_to_dict
from spacy_elq.corpora.wordpieces import Pieces, Wordpieces
from spacy_elq.entities.elq import read_elq_entities
from spacy_elq.gold import gold_spans

# The vocabulary spells "ohio" as four wordpieces, "governor" as one or eight.
ENTITIES = [
    {"title": "Ohio", "text": "state", "idx": "/m/1", "entity": "Ohio", "kb_idx": "Q1397"},
    {"title": "Governor", "text": "official", "idx": "/m/2", "entity": "Governor", "kb_idx": "Q1"},
    {"title": "Ohio", "text": "river", "idx": "/m/3", "entity": "Ohio", "kb_idx": "Q1397"},
    {"title": "Untold", "text": "", "idx": "/m/4", "entity": "Untold"},
]
TEXT = "who is Governor of ohio 2011?"
LABELLED = {
    "id": "WebQTest-12",
    "text": TEXT,
    "mentions": [[19, 23], [7, 15]],
    "label_id": [0, 1],
    "wikidata_id": ["Q1397", "Q1"],
    "entity": ["Ohio", "Governor"],
    "label": ["state", "official"],
}


@pytest.fixture(scope="module")
def wordpieces(tiny_bert):
    return Wordpieces(str(tiny_bert))


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    path = tmp_path_factory.mktemp("catalogue") / "entity.jsonl"
    path.write_text("\n".join(map(json.dumps, ENTITIES)))
    return path


@pytest.fixture(scope="module")
def entities(catalogue):
    return EntityLines(catalogue)


@pytest.fixture(scope="module")
def labelled(tiny_bert):
    """A whole row, its wordpieces found by transformers' own arithmetic."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(tiny_bert))
    parts = [TEXT[:7], TEXT[7:15], TEXT[15:19], TEXT[19:23], TEXT[23:]]
    ids = [tokenizer.encode(part, add_special_tokens=False) for part in parts]
    ends = np.cumsum([len(part) for part in ids]).tolist()
    places = [[ends[2], ends[3]], [ends[0], ends[1]]]
    whole = [piece for part in ids for piece in part]
    return {**LABELLED, "tokenized_text_ids": whole, "tokenized_mention_idxs": places}


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def places(row):
    return [(span.start, span.end, span.id) for span in row.spans]


GOLD = [(19, 23, "Q1397"), (7, 15, "Q1")]


def test_a_labelled_row(wordpieces, labelled):
    row = ElqReader(wordpieces).parse({**labelled, "extra": [1]}, "here")
    assert text_to_dict(row) == {
        "text": TEXT,
        "spans": [
            {"start": 19, "end": 23, "id": "Q1397", "label_id": 0, "title": "Ohio",
             "description": "state"},
            {"start": 7, "end": 15, "id": "Q1", "label_id": 1, "title": "Governor",
             "description": "official"},
        ],
        "id": "WebQTest-12",
        "extra": [1],
    }  # fmt: skip


def test_mentions_are_found_by_their_wordpieces(wordpieces, labelled):
    without = {name: value for name, value in labelled.items() if name != "mentions"}
    assert places(ElqReader(wordpieces).parse(without, "here")) == GOLD
    other = {**without, "tokenized_text_ids": labelled["tokenized_text_ids"][1:]}
    with pytest.raises(ElqError, match=r"ELQ325.*here.*tokenized_text_ids"):
        ElqReader(wordpieces).parse(other, "here")
    beyond = {**without, "tokenized_mention_idxs": [[0, 1], [3, 999]]}
    with pytest.raises(ElqError, match=r"ELQ326.*here"):
        ElqReader(wordpieces).parse(beyond, "here")
    with pytest.raises(ElqError, match=r"ELQ324.*here"):
        ElqReader(wordpieces).parse({"text": TEXT, "label_id": [1]}, "here")


def test_line_numbers_are_looked_up(wordpieces, labelled, entities):
    reader = ElqReader(wordpieces, entities)
    row = reader.parse({**labelled, "wikidata_id": [None, None], "label_id": [2, 3]}, "here")
    assert [span.id for span in row.spans] == ["Q1397#2", "/m/4"]
    with pytest.raises(ElqError, match=r"ELQ321.*here.*entity 4 .*entity\.jsonl.* 4,"):
        reader.parse({**labelled, "label_id": [0, 4]}, "here")
    with pytest.raises(ElqError, match=r"ELQ331.*here"):
        ElqReader(wordpieces).parse({**labelled, "wikidata_id": ["Q1", None]}, "here")


def test_mentions_without_an_entity_are_counted(wordpieces, labelled, entities):
    reader = ElqReader(wordpieces, entities)
    assert places(reader.parse({**labelled, "label_id": [-1, 1]}, "here")) == GOLD[1:]
    assert reader.stats.unlinked == 1
    reader.parse({**labelled, "label_id": [None, -1]}, "here")
    assert reader.stats.unlinked == 3


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"wikidata_id": ["Q1"]}, "ELQ322.*wikidata_id.*1 values for 2"),
        ({"mentions": [[7, 15], 3]}, "ELQ323.*mentions"),
        ({"mentions": "all"}, "ELQ323.*mentions.*a list"),
        ({"mentions": [[19, 23], [7, 1500]]}, "ELQ307"),
        ({"text": None}, "ELQ304"),
    ],
)
def test_bad_rows_are_named(wordpieces, labelled, tmp_path, changes, message):
    path = write(tmp_path / "a.jsonl", labelled, {**labelled, **changes})
    with pytest.raises(ElqError, match=message) as err:
        list(ElqReader(wordpieces).read(path))
    assert "a.jsonl:2" in str(err.value)


def test_written_rows_are_the_rows_that_were_read(wordpieces, labelled, entities):
    row = ElqReader(wordpieces).parse(labelled, "here")
    assert ElqWriter(wordpieces).record(row, 0) == labelled
    bare = LinkedText(
        row.text, tuple(LinkedSpan(s.start, s.end, s.id) for s in row.spans), row.fields
    )
    assert ElqWriter(wordpieces, entities).record(bare, 0) == labelled
    with pytest.raises(ElqError, match=r"ELQ327.*text 5.*Q1397"):
        ElqWriter(wordpieces).record(bare, 5)
    unknown = LinkedText("ohio", (LinkedSpan(0, 4, "Q404", {"label_id": 3}),))
    with pytest.raises(ElqError, match=r"ELQ327.*Q404"):
        ElqWriter(wordpieces, entities).record(unknown, 5)


def test_conversions_through_every_format(labelled, catalogue, tiny_bert, tmp_path):
    nlp = spacy.blank("en")
    raw = {"id": 7, "text": "nothing here"}
    write(tmp_path / "elq.jsonl", labelled, raw)
    options = {"entities": catalogue, "tokenizer": str(tiny_bert)}
    stats = convert(tmp_path / "elq.jsonl", tmp_path / "a.spacy", nlp, read_as="elq", **options)
    assert (stats.texts, stats.spans) == (2, 2)
    convert(tmp_path / "a.spacy", tmp_path / "a.jsonl.gz", nlp)
    convert(tmp_path / "a.jsonl.gz", tmp_path / "back.jsonl", nlp, write_as="elq", **options)
    back = [json.loads(line) for line in (tmp_path / "back.jsonl").read_text().splitlines()]
    assert back[0] == labelled
    assert (back[1]["id"], back[1]["text"], back[1]["mentions"]) == (7, "nothing here", [])
    convert(tmp_path / "a.spacy", tmp_path / "raw.jsonl", nlp, write_as="elq-raw")
    lines = (tmp_path / "raw.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"id": "WebQTest-12", "text": TEXT}, raw]


@pytest.mark.slow
def test_the_command_takes_entities_and_tokenizer(labelled, catalogue, tiny_bert, tmp_path):
    source = write(tmp_path / "elq.jsonl", {**labelled, "label_id": [0, -1], "wikidata_id": None})
    target = tmp_path / "a.jsonl"
    arguments = ["convert", source, target, "--from", "elq", "--tokenizer", tiny_bert]
    refused = CliRunner().invoke(app, list(map(str, arguments)))
    assert refused.exit_code == 1
    assert "ELQ331" in refused.stderr and "--entities" in refused.stderr
    done = CliRunner().invoke(app, list(map(str, [*arguments, "--entities", catalogue])))
    assert done.exit_code == 0, done.output
    assert "mentions without an entity, left out: 1" in done.stderr
    (row,) = map(json.loads, target.read_text().splitlines())
    assert [span["id"] for span in row["spans"]] == ["Q1397"]


def test_a_knowledge_base_is_a_catalogue(catalogue, tiny_bert, tmp_path, wordpieces, labelled):
    from spacy_elq.encoders.entity import EntityEncoder
    from spacy_elq.kb.build import build_kb

    build_kb(
        read_elq_entities(catalogue), tmp_path / "kb", EntityEncoder(str(tiny_bert)), progress=False
    )
    reader = ElqReader(wordpieces, EntityLines(tmp_path / "kb"))
    assert places(reader.parse(labelled, "here")) == GOLD
    with pytest.raises(ElqError, match="ELQ218"):
        EntityLines(tmp_path / "missing.jsonl")


def test_elq_entities(catalogue, tmp_path):
    found = list(read_elq_entities(catalogue))
    assert [entity.id for entity in found] == ["Q1397", "Q1", "Q1397#2", "/m/4"]
    assert (found[2].title, found[2].description) == ("Ohio", "river")
    assert found[2].extra == {"idx": "/m/3", "line": 2}
    bad = write(tmp_path / "bad.jsonl", ENTITIES[0], {"text": "no title"})
    with pytest.raises(ElqError, match=r"ELQ232.*bad\.jsonl:2"):
        list(read_elq_entities(bad))


# ELQ's output

PREDICTED = [
    {"start": 7, "end": 15, "id": "Q1", "score": -2.5, "title": "Governor"},
    {"start": 19, "end": 23, "id": "Q1397#2", "score": -0.5, "title": "Ohio"},
]


def test_output_rows(wordpieces, labelled, entities):
    gold = [{"start": 19, "end": 23, "id": "Q1397"}]
    row = text_from_dict({"id": "a", "text": TEXT, "spans": PREDICTED, "gold": gold}, "here")
    record = OutsWriter(wordpieces, entities).record(row, 0)
    (ohio, governor) = labelled["tokenized_mention_idxs"]
    assert record == {
        "id": "a",
        "text": TEXT,
        "scores": [-0.5, -2.5],
        "pred_tuples_string": [["Ohio", "ohio"], ["Governor", "governor"]],
        "pred_triples": [["2", *ohio], ["1", *governor]],
        "tokens": labelled["tokenized_text_ids"],
        "gold_tuples_string": [["Ohio", "ohio"]],
        "gold_triples": [["0", *ohio]],
    }
    back = text_to_dict(OutsReader(wordpieces, entities).parse(record, "here"))
    assert back["spans"] == PREDICTED[::-1]
    assert back["gold"] == [{**gold[0], "title": "Ohio"}]


def test_a_score_may_be_null(wordpieces, entities):
    row = text_from_dict({"text": TEXT, "spans": [{**PREDICTED[1], "score": None}]}, "here")
    assert OutsWriter(wordpieces, entities).record(row, 0)["scores"] == [0.0]


def test_output_of_a_window_and_of_nothing(wordpieces, labelled, entities):
    """Places count the whole text's wordpieces, whatever window of it was read."""
    tokens = labelled["tokenized_text_ids"]
    record = {
        "id": 0, "text": TEXT, "scores": [-1.0], "pred_tuples_string": [["Ohio", "ohio"]],
        "pred_triples": [["0", *labelled["tokenized_mention_idxs"][0]]], "tokens": tokens[4:-1],
    }  # fmt: skip
    reader = OutsReader(wordpieces, entities)
    assert places(reader.parse(record, "here")) == [(19, 23, "Q1397")]
    none = {**record, "scores": [], "pred_triples": [], "pred_tuples_string": []}
    assert OutsReader(wordpieces, None).parse(none, "here").spans == ()
    with pytest.raises(ElqError, match=r"ELQ331.*here"):
        OutsReader(wordpieces, None).parse(record, "here")
    with pytest.raises(ElqError, match=r"ELQ325.*here.*tokens"):
        reader.parse({**record, "tokens": tokens[::-1]}, "here")
    with pytest.raises(ElqError, match=r"ELQ322.*scores"):
        reader.parse({**record, "scores": []}, "here")
    with pytest.raises(ElqError, match=r"ELQ323.*pred_triples"):
        reader.parse({**record, "pred_triples": [["x", 1, 2]]}, "here")
    assert len(reader.parse({**record, "tokens": None}, "here").spans) == 1
    for name, value, code in (
        ("scores", None, "ELQ322"),
        ("scores", 1, "ELQ323"),
        ("tokens", "abc", "ELQ323"),
        ("pred_tuples_string", [["Ohio"]], "ELQ323"),
        ("pred_tuples_string", [["Ohio", "ohio"]] * 2, "ELQ322"),
    ):
        with pytest.raises(ElqError, match=rf"{code}.*here.*{name}"):
            reader.parse({**record, name: value}, "here")


# The corpus reader


def test_reader_streams_examples(labelled, catalogue, tiny_bert, tmp_path):
    path = tmp_path / "train.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps({**labelled, "id": i}) + "\n" for i in range(5))
        file.write("not read\n")
    corpus = create_elq_jsonl_reader(path, catalogue, str(tiny_bert), limit=5)
    nlp = spacy.blank("en")
    for _ in range(2):  # an epoch each
        examples = list(corpus(nlp))
        assert [len(gold_spans(example.reference)) for example in examples] == [2] * 5
        assert not examples[0].predicted.ents
    first = next(iter(create_elq_jsonl_reader(path, catalogue)(nlp)))  # the bad line comes later
    assert [span.kb_id_ for span in gold_spans(first.reference)] == ["Q1397", "Q1"]
    with pytest.raises(ElqError, match="ELQ313"):
        next(iter(create_elq_jsonl_reader(None)(nlp)))


def test_reader_warns_of_mentions_without_an_entity(labelled, tmp_path):
    path = write(tmp_path / "a.jsonl", {**labelled, "label_id": [-1, 1]})
    with pytest.warns(UserWarning, match=r"ELQ353.*1 mention"):
        list(create_elq_jsonl_reader(path)(spacy.blank("en")))


def test_reader_is_registered():
    assert spacy.registry.readers.get("spacy-elq.ElqJsonl.v1") is create_elq_jsonl_reader


@given(st.lists(st.integers(), max_size=30), st.integers(0, 40))
def test_shuffling_keeps_every_row_once_and_near_its_place(numbers, buffer):
    rows = [LinkedText(str(number)) for number in numbers]
    read = 0

    def counted():
        nonlocal read
        for row in rows:
            read += 1
            yield row

    result = []
    for row in shuffle_stream(counted(), buffer):
        result.append(row)
        assert read <= len(result) + buffer
    assert sorted(r.text for r in result) == sorted(r.text for r in rows)
    if buffer < 2:
        assert result == rows


def test_shuffling_is_by_the_seed():
    rows = [LinkedText(str(i)) for i in range(100)]
    orders = []
    for seed in (1, 1, 2):
        random.seed(seed)
        orders.append(list(shuffle_stream(rows, 20)))
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != rows


@pytest.mark.slow
@given(st.lists(st.integers(1, 4), min_size=1, max_size=12), st.data())
def test_wordpiece_ranges_and_characters_are_inverse(lengths, data):
    ends = np.cumsum(lengths)
    pieces = Pieces(list(range(len(lengths))), np.stack([ends - lengths, ends], axis=1))
    first = data.draw(st.integers(0, len(lengths) - 1))
    last = data.draw(st.integers(first + 1, len(lengths)))
    assert pieces.span_of(*pieces.chars_of(first, last)) == (first, last)
