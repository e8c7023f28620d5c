"""What a dump says about its wiki: language, namespaces, how titles are written."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import unquote

from .wiki_words import CATEGORY_NAMES, FILE_NAMES, INTERWIKI, NAMESPACES

MAIN, FILE, CATEGORY = 0, 6, 14
_LANGUAGE = re.compile(r"""\bxml:lang=["']([\w-]+)""")
_DBNAME = re.compile(r"<dbname>\s*([\w-]+?)\s*</dbname>")
_CASE = re.compile(r"<case>\s*([\w-]+)")
_NAMESPACE = re.compile(r"""<namespace\b[^>]*?\bkey=["'](-?\d+)["'][^>]*>([^<]*)</namespace>""")
_SPACES = re.compile(r"[\s_\u200e\u200f]+")
# Letters of Georgian have capitals in Unicode, which no title begins with.
_GEORGIAN = range(0x10D0, 0x1100)


@dataclass(frozen=True)
class Site:
    """A wiki.

    language (str): Its code; "" if unknown.
    dbname (str): The name of its database, such as "enwiki"; "" if unknown.
    case_sensitive (bool): Whether titles may begin with a small letter.
    local (Mapping): Names of its namespaces, in small letters → their numbers.
    """

    language: str = ""
    dbname: str = ""
    case_sensitive: bool = False
    local: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def parse(cls, header: str) -> Site:
        """header (str): What a dump has before its first page."""
        names = {fold(html.unescape(name)): int(key) for key, name in _NAMESPACE.findall(header)}
        case = _CASE.search(header)
        return cls(
            language=_first(_LANGUAGE, header),
            dbname=_first(_DBNAME, header),
            case_sensitive=case is not None and case[1] == "case-sensitive",
            local={name: key for name, key in names.items() if name},
        )

    @cached_property
    def namespaces(self) -> Mapping[str, int]:
        """RETURNS (Mapping): Names of namespaces, in small letters → their numbers: those of the
        wiki, the English ones and former names."""
        files = dict.fromkeys(FILE_NAMES, FILE)
        return {**files, **dict.fromkeys(CATEGORY_NAMES, CATEGORY), **NAMESPACES, **self.local}

    def namespace_of(self, title: str) -> int:
        """RETURNS (int): The namespace of a title, by its prefix."""
        prefix, colon, _ = title.partition(":")
        return self.namespaces.get(fold(prefix), MAIN) if colon else MAIN

    def is_elsewhere(self, title: str) -> bool:
        """RETURNS (bool): Whether a link leads to another wiki."""
        prefix, colon, _ = title.partition(":")
        return bool(colon) and fold(prefix) in INTERWIKI

    def title(self, target: str) -> str:
        """RETURNS (str): The title that a link leads to, as titles are written; "" if none, as in a
        link to a section of the same page."""
        target = target.partition("#")[0]
        if "&" in target:
            target = html.unescape(target)
        if "%" in target:
            with suppress(UnicodeDecodeError):
                target = unquote(target, errors="strict")
        title = _SPACES.sub(" ", target).strip(" :")
        first = title[:1]
        if self.case_sensitive or not first.islower() or ord(first) in _GEORGIAN:
            return title
        upper = first.upper()
        return upper + title[1:] if len(upper) == 1 else title


def fold(name: str) -> str:
    """RETURNS (str): The name of a namespace in the form in which names are compared."""
    return _SPACES.sub(" ", name).strip().lower()


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found[1] if found else ""
