"""How words are written: classes of words, by wordpiece."""

import numpy as np
import pytest

from spacy_elq.encoders.word_shapes import word_shapes

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
        ("In 1990 the 1990s had 4 B2B stars in Rome", "II 9999 aaa 99999 aaa 9 XXX aaaaa aa AAAA"),
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
