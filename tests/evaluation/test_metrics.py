import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_elq.evaluation.metrics import (
    PRF,
    LinkMetrics,
    count_matches,
    same_bounds,
    strong_match,
    weak_match,
)

triple = st.tuples(st.sampled_from("ABab"), st.integers(0, 8), st.integers(1, 5)).map(
    lambda t: (t[0], t[1], t[1] + t[2])
)
mentions = st.lists(triple, max_size=5)


def matches_by_enumeration(gold, predicted, match):
    """The definition, spelled out: the largest set of matched pairs that keeps both orders."""
    gold = sorted(gold, key=lambda t: t[2])
    predicted = sorted(predicted, key=lambda t: t[2])
    for size in range(min(len(gold), len(predicted)), 0, -1):
        for left in itertools.combinations(gold, size):
            for right in itertools.combinations(predicted, size):
                if all(map(match, left, right)):
                    return size
    return 0


@pytest.mark.parametrize(
    ("gold", "predicted", "weak", "strong"),
    [
        ([], [], 0, 0),
        ([("Q1", 0, 4)], [], 0, 0),
        ([], [("Q1", 0, 4)], 0, 0),
        ([("Q1", 0, 4)], [("Q1", 0, 4)], 1, 1),
        ([("Q1", 0, 4)], [("q1", 0, 4)], 1, 1),  # ids are compared without case
        ([("Q1", 0, 4)], [("Q2", 0, 4)], 0, 0),
        ([("Q1", 0, 4)], [("Q1", 4, 8)], 0, 0),  # ends are exclusive: these only touch
        ([("Q1", 0, 4)], [("Q1", 3, 8)], 1, 0),
        ([("Q1", 0, 9)], [("Q1", 0, 2), ("Q1", 3, 5)], 1, 0),  # a gold counts once
        ([("Q1", 0, 2), ("Q1", 3, 5)], [("Q1", 0, 9)], 1, 0),  # so does a prediction
        ([("X", 0, 10), ("Y", 2, 5)], [("X", 0, 4), ("Y", 2, 6)], 1, 0),  # crossing
        ([("A", 0, 5), ("B", 3, 5)], [("A", 0, 5), ("B", 3, 5)], 2, 2),
        ([("A", 0, 5), ("B", 3, 5)], [("B", 3, 5), ("A", 0, 5)], 1, 1),  # the sort is stable
    ],
)
def test_counts_of_known_cases(gold, predicted, weak, strong):
    assert count_matches(gold, predicted, weak_match) == weak
    assert count_matches(gold, predicted, strong_match) == strong


@pytest.mark.slow
@given(mentions, mentions)
def test_counts_agree_with_enumeration(gold, predicted):
    for match in (weak_match, strong_match, same_bounds):
        expected = matches_by_enumeration(gold, predicted, match)
        assert count_matches(gold, predicted, match) == expected


@pytest.mark.slow
@given(mentions, mentions)
def test_a_strong_match_is_a_weak_match_and_a_mention(gold, predicted):
    metrics = LinkMetrics()
    metrics.add(gold, predicted)
    assert metrics.strong.correct <= metrics.weak.correct <= metrics.mention_overlap.found
    assert metrics.strong.correct <= metrics.mention_exact.correct <= metrics.mention_overlap.found
    assert metrics.weak.correct <= min(len(gold), len(predicted))


@pytest.mark.slow
@given(mentions)
def test_perfect_predictions_are_perfect(gold):
    metrics = LinkMetrics()
    metrics.add(gold, gold)
    expected = 1.0 if gold else 0.0
    assert metrics.weak.f == metrics.strong.f == metrics.mention_overlap.f == expected


def test_counts_are_summed_before_they_are_divided():
    metrics = LinkMetrics()
    metrics.add([("Q1", 0, 4)], [("Q1", 0, 4)])
    metrics.add([("Q2", 0, 4), ("Q3", 5, 9)], [("Q2", 0, 3), ("Q9", 5, 9), ("Q8", 20, 22)])
    metrics.add([("Q4", 0, 4)], [])
    assert (metrics.weak.correct, metrics.weak.predicted, metrics.weak.gold) == (2, 4, 4)
    assert metrics.weak.p == 0.5
    assert metrics.weak.r == 0.5
    assert metrics.weak.f == 0.5
    assert metrics.strong.correct == 1
    assert metrics.mention_exact.correct == 2
    assert (metrics.mention_overlap.correct, metrics.mention_overlap.found) == (3, 3)
    assert metrics.links_per_text == pytest.approx(4 / 3)
    assert (metrics.texts, metrics.unlinked) == (3, 1)


def test_mention_overlap_counts_each_side_on_its_own():
    metrics = LinkMetrics()
    metrics.add([("Q1", 0, 4), ("Q2", 5, 9)], [("Q1", 0, 9), ("Q3", 20, 24)])
    assert metrics.mention_overlap.r == 1.0
    assert metrics.mention_overlap.p == 0.5


def test_no_division_by_zero():
    assert (PRF().p, PRF().r, PRF().f) == (0.0, 0.0, 0.0)
    assert LinkMetrics().links_per_text == 0.0


@pytest.mark.slow
def test_counts_stay_exact_beyond_sixteen_bits():
    metrics = LinkMetrics()
    for _ in range(33_000):
        metrics.add([("Q1", 0, 1)], [("Q1", 0, 1)])
    assert metrics.weak.correct == 33_000
