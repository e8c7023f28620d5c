"""Words that are short for a longer name: its last word, or its initials."""

import math

import numpy as np
import pytest
from spacy.vocab import Vocab

from spacy_elq.encoders.windows import cut_windows
from spacy_elq.kb.files.names import TITLE, initials, last_word, word_finder
from spacy_elq.kb.knowledge_base import FaissKB
from spacy_elq.ml.name_features import (
    ENTITY_FEATURES,
    LOG_SHARE,
    SHORT_FORM,
    find_name_matches,
    name_feature_grid,
)
from spacy_elq.ml.short_forms import MAX_ENTITIES, add_short_forms
from spacy_elq.types import Entity

ENTITIES = [
    Entity("A", "Wolfgang Pauli", aliases=("Wolfgang Ernst Pauli",)),
    Entity("B", "Hertha Pauli"),
    Entity("C", "Georgia"),
    Entity("D", "Elmore Georgia"),
    Entity("E", "Bank of Smith"),
    Entity("F", "Boston Red Sox season"),
    *(Entity(f"S{i}", f"No {i} Smith") for i in range(MAX_ENTITIES + 1)),
]


def knowledge_base():
    kb = FaissKB(Vocab(), 4)
    kb.add(ENTITIES, np.random.default_rng(0).normal(size=(len(ENTITIES), 4)).astype("f4"))
    return kb


@pytest.fixture(scope="module")
def windows_of(tiny_bert):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(tiny_bert))
    return lambda text: cut_windows(tokenizer, [text], 24, 8)


def find_with_short_forms(view, texts, windows):
    matches = find_name_matches(view, texts, windows)
    add_short_forms(matches, view, texts, windows, word_finder(texts))
    return matches


def found_in(kb, text, windows):
    """{surface: ({id: kind}, its match)}"""
    result = {}
    for window, matches in zip(
        windows, find_with_short_forms(kb.view, [text], windows), strict=True
    ):
        for (first, last), match in matches.items():
            surface = text[window.chars[first, 0] : window.chars[last, 1]]
            ids = [entity.id for entity in kb.view.records(match.rows)]
            result[surface] = dict(zip(ids, match.kinds.tolist(), strict=True)), match
    return result


def test_a_last_word_names_the_entities_that_have_it(windows_of):
    kb, text = knowledge_base(), "so Pauli met Smith, Season and pauli in Georgia"
    found = found_in(kb, text, windows_of(text))
    assert set(found) == {"Pauli", "Georgia"}
    of_pauli, match = found["Pauli"]
    assert of_pauli == {"A": SHORT_FORM, "B": SHORT_FORM}
    expected = np.zeros((2, LOG_SHARE + 1), dtype="f4")
    expected[:, ENTITY_FEATURES.index("short_form")] = 1
    expected[:, ENTITY_FEATURES.index("shared")] = math.log(2)
    np.testing.assert_array_equal(match.of_entities, expected)
    assert found["Georgia"][0] == {"C": TITLE, "D": SHORT_FORM}


def test_initials_in_capitals_name_the_entities_with_such_a_title(windows_of):
    kb, text = knowledge_base(), "the BRS, a Brs, and brs met PAULI"
    found = found_in(kb, text, windows_of(text))
    assert {surface: of_word for surface, (of_word, _) in found.items()} == {
        "BRS": {"F": SHORT_FORM},
        "PAULI": {"A": SHORT_FORM, "B": SHORT_FORM},
    }


def test_a_last_word_is_no_likelier_to_be_a_mention(windows_of):
    kb, text = knowledge_base(), "so Pauli was in Georgia"
    windows = windows_of(text)
    grids = [
        name_feature_grid(find(kb.view, [text], windows), 8)
        for find in (find_with_short_forms, find_name_matches)
    ]
    assert len(grids[0].features) > 0
    for with_short_forms, without in zip(grids[0].places, grids[1].places, strict=True):
        np.testing.assert_array_equal(with_short_forms, without)
    np.testing.assert_array_equal(grids[0].features, grids[1].features)


def test_last_words_follow_changes_and_files(windows_of, tmp_path):
    kb, text = knowledge_base(), "so Pauli met"
    kb.to_disk(tmp_path / "kb")
    kb = FaissKB(Vocab(), 4).from_disk(tmp_path / "kb")
    kb.add([Entity("N", "Ernst Pauli")], np.ones((1, 4), dtype="f4"))
    kb.remove(["B"])
    for _ in range(2):
        assert set(found_in(kb, text, windows_of(text))["Pauli"][0]) == {"A", "N"}
        kb.compact()


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("Wolfgang Pauli", "pauli"), ("P. \u00c9luard", "eluard"), ("Paul \u00c9luard", "eluard"),
        ("Pauli", ""), ("", ""), ("Boston season", ""), ("Henry Ford II", "ford"), ("Jr II", ""),
        ("Martin Luther King, Jr.", "king"), ("Bank of America", ""), ("Paris, Texas", ""),
        ("\u5317\u4eac\u5927\u5b66", ""), ("Rita Levi-Montalcini", ""),
    ],
)  # fmt: skip
def test_the_last_word_of_a_name(name, last):
    assert last_word(name) == last


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Federal Bureau of Investigation", "FBI"), ("World Health Organization", "WHO"),
        ("\u00c9cole Normale Sup\u00e9rieure", "ENS"), ("Associated Press", ""), ("", ""),
        ("federal Bureau of Investigation", ""), ("Paris", ""), ("\u5317\u4eac\u5927\u5b66", ""),
    ],
)  # fmt: skip
def test_the_initials_of_a_name(name, expected):
    assert initials(name) == expected
