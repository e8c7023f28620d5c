import re
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest
import spacy
from spacy import displacy
from spacy.training import Example

from spacy_elq.annotate import align_to_tokens, set_span_group
from spacy_elq.errors import ElqError
from spacy_elq.evaluation import report
from spacy_elq.evaluation.error_analysis import KINDS, Mention, analyze, pair_mentions
from spacy_elq.evaluation.report import ScoredSet, assign_lanes
from spacy_elq.evaluation.threshold_curve import ScoredLinks
from spacy_elq.gold import set_gold
from spacy_elq.linking.calibration import Calibration
from spacy_elq.types import Candidate, Link

URL = "https://kb/{}"
VOID = {"meta", "br", "link", "input"}
# Of a link, what the tests do not look at.
LINK = {
    "title": "Paris", "description": "", "label": "CITY", "score": -0.5, "mention_score": -0.25,
    "entity_score": -0.25,
}  # fmt: skip


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


def render(examples, scored=None, **options):
    options = {"heading": "t", "scores": {}, "kb_url_template": URL, **options}
    return report.render_report(examples, scored=scored, **options)


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


def set_links(example, *links):
    """Links in the span group, as the component leaves them."""
    made = [Link(**{**LINK, **link}) for link in links]
    set_span_group(example.predicted, "elq", align_to_tokens(example.predicted, made))
    return example


@pytest.mark.parametrize(
    ("gold", "predicted", "expected"),
    [
        ([("Q1", 0, 4)], [("Q1", 0, 4)], {0: (0, "correct")}),
        ([("Q1", 0, 4)], [("Q1", 0, 3)], {0: (0, "boundary error")}),
        ([("Q1", 0, 4)], [("Q2", 1, 6)], {0: (0, "wrong")}),
        ([("Q1", 0, 4)], [("Q1", 5, 9)], {}),
        # The exact link is the pair, though the other comes first.
        ([("Q1", 0, 4)], [("Q1", 0, 9), ("Q1", 0, 4)], {0: (1, "correct")}),
        # An overlap pairs once.
        ([("Q1", 0, 4), ("Q2", 5, 9)], [("Q3", 0, 9)], {0: (0, "wrong")}),
        ([], [], {}),
    ],
)
def test_pairs(gold, predicted, expected):
    assert pair_mentions(gold, predicted) == expected


@pytest.mark.parametrize(
    ("candidates", "kind"),
    [(["Q7810", "Q6691"], "ranking error"), (["Q7810"], "candidate missing")],
)
def test_wrong_links_tell_whether_the_entity_was_a_candidate(nlp, candidates, kind):
    example = make_example(nlp, "who is Homer", [("Homer", "Q6691")], [("Homer", "Q7810")])
    records = [Candidate(id_, id_, 0.0) for id_ in candidates]
    set_links(example, {"start": 7, "end": 12, "id": "Q7810", "candidates": records})
    finding = analyze(example, str, "elq")
    assert finding.kinds == [kind]
    ((gold, link),) = finding.confused
    assert (gold.id, link.id, gold.kind, link.kind) == ("Q6691", "Q7810", kind, kind)


def test_a_missed_mention_says_what_was_not_kept(nlp):
    example = make_example(nlp, "in Paris", [("Paris", "Q90")], [])
    assert analyze(example, str, "elq").gold[0].hint == "no link overlaps it"
    worse = {"start": 3, "end": 8, "id": "Q2", "score": -9.0}
    set_links(example, worse, {"start": 0, "end": 8, "id": "Q90", "score": -4.0})
    (missed,) = analyze(example, str, "elq").gold
    assert missed.hint == "not kept: Paris (Q90), score -4.000"


def test_page_counts_each_finding_once(nlp):
    examples = [
        make_example(nlp, "Paris is big", [("Paris", "Q90")], [("Paris", "Q90")]),
        make_example(nlp, "Paris Hilton sang", [("Paris Hilton", "Q1")], [("Paris", "Q1")]),
        make_example(nlp, "who is Homer", [("Homer", "Q6691")], [("Homer", "Q7810")]),
        make_example(nlp, "in Rome or Oslo", [("Rome", "Q220")], [("Oslo", "Q585")]),
        make_example(nlp, "nothing here", [], []),
    ]
    page = render(examples, scores={"elq_weak_f": 0.5})
    outline = read(page)
    legend = dict(re.findall(r'data-kind="([\w-]+)"[^>]*><b>(\d+)</b>', page))
    slugs = [kind.replace(" ", "-") for kind in KINDS]
    assert legend == {**dict.fromkeys(slugs, "1"), "ranking-error": "0"}
    assert sorted(outline.marks) == sorted(
        ["correct", "boundary-error", "candidate-missing"] * 2 + ["missed", "spurious"]
    )
    assert re.findall(r'data-kinds="([^"]*)"', page) == [
        "correct ",
        "boundary-error ",
        "candidate-missing ",
        "spurious missed ",
        "",
    ]
    assert "https://kb/Q7810" in outline.links
    assert "0.500 " in outline.text


def test_everything_is_escaped(nlp):
    evil = "<script>alert('x')</script>&\"$heading"
    text = f"see {evil} now"
    example = make_example(nlp, text, [("see", "Q1"), (evil, "Q3")], [("now", 'Q"><b>')])
    link = {"start": len(text) - 3, "end": len(text), "id": 'Q"><b>', "title": evil}
    set_links(example, {**link, "description": evil})
    page = render(
        [example],
        heading=evil,
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
    candidates = (Candidate("Q830149", "Paris Hilton", 3.5),)
    record = {"start": 3, "end": 8, "id": "Q90", "description": "capital of France"}
    set_links(example, {**record, "score": -0.123456, "prob": 0.75, "candidates": candidates})
    page = render([example])
    lines = [
        "capital of France",
        "probability: 0.750",
        "score: -0.123",
        "log P(mention): -0.250",
        "log P(entity): -0.250",
        "1. Paris Hilton (Q830149) 3.500",
    ]
    assert "\n".join(lines) in page
    assert "Paris <small>Q90</small>" in page


def test_overlapping_mentions_get_lines_of_their_own():
    outer, inner, later = (
        Mention(*bounds, "Q1", "missed", "") for bounds in ((0, 9), (3, 5), (9, 12))
    )
    assert assign_lanes([inner, later, outer]) == [[outer, later], [inner]]
    assert assign_lanes([]) == [[]]


def test_page_says_how_much_it_shows(nlp):
    examples = [make_example(nlp, "in Paris", [], [("Paris", "Q90")])] * 5
    page = render(examples, limit=1)
    assert "5 texts, the first 1 are shown" in page
    assert page.count("<article") == 1
    assert "<b>5</b> spurious" in page
    assert "5 texts<" in render(examples)


def test_shares_and_mentions_by_hand(nlp):
    examples = [
        make_example(nlp, "Paris is big", [("Paris", "Q90")], [("Paris", "Q90")]),
        make_example(nlp, "Paris Hilton sang", [("Paris Hilton", "Q1")], [("Paris", "Q1")]),
        make_example(nlp, "in Rome", [("Rome", "Q220")], []),
        make_example(nlp, "in Oslo", [("Oslo", "Q585")], [("Oslo", "Q2")]),
    ]
    page = render(examples, title_of=lambda id_: f"<{id_}>")
    outline = " ".join(" ".join(read(page).text).split())
    # Mentions: precision, recall and F1; texts without a link.
    assert "mentions 0.857 F1 P 1.000 R 0.750" in outline
    assert "exact mentions 0.571 F1 P 0.667 R 0.500" in outline
    assert "texts without a link 1 of 4" in outline
    # Kinds: the count, the share of 4 gold mentions, of 3 links.
    assert "of 4 gold mentions of 3 links" in outline
    assert f"{KINDS['correct']} 1 25.0% 33.3%" in outline
    assert f"{KINDS['candidate missing']} 1 25.0% 33.3%" in outline
    assert f"{KINDS['missed']} 1 25.0% spurious" in outline
    assert f"{KINDS['spurious']} 0 0.0%" in outline
    assert "<Q585> Q585 <Q2> Q2 candidate missing 1" in outline


def figures(page):
    return [ET.fromstring(svg) for svg in re.findall("<svg.*?</svg>", page, re.DOTALL)]


TWO_LINKS = ScoredLinks([("A", 0, 5), ("B", 6, 9)], [("A", 0, 5), ("X", 6, 9)], [-1.0, -3.0])


@pytest.mark.slow
def test_curves_are_those_of_the_links(nlp):
    example = make_example(nlp, "in Paris", [], [])
    page = render([example], ScoredSet([TWO_LINKS], -8.0, -4.0, None))
    curve, found = figures(page)
    assert "threshold -4.00" in "".join(curve.itertext())
    assert "exp(score), ECE 0.341" in "".join(found.itertext())
    assert "best F1 on these texts is 0.667, at\n-2.00" in page
    # The bins: |0.368 - 1| and |0.050 - 0|, half of the links each.
    assert "expected calibration error\n0.341" in page
    calibration = Calibration("isotonic", (-3.0, -1.0), (0.0, 1.0))
    calibrated = render([example], ScoredSet([TWO_LINKS], -8.0, -4.0, calibration))
    assert "expected calibration error\n0.000" in calibrated
    # Equal links give an equal page, in the colours of the page.
    assert page == render([example], ScoredSet([TWO_LINKS], -8.0, -4.0, None))
    assert "currentColor" in page and not re.search(r"fill: #(000|1f2430)", page)


def test_without_matplotlib_the_page_says_how_to_get_curves(nlp, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    example = make_example(nlp, "in Paris", [("Paris", "Q90")], [])
    page = render([example], ScoredSet([TWO_LINKS], -8.0, -4.0, None))
    assert figures(page) == [] and "in Paris" in page
    assert 'pip install "spacy-elq[tune]"' in "".join(read(page).text)


def test_other_errors_of_the_curves_are_told(nlp, monkeypatch):
    def fail(*args):
        raise ElqError("[ELQ000] something else")

    monkeypatch.setattr(report, "compute_curve", fail)
    example = make_example(nlp, "in Paris", [("Paris", "Q90")], [])
    with pytest.raises(ElqError, match="something else"):
        render([example], ScoredSet([TWO_LINKS], -8.0, -4.0, None))


def test_no_links_no_curves(nlp):
    text = ScoredLinks([("A", 0, 5)], [], [])
    page = render(
        [make_example(nlp, "a", [], [])],
        heading="t",
        scores={},
        scored=ScoredSet([text], -8.0, -4.0, None),
    )
    assert figures(page) == []


@pytest.mark.slow
def test_the_page_is_balanced_and_loads_nothing(nlp):
    text = ScoredLinks([("A", 0, 5)], [("A", 0, 5), ("B", 6, 9)], [-1.0, -2.0])
    example = make_example(nlp, "in Paris", [], [("Paris", "Q90")])
    page = render([example], scored=ScoredSet([text], -8.0, -4.0, None))
    read(page)
    assert not re.search(r"<(link|img|iframe|script src)|@import|url\((?!#)", page)


@pytest.mark.parametrize("style", ["ent", "span"])
def test_displacy_links_to_the_knowledge_base(nlp, style):
    doc = nlp.make_doc("in Paris")
    doc.set_ents([doc.char_span(3, 8, label="CITY", kb_id="Q90")])
    doc.spans["elq"] = list(doc.ents)
    options = {"kb_url_template": "https://kb/{}", "spans_key": "elq"}
    html = displacy.render(doc, style=style, options=options, jupyter=False)
    assert 'href="https://kb/Q90"' in html
