"""Wikitext → paragraphs of raw markup: what is no running text (templates, tables, references,
pictures, headings) is taken out. All of it takes linear time, whatever is left open."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from .site import CATEGORY, FILE, Site

_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
# Elements whose content is no text, or is no wikitext.
_SKIPPED = (
    "ref|gallery|math|chem|ce|timeline|score|syntaxhighlight|source|imagemap|hiero|graph|style|"
    "script|templatedata|templatestyles|mapframe|maplink|inputbox|categorytree|section|table|"
    "includeonly|indicator|references|charinsert|phonos"
)
_ELEMENT = re.compile(rf"<({_SKIPPED}|nowiki|pre)\b([^<>]*)>", re.IGNORECASE)
_LITERAL = ("nowiki", "pre")
# What wikitext gives a meaning, as entities.
_ESCAPED = {ord(char): f"&#{ord(char)};" for char in "[]{}|'<>=*#:;_"}
_BRACES = re.compile(r"\{\{|\}\}|\{\|(?!\})|\|\}(?!\})")
# What may stand before the marks of a table, which begin a line.
_BEFORE_TABLE = {"{|": " \t:*#", "|}": " \t"}
_TEMPLATE_NAME = re.compile(r"\s*([^{}|<\n]{1,100})")
_CONVERSION = re.compile(r"-\{(?:[^{}|]*\|)?\s*(?:[a-z-]+:)?([^{};]*)[^{}]*\}-")
# Characters that look like a space, and entities of them.
_SPACES = re.compile(r"[\t\r\f\v\u00a0\u2000-\u200a\u202f\u3000]")
_SPACE_ENTITIES = re.compile("&(?:nbsp|thinsp|ensp|emsp|#160|#xa0|#8201|#8239);", re.IGNORECASE)
_BRACKETS = re.compile("[(\uff08]\\s*(?:[,;:\u060c\uff1b]\\s*)*[)\uff09]")
# Stands for them until a space before them is left out too; XML can't have it.
_MARK = "\0"
_MAGIC = re.compile(r"__[^\W\d_]{3,}__")
_HEADING = re.compile(r"=[^\n]*=\s*$")
_QUOTES = re.compile(r"'{2,}")


@dataclass
class Markup:
    """What a page's wikitext has.

    blocks (list[Block]): Its paragraphs and lists.
    templates, categories (list[str]): Names of templates that are used outside of others, as they
        are written, and names of categories.
    """

    blocks: list[Block] = field(default_factory=list)
    templates: list[str] = field(default_factory=list)
    categories: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Block:
    """The raw markup of a paragraph, or of a list with an item on each line."""

    markup: str
    is_list: bool = False


def read_markup(text: str, site: Site) -> Markup:
    """RETURNS (Markup): What a page's wikitext has."""
    found = Markup()
    if "<!--" in text:
        text = _COMMENT.sub("", text)
    text = _without_elements(text)
    text = _without_braces(text, found.templates)
    text = _without_files(text, site, found.categories)
    text = _SPACE_ENTITIES.sub(" ", _SPACES.sub(" ", text))
    if "-{" in text:
        text = _CONVERSION.sub(r"\1", text)
    text = _BRACKETS.sub(_MARK, text).replace(" " + _MARK, "").replace(_MARK, "")
    if "__" in text:
        text = _MAGIC.sub("", text)
    found.blocks += _blocks(text)
    return found


def _without_elements(text: str) -> str:
    """RETURNS (str): The text without elements that hold no text; what is literal is escaped."""
    kept: list[str] = []
    end = 0
    unclosed: set[str] = set()
    for match in _ELEMENT.finditer(text):
        name = match[1].lower()
        if match.start() < end or name in unclosed:
            continue
        kept.append(text[end : match.start()])
        end = match.end()
        if match[2].endswith("/"):
            continue
        closing = _closing(name).search(text, end)
        if closing is None:
            unclosed.add(name)
            continue
        if name in _LITERAL:
            kept.append(text[end : closing.start()].translate(_ESCAPED))
        end = closing.end()
    return "".join(kept) + text[end:] if end else text


@lru_cache(maxsize=64)
def _closing(name: str) -> re.Pattern[str]:
    return re.compile(rf"</{name}\s*>", re.IGNORECASE)


def _without_braces(text: str, templates: list[str]) -> str:
    """RETURNS (str): The text without templates and tables. Of one that is never closed, the line
    on which it begins is left out."""
    removed: list[tuple[int, int]] = []
    opened: list[tuple[str, int]] = []
    for match in _BRACES.finditer(text):
        mark, start = match[0], match.start()
        if mark in _BEFORE_TABLE:
            while start and text[start - 1] in _BEFORE_TABLE[mark]:
                start -= 1
            if start and text[start - 1] != "\n":
                continue
        if mark in ("{{", "{|"):
            opened.append((mark, start))
            continue
        begin = _matching(opened, "{{" if mark == "}}" else "{|")
        if begin is not None:
            while removed and removed[-1][0] > begin:
                removed.pop()
            removed.append((begin, match.end()))
    for _, begin in opened:
        end = text.find("\n", begin)
        removed.append((begin, len(text) if end < 0 else end))
    return _cut(text, sorted(removed), templates) if removed else text


def _matching(opened: list[tuple[str, int]], mark: str) -> int | None:
    """RETURNS (int | None): Where what a closing mark ends has begun; that is no longer open then.
    A template ends tables within it that were never closed."""
    depth = len(opened)
    while depth and opened[depth - 1][0] != mark:
        depth -= 1
    if not depth or (mark == "{|" and depth < len(opened)):
        return None
    begin = opened[depth - 1][1]
    del opened[depth - 1 :]
    return begin


def _cut(text: str, removed: list[tuple[int, int]], templates: list[str]) -> str:
    kept, end = [], 0
    for begin, stop in removed:
        if begin < end:
            end = max(end, stop)
            continue
        kept.append(text[end:begin])
        end = stop
        if text.startswith("{{", begin) and (name := _TEMPLATE_NAME.match(text, begin + 2)):
            templates.append(name[1].strip())
    return "".join([*kept, text[end:]])


_PREFIX = re.compile(r"\[\[\s*+([^\[\]{}|:\n]++):")
_LINK_BRACKETS = re.compile(r"\[\[|\]\]")


def _without_files(text: str, site: Site, categories: list[str]) -> str:
    """RETURNS (str): The text without pictures, which may have links in their captions, and
    categories."""
    kept, end = [], 0
    for match in _PREFIX.finditer(text):
        number = site.namespace_of(match[1] + ":")
        if match.start() < end or number not in (FILE, CATEGORY):
            continue
        stop = _end_of_link(text, match.start())
        if number == CATEGORY:
            name = text[match.end() : stop - 2].partition("|")[0]
            categories.append(site.title(name))
        kept.append(text[end : match.start()])
        end = stop
    return "".join(kept) + text[end:] if end else text


def _end_of_link(text: str, begin: int) -> int:
    """RETURNS (int): Where a link ends with its inner links; at the end of its line if it is never
    closed."""
    depth = 0
    for match in _LINK_BRACKETS.finditer(text, begin):
        depth += 1 if match[0] == "[[" else -1
        if not depth:
            return match.end()
        if depth > 100:
            break
    end = text.find("\n", begin)
    return len(text) if end < 0 else end


def _blocks(text: str) -> Iterator[Block]:
    """YIELDS (Block): Its paragraphs and lists. Lines that are left of tables are no text."""
    lines: list[str] = []
    is_list = False
    for line in [*text.split("\n"), ""]:
        line = line.lstrip("-") if line.startswith("----") else line
        line = line.strip()
        first = line[:1]
        if first in "*#:;" and first:
            if lines and not is_list:
                yield Block(" ".join(lines))
                lines = []
            is_list = True
            lines.append(_balanced_quotes(line.lstrip("*#:; ")))
        elif not line or first in "|!" or (first == "=" and _HEADING.match(line)) or is_list:
            if lines:
                yield Block(("\n" if is_list else " ").join(lines), is_list)
            lines, is_list = [], False
            if line and first not in "|!=":
                lines.append(_balanced_quotes(line))
        else:
            lines.append(_balanced_quotes(line))


def _balanced_quotes(line: str) -> str:
    """RETURNS (str): A line in which three quotes that are an apostrophe before italics are written
    so, as MediaWiki reads them: if both bold and italics begin or end an odd number of times."""
    if "'''" not in line:
        return line
    quotes = [(match.start(), min(len(match[0]), 5)) for match in _QUOTES.finditer(line)]
    bold = [at + (size == 4) for at, size in quotes if size in (3, 4)]
    both = sum(size == 5 for _, size in quotes)
    italic = sum(size == 2 for _, size in quotes)
    if not ((len(bold) + both) % 2 and (italic + both) % 2) or not bold:
        return line
    at = min(bold, key=lambda at: (_rank_before(line, at), at))
    return f"{line[:at]}&#39;{line[at + 1 :]}"


def _rank_before(line: str, at: int) -> int:
    """RETURNS (int): How little it looks as if an apostrophe were at a place."""
    before = line[max(0, at - 2) : at]
    if before[-1:] in ("", " "):
        return 2
    return 0 if before[:1] == " " or len(before) == 1 else 1
