"""Scores as a table, and as a JSON file that a later `elq evaluate` shows beside its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import srsly

from ..about import __version__
from ..errors import ElqError, Errors
from ..evaluation.evaluate import COLUMNS, Column, Result
from ._table import format_table


def save_scores(path: Path, results: Sequence[Result], **settings: Any) -> None:
    """Write results, and the settings they were measured with, replacing the file as a whole."""
    from ..files import write_json

    write_json(
        path,
        {**settings, "spacy_elq": __version__, "results": [asdict(result) for result in results]},
    )


def read_scores(path: Path) -> list[Result]:
    """Read results that `save_scores` or another program wrote.

    path (Path): JSON: "results", a list of objects with `data` (name of the set), `system` and
        `scores` (`elq_weak_p` and the like); `part`, `texts` and `speed` may be left out.
    RETURNS (list[Result]): The results.
    RAISES (ElqError): If the file does not contain scores.
    """
    try:
        results = srsly.read_json(path)["results"]
        return [_result({"part": "", "texts": None, **result}) for result in results]
    except (ValueError, KeyError, TypeError) as err:
        raise ElqError(Errors.ELQ333.format(path=path, reason=err)) from None


def _result(record: dict[str, Any]) -> Result:
    result = Result(**record)
    if not isinstance(result.scores, dict):
        raise TypeError('"scores" is not an object')
    return result


def of_set(results: Iterable[Result], name: str) -> list[Result]:
    """RETURNS (list[Result]): The results of a whole set; they may name it without its suffix."""
    names = (name, str(Path(name).with_suffix("")))
    return [r for r in results if not r.part and r.data in names]


def format_scores(results: Sequence[Result]) -> str:
    """Format results as a table; measures that no result has are left out.

    results (Sequence[Result]): From `evaluate_set` or `read_scores`.
    RETURNS (str): A header, and a line for each result; a set is named on its first line only.
    """
    columns = [c for c in COLUMNS if any(c.key in result.scores for result in results)]
    rows = []
    previous = ""
    for result in results:
        data = "" if result.data == previous else result.data
        rows.append([data, *_cells(result, columns)])
        previous = result.data
    header = ["set", "system", "texts", *(c.header for c in columns), "texts/s"]
    return format_table(header, rows, "ll" + "r" * (len(header) - 2))


def _cells(result: Result, columns: Sequence[Column]) -> list[str]:
    system = f"  {result.part}" if result.part else result.system
    values = ["-" if result.texts == 0 else column.show(result.scores) for column in columns]
    speed = "-" if result.speed is None else f"{result.speed:.0f}"
    texts = "-" if result.texts is None else str(result.texts)
    return [system, texts, *values, speed]
