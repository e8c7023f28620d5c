"""Threshold curves and reliability diagrams: PNG for `elq tune`, inline SVG for the report."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ElqError, Errors
from ..files import atomic_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..linking.calibration import Reliability
    from .threshold_curve import Curve

DPI = 150
# The page's style replaces these two colours in an SVG, so that it fits light and dark pages.
INK, RULE = "#1f2430", "#d9dde7"
STYLE: Any = {
    "font.size": 11,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": RULE,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": "small",
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",
    "svg.hashsalt": "spacy-elq",  # equal curves give equal files
}
# Legible on white and on black.
BLUE, ORANGE, GREEN = "#3b82d6", "#df7a2e", "#2a9d5c"


def can_draw() -> bool:
    """RETURNS (bool): Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def plot_curve(curve: Curve, threshold: float) -> Figure:
    """RETURNS (Figure): Precision, recall and F1 over the threshold, which is marked."""
    with _figure(6, 3.9) as figure:
        axes = figure.add_subplot()
        lines = {"precision": (curve.p, BLUE), "recall": (curve.r, ORANGE), "F1": (curve.f, GREEN)}
        # The first point has no links: its precision is a convention.
        for label, (values, color) in lines.items():
            axes.plot(curve.thresholds[1:], values[1:], label=label, color=color)
        label = f"threshold {threshold:.2f}"
        axes.axvline(threshold, color=INK, linestyle=":", linewidth=1.2, label=label)
        axes.set(xlabel="threshold (joint log-score)", ylim=(0, 1.02))
        figure.legend(loc="outside upper center", ncols=4)
    return figure


def plot_reliability(measured: Mapping[str, Reliability]) -> Figure:
    """Draw the share of correct links over their probability.

    measured (Mapping[str, Reliability]): Label of a kind of probability → what was observed.
    """
    with _figure(6, 3.9) as figure:
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=INK, linestyle="--", linewidth=0.8)
        for (label, found), color in zip(measured.items(), (BLUE, ORANGE), strict=False):
            sizes = 12 + 188 * found.counts / max(found.counts.max(initial=1), 1)
            label = f"{label}, ECE {found.error:.3f}"
            axes.plot(found.predicted, found.observed, color=color, alpha=0.7)
            axes.scatter(
                found.predicted, found.observed, s=sizes, color=color, alpha=0.8, label=label
            )
        axes.set(xlabel="probability", ylabel="share of correct links")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.04))
        figure.legend(loc="outside upper center", ncols=2, markerscale=0.6)
    return figure


def plot_learning_curve(rows: Sequence[Mapping[str, Any]], shown: Sequence[str]) -> Figure:
    """Draw scores and losses over the steps of a training.

    rows (Sequence[Mapping]): Its evaluations, as "spacy-elq.LearningCurve.v1" writes them.
    shown (Sequence[str]): Scores to draw.
    """
    steps = [row["step"] for row in rows]
    with _figure(6, 5.2) as figure:
        above, below = figure.subplots(2, sharex=True)
        for name in shown:
            above.plot(steps, [row["scores"].get(name) for row in rows], label=name)
        # Losses are sums of the steps since the evaluation before.
        taken = [max(1, step - last) for last, step in pairwise([steps[0] - 1, *steps])]
        for name in rows[0]["losses"]:
            losses = [row["losses"].get(name, 0.0) for row in rows]
            means = [loss / count for loss, count in zip(losses, taken, strict=True)]
            below.plot(steps, means, label=f"{name} loss")
        above.set(ylim=(0, 1.02))
        below.set(xlabel="steps", ylim=(0, None))
        for axes in (above, below):
            axes.legend()
    return figure


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure, replacing the file as a whole."""
    with atomic_file(path) as partial:
        figure.savefig(partial, format="png", dpi=DPI)


def to_svg(figure: Figure, title: str) -> str:
    """Render a figure as an <svg> element for an HTML page.

    title (str): For screen readers.
    RETURNS (str): The element. Its text and rules take the page's colours: `currentColor` and the
        CSS variable `--rule`.
    """
    from matplotlib import rc_context

    file = io.StringIO()
    with rc_context(STYLE):
        figure.savefig(
            file,
            format="svg",
            transparent=True,
            metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")),
        )
    drawn = file.getvalue().replace(INK, "currentColor").replace(RULE, "var(--rule)")
    used = set(re.findall(r"#([\w-]+)", drawn))
    # Two figures on a page would share the ids of their parts.
    drawn = re.sub(r' id="([^"]+)"', lambda id_: id_[0] if id_[1] in used else "", drawn)
    element = drawn[drawn.index("<svg") :]
    return element.replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1)


@contextmanager
def _figure(width: float, height: float) -> Iterator[Figure]:
    """A figure to draw on in the common style."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise ElqError(Errors.ELQ442) from None
    with rc_context(STYLE):
        yield Figure(figsize=(width, height), layout="constrained")
