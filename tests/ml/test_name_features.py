# ruff: noqa: RUF001
"""Which spans are names, and what the features say."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.vocab import Vocab

from spacy_elq.encoders.windows import cut_windows
from spacy_elq.kb.files.names import TITLE
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
        windows = cut_windows(tokenizer, [text], max_length, 24)
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


SCRIPTS = [
    ("我爱北京天安门", "北京"),
    ("東京はどこですか", "東京"),
    ("トヨタの社長", "トヨタ"),
    ("NHK放送センターは", "NHK放送センター"),
    ("iPhone 15プロだ", "iPhone 15プロ"),
    ("กรุงเทพอยู่ที่ไหน", "กรุงเทพ"),
    ("ភ្នំពេញនៅឯណា", "ភ្នំពេញ"),
    ("ວຽງຈັນຢູ່ໃສ", "ວຽງຈັນ"),
    ("ရန်ကုန်မြို့", "ရန်ကုန်"),
    ("서울에서 살아요", "서울"),
    ("Michael Jordan🏀!", "Michael Jordan"),
    ("in Ｔｏｋｙｏ", "Ｔｏｋｙｏ"),
    ("𝓣𝓸𝓴𝔂𝓸™", "𝓣𝓸𝓴𝔂𝓸"),
    ("#Tokyo/x", "Tokyo"),
    ("To\u00adkyo\u200b", "To\u00adkyo"),
    ("is Lodz in", "Lodz"),
    ("STRASSE", "STRASSE"),
]
IN_SCRIPTS = Entity("X", "Łódź", aliases=(
    "北京", "東京", "トヨタ", "NHK放送センター", "iPhone 15プロ", "กรุงเทพ", "ភ្នំពេញ", "ວຽງຈັນ",
    "ရန်ကုန်", "서울", "Michael Jordan", "Tokyo", "Straße", "에서",
))  # fmt: skip


@pytest.mark.parametrize("text, name", SCRIPTS)
def test_names_are_found_in_every_script_and_spelling(tokenizer, text, name):
    kb = FaissKB(Vocab(), 4)
    kb.add([IN_SCRIPTS], np.ones((1, 4), dtype="f4"))
    windows = cut_windows(tokenizer, [text], 64, 16)
    (hits,) = find_name_matches(kb, [text], windows)
    chars = windows[0].chars
    found = {text[chars[first, 0] : chars[last, 1]] for first, last in hits}
    assert {surface.strip("#/!🏀™") for surface in found} == {name}
    assert all(LOOSE not in hit.kinds for hit in hits.values())


def test_a_possessive_is_looked_up_before_its_s_is_cut(kb, tokenizer):
    kb = FaissKB(Vocab(), 4)
    entities = [Entity("K", "Kellogg's"), Entity("P", "Kellogg"), Entity("S", "S")]
    kb.add(entities, np.eye(3, 4, dtype="f4"))
    text = "kellogg\u2019s"
    (hits,) = find_name_matches(kb, [text], cut_windows(tokenizer, [text], 64, 16))
    chars = cut_windows(tokenizer, [text], 64, 16)[0].chars
    found = {text[chars[a, 0] : chars[b, 1]]: hit for (a, b), hit in hits.items()}
    assert sorted(found) == ["kellogg", "kellogg\u2019", "kellogg\u2019s"]
    assert found["kellogg\u2019s"].kinds.tolist() == [TITLE, LOOSE]
    assert found["kellogg\u2019s"].features[0] == 1  # verbatim
    assert found["kellogg"].kinds.tolist() == [LOOSE, TITLE]


def test_names_of_many_words_are_looked_up_as_far_as_asked(tokenizer):
    name = " ".join("bcdefghijklmn")
    kb = FaissKB(Vocab(), 4)
    kb.add([Entity("L", name)], np.ones((1, 4), dtype="f4"))
    windows = cut_windows(tokenizer, [f"x {name} y"], 64, 16)
    assert len(find_name_matches(kb, [f"x {name} y"], windows, 13)[0]) == 1
    assert not find_name_matches(kb, [f"x {name} y"], windows, 12)[0]


def linked(id_, title, *aliases, **probabilities):
    return Entity(id_, title, aliases=(*aliases, title), link_probabilities=probabilities)


def test_the_link_probability_is_that_of_the_names_most_like_the_span(tokenizer):
    kb = FaissKB(Vocab(), 4)
    entities = [
        linked("F", "Turkey", "turkey", Turkey=0.5, turkey=0.0625),
        linked("S", "Turkey", "Türkiye", Turkey=0.25),
        linked("P", "Turkeys", Turkeys=0.75),
        linked("U", "Rome", "ROME"),
        linked("N", "The", The=0.0),
    ]
    kb.add(entities, np.eye(5, 4, dtype="f4"))
    text = "the turkey of Turkey, of Turkeys, of Türkiye and ROME, TURKEY"
    windows = cut_windows(tokenizer, [text], 64, 16)
    (hits,) = find_name_matches(kb, [text], windows)
    chars = windows[0].chars
    found = {text[chars[a, 0] : chars[b, 1]]: hit.link_probability for (a, b), hit in hits.items()}
    expected = {
        "the": 2.0**-14,  # known, and not in float16
        "turkey": 0.0625,
        "the turkey": 0.0625,  # loosely, as the following
        "Turkey": 0.5,
        "Turkeys": 0.75,
        "Türkiye": 0.0,
        "ROME": 0.0,
        "TURKEY": 0.5,
    }
    assert {name: found[name] for name in expected} == expected
    grid = name_feature_grid([hits], 64)
    for window, first, width, known in zip(*grid.places, grid.link_probabilities, strict=True):
        assert window == 0 and hits[first, first + width].link_probability == known


def test_length_is_the_log_of_the_number_of_words(find):
    assert find("new york city")["new york city"][2]["length"] == pytest.approx(math.log(3))


@pytest.mark.parametrize("text", ["", " ", "?!", "nobody here", "yorknew"])
def test_texts_without_names(find, text):
    assert find(text) == {}


def test_long_texts_have_the_names_of_all_windows(find):
    text = "x " * 40 + "fab four " + "y " * 40 + "new york city"
    assert {"fab four", "new york city"} <= set(find(text, max_length=48))


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
            for field in ("rows", "kinds", "features", "link_probability"):
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
