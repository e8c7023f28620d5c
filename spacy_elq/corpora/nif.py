"""NIF 2.0 in Turtle, which GERBIL reads and writes.

A text is a `nif:Context` with `nif:isString`; a mention is a `nif:Phrase` with `nif:beginIndex` and
`nif:endIndex`, which count code points, as Python does, and `itsrdf:taIdentRef`, the entity.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from ..entities.rdf import TURTLE, parse_graph, require_rdflib
from ..errors import ElqError, Errors
from ..files import atomic_file
from ..gold import NIL
from .field_checks import wrong_type
from .spans_jsonl import ConversionStats, LinkedSpan, LinkedText, text_from_dict

if TYPE_CHECKING:
    from rdflib import Graph
    from rdflib.term import Node

NIF = "http://persistence.uni-leipzig.org/nlp2rdf/ontologies/nif-core#"
ITSRDF = "http://www.w3.org/2005/11/its/rdf#"
WIKIDATA = "http://www.wikidata.org/entity/"
# Other URIs in use for Wikidata's entities.
ANY_WIKIDATA = re.compile(r"https?://(www\.)?wikidata\.org/(entity|wiki)/")
# Characters that a URI can't contain.
NOT_IN_URIS = re.compile(r'[\x00-\x20<>"{}|^`\\]')
# GERBIL's prefix of entities that are in no knowledge base.
NO_ENTITY = "http://aksw.org/notInWiki/"
TEXTS = "http://example.org/texts/"
# Field of a text: the URI of its context, without the fragment.
URI = "uri"
CONFIDENCE = "confidence"


@dataclass(frozen=True)
class EntityUris:
    """Entity ids ↔ URIs.

    prefix (str): Precedes ids in URIs. A URI with another prefix is an id as it stands.
    """

    prefix: str = WIKIDATA

    def uri(self, entity: str) -> str:
        """RETURNS (str): The URI of an entity."""
        if "://" in entity and not NOT_IN_URIS.search(entity):
            return entity
        return self.prefix + quote(entity, safe="")

    def id(self, uri: str) -> str:
        """RETURNS (str): The id of an entity, empty if it is in no knowledge base."""
        if uri.startswith(NO_ENTITY):
            return ""
        if uri.startswith(self.prefix):
            return unquote(uri[len(self.prefix) :])
        found = ANY_WIKIDATA.match(uri) if self.prefix == WIKIDATA else None
        return uri if found is None else unquote(uri[found.end() :])


def read_nif(path: Path, entities: EntityUris, stats: ConversionStats) -> Iterator[LinkedText]:
    """Read a Turtle (or N-Triples) file; RDF has no order, so the whole file is in memory.

    entities (EntityUris): Maps URIs to entities.
    stats (ConversionStats): Counts phrases that say nothing of an entity, which are left out, and
        those whose `anchorOf` differs from the text.
    YIELDS (LinkedText): Texts sorted by URI, with numbers in URIs compared as numbers; spans in the
        order of the text, with the field "confidence" if the file has it. Mentions that are said to
        be of no entity are the field "nil".
    RAISES (ElqError): If the file is not Turtle, or lacks what NIF requires.
    """
    graph = parse_graph(path, TURTLE)
    texts = {context: str(text) for context, text in graph.subject_objects(_nif("isString"))}
    spans: dict[Node, list[dict[str, Any]]] = {context: [] for context in texts}
    for phrase, context in graph.subject_objects(_nif("referenceContext")):
        if phrase == context and (phrase, _its("taIdentRef"), None) not in graph:
            continue  # in some files a context refers to itself
        if context not in texts:
            raise ElqError(Errors.ELQ344.format(where=path, context=context, phrase=phrase))
        spans[context] += _spans(graph, phrase, texts[context], entities, stats, path)
    for context in sorted(texts, key=lambda node: _natural(str(node))):
        inside = sorted(spans[context], key=lambda s: (s["start"], -s["end"], s.get("id", "")))
        record = {
            "text": texts[context],
            "spans": [span for span in inside if "id" in span],
            URI: str(context).partition("#")[0],
        }
        if nil := [span for span in inside if "id" not in span]:
            record[NIL] = nil
        yield text_from_dict(record, f"{path}, {context}")


def write_nif(texts: Iterable[LinkedText], path: Path, entities: EntityUris) -> None:
    """Write texts as Turtle, one at a time, replacing the file as a whole.

    entities (EntityUris): Maps entities to URIs.
    RAISES (ElqError): If two texts have the same `uri`.
    """
    require_rdflib()
    seen: set[str] = set()
    with atomic_file(path) as partial, partial.open("w", encoding="utf8") as file:
        for number, linked in enumerate(texts):
            base = str(linked.fields.get(URI) or f"{TEXTS}{number}")
            if base in seen:
                raise ElqError(Errors.ELQ345.format(uri=base, number=number))
            seen.add(base)
            # Turtle may repeat its prefixes, so each text is written on its own.
            file.write(_graph(linked, base, entities).serialize(format="turtle"))


def _nif(name: str) -> Node:
    from rdflib import URIRef

    return URIRef(NIF + name)


def _its(name: str) -> Node:
    from rdflib import URIRef

    return URIRef(ITSRDF + name)


def _spans(
    graph: Graph, phrase: Node, text: str, entities: EntityUris, stats: ConversionStats, path: Path
) -> list[dict[str, Any]]:
    """The spans of a phrase: one for each of its entities; one without an id if it is said to have
    none."""
    start, end = (_index(graph, phrase, name, path) for name in ("beginIndex", "endIndex"))
    anchor = graph.value(phrase, _nif("anchorOf"))
    stats.displaced += anchor is not None and str(anchor) != text[start:end]
    named = [entities.id(str(uri)) for uri in graph.objects(phrase, _its("taIdentRef"))]
    ids: list[dict[str, str]] = [{"id": entity} for entity in named if entity]
    if not ids and named:
        ids = [{}]
    stats.unlinked += not ids
    fields = _confidence_field(graph, phrase, path)
    return [{"start": start, "end": end, **entity, **fields} for entity in ids]


def _index(graph: Graph, phrase: Node, name: str, path: Path) -> int:
    value = graph.value(phrase, _nif(name))
    if value is None or not str(value).isdecimal():
        raise _wrong_value(path, phrase, f"nif:{name}", "a whole number", value)
    return int(str(value))


def _confidence_field(graph: Graph, phrase: Node, path: Path) -> dict[str, float]:
    value = graph.value(phrase, _its("taConfidence"))
    try:
        return {} if value is None else {CONFIDENCE: float(str(value))}
    except ValueError:
        raise _wrong_value(path, phrase, "itsrdf:taConfidence", "a number", value) from None


def _wrong_value(
    path: Path, phrase: Node, name: str, expected: str, found: Node | None
) -> ElqError:
    return wrong_type(str(path), f"{name} of {phrase}", expected, found and str(found))


def _natural(text: str) -> list[tuple[int, str]]:
    return [(int(part) if part.isdecimal() else -1, part) for part in re.split(r"(\d+)", text)]


def _graph(linked: LinkedText, base: str, entities: EntityUris) -> Graph:
    from rdflib import RDF, XSD, Graph, Literal, URIRef

    graph = Graph(bind_namespaces="none")
    for prefix, namespace in (("nif", NIF), ("itsrdf", ITSRDF), ("xsd", str(XSD))):
        graph.bind(prefix, namespace)

    def add_string(start: int, end: int, kind: str, fragment: str) -> URIRef:
        node = URIRef(f"{quote(base, safe=':/?@!$&()*+,;=%')}#{fragment}")
        graph.add((node, RDF.type, _nif(kind)))
        graph.add((node, RDF.type, _nif("OffsetBasedString")))
        for name, value in (("beginIndex", start), ("endIndex", end)):
            number = Literal(str(value), datatype=XSD.nonNegativeInteger)
            graph.add((node, _nif(name), number))
        return node

    # As GERBIL does: a mention of the whole text must not be the context itself.
    length = len(linked.text)
    context = add_string(0, length, "Context", f"char=0,{length}")
    graph.add((context, _nif("isString"), Literal(linked.text)))
    for span in linked.spans:
        fragment = f"offset_{span.start}_{span.end}"
        phrase = add_string(span.start, span.end, "Phrase", fragment)
        graph.add((phrase, _nif("anchorOf"), Literal(linked.text[span.start : span.end])))
        graph.add((phrase, _nif("referenceContext"), context))
        graph.add((phrase, _its("taIdentRef"), URIRef(entities.uri(span.id))))
        confidence = _confidence(span)
        if confidence is not None:
            graph.add((phrase, _its("taConfidence"), Literal(confidence, datatype=XSD.double)))
    return graph


def _confidence(span: LinkedSpan) -> float | None:
    """The probability of a link, calibrated if that is known."""
    for name in (CONFIDENCE, "prob"):
        if span.fields.get(name) is not None:
            return float(span.fields[name])
    score = span.fields.get("score")
    return None if score is None else math.exp(min(score, 0.0))
