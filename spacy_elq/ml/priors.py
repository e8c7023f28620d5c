"""What is known of entities and names without the text, as features of scores."""

from __future__ import annotations

import numpy as np

# Log-odds beyond which a link probability counts no further: those of 0.7% and 99.3%.
LIMIT = 5.0


def popularity_features(deviations: np.ndarray) -> np.ndarray:
    """deviations (ndarray): From `View.popularity`, NaN where it is unknown, any shape.
    RETURNS (ndarray): The deviation, 0 if unknown, and whether it is known, float32 (..., 2)."""
    features = np.empty((*deviations.shape, 2), dtype=np.float32)
    features[..., 1] = known = ~np.isnan(deviations)
    features[..., 0] = np.where(known, deviations, 0)
    return features


def link_features(probabilities: np.ndarray) -> np.ndarray:
    """probabilities (ndarray): From `NameMatch.link_probability`, 0 where it is unknown, any shape.
    RETURNS (ndarray): The log-odds within ±`LIMIT`, 0 if unknown, and whether it is known, float32
        (..., 2)."""
    features = np.zeros((*probabilities.shape, 2), dtype=np.float32)
    known = probabilities > 0
    least = 1 / (1 + np.exp(LIMIT))
    p = np.clip(probabilities[known].astype(np.float64), least, 1 - least)
    features[known, 0] = np.log(p / (1 - p))
    features[..., 1] = known
    return features
