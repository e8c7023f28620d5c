"""Calibrated probabilities: their arithmetic, and their way to a span."""

import json
import math

import numpy as np
import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st

from spacy_elq import ElqError
from spacy_elq.linking.calibration import Calibration, measure_reliability

from ..helpers import TEXTS, train

ISOTONIC = {"method": "isotonic", "scores": [-4.0, -2.0, 0.0], "probs": [0.1, 0.3, 0.9]}
PLATT = {"method": "platt", "slope": 1.5, "intercept": 2.0}
finite = st.floats(-50, 50)


def interpolated(score, xs, ys):
    if score <= xs[0]:
        return ys[0]
    for x0, x1, y0, y1 in zip(xs, xs[1:], ys, ys[1:], strict=False):
        if score <= x1:
            return y0 + (y1 - y0) * (score - x0) / (x1 - x0)
    return ys[-1]


@given(finite)
def test_values(score):
    (isotonic,) = Calibration.from_dict(ISOTONIC)(np.array([score]))
    assert isotonic == pytest.approx(interpolated(score, ISOTONIC["scores"], ISOTONIC["probs"]))
    (platt,) = Calibration.from_dict(PLATT)(np.array([score]))
    assert platt == pytest.approx(1 / (1 + math.exp(-(1.5 * score + 2.0))), abs=1e-12)


@pytest.mark.parametrize("values", [ISOTONIC, PLATT])
def test_round_trip_through_json(values):
    stored = json.loads(json.dumps(Calibration.from_dict(values).to_dict()))
    assert stored == values
    assert Calibration.from_dict(stored) == Calibration.from_dict(values)


@pytest.mark.parametrize(
    "values",
    [
        {},
        [],
        "platt",
        {"method": "beta"},
        {"method": "platt", "slope": 1.0},
        {"method": "platt", "slope": -1.0, "intercept": 0.0},
        {"method": "platt", "slope": float("nan"), "intercept": 0.0},
        {**ISOTONIC, "scores": [0.0, -2.0, -4.0]},
        {**ISOTONIC, "probs": [0.1, 0.3]},
        {**ISOTONIC, "probs": [0.1, 0.3, 1.1]},
        {**ISOTONIC, "probs": [0.3, 0.1, 0.9]},
        {"method": "isotonic", "scores": [], "probs": []},
    ],
)
def test_wrong_values_are_refused(values):
    with pytest.raises(ElqError, match="ELQ445"):
        Calibration.from_dict(values)


@pytest.mark.slow
def test_spans_carry_probabilities_and_the_pipeline_keeps_them(make_nlp, tmp_path):
    nlp = make_nlp()
    train(nlp)
    elq, text = nlp.get_pipe("elq"), TEXTS[0]["text"]
    assert nlp(text).ents[0]._.elq.prob is None
    elq.calibration = PLATT
    with pytest.raises(ElqError, match="ELQ445"):
        elq.calibration = {"method": "beta"}
    nlp.to_disk(tmp_path / "p")
    for pipeline in (nlp, spacy.load(tmp_path / "p")):
        link = pipeline(text).ents[0]._.elq
        assert link.prob == pytest.approx(1 / (1 + math.exp(-(1.5 * link.score + 2.0))))
    # Without log P(mention) the score is on another scale.
    elq.mentions = "ents"
    doc = nlp.make_doc(text)
    doc.set_ents([doc.char_span(24, 29, label="CITY")])
    assert elq(doc).ents[0]._.elq.prob is None


@pytest.mark.slow
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=30), st.integers(1, 20))
def test_expected_calibration_error(pairs, bins):
    """The definition, bin by bin."""
    error = 0.0
    for i in range(bins):
        inside = [(p, y) for p, y in pairs if min(int(p * bins), bins - 1) == i]
        if inside:
            mean = sum(p for p, _ in inside) / len(inside)
            share = sum(y for _, y in inside) / len(inside)
            error += abs(mean - share) * len(inside) / len(pairs)
    found = measure_reliability(
        np.array([p for p, _ in pairs]), np.array([y for _, y in pairs]), bins
    )
    assert found.error == pytest.approx(error)
    assert found.counts.sum() == len(pairs)
