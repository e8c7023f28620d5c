"""Scores as tables, and as a JSON file that a later `elq evaluate` shows beside its own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..about import __version__
from ..errors import ElqError, Errors
from ..evaluation.columns import (
    BENCHMARK_COLUMNS,
    ERROR_COLUMNS,
    LINK_COLUMNS,
    PEERS_F1,
    Column,
)
from ..evaluation.evaluate import Result
from ._table import format_table

# A column with a field of `Result`: header, field.
Speed = tuple[str, str]


def save_scores(
    path: Path, results: Sequence[Result], mean: Sequence[Result] = (), **settings: Any
) -> None:
    """Write results, and the settings they were measured with, replacing the file as a whole.

    mean (Sequence[Result]): Averages over the sets.
    """
    from ..files import write_json

    found = {"results": results, "mean": mean}
    written = {name: [asdict(result) for result in some] for name, some in found.items()}
    write_json(path, {**settings, "spacy_elq": __version__, **written})


def read_scores(path: Path) -> list[Result]:
    """Read results that `save_scores` or another program wrote.

    path (Path): JSON or JSON lines. Objects with "results": a list of objects with `data` (name of
        the set), `system` and `scores` (`elq_weak_p` and the like); `part`, `texts` and speeds may
        be left out. Or objects with the `name` of a system and its `scores`: name of a set → F1, as
        peers are counted, or an object of measures.
    RETURNS (list[Result]): The results.
    RAISES (ElqError): If the file does not contain scores.
    """
    try:
        found = [result for record in _records(path) for result in _results(record)]
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise ElqError(Errors.ELQ333.format(path=path, reason=err)) from None
    if not found:
        raise ElqError(Errors.ELQ333.format(path=path, reason="it is empty"))
    return found


def _records(path: Path) -> list[dict[str, Any]]:
    """The objects of a file: one, a list of them, or one a line."""
    content = path.read_text(encoding="utf8")
    try:
        whole = json.loads(content)
    except ValueError:
        return [json.loads(line) for line in content.splitlines() if line.strip()]
    return whole if isinstance(whole, list) else [whole]


def _results(record: dict[str, Any]) -> Iterable[Result]:
    if "results" in record:
        return [_result({"part": "", "texts": None, **each}) for each in record["results"]]
    return [
        _result({"data": data, "system": record["name"], "part": "", "texts": None, "scores": of})
        for data, of in record["scores"].items()
    ]


def _result(record: dict[str, Any]) -> Result:
    scores = record["scores"]
    if isinstance(scores, (int, float)):
        if not 0 <= scores <= 1:
            raise ValueError(f"F1 {scores} is not between 0 and 1")
        scores = {PEERS_F1: float(scores)}
    if not isinstance(scores, dict):
        raise TypeError('"scores" is not an object')
    return Result(**{**record, "scores": scores})


def of_set(results: Iterable[Result], name: str) -> list[Result]:
    """RETURNS (list[Result]): The results of a whole set; they may name it without its suffixes."""
    names = {name, str(Path(name).with_suffix("")), name.removesuffix("".join(Path(name).suffixes))}
    return [r for r in results if not r.part and r.data in names]


def format_all(results: Sequence[Result]) -> str:
    """RETURNS (str): The tables of `elq evaluate`: the published measures, those of benchmarks, the
    errors. A table without a row is left out."""
    tables = (
        format_scores(results),
        format_scores(results, BENCHMARK_COLUMNS, ("chars/s", "chars_per_second")),
        format_scores(results, ERROR_COLUMNS, None),
    )
    return "\n\n".join(filter(None, tables))


def format_scores(
    results: Sequence[Result],
    columns: Sequence[Column] = LINK_COLUMNS,
    speed: Speed | None = ("texts/s", "speed"),
) -> str:
    """Format results as a table; measures that no result has are left out, and so are results
    without any measure.

    results (Sequence[Result]): From `evaluate_set` or `read_scores`.
    columns (Sequence[Column]): The measures.
    speed (Speed | None): The last column.
    RETURNS (str): A header, and a line for each result; a set is named on its first line only.
        Empty without a result.
    """
    keys = {column.key for column in columns}
    shown = [result for result in results if keys & result.scores.keys()]
    columns = [c for c in columns if any(c.key in result.scores for result in shown)]
    rows = []
    previous = ""
    for result in shown:
        data = "" if result.data == previous else result.data
        rows.append([data, *_cells(result, columns, speed)])
        previous = result.data
    header = [
        "set",
        "system",
        "texts",
        *(c.header for c in columns),
        *([speed[0]] if speed else []),
    ]
    return format_table(header, rows, "ll" + "r" * (len(header) - 2)) if rows else ""


def _cells(result: Result, columns: Sequence[Column], speed: Speed | None) -> list[str]:
    system = f"  {result.part}" if result.part else result.system
    values = ["-" if result.texts == 0 else column.show(result.scores) for column in columns]
    texts = "-" if result.texts is None else str(result.texts)
    return [system, texts, *values, *([_rate(getattr(result, speed[1]))] if speed else [])]


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
