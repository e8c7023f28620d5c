"""Links as benchmarks count them, against numbers counted by hand and a count over all pairs."""

import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st

from spacy_elq.corpora.spans_jsonl import docs_from_texts, text_from_dict
from spacy_elq.evaluation.benchmark import (
    LOWER_CASE,
    OUTSIDE,
    count_benchmark,
    error_kinds,
    read_linked,
)
from spacy_elq.evaluation.error_analysis import BOUNDARY, MISSED, NO_CANDIDATE, SPURIOUS

KNOWN = {"Q1", "Q2", "Q3"}
NLP = spacy.blank("en")
TEXT = "Ann of Foo met Bob and the dog in Bar on 5 May"


def place(part, entity=None, text=TEXT):
    start = text.index(part)
    found = {"start": start, "end": start + len(part)}
    return found if entity is None else {**found, "id": entity}


def linked(row, links, known=KNOWN):
    (reference,) = docs_from_texts(NLP, [text_from_dict(row, "")])
    doc = NLP.make_doc(row["text"])
    ents = [doc.char_span(p["start"], p["end"], label="X", kb_id=p["id"]) for p in links]
    assert None not in ents
    doc.set_ents(ents)
    return read_linked(doc, reference, known.__contains__)


def scores(row, links):
    return count_benchmark([linked(row, links)])


def test_all_measures_of_a_text_counted_by_hand():
    row = {
        "text": TEXT,
        "spans": [
            place("Ann", "Q1"),
            place("Foo", "Q2"),
            place("dog", "Q3"),
            place("Bar", "Q9"),  # not in the knowledge base
        ],
        "nil": [place("Bob")],
        "other": [place("5 May")],
    }
    links = [
        place("Ann", "Q1"),  # right
        place("Foo", "Q3"),  # another entity
        place("Bob", "Q2"),  # a mention of no entity
        place("the", "Q1"),  # no mention
        place("in Bar", "Q2"),  # overlaps a mention of an unknown entity
        place("5 May", "Q2"),  # not counted
    ]
    found = scores(row, links)
    assert (found["bench_gold"], found["bench_links"], found["bench_outside_gold"]) == (3, 5, 2)
    assert (found["bench_p"], found["bench_r"]) == (1 / 5, 1 / 3)
    assert found["bench_f"] == pytest.approx(2 * 1 / (5 + 3))
    # As peers: Ann, Foo, the.
    assert (found["bench_peers_p"], found["bench_peers_r"]) == (1 / 3, 1 / 3)
    # Names: links on Ann and Foo, gold Ann and Foo.
    assert (found["bench_names_p"], found["bench_names_r"]) == (1 / 2, 1 / 2)
    # Bounds: Ann and Foo of three links and three mentions.
    assert (found["bench_mentions_p"], found["bench_mentions_r"]) == (2 / 3, 2 / 3)
    assert found["bench_entity"] == 1 / 2
    assert found["bench_nil_r"] == 0.0
    kinds = {key: found[f"bench_{key}"] for key in ("missed", "no_candidate", "outside", "lower")}
    assert kinds == {"missed": 1, "no_candidate": 1, "outside": 2, "lower": 1}
    assert (found["bench_boundary"], found["bench_ranking"], found["bench_spurious"]) == (0, 0, 0)


@pytest.mark.parametrize("kind", ["optional", "alt", "other", "unmapped"])
def test_links_at_mentions_that_need_not_be_found_count_only_if_right(kind):
    row = {"text": TEXT, "spans": [place("Ann", "Q1")], kind: [place("Ann"), place("Bob", "Q2")]}
    assert scores(row, [place("Ann", "Q1"), place("Bob", "Q2")])["bench_f"] == 1.0
    found = scores(row, [place("Ann", "Q2"), place("Bob", "Q3")])
    assert (found["bench_links"], found["bench_r"]) == (0, 0.0)
    assert scores(row, [place("met Bob", "Q2")])["bench_links"] == 1  # other bounds


def test_fields_of_other_programs_are_no_mentions():
    row = {"text": TEXT, "spans": [place("Ann", "Q1")], "alt": [{"id": "Q2"}, 3], "other": "x"}
    assert scores(row, [place("Ann", "Q1"), place("Bob", "Q2")])["bench_p"] == 0.5


def test_links_outside_of_the_annotated_part_do_not_count():
    row = {"text": TEXT, "spans": [place("Ann", "Q1")], "evaluation_span": [0, 18]}
    assert scores(row, [place("Ann", "Q1"), place("Bar", "Q2")])["bench_f"] == 1.0


def test_mentions_of_no_entity_are_found_by_leaving_them_alone():
    row = {"text": TEXT, "spans": [place("Bar", "Q9")], "nil": [place("Bob"), place("Foo")]}
    found = scores(row, [place("of Foo", "Q1")])
    assert found["bench_nil_r"] == 2 / 3
    assert found["bench_entity"] is None  # nothing was found
    assert found["bench_outside"] == 1
    assert scores({"text": TEXT}, [])["bench_nil_r"] is None


def test_bounds_are_those_that_were_annotated_not_those_of_tokens():
    with pytest.warns(UserWarning, match="ELQ351"):
        doc = linked({"text": "in Rome", "spans": [place("Rom", "Q1", "in Rome")]},
                     [place("Rome", "Q1", "in Rome")])  # fmt: skip
    assert count_benchmark([doc])["bench_f"] == 0.0
    assert error_kinds(doc) == [BOUNDARY]


def test_kinds_of_errors():
    row = {"text": TEXT, "spans": [place("Ann of Foo", "Q1"), place("Bob", "Q2")]}
    row |= {"nil": [place("Bar")]}
    links = [place("Foo", "Q1"), place("the dog", "Q3"), place("Bar", "Q1"), place("May", "Q1")]
    assert error_kinds(linked(row, links)) == [BOUNDARY, MISSED, LOWER_CASE, OUTSIDE, SPURIOUS]
    other = linked(row, [place("Ann", "Q3")])
    assert error_kinds(other) == [NO_CANDIDATE, MISSED]


WORDS = ("Ann", "Bob", "dog", "cat", "5")
LETTERS = " ".join(WORDS)
BORDERS = [(LETTERS.index(a), LETTERS.index(b) + len(b)) for i, a in enumerate(WORDS)
           for b in WORDS[i:]]  # fmt: skip


@st.composite
def annotated(draw):
    """A row, and links that do not overlap."""
    ids = st.sampled_from(["Q1", "Q2", "Q9"])
    places = st.lists(st.sampled_from(BORDERS), max_size=3)
    row = {"text": LETTERS}
    for name in ("spans", "nil", "optional", "alt"):
        row[name] = [{"start": a, "end": b, "id": draw(ids)} for a, b in draw(places)]
    links, reached = [], 0
    for a, b in sorted(draw(places)):
        if a >= reached:
            links.append({"start": a, "end": b, "id": draw(st.sampled_from(["Q1", "Q2"]))})
            reached = b
    return row, links


def expected(pairs):
    """Right, links and gold: of all, as peers, names, bounds."""
    totals = [[0, 0, 0] for _ in range(4)]
    for row, links in pairs:
        gold = []
        for span in row["spans"]:
            if span["id"] in KNOWN and span not in gold:
                gold.append(span)
        lacking = [s for s in row["spans"] if s["id"] not in KNOWN] + row["nil"]
        bounds = [(s["start"], s["end"]) for s in row["optional"] + row["alt"]]
        kept = [p for p in links if p in gold or (p["start"], p["end"]) not in bounds]
        peers = [
            p
            for p in kept
            if p in gold or all(p["end"] <= s["start"] or s["end"] <= p["start"] for s in lacking)
        ]
        named = [
            [s for s in some if set("AB5") & set(LETTERS[s["start"] : s["end"]])]
            for some in (peers, gold)
        ]
        edges = [{(s["start"], s["end"]) for s in some} for some in (peers, gold)]
        for total, (found, wanted) in zip(
            totals, [(kept, gold), (peers, gold), named, edges], strict=True
        ):
            total[0] += sum(each in wanted for each in found)
            total[1] += len(found)
            total[2] += len(wanted)
    return totals


@given(st.lists(annotated(), min_size=1, max_size=3))
def test_counts_of_random_texts(pairs):
    found = count_benchmark(linked(row, links) for row, links in pairs)
    names = ("", "peers_", "names_", "mentions_")
    for name, (right, links, gold) in zip(names, expected(pairs), strict=True):
        assert found[f"bench_{name}p"] == (right / links if links else 0)
        assert found[f"bench_{name}r"] == (right / gold if gold else 0)
        assert found[f"bench_{name}f"] == pytest.approx(2 * right / max(1, links + gold))
