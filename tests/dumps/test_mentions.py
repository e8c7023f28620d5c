"""Mentions beside links: names that are repeated, and what looks like a name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_elq.dumps import mentions
from spacy_elq.dumps.mentions import Names, name_like
from spacy_elq.spelling import compiled

PIECES = ["A", "Ab", "b", "é", "'", "1", " ", "-", ".", "_", "&", "\n", "of ", "\u2013"]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)


@given(TEXTS, st.lists(TEXTS, min_size=1, max_size=6))
def test_names_of_long_texts_are_the_same(text, names):
    found = Names({name: name for name in names}).find(text)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(mentions, "LONG", 0)
        assert Names({name: name for name in names}).find(text) == found
    assert all(text[m.start : m.end] == m.entity for m in found)


def test_the_longest_name_that_begins_with_a_word_wins():
    names = dict.fromkeys(["New York", "New York City", "York", "City", "'n Sync", "上海"], "Q")
    for text, expected in {
        "New York City, York and Newer York": ["New York City", "York", "York"],
        "NewYork, Yorks, 'n Sync": ["'n Sync"],
        "在上海, City": ["上海", "City"],
    }.items():
        found = Names(names).find(text)
        assert [text[m.start : m.end] for m in found] == expected, text


@given(TEXTS)
def test_what_looks_like_a_name_is_the_same_by_either_pattern(text):
    plain = [m.span() for m in mentions._ASCII_NAME.finditer(text)]
    any_script = [m.span() for m in compiled(mentions._NAME).finditer(text)]
    assert "é" in text or plain == any_script


def test_words_with_capitals_look_like_names():
    text = "An iPhone of St. Émile de la 3M, and J. R. R. Tolkien's éX"
    found = [text[m.start : m.end] for m in name_like(text, [])]
    assert found == ["An iPhone of St. Émile de la 3M", "J. R. R. Tolkien's éX"]
