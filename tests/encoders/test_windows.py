"""Windows: every character of a text is read, and belongs to exactly one window."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
import spacy
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spacy_elq.encoders.cuts import WORD, cut
from spacy_elq.encoders.tokenize import Wordpieces, tokenize
from spacy_elq.encoders.windows import (
    NO_CHARS,
    WHOLE_TEXT,
    batch_by_length,
    cut_windows,
    doc_windows,
    pad,
)
from spacy_elq.spelling import read


@pytest.fixture(scope="module")
def tokenizer(tiny_bert):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(tiny_bert))


TEXTS = st.lists(
    st.text(alphabet=st.sampled_from("ab c.é\U0001f600ß\u0301\n"), max_size=120), max_size=4
)


SENTENCES = [
    "ab c.",
    "See Mt. Abcd a c!",
    "a\n",
    "b\n\n",
    "c d e f g h",
    "\u6771\u4eac\u3002",
    "U.S. A",
]
LONG = st.lists(st.sampled_from(SENTENCES), max_size=60).flatmap(
    lambda parts: st.sampled_from([" ", "", "\n"]).map(lambda space: space.join(parts))
)
MENTION = 5  # wordpieces
SIZES = st.sampled_from([14, 32, 64])


@given(texts=TEXTS)
@settings(max_examples=80)
def test_windows_cover_each_wordpiece_once_by_their_cores(tokenizer, texts):
    windows = cut_windows(tokenizer, texts, max_length=16, overlap=6)
    for i, text in enumerate(texts):
        spelling = read(text).plain()
        whole = tokenizer(spelling.text, return_offsets_mapping=True, add_special_tokens=False)
        places = np.array(whole.offset_mapping, dtype=int).reshape(-1, 2)
        expected = [tuple(pair) for pair in spelling.original(places).tolist()]
        owned = []
        for window in windows:
            assert len(window) <= 16
            if window.doc == i:
                for start, end in window.chars.tolist():
                    if start != NO_CHARS and window.core[0] <= start < window.core[1]:
                        owned.append((start, end))
        assert owned == expected


def in_core(window):
    begin = window.chars[:, 0]
    is_text = begin != NO_CHARS
    return np.flatnonzero(is_text & (begin >= window.core[0]) & (begin < window.core[1]))


@given(text=LONG | st.text(max_size=300), max_length=SIZES)
@example(text="0000\u00c6\u015200000", max_length=14)  # the wanted cut is within a letter
@settings(max_examples=150)
def test_nothing_is_lost_between_windows(tokenizer, text, max_length):
    windows = cut_windows(tokenizer, [text], max_length, 2 * (MENTION - 1))  # what is not refused
    (whole,) = cut_windows(tokenizer, [text], 1 << 20, 0) or [None]
    if whole is None:
        assert not windows
        return
    first = 0  # of the core, in the whole text without [CLS]
    for window in windows:
        assert len(window) <= max_length
        assert (window.ids[0], window.ids[-1]) == (whole.ids[0], whole.ids[-1])
        core = in_core(window)
        begin = 1 + first - (core[0] - 1)
        end = begin + len(window) - 2
        assert list(window.ids[1:-1]) == list(whole.ids[begin:end])
        assert window.chars[1:-1].tolist() == whole.chars[begin:end].tolist()
        first += len(core)
        longest = min(1 + first + MENTION - 1, len(whole) - 1)  # a mention begins last in the core
        assert end >= longest
    assert first == len(whole) - 2
    assert (windows[0].core[0], windows[-1].core[1]) == WHOLE_TEXT
    assert all(left.core[1] == right.core[0] for left, right in pairwise(windows))


@given(
    kinds=st.lists(st.integers(0, WORD), min_size=30, max_size=90),
    longest=st.integers(1, 10),
    more=st.integers(0, 8),
)
def test_parts_of_twice_a_mention_lose_none(kinds, longest, more):
    """A shorter part does: half of it, at most, comes after its core."""
    room = 2 * longest + more
    parts = [*cut(np.array(kinds), room, 2 * longest)]
    for part in parts[:-1]:
        assert part.border - 1 + longest < part.end <= part.begin + room
    short = next(cut(np.array([WORD] * 90), 2 * longest - 1, 2 * longest))
    assert short.border - 1 + longest >= short.end


@given(text=st.text() | LONG.map(" ".join), block=st.integers(0, 40))
def test_blocks_of_a_text_are_tokenized_as_the_whole(tokenizer, text, block):
    (whole,) = tokenize(tokenizer, [text])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spacy_elq.encoders.tokenize.BLOCK", block)
        (joined,) = tokenize(tokenizer, [text])
    for name in Wordpieces._fields:
        found, expected = (np.array(getattr(x.encoding, name)).tolist() for x in (joined, whole))
        assert found == expected


@given(text=st.lists(LONG, min_size=4, max_size=9).map(" ".join), max_length=st.integers(32, 256))
@settings(max_examples=100)
def test_most_wordpieces_are_read_once(tokenizer, text, max_length):
    windows = cut_windows(tokenizer, [text], max_length, 2 * MENTION)
    n = sum(len(in_core(window)) for window in windows)
    assert sum(len(window) - 2 for window in windows) <= 1.3 * n
    if len(windows) > 1:
        assert len(in_core(windows[-1])) > max_length / 5


def test_windows_begin_and_end_where_sentences_do(tokenizer):
    sentences = ["Mr. Abcd of St. Abc in U.S. exile met J. Ab.", "Ab had a cd!", "(No. 3 is c.)"]
    text = " ".join(sentences * 20)
    windows = cut_windows(tokenizer, [text], 64, 12)
    assert len(windows) > 3
    for left, right in pairwise(windows):
        assert text[: left.core[1]].rstrip().endswith(tuple(sentences))
        assert right.chars[1, 0] == right.core[0] == left.core[1]  # no context of another sentence


def test_paragraphs_come_before_sentences(tokenizer):
    text = "\n\n".join(["Abc a b c d a b. Cde f g. Hab a."] * 12)
    for window in cut_windows(tokenizer, [text], 100, 8)[:-1]:
        assert text[: window.core[1]].endswith("\n\n")


def test_sentences_that_were_found_already(tokenizer):
    nlp = spacy.blank("en")
    docs = [nlp.make_doc("a b. C d e f g h i " * 20) for _ in range(2)]
    for i, token in enumerate(docs[1]):
        token.is_sent_start = i % 10 == 6
    by_mark, by_annotation = (
        [w.core[1] for w in doc_windows(tokenizer, [doc], 32, 8, truncate=False)][:-1]
        for doc in docs
    )
    assert {docs[0].text[place] for place in by_mark} == {"C"}
    assert set(by_annotation) <= {sentence.start_char for sentence in docs[1].sents}


@pytest.mark.parametrize("text", ["\u6771" * 300, "ab " * 300, "abc" * 30 + "a b " * 90])
def test_context_on_both_sides_where_no_sentence_ends(tokenizer, text):
    windows = cut_windows(tokenizer, [text], 100, 20)
    assert len(windows) > 1
    for left, right in pairwise(windows):
        assert in_core(left)[-1] + 10 == len(left) - 2
        assert in_core(right)[0] == 1 + 10


def test_offsets_point_into_the_text(tokenizer):
    text = "\U0001f600 what River  runs\tthrough Par\u00eds?"
    (window,) = cut_windows(tokenizer, [text], 64, 16)
    surfaces = [text[a:b] for a, b in window.chars.tolist() if a != NO_CHARS]
    assert "".join(surfaces).lower() == "".join(text.split()).lower()


def test_characters_of_unknown_words_in_scripts_without_spaces(tokenizer):
    text = "a トヨタ東京🏀 გა"
    (window,) = cut_windows(tokenizer, [text], 64, 16)
    surfaces = [text[a:b] for a, b in window.chars.tolist() if a != NO_CHARS]
    assert surfaces == ["a", "ト", "ヨ", "タ", "東", "京", "🏀", "გა"]
    assert window.unread.tolist() == [False, False, *[True] * 7, False]


def test_emoji_do_not_make_a_name_unreadable(tokenizer):
    (window,) = cut_windows(tokenizer, ["ab🏀 c"], 64, 16)
    assert not window.unread.any()
    (window,) = cut_windows(tokenizer, ["ab"], 64, 16)
    assert window.unread is None


def test_a_mention_has_context_on_both_sides_of_a_border(tokenizer):
    text = " ".join("abcdefghij"[i % 10] for i in range(100))
    windows = cut_windows(tokenizer, [text], 32, 12)
    for window in windows[:-1]:
        after_core = (window.chars[:, 0] >= window.core[1]).sum()
        assert after_core >= 5  # half an overlap, less the border's own wordpiece


def test_truncate_reads_the_first_window_only(tokenizer):
    windows = cut_windows(tokenizer, ["a b c d e f g h i j", "a"], 6, 2, truncate=True)
    assert [len(window) for window in windows] == [6, 3]
    assert [window.doc for window in windows] == [0, 1]


@pytest.mark.parametrize("texts", [[], [""], ["  ", "\n\t"]])
def test_texts_without_wordpieces_have_no_window(tokenizer, texts):
    assert cut_windows(tokenizer, texts, 32, 8) == []


@given(st.lists(st.integers(1, 30), max_size=20), st.integers(1, 60))
def test_batches_hold_everything_once_and_stay_small(lengths, most):
    items = ["x" * n for n in lengths]
    batches = list(batch_by_length(items, most))
    assert sorted(i for batch in batches for i in batch) == list(range(len(items)))
    for batch in batches:
        assert len(batch) == 1 or max(lengths[i] for i in batch) * len(batch) <= most


@pytest.mark.slow
@given(st.lists(st.integers(1, 30), max_size=9), st.integers(0, 40))
def test_batches_are_split_where_that_costs_least(lengths, cost):
    items = ["x" * n for n in lengths]
    batches = list(batch_by_length(items, 10_000, cost))
    assert sorted(i for batch in batches for i in batch) == list(range(len(items)))

    def total(division):
        return sum(max(batch) * len(batch) + cost for batch in division)

    ordered = sorted(lengths, reverse=True)
    divisions = [[]] if not ordered else []
    for cuts in range(1 << max(0, len(ordered) - 1)) if ordered else ():
        ends = [i + 1 for i in range(len(ordered) - 1) if cuts >> i & 1]
        edges = [0, *ends, len(ordered)]
        divisions.append([ordered[a:b] for a, b in pairwise(edges)])
    assert total([[lengths[i] for i in batch] for batch in batches]) == min(map(total, divisions))


@pytest.mark.slow
@given(st.lists(st.integers(1, 30), max_size=20), st.integers(1, 60))
def test_split_batches_stay_small(lengths, most):
    for batch in batch_by_length(["x" * n for n in lengths], most, 5):
        assert len(batch) == 1 or max(lengths[i] for i in batch) * len(batch) <= most


def test_pad(tokenizer):
    windows = cut_windows(tokenizer, ["a b c", "a"], 32, 8)
    ids, mask = pad([window.ids for window in windows], 0)
    assert mask.tolist() == [[True] * 5, [True] * 3 + [False] * 2]
    assert np.array_equal(ids[1], [*windows[1].ids, 0, 0])


@pytest.mark.slow
def test_threads_share_a_tokenizer_with_lengths_of_their_own(tokenizer):
    texts = ["a b c d e f g h i j " * 40] * 8

    def lengths(max_length):
        return {
            max(map(len, cut_windows(tokenizer, texts, max_length, 2, truncate=True)))
            for _ in range(60)
        }

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lengths, (8, 16, 32, 64))) == [{8}, {16}, {32}, {64}]
