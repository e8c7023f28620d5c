"""Joint log-scores → the probability that a link is correct, and the reliability of probabilities.

A calibration consists of a few plain numbers in the component's settings, so that a pipeline needs
neither scikit-learn nor a pickle to use it. `elq tune` fits them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ElqError, Errors

ISOTONIC, PLATT = "isotonic", "platt"
METHODS = (ISOTONIC, PLATT)


@dataclass(frozen=True)
class Calibration:
    """A non-decreasing map from scores to probabilities: linear between knots (isotonic), or the
    logistic function of a line (Platt).

    method (str): "isotonic" or "platt".
    scores, probs (tuple[float, ...]): Isotonic: the knots, by ascending score. Beyond the outer
        knots, the probability is constant.
    slope, intercept (float): Platt: the probability is σ(slope · score + intercept).
    """

    method: str
    scores: tuple[float, ...] = ()
    probs: tuple[float, ...] = ()
    slope: float = 1.0
    intercept: float = 0.0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """Read and validate the setting `calibration`.

        values (Mapping[str, Any]): The result of `to_dict`.
        RAISES (ElqError): If the values are not a calibration.
        """
        try:
            method = values["method"]
            if method == PLATT:
                slope, intercept = float(values["slope"]), float(values["intercept"])
                if np.isfinite([slope, intercept]).all() and slope >= 0:
                    return cls(PLATT, slope=slope, intercept=intercept)
            elif method == ISOTONIC:
                scores, probs = (tuple(map(float, values[name])) for name in ("scores", "probs"))
                if _are_knots(scores, probs):
                    return cls(ISOTONIC, scores, probs)
        except (TypeError, KeyError, ValueError):
            pass
        raise ElqError(Errors.ELQ445.format(found=repr(values)[:80])) from None

    def to_dict(self) -> dict[str, Any]:
        """RETURNS (dict[str, Any]): The calibration as JSON values."""
        if self.method == PLATT:
            return {"method": PLATT, "slope": self.slope, "intercept": self.intercept}
        return {"method": ISOTONIC, "scores": list(self.scores), "probs": list(self.probs)}

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """scores (ndarray): Joint log-scores, float (N,).
        RETURNS (ndarray): Probabilities that links with these scores are correct, float64 (N,).
        """
        if self.method == PLATT:
            # tanh does not overflow.
            return 0.5 + 0.5 * np.tanh(0.5 * (self.slope * scores + self.intercept))
        return np.interp(scores, self.scores, self.probs)


def _are_knots(scores: tuple[float, ...], probs: tuple[float, ...]) -> bool:
    """RETURNS (bool): Whether these are valid knots: ascending, in range, and equal in number."""
    x, y = np.array(scores), np.array(probs)
    return (
        0 < len(x) == len(y)
        and bool(np.isfinite(x).all())
        and bool((np.diff(x) > 0).all())
        and bool(((y >= 0) & (y <= 1)).all())
        and bool((np.diff(y) >= 0).all())
    )


@dataclass(frozen=True)
class Reliability:
    """Predicted probabilities and observed shares, in bins of equal width; without empty bins.

    predicted, observed (ndarray): Mean probability, and share of correct links, float64 (B,).
    counts (ndarray): Number of links, int64 (B,).
    """

    predicted: np.ndarray
    observed: np.ndarray
    counts: np.ndarray

    @property
    def error(self) -> float:
        """RETURNS (float): Expected calibration error: the mean distance between predicted and
        observed, weighted by the number of links; 0 without links."""
        distance = np.abs(self.predicted - self.observed) * self.counts
        return float(distance.sum() / max(self.counts.sum(), 1))


def measure_reliability(probs: np.ndarray, right: np.ndarray, bins: int = 15) -> Reliability:
    """Compare probabilities with outcomes.

    probs (ndarray): Probabilities, float (N,), in [0, 1].
    right (ndarray): Whether each link is correct, bool (N,).
    bins (int): Number of bins of equal width.
    """
    which = np.minimum((np.asarray(probs) * bins).astype(int), bins - 1)
    counts = np.bincount(which, minlength=bins)
    filled = counts > 0
    sums = (np.bincount(which, weights=values, minlength=bins) for values in (probs, right))
    predicted, observed = (total[filled] / counts[filled] for total in sums)
    return Reliability(predicted, observed, counts[filled])
