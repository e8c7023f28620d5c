"""What a page is: an article, or one of the kinds that are no entities."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .site import MAIN, Site, fold
from .wiki_words import (
    DISAMBIGUATION_TEMPLATES,
    DISAMBIGUATION_TITLES,
    LIST_ENDINGS,
    LIST_TITLES,
    REDIRECT,
)
from .xml_pages import Page

ARTICLE, REDIRECTS, DISAMBIGUATION, LIST = "article", "redirect", "disambiguation", "list"
OTHER, EMPTY, MALFORMED = "other namespace", "empty", "malformed"
# "#REDIRECT [[Target]]", in any language.
_REDIRECT = re.compile(
    r"\s*#\s*([^\W\d][\w ]{2,30}?)\s*:?\s*\[\[([^\]|\n]+)(?:\|[^\]]*)?\]\]\s*(.?)"
)
_IN_BRACKETS = re.compile("\\s*[(\uff08]([^()\uff08\uff09]+)[)\uff09]$")
_DISAMBIGUATION_MARK = "__DISAMBIG__"


def redirect_of(page: Page, site: Site) -> str:
    """RETURNS (str): The title that a page redirects to; "" if it does not."""
    if page.redirect:
        return site.title(page.redirect)
    found = _REDIRECT.match(page.text)
    # Its words differ from language to language; an item of a list is followed by others.
    if found and (fold(found[1]) in REDIRECT or (found[1].isupper() and not found[3])):
        return site.title(found[2])
    return ""


def is_in_main_namespace(page: Page, site: Site) -> bool:
    """RETURNS (bool): Whether a page may be an article."""
    number = site.namespace_of(page.title) if page.namespace is None else page.namespace
    return number == MAIN and page.model == "wikitext"


def kind_of(page: Page, templates: Iterable[str]) -> str:
    """templates (Iterable[str]): The names of the templates of a page in the main namespace.
    RETURNS (str): `ARTICLE`, `DISAMBIGUATION` or `LIST`."""
    if _DISAMBIGUATION_MARK in page.text or any(map(_marks_disambiguation, templates)):
        return DISAMBIGUATION
    in_brackets = _IN_BRACKETS.search(page.title)
    if in_brackets and fold(in_brackets[1]) in DISAMBIGUATION_TITLES:
        return DISAMBIGUATION
    return LIST if _is_list(page.title) else ARTICLE


def _marks_disambiguation(template: str) -> bool:
    return fold(template) in DISAMBIGUATION_TEMPLATES


def _is_list(title: str) -> bool:
    first, _, rest = fold(title).partition(" ")
    second = rest.partition(" ")[0]
    return (
        bool(rest) and (first in LIST_TITLES or f"{first} {second}" in LIST_TITLES)
    ) or title.endswith(LIST_ENDINGS)


def base_title(title: str) -> str:
    """RETURNS (str): A title without what tells it from others: "Mercury" of "Mercury (planet)"."""
    return _IN_BRACKETS.sub("", title) or title
