"""Columns of CoNLL 2003 with entities, as in AIDA-CoNLL: a token a line, then its mention.

```text
-DOCSTART- (1 EU)
EU	B	EU	--NME--
rejects
German	B	German	Germany	http://en.wikipedia.org/wiki/Germany
```

The columns are token, B or I, the whole mention, its entity, its address; an empty line ends a
sentence. Texts are their tokens with spaces between, and line breaks between sentences.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.util import filter_spans

from ..errors import ElqError, Errors
from ..files import atomic_file, read_lines
from ..gold import gold_fields, gold_spans, nil_spans
from .spans_jsonl import ConversionStats, LinkedText, docs_from_texts
from .tasks import NO_ENTITY, text_of_task

START = re.compile(r"-DOCSTART-(?: \((.*)\))?")
NO_LINK = "--NME--"
BEGIN, INSIDE, OUTSIDE = "B", "I", "O"
ADDRESS = "url"


class _Tokens:
    """A text that is put together of tokens."""

    def __init__(self, id_: str | None, where: str) -> None:
        self.where = where
        self.fields = {} if id_ is None else {"id": id_}
        self.text = ""
        self.separator = ""
        self.spans: list[dict[str, Any]] = []
        self.is_open = False

    def add(self, cells: list[str], where: str) -> None:
        token, tag, entity = cells[0], *(cells[1:2] or [OUTSIDE]), *(cells[3:4] or [""])
        self.text += self.separator
        start, self.separator = len(self.text), " "
        self.text += token
        if tag == BEGIN and entity:
            span = {"start": start, "id": NO_ENTITY if entity == NO_LINK else entity}
            self.spans.append(span | ({ADDRESS: cells[4]} if len(cells) > 4 else {}))
        elif tag != OUTSIDE and not (tag == INSIDE and self.is_open):
            raise ElqError(Errors.ELQ379.format(where=where, line="\t".join(cells)[:60]))
        self.is_open = tag != OUTSIDE
        if self.is_open:
            self.spans[-1]["end"] = len(self.text)

    def end_sentence(self) -> None:
        self.is_open = False
        self.separator = "\n" if self.text else ""

    def linked(self) -> LinkedText:
        return text_of_task(self.text, self.spans, self.fields, self.where)


def read_conll(path: Path) -> Iterator[LinkedText]:
    """Stream the documents of a file, with the name of each as the field "id". Mentions of
    `--NME--` are the field "nil".

    RAISES (ElqError): If a line has a mention without an entity, or the inside of no mention.
    """
    tokens: _Tokens | None = None
    for where, line in read_lines(path):
        line = line.rstrip("\r\n")
        if started := START.fullmatch(line):
            if tokens is not None:
                yield tokens.linked()
            tokens = _Tokens(started[1], where)
        elif not line.strip():
            if tokens is not None:
                tokens.end_sentence()
        else:
            tokens = tokens or _Tokens(None, where)
            tokens.add(line.split("\t"), where)
    if tokens is not None:
        yield tokens.linked()


def write_conll(
    texts: Iterable[LinkedText], path: Path, nlp: Language, stats: ConversionStats
) -> None:
    """Write texts as tokens, replacing the file as a whole.

    nlp (Language): Its tokenizer decides what a token is. White space ends a sentence if it has a
        line break, and is left out.
    stats (ConversionStats): Counts mentions that were widened to tokens, and those within or across
        longer ones, which are left out.
    """
    with atomic_file(path) as partial, partial.open("w", encoding="utf8", newline="\n") as file:
        for number, doc in enumerate(docs_from_texts(nlp, texts, stats)):
            name = str(gold_fields(doc).get("id", number))
            file.write(f"-DOCSTART- ({' '.join(name.split())})\n")
            file.writelines(f"{line}\n" for line in _lines(doc, stats))


def _lines(doc: Doc, stats: ConversionStats) -> Iterator[str]:
    fields = _addresses(doc)
    spans = [*gold_spans(doc), *nil_spans(doc)]
    kept = filter_spans(spans)
    stats.overlapping += len(spans) - len(kept)
    mentions = {token.i: span for span in kept for token in span}
    for token in doc:
        if token.is_space:
            yield from [""] if "\n" in token.text else []
        elif token.i in mentions:
            span = mentions[token.i]
            yield "\t".join(_cells(span, token.i, fields.get(_key(span), "")))
        else:
            yield token.text
    yield ""


def _cells(span: Span, token: int, address: str) -> list[str]:
    first = next(each.i for each in span if not each.is_space)
    surface = " ".join(each.text for each in span if not each.is_space)
    entity = re.sub(r"[\t\n\r]", " ", span.kb_id_) or NO_LINK
    cells = [span.doc[token].text, BEGIN if token == first else INSIDE, surface, entity]
    return [*cells, address] if address else cells


def _key(span: Span) -> tuple[int, int, str]:
    return span.start, span.end, span.kb_id_


def _addresses(doc: Doc) -> dict[tuple[int, int, str], str]:
    """RETURNS (dict): The field "url" of each mention that has one."""
    from ..gold import GOLD_KEY, SPAN_FIELDS

    group = doc.spans.get(GOLD_KEY, ())
    fields = doc.spans[GOLD_KEY].attrs.get(SPAN_FIELDS, ()) if GOLD_KEY in doc.spans else ()
    return {
        _key(span): " ".join(str(each[ADDRESS]).split())
        for span, each in zip(group, fields, strict=False)
        if each.get(ADDRESS)
    }
