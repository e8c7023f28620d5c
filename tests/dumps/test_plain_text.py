"""Wikitext → paragraphs of text with links."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spacy_elq.dumps.page_facts import read_page
from spacy_elq.dumps.plain_text import plain_text
from spacy_elq.dumps.site import Site
from spacy_elq.dumps.wikitext import read_markup
from spacy_elq.dumps.xml_pages import Page

SITE = Site("en", "enwiki")


def texts(wikitext: str, site: Site = SITE) -> list[str]:
    return [plain_text(block.markup)[0] for block in read_markup(wikitext, site).blocks]


def links(wikitext: str, site: Site = SITE) -> list[tuple[str, str]]:
    _, paragraphs = read_page(Page("Here", 1, wikitext), site)
    return [(p.text[a:b], title) for p in paragraphs for a, b, title in p.links]


@pytest.mark.parametrize(
    "wikitext, expected",
    [
        ("A{{t|{{u}}|x}} b", "A b"),
        ("A {{t|{{u}} open\nnext line", "A next line"),
        ("A }} b", "A }} b"),
        ("a\n{| class=x\n|-\n| cell {{t}}\n{|\n| inner\n|}\n|}", "a"),
        ("a<ref>x [[B]]</ref>b<ref name=c/> c", "ab c"),
        ("a<ref>open b", "aopen b"),
        ("a<!-- x\n[[C]] -->b <!-- to the end", "ab"),
        ("'''Bold''' and ''it'' and '''''both'''''", "Bold and it and both"),
        ("dell'''Iliade'' greca", "dell'Iliade greca"),
        ("x &amp; y &lt; z&nbsp;1", "x & y < z 1"),
        ("a<br/>b <small>c</small> 1 < 2", "a b c 1 < 2"),
        ("[http://x.org label] and [http://y.org] z", "label and z"),
        ("Paris ({{lang|fr|x}}; ) is", "Paris is"),
        ("<nowiki>[[x]] ''y''</nowiki>", "[[x]] ''y''"),
        ("[[File:A.jpg|thumb|a [[B]] {{c}}]]text", "text"),
        ("__NOTOC__ text", "text"),
        ("-{zh-hans:A;zh-hant:B}- x", "A x"),
        ("a  b\t c", "a b c"),
    ],
)
def test_markup_is_taken_out(wikitext, expected):
    assert texts(wikitext) == [expected]


def test_paragraphs_headings_and_lists():
    found = read_markup("a\nb\n\n== H ==\nc\n* d\n** e\nf\n|left\n----", SITE).blocks
    assert [(block.markup, block.is_list) for block in found] == [
        ("a b", False),
        ("c", False),
        ("d\ne", True),
        ("f", False),
    ]


@pytest.mark.parametrize(
    "wikitext, expected",
    [
        ("[[Paris]]", [("Paris", "Paris")]),
        ("[[paris_hilton#Life|her]]", [("her", "Paris hilton")]),
        ("[[bus]]es", [("buses", "Bus")]),
        ("[[bus]]ES [[上海]]市", [("bus", "Bus"), ("上海", "上海")]),
        ("x[[A| b ]]c", [("b", "A")]),
        ("[[A|''b'' &amp; c]]", [("b & c", "A")]),
        ("[[A|x [y] z]]", [("x [y] z", "A")]),
        ("[[A&amp;B]] [[C%C3%A9]]", [("A&B", "A&B"), ("C%C3%A9", "Cé")]),
        ("[[#Here]] [[Category:C]] [[fr:A]] [[:Category:C|c]] [[wikt:a|b]]", []),
        ("[[A|]] [[ |x]]", [("A", "A")]),
        ("[[A]\n[[B]]", [("B", "B")]),
        ("* [[A]]\n* [[B|b]]", [("A", "A"), ("b", "B")]),
        ("[[straße]] [[ß]] [[ა]]", [("straße", "Straße"), ("ß", "ß"), ("ა", "ა")]),
    ],
)
def test_links_have_exact_places(wikitext, expected):
    assert links(f"text {wikitext}") == expected


def test_names_of_namespaces_are_the_dumps_own():
    site = Site("xx", "xxwiki", local={"attels": 6, "kategoreja": 14})
    wikitext = "a [[Attels:x.jpg|[[b]]]] [[Kategoreja:C c|d]]"
    facts, (paragraph,) = read_page(Page("T", 1, wikitext), site)
    assert (paragraph.text, facts.categories) == ("a", ["C c"])


MARKS = [
    "[[",
    "]]",
    "{{",
    "}}",
    "|",
    "''",
    "'''",
    "\n",
    "{|",
    "|}",
    "<ref>",
    "</ref>",
    "<!--",
    "-->",
]
PIECES = [
    *MARKS,
    "<nowiki>",
    "&nbsp;",
    "[http://x ",
    "]",
    "*",
    "==",
    " ",
    "a",
    "é",
    "File:",
    "{",
    "<br>",
]


@given(st.lists(st.sampled_from(PIECES), max_size=60).map("".join))
@example("[[A|[[B]]]]")
def test_any_markup_is_read_and_links_are_inside(wikitext):
    _, paragraphs = read_page(Page("T", 1, wikitext), SITE)
    for paragraph in paragraphs:
        end = 0
        for start, stop, title in paragraph.links:
            name = paragraph.text[start:stop]
            assert end <= start < stop and name == name.strip() and title
            end = stop


@pytest.mark.parametrize(
    "mark",
    [
        "{{",
        "[[",
        "<ref>",
        "<!--",
        "'''",
        "{|\n",
        "{|",
        " {|",
        ":",
        "[[ ",
        "[http://",
        "<nowiki>",
        "-{",
        "(",
    ],
)
def test_open_markup_takes_linear_time(mark):
    from time import process_time

    def seconds(size: int) -> float:
        began = process_time()
        read_page(Page("T", 1, "x " + mark * (size // len(mark))), SITE)
        return process_time() - began

    assert seconds(160_000) < 40 * max(seconds(16_000), 0.01)
