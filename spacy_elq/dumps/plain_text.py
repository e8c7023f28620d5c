"""Raw markup of a paragraph → its text, and the links in it with their places."""

from __future__ import annotations

import html
import re
from typing import NamedTuple

# The target and the label of a link, and letters that go on right after it: "[[bus]]es". All
# alternatives begin with a literal: `re` then looks for these characters only.
_TOKEN = re.compile(
    r"""
    \[\[ (?P<target> [^\[\]|\n{}]* )
        (?: \| (?P<label> (?: [^\[\]\n] | \[(?!\[) [^\[\]\n]* \] )* ) )? \]\]
        (?P<trail> [^\W\d_]* )
    | '(?P<quotes> '+ )
    | <(?P<tag> [/!]? [a-zA-Z][^\s<>/]* ) [^<>]* >
    | & (?P<entity> \#?\w{1,32} ) ;
    | \[ (?: (?:https?|ftps?|ircs?|news|gopher|telnet):)? // [^\s\[\]<>]* [ ]*
        (?P<outer> [^\[\]]* ) \]
    | \[mailto: [^\s\[\]<>]* [ ]* (?P<mail> [^\[\]]* ) \]
    | \[\[ | \]\]
    """,
    re.VERBOSE,
)
# Tags that separate what they stand between.
_SEPARATING = re.compile(
    r"/?(?:br|p|div|li|[uo]l|t[drh]|hr|d[dtl]|center|blockquote|tbody|h[1-6])", re.IGNORECASE
)
_MARKUP = re.compile(r"['<&\[\n]")
_DOUBLE_SPACE = re.compile(r" {2,}")


class RawLink(NamedTuple):
    """A link in a text: the characters from `start` to `end`, and where it leads, as written."""

    start: int
    end: int
    target: str


def plain_text(markup: str) -> tuple[str, list[RawLink]]:
    """markup (str): Of a paragraph, as `wikitext` leaves it.
    RETURNS (tuple): Its text, and the links with their places in it."""
    if "  " in markup:
        markup = _DOUBLE_SPACE.sub(" ", markup)
    text, links = _Text(), []
    end = 0
    for match in _TOKEN.finditer(markup):
        text.add(markup[end : match.start()])
        end = match.end()
        kind = match.lastgroup
        if kind == "trail":
            links += text.add_link(match)
        elif kind == "entity":
            text.add(html.unescape(match[0]))
        elif kind == "tag":
            text.add(" " if _SEPARATING.fullmatch(match["tag"]) else "")
        elif kind == "quotes":
            text.add(_apostrophes(len(match[0])))
        elif kind is not None:
            text.add(_label_text(match[kind]))
    text.add(markup[end:])
    return text.finished(), links


class _Text:
    """A text that is written from left to right, without two spaces in a row."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.length = 0
        self.ends_in_space = True

    def add(self, part: str) -> None:
        if self.ends_in_space:
            part = part.lstrip(" ")
        if part:
            self.parts.append(part)
            self.length += len(part)
            self.ends_in_space = part[-1] in " \n"

    def add_link(self, match: re.Match[str]) -> list[RawLink]:
        """Add what a link shows.

        RETURNS (list[RawLink]): The link; none if it shows nothing.
        """
        target, label, trail = match.group("target", "label", "trail")
        shown = _label_text(label or target.strip().lstrip(":"))
        is_joined = not trail or (all(map(str.islower, trail)) and not shown.endswith(" "))
        if shown.startswith(" "):
            self.add(" ")
        start = self.length
        self.add(shown.strip() + (trail if is_joined else ""))
        end = self.length
        if shown.endswith(" "):
            self.add(" ")
        if not is_joined:
            self.add(trail)
        return [RawLink(start, end, target)] if end > start else []

    def finished(self) -> str:
        return "".join(self.parts).rstrip()


def _apostrophes(count: int) -> str:
    """RETURNS (str): What is left of quotes in a row beside marks of bold (3) and italics (2)."""
    return "'" * (1 if count == 4 else max(0, count - 5))


def _label_text(label: str) -> str:
    """RETURNS (str): The text of a link's label, which may be marked up."""
    if not _MARKUP.search(label):
        return label
    text = plain_text(label)[0] if "[[" not in label else label.replace("[[", "").replace("]]", "")
    outer = (label[:1] == " ", label[-1:] == " ")
    return " " * outer[0] + " ".join(text.split()) + " " * outer[1]
