"""What is known of entities without the text, as features of their scores."""

from __future__ import annotations

import numpy as np


def popularity_features(deviations: np.ndarray) -> np.ndarray:
    """deviations (ndarray): From `View.popularity`, NaN where it is unknown, any shape.
    RETURNS (ndarray): The deviation, 0 if unknown, and whether it is known, float32 (..., 2)."""
    features = np.empty((*deviations.shape, 2), dtype=np.float32)
    features[..., 1] = known = ~np.isnan(deviations)
    features[..., 0] = np.where(known, deviations, 0)
    return features
