"""Which spans are names, and what the features say."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.vocab import Vocab

from spacy_elq.encoders.windows import cut_windows
from spacy_elq.kb.knowledge_base import FaissKB
from spacy_elq.ml.name_features import LOOSE, MENTION_FEATURES, find_name_matches, name_feature_grid
from spacy_elq.types import Entity

ENTITIES = [
    Entity("A", "The Beatles", aliases=("Fab Four",)),
    Entity("B", "Warner Bros."),
    Entity("C", "New York"),
    Entity("D", "New York City", aliases=("New York",)),
    Entity("E", "Beyonc\u00e9"),
    Entity("F", "Simon & Garfunkel"),
]


@pytest.fixture(scope="module")
def kb():
    kb = FaissKB(Vocab(), 4)
    kb.add(ENTITIES, np.eye(len(ENTITIES), 4, dtype="f4"))
    return kb


@pytest.fixture(scope="module")
def tokenizer(tiny_bert):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(tiny_bert))


@pytest.fixture(scope="module")
def find(kb, tokenizer):
    def find(text, max_length=64):
        """{surface: (ids, kinds, features by name)}"""
        windows = cut_windows(tokenizer, [text], max_length, 16)
        result = {}
        for window, hits in zip(windows, find_name_matches(kb, [text], windows), strict=True):
            for (first, last), hit in hits.items():
                surface = text[window.chars[first, 0] : window.chars[last, 1]]
                features = dict(zip(MENTION_FEATURES, hit.features.tolist(), strict=True))
                ids = [kb.records([row])[0].id for row in hit.rows]
                result[surface] = (ids, hit.kinds.tolist(), features)
        return result

    return find


def test_title_alias_and_loose_names_are_told_apart(find):
    found = find("fab four and the beatles and beatle")
    assert found["fab four"][:2] == (["A"], [1])
    assert found["the beatles"][:2] == (["A"], [0])
    assert found["beatle"][:2] == (["A"], [LOOSE])
    assert found["the beatles"][2]["title"] == 1
    assert found["fab four"][2]["alias"] == 1
    assert found["beatle"][2]["loose"] == 1


def test_a_name_within_a_longer_one_is_marked(find):
    found = find("new york city or new york")
    assert found["new york city"][2]["inside"] == 0
    assert found["new york"][0] == ["C", "D"]
    only = find("new york city")
    assert only["new york"][2]["inside"] == 1


def test_a_mark_at_the_end_belongs_to_the_name(find):
    assert find("is beyonce\u0301 here")["beyonce\u0301"][:2] == (["E"], [0])


def test_punctuation_decides_verbatim_only(find):
    found = find("who owns warner bros. today")
    assert found["warner bros."][2]["verbatim"] == 1
    assert found["warner bros"][2]["verbatim"] == 0
    assert found["warner bros"][0] == found["warner bros."][0] == ["B"]


def test_case_accents_possessives_and_ampersands(find):
    assert find("BEYONCE's house")["BEYONCE"][0] == ["E"]
    assert find("simon and garfunkel")["simon and garfunkel"][1] == [0]
    assert find("New-York?")["New-York"][0] == ["C", "D"]


def test_length_is_the_log_of_the_number_of_words(find):
    assert find("new york city")["new york city"][2]["length"] == pytest.approx(math.log(3))


@pytest.mark.parametrize("text", ["", " ", "?!", "nobody here", "yorknew"])
def test_texts_without_names(find, text):
    assert find(text) == {}


def test_long_texts_have_the_names_of_all_windows(find):
    text = "x " * 40 + "fab four " + "y " * 40 + "new york city"
    assert {"fab four", "new york city"} <= set(find(text, max_length=32))


@given(
    st.lists(
        st.sampled_from(["new", "york", "city", "the", "beatles", ",", ".", "'s", "x"]), max_size=12
    )
)
@settings(max_examples=60)
def test_every_hit_is_a_name_of_its_entities(find, words):
    from spacy_elq.kb.files.names import loose_key, name_words

    names = {e.id: {loose_key(name_words(name)) for name in e.names} for e in ENTITIES}
    for surface, (ids, _, features) in find(" ".join(words)).items():
        assert all(loose_key(name_words(surface)) in names[entity] for entity in ids)
        assert features["title"] + features["alias"] + features["loose"] == 1


@pytest.mark.slow
@given(
    st.lists(
        st.lists(
            st.sampled_from(["new", "york", "city", "fab", "four", "bros.", "!", "'s"]), max_size=9
        ).map(" ".join),
        max_size=5,
    )
)
@settings(max_examples=60)
def test_texts_at_once_have_the_names_of_each(kb, tokenizer, texts):
    together = find_name_matches(kb, texts, cut_windows(tokenizer, texts, 12, 4))
    apart = [
        hits
        for text in texts
        for hits in find_name_matches(kb, [text], cut_windows(tokenizer, [text], 12, 4))
    ]
    assert [list(hits) for hits in together] == [list(hits) for hits in apart]
    for one, other in zip(together, apart, strict=True):
        for place, hit in one.items():
            for field in ("rows", "kinds", "features"):
                assert np.array_equal(getattr(hit, field), getattr(other[place], field))


@given(st.lists(st.sampled_from(["the", "a", "cats", "", "s", "t", "he", "boss"]), max_size=6))
def test_keys_of_every_beginning_are_those_of_the_words_themselves(words):
    from spacy_elq.kb.files.names import loose_key, loose_keys

    assert loose_keys(words) == [loose_key(words[: i + 1]) for i in range(len(words))]


def test_loose_keys_overlook_articles_spaces_and_a_plural_s():
    from spacy_elq.kb.files.names import loose_key

    same = [["the", "new", "cats"], ["new", "cat"], ["newcat"], ["", "newcats"]]
    assert len({loose_key(words) for words in same}) == 1
    different = [["the"], ["the", "boss"], ["bos"], ["th", "e", "boss"], ["as"], ["a"]]
    assert len({loose_key(words) for words in different}) == len(different)


def test_cells_of_names_wider_than_the_limit_are_left_out(find, kb, tokenizer):
    text = "new york city"
    windows = cut_windows(tokenizer, [text], 64, 16)
    hits = find_name_matches(kb, [text], windows)
    assert len(name_feature_grid(hits, 1).features) == 0
    cells = name_feature_grid(hits, 64)
    assert len(cells.features) == len(hits[0])
    for window, first, width, features in zip(*cells.places, cells.features, strict=True):
        assert np.array_equal(hits[window][first, first + width].features, features)
