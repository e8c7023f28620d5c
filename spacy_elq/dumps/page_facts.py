"""A page → what is known about it, and its texts with their links."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from .page_kinds import (
    ARTICLE,
    EMPTY,
    OTHER,
    REDIRECTS,
    is_in_main_namespace,
    kind_of,
    redirect_of,
)
from .plain_text import plain_text
from .site import MAIN, Site
from .wikitext import Markup, read_markup
from .xml_pages import Page

# Characters of a first paragraph: shorter ones are what is left of markup.
MIN_DESCRIPTION = 20
_INFOBOX = ("infobox", "infobox_", "taxobox", "infoboks", "infoskreine", "инфобокс")
# Why a link is no link to an article of this wiki.
TO_OTHER_WIKI, TO_NAMESPACE, TO_SECTION = "other wiki", "other namespace", "section of the page"


@dataclass(frozen=True)
class LinkedParagraph:
    """A paragraph of an article.

    links (list): Start, end and title of each link.
    """

    text: str
    links: list[tuple[int, int, str]]


@dataclass
class PageFacts:
    """What is known about a page.

    kind (str): See `page_kinds`.
    redirect (str): The title that it redirects to.
    type (str): The kind of its infobox, such as "settlement".
    anchors (dict): Title of each linked page → each text of a link to it → how often.
    not_linked (dict): Why links are not among them → how many.
    """

    title: str
    id: int
    kind: str
    redirect: str = ""
    description: str = ""
    type: str = ""
    categories: list[str] = field(default_factory=list)
    anchors: dict[str, dict[str, int]] = field(default_factory=dict)
    not_linked: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """RETURNS (dict): Its fields that are not empty."""
        return {name: value for name, value in vars(self).items() if value}


def read_page(page: Page, site: Site) -> tuple[PageFacts, list[LinkedParagraph]]:
    """RETURNS (tuple): What is known about a page; the paragraphs of an article."""
    if not is_in_main_namespace(page, site):
        return PageFacts(page.title, page.id, OTHER), []
    if target := redirect_of(page, site):
        return PageFacts(page.title, page.id, REDIRECTS, redirect=target), []
    if not page.text.strip():
        return PageFacts(page.title, page.id, EMPTY), []
    markup = read_markup(page.text, site)
    facts = PageFacts(page.title, page.id, kind_of(page, markup.templates))
    if facts.kind != ARTICLE:
        return facts, []
    paragraphs, in_prose = _paragraphs(markup, site, facts)
    facts.description = _description(paragraphs, in_prose)
    facts.type = _type(markup.templates)
    facts.categories = list(dict.fromkeys(filter(None, markup.categories)))
    return facts, paragraphs


def _paragraphs(
    markup: Markup, site: Site, facts: PageFacts
) -> tuple[list[LinkedParagraph], list[bool]]:
    """Read the paragraphs, and count their links in the facts.

    RETURNS (tuple): The paragraphs, and whether each is no list.
    """
    found, in_prose = [], []
    not_linked: Counter[str] = Counter()
    for block in markup.blocks:
        text, raw_links = plain_text(block.markup)
        if not any(map(str.isalpha, text)):
            continue
        links = []
        for start, end, target in raw_links:
            title, reason = _resolve(target, site)
            if reason:
                not_linked[reason] += 1
                continue
            links.append((start, end, title))
            names = facts.anchors.setdefault(title, {})
            names[text[start:end]] = names.get(text[start:end], 0) + 1
        found.append(LinkedParagraph(text, links))
        in_prose.append(not block.is_list)
    facts.not_linked = dict(not_linked)
    return found, in_prose


def _resolve(target: str, site: Site) -> tuple[str, str]:
    """RETURNS (tuple): The title of the article that a link leads to, or why there is none."""
    title = site.title(target)
    if not title:
        return "", TO_SECTION
    if ":" in title:
        if site.namespace_of(title) != MAIN:
            return "", TO_NAMESPACE
        if site.is_elsewhere(title):
            return "", TO_OTHER_WIKI
    return title, ""


def _description(paragraphs: list[LinkedParagraph], in_prose: list[bool]) -> str:
    """RETURNS (str): The first paragraph; a list only if there is nothing else."""
    prose = [p.text for p, is_prose in zip(paragraphs, in_prose, strict=True) if is_prose]
    texts = prose or [paragraph.text for paragraph in paragraphs]
    return next((text for text in texts if len(text) >= MIN_DESCRIPTION), "".join(texts[:1]))


def _type(templates: list[str]) -> str:
    return next(filter(None, map(_type_of_infobox, templates)), "")


def _type_of_infobox(template: str) -> str:
    name = template.replace("_", " ").casefold()
    prefix, _, kind = name.partition(" ")
    return kind.strip() if prefix in _INFOBOX else ""
