"""Line charts as SVG that stands in a page: colours come from its style (`.s0`, `.s1`, …)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

WIDTH, HEIGHT = 420, 260
LEFT, RIGHT, TOP, BOTTOM = 40, 12, 30, 40
# More points than pixels show nothing more.
MOST_POINTS = 400
MOST_TICKS = 6
STEPS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)

# Values of both axes → "x,y" of the drawing.
Place = Callable[[float, float], str]


@dataclass(frozen=True)
class Series:
    """A line.

    x, y (ndarray): Float (N,); y in [0, 1].
    dots (bool): Mark its points.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    dots: bool = False


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str,
    x_range: tuple[float, float],
    marker: float | None = None,
    diagonal: bool = False,
) -> str:
    """Draw lines over one axis.

    title (str): Said to readers that do not see the chart.
    x_range (tuple[float, float]): The ends of the axis.
    marker (float | None): Where a vertical line stands.
    diagonal (bool): Draw the line from corner to corner.
    RETURNS (str): An <svg> element.
    """
    low, high = x_range
    span = (high - low) or 1.0

    def at(x: float, y: float) -> str:
        across = LEFT + (x - low) / span * (WIDTH - LEFT - RIGHT)
        return f"{across:.1f},{HEIGHT - BOTTOM - y * (HEIGHT - TOP - BOTTOM):.1f}"

    parts = [_grid(at, low, high), _text(WIDTH / 2, HEIGHT - 6, x_label, "middle")]
    if diagonal:
        parts.append(f'<polyline class="guide" points="{at(low, 0)} {at(high, 1)}"/>')
    if marker is not None and low <= marker <= high:
        parts.append(f'<polyline class="guide" points="{at(marker, 0)} {at(marker, 1)}"/>')
    for number, line in enumerate(series):
        parts.append(_line(line, number, at))
        parts.append(_legend(number, line.name))
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def _grid(at: Place, low: float, high: float) -> str:
    parts = []
    for y in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(f'<polyline class="grid" points="{at(low, y)} {at(high, y)}"/>')
        _, down = at(low, y).split(",")
        parts.append(_text(LEFT - 6, float(down) + 4, f"{y:g}", "end"))
    step = next((step for step in STEPS if (high - low) / step <= MOST_TICKS), STEPS[-1])
    for x in np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step:
        across, down = at(x, 0).split(",")
        parts.append(_text(float(across), float(down) + 15, f"{x:g}", "middle"))
    return "".join(parts)


def _line(line: Series, number: int, at: Place) -> str:
    chosen = np.unique(np.linspace(0, len(line.x) - 1, min(len(line.x), MOST_POINTS)).astype(int))
    points = [at(float(line.x[i]), float(line.y[i])) for i in chosen]
    drawn = f'<polyline class="line s{number}" points="{" ".join(points)}"/>'
    if not line.dots:
        return drawn
    places = (point.split(",") for point in points)
    return drawn + "".join(
        f'<circle class="s{number}" cx="{across}" cy="{down}" r="3.5"/>' for across, down in places
    )


def _legend(number: int, name: str) -> str:
    x, y = LEFT + 100 * number, TOP - 14
    key = f'<polyline class="line s{number}" points="{x},{y - 4} {x + 18},{y - 4}"/>'
    return key + _text(x + 24, y, name, "start")


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
