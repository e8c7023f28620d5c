"""Tables as text, aligned by rich: whole for a pipe or a file, fitted to a terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.console import Console

# Width in columns of an output without a width. Tables are no wider than their content.
UNLIMITED = 1_000_000
# Styles of the first cell of the rows, and of the mentions in a text, in turn.
COLORS = ("green", "cyan", "yellow", "magenta", "blue")


def stdout_console(*, plain: bool = False) -> Console:
    """RETURNS (Console): Stdout; without colors and line width if it is no terminal, or `plain`."""
    from rich.console import Console

    fancy = sys.stdout.isatty() and not plain
    return Console(force_terminal=fancy, width=None if fancy else UNLIMITED)


def format_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    aligns: str,
    console: Console | None = None,
) -> str:
    """Align cells in columns, by their width on a screen.

    aligns (str): "l" or "r" for each column. Columns to the left are texts, which are cut with "…"
        if the table is too wide.
    console (Console | None): What the table has to fit; without one, it has its full width.
    RETURNS (str): A line for the header and for each row.
    """
    from rich.table import Table
    from rich.text import Text

    def cell(text: str, style: str = "") -> Text:
        return Text(text, style, no_wrap=True, overflow="ellipsis")

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name, align in zip(header, aligns, strict=True):
        justify: Literal["left", "right"] = "left" if align == "l" else "right"
        table.add_column(cell(name), justify=justify, no_wrap=align == "r")
    for i, (first, *others) in enumerate(rows):
        table.add_row(cell(first, COLORS[i % len(COLORS)]), *map(cell, others))
    console = console or stdout_console(plain=True)
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())
