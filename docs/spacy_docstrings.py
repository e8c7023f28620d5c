"""A griffe extension: docstrings in spaCy's form, which this package keeps, as sections.

`name (type): …`, `RETURNS (type): …`, `YIELDS (type): …` and `RAISES (type): …` become the sections
of Google's form, which mkdocstrings renders. Blank lines end an entry.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

SECTIONS = {"RETURNS": "Returns", "YIELDS": "Yields", "RAISES": "Raises"}
NAMES = r"\*{0,2}\w+(?:,\s+\*{0,2}\w+)*"
ENTRY = re.compile(rf"^(?P<names>{NAMES})(?: \((?P<type>[^:]+)\))?: *(?P<text>.*)$")
OPEN_NAMES = re.compile(rf"^{NAMES},$")


class SpacyDocstrings(griffe.Extension):
    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = to_google(obj.docstring.value, *_names(obj))


def to_google(docstring: str, parameters: set[str], fields: set[str]) -> str:
    """parameters, fields (set[str]): Entries with these names may lack a type.
    RETURNS (str): The docstring in Google's form."""
    prose: list[str] = []
    entries: list[tuple[list[str], str | None, list[str]]] = []
    texts = prose
    for line in _joined(docstring.splitlines()):
        found = ENTRY.match(line)
        names = re.split(r",\s+", found["names"]) if found else []
        if found and (found["type"] or {name.lstrip("*") for name in names} <= parameters | fields):
            texts = [found["text"]]
            entries.append((names, found["type"], texts))
            continue
        if not line.strip():
            texts = prose
        texts.append(line if texts is prose else line.strip())
    sections: dict[str, list[str]] = {}

    def kind(name: str) -> str:
        return "Args" if name.lstrip("*") in parameters or not fields else "Attributes"

    for names, type_, lines in entries:
        for name in names:
            section = sections.setdefault(SECTIONS.get(name) or kind(name), [])
            typed = f" ({type_})" if type_ else ""
            title = f"{type_}" if name in SECTIONS else f"{name}{typed}"
            section += [f"    {title}: {lines[0]}", *(f"        {line}" for line in lines[1:])]
    parts = ["\n".join(prose).strip()]
    parts += ["\n".join([f"{name}:", *lines]) for name, lines in sections.items()]
    return "\n\n".join(part for part in parts if part)


def _joined(lines: list[str]) -> list[str]:
    """Names that continue on the next line, on one."""
    result: list[str] = []
    for line in lines:
        if result and OPEN_NAMES.match(result[-1]):
            result[-1] += " " + line.strip()
        else:
            result.append(line)
    return result


def _names(obj: griffe.Object) -> tuple[set[str], set[str]]:
    """RETURNS (tuple[set[str], set[str]]): Names of an object's parameters, and of its members."""
    function = obj.members.get("__init__") if isinstance(obj, griffe.Class) else obj
    found = function.parameters if isinstance(function, griffe.Function) else []
    fields = set(obj.members) if isinstance(obj, griffe.Class) else set()
    return {parameter.name.lstrip("*") for parameter in found}, fields
