"""The settings that ELQ's training script saves beside a checkpoint, `*_params.txt`."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ElqError, Errors
from ..files import check_file
from ..ml.heads import AGGREGATIONS, MENTION_SCORERS

# A former name of a scorer in the published code.
OLD_NAMES = {"qa": "qa_mlp"}


@dataclass(frozen=True)
class CheckpointParams:
    """A checkpoint's settings of the model; names and defaults are ELQ's.

    bert_model (str): Hub name or directory of the encoder that training started from.
    lowercase (bool): Whether texts are lowercased.
    mention_scoring_method, mention_aggregation_type (str): The heads, see `heads`.
    max_mention_length (int): Maximum of a mention's last wordpiece minus its first.
    max_context_length, max_cand_length (int): Maximum wordpieces of a text and of an entity,
        special tokens included.
    """

    bert_model: str
    lowercase: bool = True
    mention_scoring_method: str = "qa_linear"
    mention_aggregation_type: str = "all_avg"
    max_mention_length: int = 10
    max_context_length: int = 128
    max_cand_length: int = 128

    @classmethod
    def read(cls, path: Path) -> CheckpointParams:
        """Read a file: JSON, or the Python dict that the training script prints.

        RAISES (ElqError): If it is neither, or has a setting that is not supported here.
        """
        values = _parse(path)
        chosen: dict[str, Any] = {}
        for name, default in cls(bert_model="").__dict__.items():
            value = values.get(name, default)
            if type(value) is not type(default):
                raise ElqError(
                    Errors.ELQ501.format(path=path, name=name, value=value, of=_of(type(default)))
                )
            chosen[name] = value
        _check_known(path, values)
        method = chosen["mention_scoring_method"]
        chosen["mention_scoring_method"] = OLD_NAMES.get(method, method)
        return cls(**chosen)


def _parse(path: Path) -> Mapping[str, Any]:
    check_file(path, "parameters")
    try:
        text = path.read_text(encoding="utf8").strip()
    except UnicodeDecodeError as error:
        raise ElqError(Errors.ELQ500.format(path=path, reason=error)) from None
    try:
        values = json.loads(text)
    except ValueError:
        values = _literal(text, path)
    if not isinstance(values, Mapping):
        raise ElqError(Errors.ELQ500.format(path=path, reason=f"it holds {_of(type(values))}"))
    return values


def _literal(text: str, path: Path) -> Any:
    """Parse a printed dict: the whole file, else its first line, as the published code does."""
    for part in (text, text.partition("\n")[0]):
        try:
            return ast.literal_eval(part)
        except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
            reason = error
    raise ElqError(Errors.ELQ500.format(path=path, reason=reason)) from None


def _check_known(path: Path, values: Mapping[str, Any]) -> None:
    scorers = (*MENTION_SCORERS, *OLD_NAMES)
    known = {"mention_scoring_method": scorers, "mention_aggregation_type": AGGREGATIONS}
    # A linear layer on top of the encoders, which no published ELQ model has.
    known["add_linear"] = (False, None)  # type: ignore[assignment]
    for name, allowed in known.items():
        if name in values and values[name] not in allowed:
            of = ", ".join(map(repr, allowed))
            raise ElqError(
                Errors.ELQ501.format(path=path, name=name, value=values[name], of=f"one of {of}")
            )


def _of(kind: type) -> str:
    return {"str": "a string", "bool": "True or False", "int": "a whole number"}.get(
        kind.__name__, f"a {kind.__name__}"
    )
