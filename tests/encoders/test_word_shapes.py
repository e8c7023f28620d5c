"""How words are written: classes of words, by character and by wordpiece."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from spacy_elq.encoders.windows import NO_CHARS, cut_windows
from spacy_elq.encoders.word_shapes import N_SHAPES, with_shapes, word_shapes

# A sign for each class, in their order.
SIGNS = "-.9aAIXm"


def read(text):
    """The class of each character that is not a space."""
    own = word_shapes(text).at(np.arange(len(text)))[:, 0]
    return "".join(
        char if char.isspace() else SIGNS[i] for char, i in zip(text, own.tolist(), strict=True)
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Who wrote Moby Dick?", "III aaaaa AAAA AAAA."),
        ("the iPhone of McDonald, the WHO in Rome", "aaa mmmmmm aa mmmmmmmm. aaa XXX aa AAAA"),
        ("In 1990 the 1990s had 4 B2B mp3s in Rome", "II 9999 aaa 99999 aaa 9 XXX 9999 aa AAAA"),
        ("He saw Rome. Then he saw it!", "II aaa AAAA. IIII aa aaa aa."),
        ("He met Mr. Ray. \"Go,\" J. Li said.", "II aaa AA. AAA. .II.. A. AA aaaa."),
        ("the U.S. President of Rome.com Ray", "aaa A.A. AAAAAAAAA aa AAAA.aaa AAA"),
        ("Москва и Рим 東京に ромб", "IIIIII a AAA --- aaaa"),
        ("Zoe\u0301 met Zoe\u0301 in Ra\u00ady", "IIII aaa AAAA aa AAAA"),
        ("the Rome of საქართველო", "aaa AAAA aa ----------"),
    ],
)  # fmt: skip
def test_classes(text, expected):
    assert read(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "who wrote moby dick",
        "Who wrote moby dick?",
        "who is the CEO of apple",
        "What should I read in paris",
        "BARCELONA v REAL MADRID",
        "Moby Dick",
        "How the West Was Won",
        "誰が東京を作った",
    ],
)
def test_texts_that_do_not_use_case_say_nothing(text):
    assert not word_shapes(text).at(np.arange(len(text))).any()


def test_lines_that_do_not_use_case_say_nothing():
    lines = ["BARCELONA BEATS REAL", "Barcelona Beats Real Madrid", "He was in Rome"]
    assert read("\n".join(lines)) == (
        "--------- ----- ----\n--------- ----- ---- ------\nII aaa aa AAAA"
    )


def test_a_chat_has_lines_that_do_not_use_case_and_others():
    lines = [
        "i saw ray in rome",
        "Was he with Ann in Rome or so? I think that I saw them",
        "they were in rome",
        "At the time the man who I think is from Rome, and who is",
        "a man of few words.",
        "was it rome?",
    ]
    classes = read("\n".join(lines)).split("\n")
    assert [set(line) - set(" .") for line in classes] == [
        {"-"}, {"I", "a", "A"}, {"a"}, {"I", "a", "A"}, {"a"}, {"-"}
    ]  # fmt: skip


def test_each_wordpiece_has_the_classes_of_its_word_and_of_those_around_it(tiny_bert):
    text = "is Paris\u00a0Hilton, 24, in Georgia"
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    (window,) = with_shapes(cut_windows(tokenizer, [text], 64, 16), [text])
    signs = "-aAA.9.aA-"
    owner = {match.start(): i for i, match in enumerate(re.finditer(r"\w+|,", text), 1)}
    at = -1
    for (start, _), found in zip(window.chars.tolist(), window.shapes.tolist(), strict=True):
        at = owner.get(start, at)
        expected = "---" if start == NO_CHARS else signs[at] + signs[at - 1] + signs[at + 1]
        assert "".join(SIGNS[i] for i in found) == expected


LETTERS = st.sampled_from("aB \n.'\u2019\u00e9\u0301\u00ad\u6771\u10d0\u00df\u01c5\u0130 1!?\"")
TEXTS = st.one_of(st.text(LETTERS, max_size=60), st.text(max_size=60))


@given(TEXTS, st.integers(0, 2**32 - 1))
def test_any_text(text, seed):
    shapes = word_shapes(text)
    assert (np.diff(shapes.ends) > 0).all()
    assert len(shapes.classes) == len(shapes.ends) + 1
    assert shapes.classes.max() < N_SHAPES
    everywhere = shapes.at(np.arange(len(text)))
    places = np.random.default_rng(seed).integers(NO_CHARS, max(len(text), 1), 5)
    for place, classes in zip(places, shapes.at(places), strict=True):
        known = place != NO_CHARS and len(text)
        assert classes.tolist() == (everywhere[place].tolist() if known else [0, 0, 0])
    # The word before a word is that whose next word it is.
    np.testing.assert_array_equal(shapes.classes[1:-1, 1], shapes.classes[:-2, 0])
    np.testing.assert_array_equal(shapes.classes[:-2, 2], shapes.classes[1:-1, 0])


@given(TEXTS)
def test_no_text_without_case_says_anything(text):
    for uncased in (text.lower(), text.lower().upper()):
        if uncased in (uncased.lower(), uncased.upper()):
            assert not word_shapes(uncased).classes.any()


@given(TEXTS)
def test_another_paragraph_changes_nothing(text):
    cased = "He saw Rome and left it. It was in Rome that he saw it.\n"
    alone, last = word_shapes(cased), word_shapes(cased + text)
    count = len(alone.ends)
    np.testing.assert_array_equal(last.ends[:count], alone.ends)
    np.testing.assert_array_equal(last.classes[:count, 0], alone.classes[:-1, 0])


@pytest.mark.parametrize("unit", ["!", ".", '."', "a.B ", "A\u0301", "\n", " ", "A b", "'"])
def test_long_texts_take_no_longer_by_the_character(unit):
    """Quadratic time would be hours."""
    shapes = word_shapes(f"He saw Rome.\n{unit * 100_000}\nHe saw Rome.")
    assert shapes.classes[-2].tolist() == [1, 4, 0]
