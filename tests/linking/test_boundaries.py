# ruff: noqa: RUF001
"""Where mentions may begin and end."""

import numpy as np
import pytest

from spacy_elq.encoders.windows import Window, cut_windows, pad
from spacy_elq.linking.boundaries import boundary_masks


@pytest.fixture(scope="module")
def allowed(tiny_bert):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(tiny_bert))

    def allowed(text, **options):
        windows = cut_windows(tokenizer, [text], 64, 16)
        _, mask = pad([window.ids for window in windows], 0)
        options = {"words": True, "special_tokens": False, **options}
        starts, ends = boundary_masks(windows, [text], mask, **options)
        chars = windows[0].chars
        begins = [text[a:b] for (a, b), ok in zip(chars.tolist(), starts[0], strict=True) if ok]
        finals = [text[a:b] for (a, b), ok in zip(chars.tolist(), ends[0], strict=True) if ok]
        return begins, finals, starts[0], ends[0]

    return allowed


def test_not_within_a_word(allowed):
    begins, finals, *_ = allowed("zq xyz zq")  # every letter is a wordpiece
    assert begins == ["z", "x", "z"]
    assert finals == ["q", "z", "q"]


def test_no_begin_at_punctuation_and_ends_at_some(allowed):
    begins, finals, *_ = allowed("(a) b. c, d! - e: f")
    assert begins == ["a", "b", "c", "d", "e", "f"]
    assert finals == ["a", ")", "b", ".", "c", "d", "!", "e", "f"]


def test_marks_are_parts_of_words():
    text, cuts = "\u0926\u093f\u0932 a", [(0, 1), (1, 2), (2, 3), (4, 5)]  # a Hindi word
    window = Window(0, [1] * 4, np.array(cuts, dtype=np.int32))
    starts, ends = boundary_masks(
        [window], [text], np.ones((1, 4), bool), words=True, special_tokens=False
    )
    assert starts.tolist() == [[True, False, False, True]]
    assert ends.tolist() == [[False, False, True, True]]


def test_neither_at_emoji(allowed):
    begins, finals, *_ = allowed("\u26bd a \U0001f525\U0001f525 b")
    assert begins == finals == ["a", "b"]


@pytest.mark.parametrize(
    "text, begins, ends",
    [
        ("ab🏀cd", "ac", "bd"),
        ("❤️ab 👍🏽cd⛹️", "ac", "bd"),
        ("1️⃣ab", ["1️⃣", "a"], ["1️⃣", "b"]),
        ("x\u00ady z\u200b", "xz", "yz"),
        ("ﬁ 𝓪𝓫", ["ﬁ", "𝓪"], ["ﬁ", "𝓫"]),
        ("ab™, Ⓐⓑ©", ["a", "Ⓐ"], ["b", "ⓑ"]),
        ("ab東c", ["a", "東", "c"], ["b", "東", "c"]),
        ("トヨ กรุ", ["ト", "ヨ", "ก", "รุ"], ["ト", "ヨ", "ก", "รุ"]),
        ("a서울에 서", ["a", "서", "서"], ["a", "서", "울", "에", "서"]),
    ],
)
def test_words_are_those_of_names(allowed, text, begins, ends):
    found = allowed(text)
    assert found[0] == list(begins)
    assert found[1] == list(ends)


def test_anywhere_without_word_boundaries(allowed):
    begins, finals, *_ = allowed("(zq", words=False)
    assert begins == finals == ["(", "z", "q"]


def test_special_tokens_only_when_asked(allowed):
    *_, starts, ends = allowed("a b")
    assert [starts[0], starts[-1], ends[0], ends[-1]] == [False] * 4
    *_, starts, ends = allowed("a b", words=False, special_tokens=True)
    assert starts.all() and ends.all()
