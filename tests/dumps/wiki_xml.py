"""Small dumps of a wiki."""

from __future__ import annotations

import bz2
from pathlib import Path
from xml.sax.saxutils import escape

NAMESPACES = {-1: "Special", 1: "Talk", 6: "File", 10: "Template", 14: "Category"}


def header(language: str = "en", namespaces: dict[int, str] = NAMESPACES) -> str:
    names = "".join(
        f'<namespace key="{key}" case="first-letter">{name}</namespace>'
        for key, name in namespaces.items()
    )
    return (
        f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" xml:lang="{language}">\n'
        f"<siteinfo><dbname>{language}wiki</dbname><case>first-letter</case>"
        f'<namespaces>{names}<namespace key="0" /></namespaces></siteinfo>\n'
    )


def page(title: str, text: str, id: int = 1, ns: int | None = 0, redirect: str = "") -> str:
    leads = f'<redirect title="{escape(redirect)}" />' if redirect else ""
    number = "" if ns is None else f"<ns>{ns}</ns>"
    return (
        f"  <page><title>{escape(title)}</title>{number}<id>{id}</id>{leads}<revision><id>7</id>"
        f"<timestamp>2024-02-0{id % 9 + 1}T00:00:00Z</timestamp>"
        f'<text xml:space="preserve">{escape(text)}</text></revision></page>\n'
    )


def write_dump(path: Path, pages: dict[str, str], **options: str) -> Path:
    """pages (dict): Title → text; "→ Title" redirects."""
    found = [
        page(title, text, id, redirect=text[2:] if text.startswith("→ ") else "")
        for id, (title, text) in enumerate(pages.items(), 1)
    ]
    path.write_bytes(bz2.compress((header(**options) + "".join(found) + "</mediawiki>").encode()))
    return path
