"""What callers give as a list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import ElqError, Errors
from ..types import Entity


def listed(values: Iterable[Any], what: str) -> list[Any]:
    """RETURNS (list): The values, of which there may be one or none.
    RAISES (ElqError): If it is one value itself: the parts of a string or a dict are values too,
        but never those that were meant.

    what (str): What they are, for the message.
    """
    if isinstance(values, (str, bytes, Mapping, Entity)) or not isinstance(values, Iterable):
        raise ElqError(Errors.ELQ270.format(what=what, found=type(values).__name__))
    return list(values)
