import gzip
import json
import os
import warnings

import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.tokens import DocBin

from spacy_elq import ElqError
from spacy_elq.corpora.spans_jsonl import (
    ConversionStats,
    LinkedSpan,
    LinkedText,
    docs_from_texts,
    read_spans_jsonl,
    text_from_dict,
    text_from_doc,
    text_to_dict,
    write_spans_jsonl,
)
from spacy_elq.files import atomic_file
from spacy_elq.gold import (
    GOLD_KEY,
    gold_fields,
    gold_spans,
    is_complete,
    nil_spans,
    unknown_spans,
)

BERLIN = {"text": "is Berlin big?", "spans": [{"start": 3, "end": 9, "id": "Q64"}]}


@pytest.fixture(scope="module")
def nlp():
    return spacy.blank("en")


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf8")
    return path


def test_reads_texts_spans_and_other_fields(tmp_path):
    record = {**BERLIN, "topic": "Q64", "nested": {"a": [1, None]}}
    record["spans"] = [{**BERLIN["spans"][0], "score": -0.5}]
    path = write(tmp_path / "a.jsonl", json.dumps(record), "", '{"text": "nothing"}')
    rows = list(read_spans_jsonl(path))
    span = LinkedSpan(3, 9, "Q64", {"score": -0.5})
    assert rows[0] == LinkedText(
        "is Berlin big?", (span,), {"topic": "Q64", "nested": {"a": [1, None]}}
    )
    assert rows[1] == LinkedText("nothing")
    assert text_to_dict(rows[0]) == record


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_write_and_read_again(tmp_path, name):
    rows = [text_from_dict(BERLIN, ""), LinkedText("Zürich — 東京\u2028x", (), {"id": "7"})]
    write_spans_jsonl(rows, tmp_path / name)
    assert list(read_spans_jsonl(tmp_path / name)) == rows
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_gzip_is_written_as_gzip(tmp_path):
    write_spans_jsonl([text_from_dict(BERLIN, "")], tmp_path / "a.jsonl.gz")
    with gzip.open(tmp_path / "a.jsonl.gz", "rt", encoding="utf8") as lines:
        assert json.loads(lines.read()) == BERLIN


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + json.dumps(BERLIN).encode())
    assert next(read_spans_jsonl(tmp_path / "a.jsonl")).text == BERLIN["text"]


@pytest.mark.parametrize(
    ("line", "code", "word"),
    [
        ('{"text": "x"', "ELQ302", "JSON"),
        ("[1, 2]", "ELQ303", "list"),
        ('{"spans": []}', "ELQ304", "text"),
        ('{"text": 5}', "ELQ304", "text"),
        ('{"text": "x", "note": ["\\uD83d"]}', "ELQ302", "surrogates"),
        ("[" * 100_000, "ELQ302", "recursion"),
        ('{"text": "x", "spans": {}}', "ELQ323", "spans"),
        ('{"text": "x", "spans": [[0, 1, "Q1"]]}', "ELQ323", "spans"),
        ('{"text": "x", "spans": [{"end": 1, "id": "Q1"}]}', "ELQ306", "None"),
        ('{"text": "x", "spans": [{"start": "0", "end": 1, "id": "Q1"}]}', "ELQ306", "'0'"),
        ('{"text": "x", "spans": [{"start": 0, "end": 1.0, "id": "Q1"}]}', "ELQ306", "1.0"),
        ('{"text": "x", "spans": [{"start": true, "end": 1, "id": "Q1"}]}', "ELQ306", "True"),
        ('{"text": "x", "spans": [{"start": 0, "end": 2, "id": "Q1"}]}', "ELQ307", "[0, 2)"),
        ('{"text": "x", "spans": [{"start": -1, "end": 1, "id": "Q1"}]}', "ELQ307", "[-1, 1)"),
        ('{"text": "x", "spans": [{"start": 1, "end": 1, "id": "Q1"}]}', "ELQ307", "[1, 1)"),
        ('{"text": "x", "spans": [{"start": 0, "end": 1}]}', "ELQ308", "id"),
        ('{"text": "x", "complete": "no"}', "ELQ323", "complete"),
        ('{"text": "x", "unknown": {}}', "ELQ323", "unknown"),
        ('{"text": "x", "nil": [[0, 1]]}', "ELQ323", "nil"),
        ('{"text": "x", "nil": [{"start": 0}]}', "ELQ306", '"nil" 0'),
        ('{"text": "x", "unknown": [{"start": 0, "end": 2}]}', "ELQ307", "[0, 2)"),
        ('{"text": "x", "spans": [{"start": 0, "end": 1, "id": ""}]}', "ELQ308", "id"),
        ('{"text": "x", "spans": [{"start": 0, "end": 1, "id": 90}]}', "ELQ308", "id"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, code, word):
    path = write(tmp_path / "bad.jsonl", json.dumps(BERLIN), line)
    with pytest.raises(ElqError) as caught:
        list(read_spans_jsonl(path))
    message = str(caught.value)
    assert message.startswith(f"[{code}] {path}:2")
    assert word in message


def test_a_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b"\xff\xfe\x00{")
    (tmp_path / "b.jsonl.gz").write_bytes(b"no gzip")
    for name in ("a.jsonl", "b.jsonl.gz"):
        with pytest.raises(ElqError, match="ELQ301"):
            list(read_spans_jsonl(tmp_path / name))


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = write(tmp_path / "a.jsonl", "old")

    def rows():
        yield LinkedText("new")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_spans_jsonl(rows(), path)
    assert path.read_text() == "old\n"
    assert list(tmp_path.iterdir()) == [path]


def test_replacing_creates_folders_and_spares_links_and_devices(tmp_path):
    real = write(tmp_path / "real.txt", "old")
    link = tmp_path / "link.txt"
    link.symlink_to(real)
    with atomic_file(link) as partial:
        partial.write_text("new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    with atomic_file(tmp_path / "deep" / "er.txt") as partial:
        partial.write_text("x")
    assert (tmp_path / "deep" / "er.txt").read_text() == "x"
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with atomic_file(fifo) as partial:
        assert partial == fifo


def test_documents_carry_gold_mentions(nlp):
    span = {"start": 3, "end": 15, "id": "Q1", "label": "person"}
    row = text_from_dict(
        {
            "text": "is Paris Hilton in Paris?",
            "spans": [
                {"start": 3, "end": 8, "id": "Q90"},
                span,
                {"start": 19, "end": 24, "id": "Q90"},
            ],
            "topic": "Q1",
        },
        "",
    )
    (doc,) = docs_from_texts(nlp, [row])
    found = [(s.text, s.kb_id_, s.label_) for s in doc.spans[GOLD_KEY]]
    assert found == [
        ("Paris", "Q90", "ENTITY"),
        ("Paris Hilton", "Q1", "person"),
        ("Paris", "Q90", "ENTITY"),
    ]
    assert [(ent.text, ent.kb_id_) for ent in doc.ents] == [
        ("Paris Hilton", "Q1"),
        ("Paris", "Q90"),
    ]
    assert gold_fields(doc) == {"topic": "Q1"}
    assert text_from_doc(doc) == row


def test_gold_spans_fall_back_on_linked_entities(nlp):
    doc = nlp.make_doc("Paris and Berlin")
    linked = doc.char_span(0, 5, label="GPE", kb_id="Q90")
    doc.set_ents([linked, doc.char_span(10, 16, label="GPE")])
    assert [span.text for span in gold_spans(doc)] == ["Paris"]
    assert text_from_doc(doc).spans == (LinkedSpan(0, 5, "Q90", {"label": "GPE"}),)
    doc.spans[GOLD_KEY] = []
    assert gold_spans(doc) == []


def test_spans_inside_tokens_are_widened_and_counted(nlp):
    spans = [{"start": 5, "end": 8, "id": "Q1"}, {"start": 0, "end": 3, "id": "Q2"}]
    row = text_from_dict({"text": "foo barbaz", "spans": spans}, "")
    with pytest.warns(UserWarning, match=r"ELQ351.* 1 of 2 spans"):
        (doc,) = docs_from_texts(nlp, [row])
    assert [span.text for span in gold_spans(doc)] == ["barbaz", "foo"]


def test_white_space_is_trimmed_or_reported(nlp):
    spans = [{"start": 2, "end": 9, "id": "Q1"}, {"start": 8, "end": 10, "id": "Q2"}]
    row = text_from_dict({"text": "in Rome   now", "spans": spans}, "")
    stats = ConversionStats()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (doc,) = docs_from_texts(nlp, [row], stats)
    assert [span.text for span in gold_spans(doc)] == ["Rome"]
    assert stats == ConversionStats(texts=1, spans=2, misaligned=1, blank=1)
    with pytest.warns(UserWarning, match=r"ELQ352.* 1 of 2 spans"):
        list(docs_from_texts(nlp, [row]))


PARTIAL = {
    "text": "is Ali B. in Paris?",
    "spans": [{"start": 13, "end": 18, "id": "Q90"}],
    "complete": False,
    "unknown": [{"start": 3, "end": 6}, {"start": 3, "end": 9, "why": "a list"}],
    "nil": [{"start": 0, "end": 2, "n": 1}],
}


@pytest.mark.parametrize("left_out", [(), ("unknown",), ("nil",), ("complete",), ("spans",)])
def test_what_is_not_annotated_survives_a_docbin(nlp, left_out):
    row = {name: value for name, value in PARTIAL.items() if name not in left_out}
    (doc,) = docs_from_texts(nlp, [text_from_dict(row, "")])
    assert gold_fields(doc) == {}
    binary = DocBin(docs=[doc]).to_bytes()  # without user data
    (back,) = DocBin().from_bytes(binary).get_docs(spacy.blank("en").vocab)
    assert text_to_dict(text_from_doc(back)) == {"spans": [], **row}
    assert is_complete(back) == ("complete" in left_out)
    assert [s.text for s in unknown_spans(back)] == ["Ali", "Ali B."] * ("unknown" not in left_out)
    assert [s.text for s in nil_spans(back)] == ["is"] * ("nil" not in left_out)


def test_a_text_that_says_to_be_complete_stays_so(nlp):
    row = {"text": "x", "spans": [], "complete": True, "nil": [], "unknown": None}
    (doc,) = docs_from_texts(nlp, [text_from_dict(row, "")])
    assert is_complete(doc)
    assert text_to_dict(text_from_doc(doc)) == {"text": "x", "spans": [], "complete": True}


def test_a_gold_mention_is_not_of_no_entity(nlp):
    row = {**PARTIAL, "nil": [{"start": 13, "end": 18}, {"start": 3, "end": 6}]}
    (doc,) = docs_from_texts(nlp, [text_from_dict(row, "")])
    assert [span.text for span in nil_spans(doc)] == ["Ali"]


def test_a_tokenizer_that_changes_texts_is_refused():
    class Lossy:
        def __call__(self, text):
            return spacy.tokens.Doc(nlp.vocab, words=text.split())

    nlp = spacy.blank("en")
    nlp.tokenizer = Lossy()
    with pytest.raises(ElqError, match="ELQ309"):
        list(docs_from_texts(nlp, [LinkedText("two  spaces")]))


@pytest.mark.slow
@given(st.data())
def test_every_widened_span_covers_what_was_marked(nlp, data):
    text = data.draw(st.text("ab.'é東 -\n", min_size=1, max_size=20))
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    stats = ConversionStats()
    (doc,) = docs_from_texts(nlp, [LinkedText(text, (LinkedSpan(start, end, "Q1"),))], stats)
    marked = text[start:end].strip()
    assert stats.blank == (not marked)
    for span in gold_spans(doc):
        assert marked in span.text
        assert span.start_char <= start + text[start:end].index(marked)
        exact = (span.start_char, span.end_char) == (start, end)
        assert stats.misaligned == (not exact)


def test_pairs_of_surrogates_are_characters(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "x", "note": "\\ud83d\\ude00"}')
    assert list(read_spans_jsonl(path)) == [LinkedText("x", (), {"note": "😀"})]


@pytest.mark.parametrize(("text", "code"), [("x" * 21, "ELQ424.* 21 "), ("caf\udce9", "ELQ432")])
def test_texts_that_a_pipeline_cannot_read_are_named(nlp, monkeypatch, text, code):
    monkeypatch.setattr(nlp, "max_length", 20)
    with pytest.raises(ElqError, match=code):
        list(docs_from_texts(nlp, [LinkedText(text)]))


PARIS = {"start": 0, "end": 1, "id": "Q90"}


@pytest.mark.parametrize(
    ("record", "name"),
    [
        ({"evaluation_span": 5}, "evaluation_span"),
        ({"evaluation_span": [1]}, "evaluation_span"),
        ({"evaluation_span": [0, "1"]}, "evaluation_span"),
        ({"optional": {"start": 0}}, "optional"),
        ({"topic_id": ["sports"]}, "topic_id"),
        ({"optional": [[0, 1]]}, "optional"),
        ({"optional": [{"start": 0}]}, "optional"),
        ({"spans": [{**PARIS, "candidates": ["Q90"]}]}, "candidates"),
        ({"spans": [{**PARIS, "candidates": [{"title": "Paris"}]}]}, "candidates"),
        ({"spans": [{**PARIS, "score": "high"}]}, "score"),
        ({"spans": [{**PARIS, "score": True}]}, "score"),
    ],
)
def test_fields_with_a_meaning_are_checked(record, name):
    with pytest.raises(ElqError, match=f'ELQ323.*a.jsonl:1.*"{name}" must be'):
        text_from_dict({"text": "x", **record}, "a.jsonl:1")


def test_fields_may_be_null_or_right():
    names = ("evaluation_span", "optional")
    nothing = {"text": "x", **dict.fromkeys(names), "spans": [{**PARIS, "score": None}]}
    assert text_to_dict(text_from_dict(nothing, "")) == nothing
    right = {
        "text": "x",
        "spans": [{**PARIS, "score": -1, "candidates": [{"id": "Q90"}]}],
        "evaluation_span": [0, 1],
        "optional": [PARIS],
    }
    assert text_to_dict(text_from_dict(right, "")) == right


@pytest.mark.parametrize("name", ["ents", "entities", "mentions"])
def test_links_under_another_name_are_told_once(tmp_path, name):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "a", name: [[0, 1, "Q1"]]}) + "\n" + '{"text": "b"}\n')
    path.write_text(path.read_text() * 2)
    with pytest.warns(UserWarning, match=rf"ELQ456.*a.jsonl:1.*'{name}'") as told:
        assert len(list(read_spans_jsonl(path))) == 4
    assert len(told) == 1


def test_rows_without_links_are_not_told(tmp_path, recwarn):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n{"text": "b", "spans": [], "ents": [1]}\n')
    assert len(list(read_spans_jsonl(path))) == 2
    assert not recwarn
