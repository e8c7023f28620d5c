"""Offsets of tools that count UTF-16 units, as JavaScript does: an emoji is two."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

from ..errors import ElqError, Errors
from .field_checks import is_int


class Utf16:
    """The characters of a text as UTF-16 units, and back."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._wide = [i for i, char in enumerate(text) if ord(char) > 0xFFFF]
        self._starts = [i + before for before, i in enumerate(self._wide)]

    def units(self, offset: int) -> int:
        """RETURNS (int): The number of units before a character."""
        return offset + bisect_left(self._wide, offset)

    def chars(self, unit: int) -> int | None:
        """RETURNS (int | None): The number of characters before a unit; None inside of one."""
        before = bisect_left(self._starts, unit)
        is_inside = before > 0 and self._starts[before - 1] + 1 == unit
        return None if is_inside else unit - before

    def place(
        self, start: Any, end: Any, surface: Any, where: str, *, in_units: bool = True
    ) -> tuple[Any, Any]:
        """The characters of a span. If the text that the tool copied stands only where the other
        way of counting leads, its offsets were counted so.

        surface (Any): That copy, if it is a string.
        in_units (bool): Whether the tool counts units, or else characters.
        RETURNS (tuple): Start and end; as they are, if they are no whole numbers.
        RAISES (ElqError): If the span begins or ends inside a character.
        """
        if not (is_int(start) and is_int(end)):
            return start, end
        chars, units = (start, end), (self.chars(start), self.chars(end))
        first, second = (units, chars) if in_units else (chars, units)
        if isinstance(surface, str) and self._at(first) != surface == self._at(second):
            return second
        if None in first:
            raise ElqError(Errors.ELQ371.format(where=where, start=start, end=end))
        return first

    def differs(self, start: Any, end: Any, surface: Any) -> bool:
        """RETURNS (bool): Whether something other than the tool's copy stands at these
        characters."""
        are_places = is_int(start) and is_int(end) and isinstance(surface, str)
        return are_places and self.text[start:end] != surface

    def _at(self, place: tuple[int | None, int | None]) -> str | None:
        return None if None in place else self.text[slice(*place)]
