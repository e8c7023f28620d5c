"""Abbreviations that a text defines: the pairs of Schwartz and Hearst's kind, and their links."""

from types import SimpleNamespace

import numpy as np
import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st

from spacy_elq.linking.abbreviations import (
    DEFINED,
    find_abbreviations,
    gains_in_documents,
    short_forms,
)
from spacy_elq.linking.decoding import DecodingSettings
from spacy_elq.linking.document import add_gains

from .test_document import SURE, rank

DISEASE, BAND, OTHER = range(3)
PAIRS = [
    ("amyotrophic lateral sclerosis (ALS)", "ALS", "amyotrophic lateral sclerosis"),
    ("the heat shock transcription factor (HSF) is", "HSF", "heat shock transcription factor"),
    ("Gcn5-related N-acetyltransferase (GNAT)", "GNAT", "Gcn5-related N-acetyltransferase"),
    ("human interleukin 2 (IL-2)", "IL-2", "interleukin 2"),
    ("We use ALS (amyotrophic lateral sclerosis).", "ALS", "amyotrophic lateral sclerosis"),
    ("polymerase chain reaction (PCR; see below)", "PCR", "polymerase chain reaction"),
    ("polymerase chain reaction (PCR, or so)", "PCR", "polymerase chain reaction"),
    ("deoxyribonucleic acid (DNA)", "DNA", "deoxyribonucleic acid"),
    ("🚀 the World Health\u00a0Organization ( WHO )", "WHO", "World Health\u00a0Organization"),
    ("magnetic resonance imaging (mri)", "mri", "magnetic resonance imaging"),
]


@pytest.mark.parametrize(("text", "short", "long"), PAIRS)
def test_definitions(text, short, long):
    assert [
        (text[slice(*each.short)], text[slice(*each.long)]) for each in find_abbreviations(text)
    ] == [(short, long)]


@pytest.mark.parametrize(
    "text",
    [
        "Paris (France)",
        "the year (2003)",
        "a test (see Figure 2 of the other paper)",
        "lateral sclerosis (ALS)",
        "an animal. Late sign (ALS)",
        "ALS (ALS)",
        "x (A)",
        "(ALS) amyotrophic lateral sclerosis",
        "American (long) shift (ALS",
        "amyotrophic lateral sclerosis ()",
    ],
)
def test_other_parentheses(text):
    assert find_abbreviations(text) == []


def test_uses_after_the_definition():
    text = "ALS. Amyotrophic lateral sclerosis (ALS): ALS, ALSO and pre-ALS; "
    text += "anti lock system (ALS). ALS"
    found = [(place, text[slice(*long)]) for place, long in short_forms(text)]
    assert [text[slice(*place)] for place, _ in found] == ["ALS"] * 5
    assert [place[0] for place, _ in found] == [36, 42, 60, 83, 89]
    assert [long for _, long in found] == [
        *["Amyotrophic lateral sclerosis"] * 3, *["anti lock system"] * 2,
    ]  # fmt: skip


WORDS = st.sampled_from(
    [*"amyotrophic lateral Sclerosis (ALS) ALS (als) ( ) 🚀 (🚀) İx (İX) ;".split(), "(a b)", "\n"]  # noqa: SIM905
)


@given(st.lists(WORDS, max_size=30).map(" ".join) | st.text("aB(). 🚀İ\n", max_size=60))
def test_what_is_found_is_a_definition(text):
    for long, short in find_abbreviations(text):
        assert 0 <= long[0] < long[1] <= len(text) and 0 <= short[0] < short[1] <= len(text)
        letters = [char.lower() for char in text[slice(*short)] if char.isalnum()]
        rest = iter(char.lower() for char in text[slice(*long)])
        assert all(letter in rest for letter in letters)  # in this order
        assert long[1] <= short[0] or short[1] <= long[0]
        assert text[slice(*long)] == text[slice(*long)].strip() != ""
    surfaces = {text[slice(*each.short)] for each in find_abbreviations(text)}
    places = short_forms(text)
    assert {text[slice(*place)] for place, _ in places} == surfaces
    assert places == sorted(set(places))


TEXT = "The amyotrophic lateral sclerosis (ALS) of one. ALS is rare."


def linked(mentions, text=TEXT, **settings):
    docs = [SimpleNamespace(text=text)]
    ranked = rank([text], mentions)
    gains = gains_in_documents(ranked, docs, DecodingSettings(**settings))
    return add_gains(ranked, gains), gains


@pytest.mark.parametrize("article", ["", "The "])
@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_short_forms_carry_the_link_of_the_long_form(article, weight):
    long = f"{article}amyotrophic lateral sclerosis"
    mentions = [(0, long, 0, SURE, {DISEASE: SURE}),
                (0, "ALS", 0, -1.4, {BAND: 3.0}), (0, "ALS", 1, -1.4, {BAND: 5.0, DISEASE: 0.0}),
                (0, "one", 0, 1.0, {OTHER: 1.0})]  # fmt: skip
    found, gains = linked(mentions, abbreviations=True, document_weight=weight)
    assert found.rows[:, 0].tolist() == [DISEASE, DISEASE, DISEASE, OTHER]
    assert found.joint[:3].min() > -0.1
    assert (gains[2][DISEASE].source, 3 in gains) == (0, False)
    assert DEFINED - 1 < gains[2][DISEASE].bonus <= DEFINED


def test_nothing_is_told_without_a_link_of_the_long_form():
    mentions = [(0, "amyotrophic lateral sclerosis", 0, -4.0, {DISEASE: SURE}),
                (0, "ALS", 1, SURE, {BAND: SURE})]  # fmt: skip
    assert linked(mentions, abbreviations=True)[1] == {}
    sure = [(*mentions[0][:3], SURE, mentions[0][4]), mentions[1]]
    assert linked(sure, document_weight=0.0)[1] == {}
    undefined = "no definition: amyotrophic lateral sclerosis, ALS, ALS"
    assert linked(sure, undefined, abbreviations=True, document_weight=0.0)[1] == {}


@pytest.mark.slow
def test_a_pipeline_considers_short_forms(trained_path):
    """Even where the model would not look, and `explain` says where the link comes from."""
    nlp = spacy.load(trained_path)
    elq = nlp.get_pipe("elq")
    text = "who did paris hilton (PHN) marry and where was PHN"
    doc = nlp.make_doc(text)
    places = [(22, 25), (47, 50)]

    def considered():
        return {tuple(place) for place in elq.rank_mentions([doc]).chars.tolist()}

    elq.threshold, before = -1.0, considered()
    elq.abbreviations = True
    assert set(places) <= considered() and before <= considered()
    given = [(8, 20), *places]
    ranked = elq.rank_mentions([doc], [given])
    order = [int(np.flatnonzero(ranked.given == i)[0]) for i in range(3)]
    if np.exp(ranked.joint[order[0]]) > 0.5:
        assert len({ranked.rows[i, 0] for i in order}) == 1
    spans = {(span.start, span.end): span for span in elq.explain(text).spans}
    assert set(places) <= set(spans)
