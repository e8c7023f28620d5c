from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .published_evaluation import PublishedCounts, mutated_gold, published_window

RANGES = st.lists(
    st.tuples(st.integers(0, 30), st.integers(1, 12)).map(lambda r: (r[0], r[0] + r[1])),
    max_size=5,
)


@pytest.mark.slow
@given(st.integers(0, 25), RANGES, st.integers(4, 30))
def test_a_window_holds_the_first_mention_and_fills_its_room(extra, mentions, max_length):
    n_pieces = max([end for _, end in mentions], default=0) + extra
    window = published_window(n_pieces, mentions, max_length)
    assert 0 <= window.start <= window.stop <= n_pieces
    assert window.stop - window.start <= max_length - 2
    if n_pieces <= max_length - 2:
        assert (window.start, window.stop) == (0, n_pieces)
    elif not mentions:
        assert (window.start, window.stop) == (0, max_length - 2)
    else:
        assert window.start <= min(mentions)[0] < window.stop
        assert window.mentions[0][0] == min(mentions)[0]
        assert [mentions[i][:1] for i in window.order] == [m[:1] for m in window.mentions]
        assert all(end <= window.stop + 1 for _, end in window.seen)


@pytest.mark.parametrize(
    ("n_pieces", "mentions", "expected"),
    [
        (30, [(14, 16)], (11, 19)),  # three on the left, three on the right
        (30, [(14, 15)], (11, 19)),  # an odd one goes to the right
        (30, [(1, 3)], (0, 8)),  # what the left does not need goes to the right
        (30, [(28, 29)], (22, 30)),
        (30, [(4, 6), (20, 22)], (1, 9)),  # the last mention does not fit
        (30, [(4, 20)], (4, 12)),  # nor does the end of the only one
        (6, [(2, 3)], (0, 6)),
    ],
)
def test_windows_of_ten(n_pieces, mentions, expected):
    window = published_window(n_pieces, mentions, 10)
    assert (window.start, window.stop) == expected


def test_mentions_are_cut_and_sorted():
    window = published_window(30, [(6, 7), (4, 20)], 10)
    assert (window.mentions, window.order) == (((4, 20), (6, 7)), (1, 0))
    assert window.seen[0] == (4, window.start + 9)  # to [SEP], where the published code clamps
    assert published_window(30, [(4, 20)], 10).mentions == ((4, 12),)


def test_gold_is_mutated_as_published_only_when_asked():
    labels, mentions = ["A"], [(14, 16)]
    window = published_window(30, mentions, 10)
    assert window.start == 11
    # Moved into the window, where the prediction is not.
    assert mutated_gold(labels, mentions, window) == [("A", 3, 5)]
    right = [("A", 14, 16)]
    counts, published = PublishedCounts(), PublishedCounts()
    counts.add(labels, mentions, right, window)
    published.add(labels, mentions, right, window, as_published=True)
    assert (counts.strong.correct, published.strong.correct) == (1, 0)
    assert counts.strong_in_window.correct == published.strong_in_window.correct == 1


def test_mentions_outside_the_window_count_as_missed_unless_published():
    labels, mentions = ["A", "B"], [(4, 6), (20, 22)]
    window = published_window(30, mentions, 10)
    counts, published = PublishedCounts(), PublishedCounts()
    counts.add(labels, mentions, [("A", 4, 6)], window)
    published.add(labels, mentions, [("A", 4, 6)], window, as_published=True)
    assert (counts.weak.gold, counts.weak.correct) == (2, 1)
    # One was left out, so the others were not moved.
    assert (published.weak.gold, published.weak.correct) == (1, 1)
    assert counts.weak_in_window.gold == 1
