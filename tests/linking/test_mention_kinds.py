"""What counts as a mention: names alone, by the way the text is written, or all."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from spacy_elq import ElqError
from spacy_elq.encoders.windows import NO_CHARS, cut_windows
from spacy_elq.encoders.word_shapes import with_shapes
from spacy_elq.linking.explanation import MENTION_THRESHOLD, NOT_A_NAME
from spacy_elq.linking.mention_kinds import is_concept, is_question, unnamed_spans

CASED = "Georgia is north of mercury, a river of Paris. It is in georgia 2."
UNCASED = "georgia is north of mercury, a river of paris. it is in georgia 2."


@pytest.fixture(scope="module")
def tokenizer(tiny_bert):
    return AutoTokenizer.from_pretrained(tiny_bert)


@pytest.fixture
def elq(make_nlp):
    elq = make_nlp().get_pipe("elq")
    elq.threshold, elq.num_cand_mentions = -1e9, 10_000
    return elq


def unnamed(tokenizer, text, widths=64):
    """The characters of the spans that are left out, and of all others."""
    windows = cut_windows(tokenizer, [text], 64, 16)
    length = max((len(window) for window in windows), default=0)
    grid = unnamed_spans(windows, [text], length, widths)
    spans = ({}, {})
    for row, window in enumerate(windows):
        for first in range(len(window)):
            for last in range(first, min(len(window), first + widths)):
                begin, end = window.chars[first, 0], window.chars[last, 1]
                if NO_CHARS not in (begin, end):
                    spans[int(not grid[row, first, last - first])][int(begin), int(end)] = None
    return tuple({text[begin:end] for begin, end in each} for each in spans)


@pytest.mark.parametrize(
    ("text", "left_out", "kept"),
    [
        (
            "The president of France met de Gaulle in 1960. He had an iPhone and eBay.",
            {"president", "of", "president of", "an"},
            {"France", "president of France", "de Gaulle", "The", "1960", "iPhone", "eBay"},
        ),
        ("Il a vu Tokyo (東京) et le Japon.", {"et", "a vu", "le"}, {"東京", "le Japon"}),
        ("Who wrote moby dick and why?", set(), {"moby dick", "moby", "wrote"}),
        ("who wrote moby dick", set(), {"moby dick"}),
        ("who is the president of France", set(), {"president", "France"}),
        ("PRESIDENT OF FRANCE MEETS QUEEN", set(), {"PRESIDENT"}),
        (
            "The man was in Rome.\n\ni saw paris\n\nHe saw the sea in Oslo and left it there.",
            {"man", "the sea", "sea"},
            {"paris", "i saw paris", "Rome"},
        ),
    ],
)
def test_spans_without_a_capital_or_a_digit_where_the_text_has_them(
    tokenizer, text, left_out, kept
):
    small, others = unnamed(tokenizer, text)
    assert left_out <= small
    assert kept <= others
    assert not small & kept


@given(st.text(st.sampled_from("aB ,.1é東"), max_size=40))
def test_what_is_left_out_has_neither_a_capital_nor_a_digit(tiny_bert, text):
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    text = f"He saw Rome or saw it. {text}. It was in Rome."
    small, others = unnamed(tokenizer, text, widths=8)
    for span in small:
        assert span == span.lower()
        assert not any(map(str.isdigit, span))
        assert "東" not in span
    assert {"He", "Rome", "Rome or"} <= others


def test_models_with_shapes_and_without_leave_out_the_same(tokenizer):
    windows = cut_windows(tokenizer, [CASED, UNCASED], 16, 4)
    shaped = with_shapes(windows, [CASED, UNCASED])
    grids = [unnamed_spans(each, [CASED, UNCASED], 16, 5) for each in (windows, shaped)]
    np.testing.assert_array_equal(*grids)
    assert grids[0].any()


def test_the_setting_holds_from_the_next_call_on(elq, make_nlp):
    nlp = make_nlp()

    def found(text):
        return {text[link.start : link.end] for link in elq.predict([nlp.make_doc(text)])[0]}

    names, uncased = found(CASED), found(UNCASED)
    elq.mention_kinds = "all"
    everything = found(CASED)
    assert names < everything
    assert all(span == span.lower() for span in everything - names)
    assert {"mercury", "river"} <= everything - names
    assert found(UNCASED) == uncased
    with pytest.raises(ElqError, match="ELQ110"):
        elq.mention_kinds = "concepts"
    assert found(CASED) == everything


def test_given_mentions_are_linked_whatever_they_are(elq, make_nlp):
    doc = make_nlp().make_doc(CASED)
    doc.spans["given"] = [doc.char_span(20, 27)]
    elq.mentions = "given"
    assert [(link.start, link.end) for link in elq.predict([doc])[0]] == [(20, 27)]


def test_an_explanation_names_the_reason(elq, make_nlp):
    doc = make_nlp().make_doc(CASED)
    cuts = {span.text: span.cut for span in elq.explain(doc, limit=1000).spans}
    assert cuts["mercury"] == cuts["north of mercury"] == NOT_A_NAME
    assert NOT_A_NAME not in {cuts["Paris"], cuts["river of Paris"], cuts["2"]}
    elq.mention_kinds, elq.threshold = "all", 100.0
    cuts = {span.text: span.cut for span in elq.explain(doc, limit=1000).spans}
    assert cuts["mercury"] == MENTION_THRESHOLD


@pytest.mark.parametrize(
    ("surface", "title", "concept"),
    [
        ("Coach. He", "coach", True),
        ("Coach? He", "coach", True),
        ("Coach?", "coach", False),
        ("Coach", "coach", True),
        ("CEO", "chief executive officer", True),
        ("coach", "coach", False),
        ("Coach", "Coach", False),
        ("Tokyo", "東京", False),
        ("東京", "tokyo", False),
        ("1960s", "decade", False),
    ],
)
def test_entities_without_a_capital_are_concepts(surface, title, concept):
    assert is_concept(surface, 0, len(surface), title, "of a day") is concept


@pytest.mark.parametrize(
    ("surface", "title", "description", "date"),
    [
        ("Friday. He", "Friday", "day of the week", True),
        ("Sept. 7", "7 September", "date", True),
        ("May 2010", "May 2010", "month of 2010", True),
        ("M\u00e4rz", "M\u00e4rz", "Monat des gregorianischen Kalenders", True),
        ("Friday?", "Friday", "day of the week", False),
        ("friday", "Friday", "day of the week", False),
        ("Friday", "Friday", "1995 film by F. Gary Gray", False),
        ("Good Friday", "Good Friday", "day before Easter", False),
        ("May", "Theresa May", "Prime Minister of this year", False),
        ("2010", "2010", "year", False),
        ("Aprils", "Aprils", "days", False),
    ],
)
def test_days_and_months_are_no_names(surface, title, description, date):
    assert is_concept(surface, 0, len(surface), title, description) is date


def test_concepts_are_linked_on_demand_or_where_all_names_are_small(make_nlp):
    nlp = make_nlp()
    elq = nlp.get_pipe("elq")
    elq.threshold = -1e9
    elq.add_entities([{"id": "C1", "title": "coach", "description": "a role"}])

    def coaches():
        with elq.restrict(ids=["C1"]):
            doc = nlp.make_doc("Coach Paris won in Georgia, said the team.")
            links = elq.predict([doc])[0]
            cuts = [s.cut for s in elq.explain(doc).spans if s.text == "Coach"]
        return any(doc.text[link.start : link.end] == "Coach" for link in links), cuts

    assert coaches() == (False, [NOT_A_NAME])
    elq.mention_kinds = "all"
    assert coaches()[0]
    elq.mention_kinds = "names"
    small = [{"id": entity.id, "title": entity.title.lower()} for entity in elq.kb.view]
    elq.update_entities(small)
    assert coaches()[0]


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ("Which Frenchman did he meet? ", True),
        ("\u8ab0\u304c\u66f8\u3044\u305f\uff1f", True),
        ("Did Dr. No meet Bond?", True),
        ("He met a spy. Did he meet Bond?", False),
        ("Who? Me?", False),
        ("Who met Bond\n\nWhy?", False),
        ("He met Bond.", False),
        ("?", True),
        ("", False),
    ],
)
def test_a_text_that_is_one_question(text, question):
    assert is_question(text) is question


def test_concepts_of_questions_and_names_written_small_are_left_to_the_model(make_nlp):
    nlp = make_nlp()
    elq = nlp.get_pipe("elq")
    elq.threshold = -1e9
    elq.add_entities([{"id": "C1", "title": "Georgia Moor"}, {"id": "C2", "title": "coach"}])

    def found(text):
        return {text[link.start : link.end] for link in elq.predict([nlp.make_doc(text)])[0]}

    text = "It was in Georgia that georgia moor, a coach of Armenia, came to paris"
    assert "georgia moor" in found(f"{text}.") and not {"paris", "coach"} & found(f"{text}.")
    assert {"georgia moor", "paris", "coach"} <= found(f"{text}?")
    for mark in ".?":
        doc = nlp.make_doc(text + mark)
        cuts = {span.text: span.cut for span in elq.explain(doc, limit=10_000).spans}
        assert cuts["georgia moor"] != NOT_A_NAME
        assert (cuts["coach"] == NOT_A_NAME) == (mark == ".")
