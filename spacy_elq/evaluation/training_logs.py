"""Loggers of a training: its learning curve as a file and a picture, TensorBoard."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from spacy.language import Language
from spacy.training.loggers import console_logger_v3

from ..errors import ElqError, Errors
from ..files import read_jsonl, write_jsonl
from .plots import can_draw, plot_learning_curve, save_png

LogStep = Callable[[dict[str, Any] | None], None]
Logger = Callable[[Language, IO[str], IO[str]], tuple[LogStep, Callable[[], None]]]


def create_learning_curve(path: str | Path, progress_bar: str | None = None) -> Logger:
    """Print spaCy's table, and keep it as JSON lines and, if matplotlib is installed, a picture.

    Registered as "spacy-elq.LearningCurve.v1".

    path (Path): The JSONL file, one evaluation per line; the picture beside it ends in .png. A
        training that goes on takes over the lines of its earlier steps.
    progress_bar (str | None): As of spaCy's "spacy.ConsoleLogger.v3": "train", "eval" or None.
    """
    file = Path(path)

    def setup(
        nlp: Language, stdout: IO[str] = sys.stdout, stderr: IO[str] = sys.stderr
    ) -> tuple[LogStep, Callable[[], None]]:
        log_console, finish = console_logger_v3(progress_bar)(nlp, stdout, stderr)
        shown = [name for name, weight in _weights(nlp).items() if weight is not None]

        def log_step(info: dict[str, Any] | None) -> None:
            log_console(info)
            if info is not None:
                _add_row(file, _row(info), shown)

        return log_step, finish

    return setup


def create_tensorboard(directory: str | Path) -> Logger:
    """Write losses and scores for TensorBoard. Registered as "spacy-elq.TensorBoard.v1"; for the
    table as well, put both into a "spacy.ChainLogger.v1" of spacy-loggers.

    directory (Path): The log directory that TensorBoard reads.
    """

    def setup(
        nlp: Language, stdout: IO[str] = sys.stdout, stderr: IO[str] = sys.stderr
    ) -> tuple[LogStep, Callable[[], None]]:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ElqError(Errors.ELQ169) from None
        writer: Any = SummaryWriter(str(directory))

        def log_step(info: dict[str, Any] | None) -> None:
            if info is not None:
                for name, value in _values(info).items():
                    writer.add_scalar(name, value, info["step"])

        return log_step, writer.close

    return setup


def _weights(nlp: Language) -> dict[str, float | None]:
    return nlp.config["training"]["score_weights"]


def _row(info: dict[str, Any]) -> dict[str, Any]:
    plain = {name: info[name] for name in ("step", "epoch", "words", "seconds", "score")}
    return {**plain, "losses": dict(info["losses"]), "scores": _numbers(info["other_scores"])}


def _numbers(scores: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in scores.items() if isinstance(value, (int, float))}


def _values(info: dict[str, Any]) -> dict[str, float]:
    losses = {f"loss/{name}": float(value) for name, value in info["losses"].items()}
    scores = {f"score/{name}": value for name, value in _numbers(info["other_scores"]).items()}
    return {**losses, **scores, "score": info["score"]}


def _add_row(file: Path, row: dict[str, Any], shown: list[str]) -> None:
    """Add an evaluation, in place of those of the same step or later."""
    before = [old for _, old in read_jsonl(file)] if file.exists() else []
    rows = [*(old for old in before if old["step"] < row["step"]), row]
    write_jsonl(file, rows)
    if can_draw():
        save_png(plot_learning_curve(rows, shown), file.with_suffix(".png"))
