"""Fitting on a development set: a threshold for a goal, and calibrated probabilities."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ElqError, Errors, Warnings
from ..files import atomic_file
from ..linking.calibration import (
    ISOTONIC,
    METHODS,
    PLATT,
    Calibration,
    Reliability,
    measure_reliability,
)
from .metrics import Match, strong_match, weak_match
from .threshold_curve import Curve, ScoredLinks, compute_curve, is_correct

if TYPE_CHECKING:
    from spacy.language import Language

FOLDS = 5
# Digits of stored numbers; spaCy's JSON keeps no more than ten.
DIGITS = 6
MATCHES = {"weak": weak_match, "strong": strong_match}


@dataclass(frozen=True)
class Calibrated:
    """A calibration and its errors.

    calibration (Calibration): Fitted on all links above the floor.
    before, after (Reliability): For the links above the chosen threshold: exp(score), and
        calibrated probabilities, each from a fit that did not see the link's text.
    all_before, all_after (Reliability): The same for all links above the floor.
    """

    calibration: Calibration
    before: Reliability
    after: Reliability
    all_before: Reliability
    all_after: Reliability

    def to_dict(self) -> dict[str, Any]:
        """RETURNS (dict[str, Any]): The calibration and its errors as JSON values."""
        return {
            "calibration": self.calibration.to_dict(),
            "ece": {"before": self.before.error, "after": self.after.error},
            "ece_above_floor": {"before": self.all_before.error, "after": self.all_after.error},
        }


@dataclass(frozen=True)
class Tuning:
    """The outcome of tuning on a development set.

    curve (Curve): Precision and recall at every threshold.
    chosen (int): The point of the curve for the goal.
    calibrated (Calibrated | None): None if there are too few right or wrong links to learn from.
    """

    curve: Curve
    chosen: int
    calibrated: Calibrated | None

    @property
    def threshold(self) -> float:
        """RETURNS (float): The threshold for the goal."""
        return round(float(self.curve.thresholds[self.chosen]), DIGITS)

    def to_dict(self) -> dict[str, Any]:
        """RETURNS (dict[str, Any]): The curve, the choice and the calibration, if there is one, as
        JSON values."""
        curve = self.curve
        calibrated = {} if self.calibrated is None else self.calibrated.to_dict()
        return {
            "threshold": self.threshold,
            "gold": curve.gold,
            **calibrated,
            "curve": {
                "thresholds": curve.thresholds.tolist(),
                "correct": curve.correct.tolist(),
                "predicted": curve.predicted.tolist(),
            },
        }


def tune_threshold(
    texts: Sequence[ScoredLinks],
    floor: float,
    *,
    precision: float | None = None,
    method: str = ISOTONIC,
    match: str = "weak",
) -> Tuning:
    """Choose a threshold, and calibrate; a warning says if there are too few links for that.

    texts (Sequence[ScoredLinks]): A development set, links above `floor`.
    floor (float): The lowest threshold.
    precision (float | None): Precision to reach, at the highest recall; without it, the highest F1.
    method (str): "isotonic" or "platt".
    match (str): What counts as right: "weak", the same entity and overlapping spans; "strong",
        the same entity and span.
    RAISES (ElqError): If the precision is out of reach, or no link is right.
    """
    if method not in METHODS:
        raise ElqError(Errors.ELQ110.format(value=method, name="method", of=METHODS))
    if match not in MATCHES:
        raise ElqError(Errors.ELQ110.format(value=match, name="match", of=tuple(MATCHES)))
    curve = compute_curve(texts, floor, MATCHES[match])
    if not curve.correct.any():
        raise ElqError(Errors.ELQ443.format(links=int(curve.predicted[-1])))
    chosen = curve.best() if precision is None else curve.at_precision(precision)
    above = float(curve.thresholds[chosen])
    return Tuning(curve, chosen, _calibrate(texts, above, method, MATCHES[match]))


def _calibrate(
    texts: Sequence[ScoredLinks], threshold: float, method: str, match: Match
) -> Calibrated | None:
    scores = np.array([score for text in texts for score in text.scores])
    right = is_correct(texts, match)
    # Texts come in file order, which may have a structure; a stride spreads it over the folds.
    folds = np.repeat(np.arange(len(texts)) % FOLDS, [len(text.scores) for text in texts])
    if any(len(np.unique(right[folds != fold])) < 2 for fold in range(FOLDS)):
        counts = {"links": len(right), "right": int(right.sum())}
        warnings.warn(Warnings.ELQ357.format(**counts), stacklevel=3)
        return None
    raw, held_out = np.exp(np.minimum(scores, 0)), _held_out(scores, right, folds, method)
    above = scores > threshold
    return Calibrated(
        fit_calibration(scores, right, method),
        measure_reliability(raw[above], right[above]),
        measure_reliability(held_out[above], right[above]),
        measure_reliability(raw, right),
        measure_reliability(held_out, right),
    )


def fit_calibration(scores: np.ndarray, right: np.ndarray, method: str) -> Calibration:
    """Fit a calibration.

    scores (ndarray): Joint log-scores, float (N,).
    right (ndarray): Whether each link is right, bool (N,); must contain both values.
    method (str): "isotonic" or "platt".
    RAISES (ElqError): If scikit-learn is missing.
    """
    try:
        from sklearn.isotonic import IsotonicRegression
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise ElqError(Errors.ELQ442) from None
    if method == PLATT:
        model = LogisticRegression(C=np.inf).fit(scores[:, None], right)
        # A higher score never gets a lower probability.
        slope = max(round(float(model.coef_[0, 0]), DIGITS), 0.0)
        intercept = round(float(model.intercept_[0]), DIGITS)
        return Calibration(PLATT, slope=slope, intercept=intercept)
    model = IsotonicRegression(y_min=0, y_max=1).fit(scores, right)
    knots, first = np.unique(np.round(model.X_thresholds_, DIGITS), return_index=True)
    probs = np.round(model.y_thresholds_[first], DIGITS)
    return Calibration(ISOTONIC, tuple(knots.tolist()), tuple(probs.tolist()))


def check_installed(*, pictures: bool) -> None:
    """Raise an ElqError now if tuning would miss a package later.

    pictures (bool): Whether the curves will be drawn too.
    """
    for module in ("sklearn.isotonic", *(["matplotlib.figure"] if pictures else [])):
        try:
            import_module(module)
        except ImportError:
            raise ElqError(Errors.ELQ442) from None


def settings_file(directory: Path, name: str) -> Path:
    """RETURNS (Path): The file of a component's settings in a saved pipeline.
    RAISES (ElqError): If the directory does not contain such a pipeline."""
    stored = directory / name / "cfg"
    if not stored.is_file():
        raise ElqError(Errors.ELQ444.format(path=directory))
    return stored


def save_settings(nlp: Language, directory: Path, name: str) -> None:
    """Write the settings of a component into the directory from which its pipeline was loaded. Its
    weights and its knowledge base do not change.

    nlp (Language): The pipeline.
    directory (Path): The directory from which it was loaded.
    name (str): The component.
    RAISES (ElqError): If the directory does not contain this pipeline.
    """
    stored = settings_file(directory, name)
    with tempfile.TemporaryDirectory() as temporary:
        others = ["vocab", "model", "kb", "entity_encoder"]
        nlp.get_pipe(name).to_disk(Path(temporary), exclude=others)  # type: ignore[attr-defined]
        with atomic_file(stored, follow=False) as partial:
            shutil.copyfile(Path(temporary) / "cfg", partial)


def _held_out(scores: np.ndarray, right: np.ndarray, folds: np.ndarray, method: str) -> np.ndarray:
    """Probabilities of links, each from a calibration fitted on the links of the other folds."""
    probs = np.empty(len(scores))
    for fold in range(FOLDS):
        inside = folds == fold
        probs[inside] = fit_calibration(scores[~inside], right[~inside], method)(scores[inside])
    return probs
