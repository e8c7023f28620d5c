"""How popular entities are, whatever that is counted in: page views, links, PageRank.

Popularity is spread over many orders of magnitude, and its unit differs from one knowledge base to
the next. So its logarithm is kept, and read as a number of standard deviations from the mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...types import Entity
from .manifest import POPULARITY, PopularityScale

# Standard deviations from the mean at which popularity counts no further.
LIMIT = 3.0


def log_popularity(entity: Entity) -> float:
    """RETURNS (float): NaN if unknown, -inf for 0."""
    if entity.popularity is None:
        return math.nan
    return math.log(entity.popularity) if entity.popularity else -math.inf


def scale_of(logs: np.ndarray) -> PopularityScale | None:
    """logs (ndarray): From `log_popularity`.
    RETURNS (PopularityScale | None): Their mean and deviation; None if no popularity is known."""
    known = logs[np.isfinite(logs)].astype(np.float64)
    return {"mean": float(known.mean()), "std": float(known.std())} if len(known) else None


def standardise(logs: np.ndarray, scale: PopularityScale) -> np.ndarray:
    """RETURNS (ndarray): Deviations from the mean, within ±`LIMIT`, float32; NaN if unknown."""
    deviations = (logs - scale["mean"]) / (scale["std"] or 1.0)
    return np.clip(deviations, -LIMIT, LIMIT, dtype=np.float32)


def write_popularity(directory: Path, logs: Sequence[float]) -> PopularityScale | None:
    """Write the file, if any popularity is known.

    logs (Sequence[float]): From `log_popularity`, by row.
    RETURNS (PopularityScale | None): Their scale.
    """
    values = np.array(logs, dtype="<f4")
    scale = scale_of(values)
    if scale is not None:
        np.save(directory / POPULARITY, values)
    return scale
