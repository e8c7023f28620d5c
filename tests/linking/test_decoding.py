"""Decoding against plain float64 loops over the published formulas."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_elq.errors import ElqError
from spacy_elq.linking.decoding import (
    DecodingSettings,
    log_sigmoid,
    log_softmax,
    passes_thresholds,
    select_spans,
    span_logits,
)

EXACT = {"special_tokens": True, "word_boundaries": False}


@st.composite
def logit_batches(draw):
    n_windows, length = draw(st.integers(1, 3)), draw(st.integers(1, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    logits = rng.normal(0, 3, (n_windows, length, 3)).astype("f4")
    lengths = rng.integers(1, length + 1, n_windows)
    mask = np.arange(length) < lengths[:, None]
    return logits, mask


def reference_span(logits, i, j):
    row = logits.astype("f8")
    return row[i, 0] + row[j, 1] + sum(row[t, 2] for t in range(i, j + 1))


@pytest.mark.slow
@given(logit_batches(), st.integers(0, 4))
def test_span_logits_are_start_plus_end_plus_sum_of_inside(batch, longest):
    logits, mask = batch
    scores = span_logits(logits, mask, mask, longest)
    assert scores.shape == (*mask.shape, longest + 1)
    for (b, i, w), score in np.ndenumerate(scores):
        j = i + w
        if j < mask.shape[1] and mask[b, i] and mask[b, j]:
            assert score == pytest.approx(reference_span(logits[b], i, j), abs=1e-4)
        else:
            assert score == -math.inf


@given(logit_batches(), st.integers(1, 12), st.floats(-6, 0))
@settings(max_examples=60)
def test_propose_keeps_the_highest_spans_above_the_threshold(batch, most, threshold):
    logits, mask = batch
    scores = span_logits(logits, mask, mask, 3)
    spans = select_spans(
        scores, DecodingSettings(threshold=threshold, num_cand_mentions=most, **EXACT)
    )
    for b in range(len(mask)):
        cells = [(score, i, i + w) for (i, w), score in np.ndenumerate(scores[b])]
        highest = sorted((c for c in cells if c[0] > -math.inf), reverse=True)[:most]
        wanted = sorted(
            (i, j) for score, i, j in highest if -math.log1p(math.exp(-float(score))) > threshold
        )
        chosen = spans.window == b
        assert list(zip(spans.first[chosen], spans.last[chosen], strict=True)) == wanted
        for i, j, logit in zip(
            spans.first[chosen], spans.last[chosen], spans.logit[chosen], strict=True
        ):
            assert logit == scores[b, i, j - i]


def test_where_no_span_passes_all_are_kept_unless_the_joint_score_decides():
    scores = np.full((1, 3, 1), -5.0, dtype="f4")
    joint = DecodingSettings(threshold=-2.0, **EXACT)
    mention = DecodingSettings(mention_threshold=-2.0, threshold_type="top_entity_by_mention")
    assert len(select_spans(scores, joint)) == 0
    assert select_spans(scores, mention).first.tolist() == [0, 1, 2]


def test_names_are_proposed_however_many_spans_score_higher():
    scores = np.full((2, 4, 3), 2.0, dtype=np.float32)
    scores[0, 1, 2], scores[1, 3, 0] = 1.0, -9.0
    settings = DecodingSettings(threshold=-2.0, num_cand_mentions=1)
    names = (np.array([0, 1]), np.array([1, 3]), np.array([2, 0]))
    spans = select_spans(scores, settings, names)
    found = list(zip(spans.window.tolist(), spans.first.tolist(), spans.last.tolist()))  # noqa: B905
    assert (0, 1, 3) in found  # a name, and likely enough
    assert (1, 3, 3) not in found  # a name, but below the threshold
    assert len(found) == 3
    assert len(select_spans(scores, settings)) == 2


def test_threshold_types_compare_what_the_published_code_compares():
    logit = np.array([-0.65, -0.7, 1.0])  # the raw logit against -0.6931, not log P(mention)
    joint = np.array([-9.0, -0.1, -2.0])
    raw = np.array([40.0, 50.0, 60.0])

    def passed(kind, threshold=-1.0):
        settings_ = DecodingSettings(
            threshold=threshold, mention_threshold=-0.6931, threshold_type=kind
        )
        return passes_thresholds(settings_, logit, joint, raw).tolist()

    assert passed("joint") == [False, True, False]
    assert passed("top_entity_by_mention") == [True, False, True]
    assert passed("thresholded_entity_by_mention", threshold=-3.0) == [True, False, True]
    assert passed("thresholded_entity_by_mention", threshold=40.0) == [False, False, True]
    assert passed("joint", threshold=-2.0) == [False, True, False]  # strictly above


@pytest.mark.slow
@given(st.lists(st.floats(-700, 700), min_size=1, max_size=6))
def test_log_softmax_and_log_sigmoid(values):
    x = np.array(values)
    shifted = [math.exp(v - max(values)) for v in values]
    expected = [v - max(values) - math.log(sum(shifted)) for v in values]
    np.testing.assert_allclose(log_softmax(x), expected, atol=1e-9)
    for value, result in zip(values, log_sigmoid(x), strict=True):
        reference = -math.log1p(math.exp(-value)) if value > -30 else value
        assert result == pytest.approx(reference, abs=1e-9)


def test_missing_candidates_take_no_part_in_the_softmax():
    scores = log_softmax(np.array([[1.0, 1.0, -np.inf], [-np.inf] * 3]))
    np.testing.assert_allclose(scores[0, :2], math.log(0.5))
    assert scores[0, 2] == -np.inf
    assert (scores[1] == -np.inf).all()


@pytest.mark.parametrize(
    "wrong", [{"threshold_type": "best"}, {"top_k": 0}, {"num_cand_mentions": 0}]
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ElqError, match=r"ELQ11[02]"):
        DecodingSettings(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": math.nan},
        {"mention_threshold": math.nan},
        {"threshold": "-2"},
        {"threshold": None},
        {"threshold": True},
        {"top_k": 2.5},
        {"top_k": True},
        {"special_tokens": 1},
        {"word_boundaries": "no"},
        {"threshold_type": None},
    ],
)
def test_settings_of_another_type_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(ElqError, match=rf"ELQ122.*'{name}' is .*; it must be"):
        DecodingSettings(**wrong)


def test_numbers_of_numpy_and_infinity_are_numbers():
    settings = DecodingSettings(
        threshold=-np.inf, mention_threshold=np.float32(-1), top_k=np.int64(3)
    )
    assert settings.top_k == 3
