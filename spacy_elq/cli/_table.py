"""Evaluation results as an aligned plain-text table."""

from __future__ import annotations

from collections.abc import Sequence

from ..evaluation.evaluate import COLUMNS, Column, Result


def table(results: Sequence[Result]) -> str:
    """Results as aligned plain text; measures that no row has are left out.

    results (Sequence[Result]): As they came from `evaluate_set`.
    RETURNS (str): A header line, then a line a result; a set's name stands on its first line.
    """
    columns = [c for c in COLUMNS if any(c.key in result.scores for result in results)]
    lines = [["set", "system", "texts", *(c.header for c in columns), "texts/s"]]
    previous = ""
    for result in results:
        data = "" if result.data == previous else result.data
        lines.append([data, *_cells(result, columns)])
        previous = result.data
    return align(lines, left=2)


def align(lines: Sequence[Sequence[str]], left: int) -> str:
    """Pad cells to columns.

    lines (Sequence[Sequence[str]]): Equally many cells each.
    left (int): So many columns are aligned to the left, the others (numbers) to the right.
    RETURNS (str): The lines.
    """
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _cells(result: Result, columns: Sequence[Column]) -> list[str]:
    system = f"  {result.part}" if result.part else result.system
    values = ["-" if result.texts == 0 else column.show(result.scores) for column in columns]
    speed = "-" if result.speed is None else f"{result.speed:.0f}"
    texts = "-" if result.texts is None else str(result.texts)
    return [system, texts, *values, speed]
