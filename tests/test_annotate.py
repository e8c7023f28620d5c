"""Links on a document beside what other components keep there."""

import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.tokens import Doc, DocBin, Span, SpanGroup
from spacy.vocab import Vocab

from spacy_elq import annotate
from spacy_elq.annotate import (
    LINKS_ATTR,
    WRITERS_ATTR,
    install_extension,
    overlapped,
    read_link,
    read_links,
    set_span_group,
    spans_of_writer,
    without_overlaps,
)
from spacy_elq.corpora.predictions import linked_spans
from spacy_elq.types import Candidate, Link


def link(span, id_="Q90"):
    candidates = (Candidate(id_, "Paris", -0.5),)
    place = (span.start_char, span.end_char)
    return Link(*place, id_, "Paris", "", "city", -1.0, -0.5, -0.5, candidates)


@pytest.fixture
def doc():
    """Every other word is linked, and in `doc.ents`."""
    install_extension()
    doc = spacy.blank("en")("Paris and " * 200)
    spans = [doc.char_span(i, i + 5, label="city", kb_id="Q90") for i in range(0, 2000, 10)]
    set_span_group(doc, "elq", [(span, link(span)) for span in spans])
    doc.set_ents(spans)
    return doc


@pytest.mark.parametrize(
    ("text", "surface", "expected"),
    [
        ("FRESNO, Calif. - A", "Calif", "Calif."),
        ("Malcolm X.", "Malcolm X", "Malcolm X"),
        ("Berlin.", "Berlin", "Berlin"),
    ],
)
def test_the_stop_of_an_abbreviation_belongs_to_its_link(text, surface, expected):
    doc = spacy.blank("en")(text)
    start = text.index(surface)
    made = Link(start, start + len(surface), "Q1", "T", "", "x", -1, 0, 0, ())
    ((_, found),) = annotate.align_to_tokens(doc, [made])
    assert text[found.start : found.end] == expected


def test_links_keep_their_characters_where_tokens_are_wider():
    install_extension()
    doc = Doc(Vocab(), words=["I", "met", "Michael", "Jordan🏀", "and", "北京上海", "today"])

    def make(surface, score, id_):
        start = doc.text.index(surface)
        end = start + len(surface)
        return Link(start, end, id_, id_, "", "x", score, 0, 0, (Candidate(id_, id_, 0),))

    links = [make("Jordan", -3, "J"), make("Michael Jordan", -1, "MJ"), make("北京", -1, "B"),
             make("京上", -2, "no"), make("上海", -3, "S")]  # fmt: skip
    linked = annotate.align_to_tokens(doc, links)
    assert [(span.text, doc.text[link.start : link.end]) for span, link in linked] == [
        ("Michael Jordan🏀", "Michael Jordan"), ("北京上海", "北京"),
        ("Jordan🏀", "Jordan"), ("北京上海", "上海"),
    ]  # fmt: skip
    set_span_group(doc, "elq", linked)
    doc.set_ents(annotate.best_spans(linked))
    assert [(ent.text, ent.kb_id_, ent._.elq.id) for ent in doc.ents] == [
        ("Michael Jordan🏀", "MJ", "MJ"), ("北京上海", "B", "B"),
    ]  # fmt: skip
    doc = Doc(doc.vocab).from_bytes(doc.to_bytes())
    assert doc.ents[0]._.elq == links[1]
    spans = linked_spans(doc)
    assert [doc.text[span.start : span.end] for span in spans] == ["Michael Jordan", "北京"]


@pytest.mark.parametrize("value", [["https://x"], "https://x", {"a": 1}, None, [{"start": 0}]])
def test_span_groups_of_others_may_have_links_too(doc, value):
    own = doc.spans.pop("elq")
    doc.spans["web"] = SpanGroup(doc, name="web", spans=[doc[0:1]], attrs={"links": value})
    assert read_link(doc[0:1]) is doc[0:1]._.elq is None
    doc.spans["elq"] = own
    assert doc[0:1]._.elq == link(doc[0:1])
    assert linked_spans(doc)[0].fields["title"] == "Paris"


def test_of_several_groups_the_first_counts(doc):
    set_span_group(
        doc, "more", [(doc[0:1], link(doc[0:1], "Q1")), (doc[1:2], link(doc[1:2], "Q2"))]
    )
    links = read_links(doc.spans.values())
    assert len(links) == 201
    for span in (doc[0:1], doc[1:2], doc[398:399]):
        assert links[span.start_char, span.end_char] == read_link(span)
    assert links[0, 5].id == "Q90"
    assert read_links([]) == {}


def test_many_links_are_read_once_each(doc, monkeypatch):
    class Counted(list):
        looked_at = 0

        def __iter__(self):
            for each in super().__iter__():
                Counted.looked_at += 1
                yield each

    doc.spans["elq"].attrs[LINKS_ATTR] = Counted(doc.spans["elq"].attrs[LINKS_ATTR])
    monkeypatch.setattr(annotate, "read_link", None)
    rows = linked_spans(doc)
    assert [row.fields["title"] for row in rows] == ["Paris"] * 200
    assert Counted.looked_at <= 200


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 5)), max_size=12))
def test_without_overlaps_is_greedy(spans):
    ranges = [(start, start + width) for start, width in spans]

    def clash(i, j):
        return max(ranges[i][0], ranges[j][0]) < min(ranges[i][1], ranges[j][1])

    kept = without_overlaps(ranges)
    assert kept == sorted(kept)
    for i, first in enumerate(overlapped(ranges)):
        assert first == next((j for j in kept if j < i and clash(i, j)), None)
        assert (first is None) == (i in kept)


def linked(doc, *ids):
    """Each word of the document, linked to one of the ids."""
    spans = [Span(doc, i, i + 1, label="X", kb_id=id_) for i, id_ in enumerate(ids)]
    return [(span, link(span, span.kb_id_)) for span in spans]


def test_a_component_replaces_its_own_links_and_no_others():
    doc = spacy.blank("en")("Paris and Rome")
    set_span_group(doc, "elq", linked(doc, "A1", "A2"), "one")
    set_span_group(doc, "elq", linked(doc, "B1"), "other")
    (doc,) = DocBin(docs=[doc]).get_docs(doc.vocab)
    assert [span.kb_id_ for span in doc.spans["elq"]] == ["A1", "A2", "B1"]
    set_span_group(doc, "elq", linked(doc, "A3"), "one")
    group = doc.spans["elq"]
    assert [span.kb_id_ for span in group] == ["B1", "A3"]
    assert [stored["id"] for stored in group.attrs[LINKS_ATTR]] == ["B1", "A3"]
    assert len(group.attrs["scores"]) == 2
    assert [span.kb_id_ for span in spans_of_writer(doc, "elq", "other")] == ["B1"]
    set_span_group(doc, "elq", [], "other")
    set_span_group(doc, "elq", [], "one")
    assert not len(doc.spans["elq"]) and not spans_of_writer(doc, "elq", "one")


def test_links_that_name_no_writer_are_replaced():
    doc = spacy.blank("en")("Paris and Rome")
    set_span_group(doc, "elq", linked(doc, "A1"))
    del doc.spans["elq"].attrs[WRITERS_ATTR]  # as earlier releases wrote them
    assert [span.kb_id_ for span in spans_of_writer(doc, "elq", "mine")] == ["A1"]
    set_span_group(doc, "elq", linked(doc, "B1"), "mine")
    assert [span.kb_id_ for span in doc.spans["elq"]] == ["B1"]


def test_of_two_links_of_the_same_text_the_id_decides():
    doc = spacy.blank("en")("Paris and Rome")
    for key, id_ in (("elq", "A1"), ("more", "B1")):
        set_span_group(doc, key, linked(doc, id_))
    doc.set_ents([doc.spans["more"][0]])
    assert doc.ents[0]._.elq.id == "B1"
    assert doc[0:1]._.elq.id == "A1"
    doc.spans["more"].attrs[LINKS_ATTR][0]["title"] = "Other"
    assert linked_spans(doc)[0].fields["title"] == "Other"
