import re
from html.parser import HTMLParser

import pytest
import spacy
from spacy.training import Example

from spacy_elq.corpora.gold import set_gold
from spacy_elq.visualise import KINDS, Mention, classify, lanes, render

VOID = {"meta", "br", "link", "input"}


class Outline(HTMLParser):
    """Checks that tags are balanced, and keeps what a reader sees."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.marks, self.links = [], [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        attrs = dict(attrs)
        if tag == "mark":
            self.marks.append(attrs["class"])
        if tag == "a":
            self.links.append(attrs["href"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.text.append(data)


def read(page):
    outline = Outline()
    outline.feed(page)
    assert outline.open == []
    return outline


@pytest.fixture(scope="module")
def nlp():
    return spacy.blank("en")


def make_example(nlp, text, gold, predicted):
    """gold, predicted: [(surface, id)]."""

    def spans(doc, mentions):
        return [
            doc.char_span(text.index(s), text.index(s) + len(s), label="ENTITY", kb_id=entity)
            for s, entity in mentions
        ]

    doc, reference = nlp.make_doc(text), nlp.make_doc(text)
    doc.set_ents(spans(doc, predicted))
    set_gold(reference, spans(reference, gold))
    return Example(doc, reference)


@pytest.mark.parametrize(
    ("gold", "predicted", "expected"),
    [
        ([("Q1", 0, 4)], [("Q1", 0, 4)], (["correct"], ["correct"])),
        ([("Q1", 0, 4)], [("Q1", 0, 3)], (["boundary"], ["boundary"])),
        ([("Q1", 0, 4)], [("Q2", 1, 6)], (["wrong"], ["wrong"])),
        ([("Q1", 0, 4)], [("Q1", 5, 9)], (["missed"], ["spurious"])),
        # The exact link is the pair, though the other comes first.
        ([("Q1", 0, 4)], [("Q1", 0, 9), ("Q1", 0, 4)], (["correct"], ["spurious", "correct"])),
        # An overlap pairs once.
        ([("Q1", 0, 4), ("Q2", 5, 9)], [("Q3", 0, 9)], (["wrong", "missed"], ["wrong"])),
        ([], [], ([], [])),
    ],
)
def test_kinds(gold, predicted, expected):
    assert classify(gold, predicted) == expected


def test_page_counts_each_finding_once(nlp):
    examples = [
        make_example(nlp, "Paris is big", [("Paris", "Q90")], [("Paris", "Q90")]),
        make_example(nlp, "Paris Hilton sang", [("Paris Hilton", "Q1")], [("Paris", "Q1")]),
        make_example(nlp, "who is Homer", [("Homer", "Q6691")], [("Homer", "Q7810")]),
        make_example(nlp, "in Rome or Oslo", [("Rome", "Q220")], [("Oslo", "Q585")]),
        make_example(nlp, "nothing here", [], []),
    ]
    page = render(examples, heading="test", scores={"elq_weak_f": 0.5})
    outline = read(page)
    legend = dict(re.findall(r'data-kind="(\w+)"[^>]*><b>(\d+)</b>', page))
    assert legend == dict.fromkeys(KINDS, "1")
    assert sorted(outline.marks) == sorted(
        ["correct"] * 2 + ["boundary"] * 2 + ["wrong"] * 2 + ["missed", "spurious"]
    )
    assert re.findall(r'data-kinds="([^"]*)"', page) == [
        "correct",
        "boundary",
        "wrong",
        "missed spurious",
        "empty",
    ]
    assert "https://www.wikidata.org/wiki/Q7810" in outline.links
    assert "0.500" in outline.text


def test_everything_is_escaped(nlp):
    evil = "<script>alert('x')</script>&\"$heading"
    text = f"see {evil} now"
    example = make_example(nlp, text, [("see", "Q1")], [("now", 'Q"><b>')])
    doc = example.predicted
    doc.spans["elq"] = list(doc.ents)
    link = {"start": len(text) - 3, "end": len(text), "id": 'Q"><b>', "title": evil}
    doc.spans["elq"].attrs["links"] = [{**link, "description": evil, "candidates": []}]
    page = render(
        [example],
        heading=evil,
        scores={},
        title_of=lambda _: evil,
        kb_url_template='https://kb/?a="&id={}',
    )
    assert page.count("<script>") == 1
    assert '<b>"' not in page
    outline = read(page)
    assert 'https://kb/?a="&id=Q%22%3E%3Cb%3E' in outline.links
    assert "".join(outline.text).count(evil) >= 4


def test_links_show_titles_candidates_and_scores(nlp):
    example = make_example(nlp, "in Paris", [], [("Paris", "Q90")])
    doc = example.predicted
    doc.spans["elq"] = list(doc.ents)
    doc.spans["elq"].attrs["links"] = [
        {
            "start": 3,
            "end": 8,
            "id": "Q90",
            "title": "Paris",
            "description": "capital of France",
            "score": -0.123456,
            "candidates": [{"id": "Q830149", "title": "Paris Hilton", "score": 3.5}],
        }
    ]
    page = render([example], heading="test", scores={})
    assert "capital of France\nscore: -0.123\n1. Paris Hilton (Q830149) 3.500" in page
    assert "Paris <small>Q90</small>" in page


def test_overlapping_mentions_get_lines_of_their_own():
    outer, inner, later = (
        Mention(*bounds, "Q1", "missed", "") for bounds in ((0, 9), (3, 5), (9, 12))
    )
    assert lanes([inner, later, outer]) == [[outer, later], [inner]]
    assert lanes([]) == [[]]


def test_page_says_how_much_it_shows(nlp):
    examples = [make_example(nlp, "in Paris", [], [])]
    assert "The first 1 of 5 texts" in render(examples, heading="t", scores={}, total=5)
    assert "1 texts" in render(examples, heading="t", scores={}, total=1)
