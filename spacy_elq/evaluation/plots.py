"""The pictures of `tune`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ElqError, Errors
from ..files import atomic_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..linking.calibration import Reliability
    from .threshold_curve import Curve

DPI = 150


def plot_curve(curve: Curve, chosen: int, path: Path) -> None:
    """Draw precision, recall and F1 over the threshold, as PNG.

    chosen (int): The point of the curve that is marked.
    path (Path): Replaced as a whole.
    """
    figure = _figure(7, 4.2)
    axes = figure.add_subplot()
    # The first point has no links: its precision is a convention.
    for label, values in (("precision", curve.p), ("recall", curve.r), ("F1", curve.f)):
        axes.plot(curve.thresholds[1:], values[1:], label=label)
    threshold = float(curve.thresholds[chosen])
    axes.axvline(threshold, color="0.3", linestyle=":", label=f"threshold {threshold:.2f}")
    axes.set(xlabel="threshold (joint log-score)", ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    figure.legend(loc="outside upper center", ncols=4)
    _write(figure, path)


def plot_reliability(before: Reliability, after: Reliability, path: Path) -> None:
    """Draw a reliability diagram, as PNG: the share of links that is right over their probability.

    before, after (Reliability): Of exp(score), and calibrated.
    path (Path): Replaced as a whole.
    """
    figure = _figure(5, 5)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="0.6", linestyle="--")
    for label, found in (("exp(score)", before), ("calibrated", after)):
        sizes = 12 + 188 * found.counts / max(found.counts.max(initial=1), 1)
        (line,) = axes.plot(found.predicted, found.observed, alpha=0.7)
        axes.scatter(
            found.predicted,
            found.observed,
            s=sizes,
            color=line.get_color(),
            label=f"{label}, ECE {found.error:.3f}",
        )
    axes.set(xlabel="probability", ylabel="share that is right", xlim=(-0.02, 1.02))
    axes.set_ylim(-0.02, 1.02)
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")
    _write(figure, path)


def _figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ElqError(Errors.ELQ442) from None
    return Figure(figsize=(width, height), layout="constrained")


def _write(figure: Figure, path: Path) -> None:
    with atomic_file(path) as partial:
        figure.savefig(partial, format="png", dpi=DPI)
