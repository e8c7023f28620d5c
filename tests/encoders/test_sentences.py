"""Where sentences begin: no name is cut in two."""

import numpy as np
import pytest

from spacy_elq.encoders.sentences import LINE, PARAGRAPH, SENTENCE, find_breaks
from spacy_elq.encoders.word_shapes import INITIAL, word_shapes


def parts(text, kind=SENTENCE, sentences=None):
    places = [place for place, found in find_breaks(text, sentences) if found == kind]
    return [text[a:b].strip() for a, b in zip([0, *places], [*places, len(text)], strict=True)]


@pytest.mark.parametrize(
    "expected",
    [
        ["He left.", "She stayed!", "Why?", "Nobody knows\u2026", "It ended."],
        ['"I did not," he said.', '"Why not?"', "(No one asked.)", "She smiled."],
        [
            "Mr. Smith met Gen. Grant and J. R. R. Tolkien in St. Louis, U.S. territory.",
            "Then left.",
        ],
        ["The 3. Oktober is a holiday, e.g. for Dr. Meier vs. Bayern.", "In 1990."],
        ["A site named example.com has 3.5 million users.", "Others have 2."],
    ],
)
def test_sentences(expected):
    assert parts(" ".join(expected)) == expected


@pytest.mark.parametrize(
    "end", [".", "?!", "\u2026", "\u061f", "\u0964", '."', ".\u203a", "!)\u00bb"]
)
def test_words_are_read_by_the_same_sentences(end):
    text = f"the Rome of Ray went on{end} Then he saw It."
    assert parts(text) == [f"the Rome of Ray went on{end}", "Then he saw It."]
    begin = text.index("Then")
    assert word_shapes(text).at(np.array([begin]))[0, 0] == INITIAL


def test_wide_marks_need_no_space():
    assert parts("\u6771\u4eac\u3002\u300c\u5927\u962a\uff1f\u300d\u4eac\u90fd") == [
        "\u6771\u4eac\u3002",
        "\u300c\u5927\u962a\uff1f\u300d",
        "\u4eac\u90fd",
    ]


def test_text_without_capitals():
    assert parts("the president spoke. then he left for st. louis") == [
        "the president spoke.",
        "then he left for st. louis",
    ]


def test_paragraphs_and_lines():
    text = "Title\n\nA long line\nof a paragraph\n- an item\r\n \r\n  Next"
    assert parts(text, PARAGRAPH) == [
        "Title",
        "A long line\nof a paragraph\n- an item",
        "Next",
    ]
    assert "- an item" in parts(text, LINE)
    assert "of a paragraph" not in parts(text, LINE)


def test_known_sentences():
    assert parts("a b. C d", sentences=[2]) == ["a", "b. C d"]


def test_long_runs_take_no_long_time():
    for text in (".", "\n", " ", "!\u2019", "\n ", "a.", "\u3002", ". "):
        assert sum(1 for _ in find_breaks(text * 100_000)) <= 100_001 * 2
