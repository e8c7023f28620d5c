# ruff: noqa: RUF001
"""How texts are read, and the way back to what was written."""

from itertools import pairwise

import numpy as np
import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from spacy_elq.kb.files.names import words
from spacy_elq.spelling import WORD, compiled, is_symbol, last_base, read, words_of

# Letters with marks, full-width and styled forms, emoji, scripts without spaces, invisible ones.
MIXED = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from(
            "aéß\u0301\u200b\u200d\u00ad\ufe0f\u20e3 1²½ﬁＡ𝓣Ⓐ™🏀👩🇫🇷東トｶﾞกุำ်ខ្서ᄉ\u11a8№’'s\u0d4e"
        ),
    ),
    max_size=20,
)


@pytest.mark.parametrize(
    "written, expected",
    [
        ("Michael Jordan🏀", "Michael Jordan 🏀"),
        ("🇫🇷France 👩\u200d👩\u200d👧fam🔥🔥", "🇫🇷 France 👩\u200d👩\u200d👧 fam 🔥🔥"),
        ("1️⃣Paris", "1 Paris"),
        ("Ｔｏｋｙｏ！", "Tokyo!"),
        ("ﬁnal 𝓣𝓸𝓴𝔂𝓸 Ⓣⓞⓚⓨⓞ 🅣🅞", "final Tokyo Tokyo TO"),
        ("Pepsi™ ©Disney", "Pepsi ™ © Disney"),
        ("Pa\u00adris\u200b \u200fx", "Paris x"),
        ("Cafe\u0301", "Café"),
        ("Paris¹ H₂O 8½ №5 −5", "Paris 1 H2O 8 ½ No 5 -5"),
        ("Macy\u00b4s Hawai\u02bbi", "Macy's Hawai'i"),
        ("\uff84\uff96\uff80 ｶﾞ น้ำ ヿ", "トヨタ ガ น้ำ ヿ"),
        ("\u200b", ""),
    ],
)
def test_read(written, expected):
    assert read(written).text == expected


@pytest.mark.parametrize(
    "text",
    ["", "plain ASCII\r\n$5 ^_^", "Zürich – “Été” … ’s Łódź", "東京タワー 서울 Ελλάδα\u00a0й"],
)
def test_most_texts_stay(text):
    assert read(text).text is text
    assert read(text).places is None


@given(MIXED)
def test_offsets_are_those_of_whole_characters_in_order(text):
    spelling = read(text)
    clusters = [match.span() for match in regex.finditer(r"\X", text)]
    begins, ends = {a for a, _ in clusters} | {len(text)}, {b for _, b in clusters} | {0}
    everything = np.arange(len(spelling.text))[:, None] + (0, 1)
    for place in (spelling, spelling.spaced([(0, len(spelling.text))])):
        everything = np.arange(len(place.text))[:, None] + (0, 1)
        original = place.original(everything)
        assert len(original) == len(place.text)
        assert (np.diff(original, axis=0) >= 0).all()
        for (start, end), char in zip(original.tolist(), place.text, strict=True):
            assert 0 <= start < end <= len(text)
            assert (
                char.isspace()
                or char.isascii()
                or (start in begins and (end in ends or text[end].isspace()))
            )


@given(MIXED)
def test_words_are_whole_characters_and_do_not_overlap(text):
    found = words(text)
    assert all(a.end <= b.start for a, b in pairwise(found))
    begins = {match.start() for match in regex.finditer(r"\X", text)} | {len(text)}
    begins |= {place for place, char in enumerate(text) if char.isspace()}
    assert all(w.folded and {w.start, w.end} <= begins for w in found if not text.isascii())


@given(st.text(st.characters(max_codepoint=0x7F)))
def test_ascii_is_read_as_it_is(text):
    assert read(text).text is text


def test_spaces_between_characters_in_ranges_alone():
    spelling = read("กรุงเทพ トヨタ").spaced([(0, 3)])
    assert spelling.text == "ก รุงเทพ トヨタ"
    assert spelling.original(np.array([[1, 2], [2, 4]])).tolist() == [[1, 3], [1, 3]]


def test_letters_with_strokes_in_plain_letters():
    spelling = read("Æsir, STRAẞE, Łódź, 東").plain()
    assert spelling.text == "Aesir, STRASSE, Lódź, 東"
    assert spelling.original(np.array([[0, 1], [1, 2], [2, 3]])).tolist() == [
        [0, 1], [0, 1], [1, 2],
    ]  # fmt: skip
    same = read("plain é")
    assert same.plain() is same


def test_symbols():
    assert [is_symbol(char) for char in "🏀™ⒶA№$"] == [True, True, False, False, False, False]
    assert [last_base(text, len(text)) for text in ("❤️", "👍🏽", "é", "e\u0301", "^")] == [
        "❤", "👍", "é", "e", "^",
    ]  # fmt: skip


@given(st.one_of(MIXED, st.text("aé1_&’–' ²ЖΣ\u0301\n", max_size=20)))
def test_words_are_those_of_the_pattern(text):
    assert words_of(text) == compiled(WORD).findall(text)
