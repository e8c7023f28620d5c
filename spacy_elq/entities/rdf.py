"""RDF: graphs in Turtle or RDF/XML, and the entities of an ontology (OWL) or a thesaurus (SKOS)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ElqError, Errors
from ..files import OPENERS, UNREADABLE, Record

if TYPE_CHECKING:
    from rdflib import Graph
    from rdflib.term import Node

TURTLE, XML = "turtle", "xml"
# How RDF/XML begins; Turtle may begin with "<" too, but not so.
BEGIN_OF_XML = re.compile(rb"\s*(\xef\xbb\xbf)?\s*<(\?xml|!DOCTYPE|!--|rdf:RDF|RDF)")
OBO = "http://purl.obolibrary.org/obo/"
OBO_IN_OWL = "http://www.geneontology.org/formats/oboInOwl#"
SKOS = "http://www.w3.org/2004/02/skos/core#"
OWL = "http://www.w3.org/2002/07/owl#"
RDFS = "http://www.w3.org/2000/01/rdf-schema#"
# What entities are instances of.
KINDS = (f"{OWL}Class", f"{OWL}NamedIndividual", f"{RDFS}Class", f"{SKOS}Concept")
TITLES = (f"{SKOS}prefLabel", f"{RDFS}label")
NAMES = (
    f"{SKOS}altLabel",
    f"{OBO_IN_OWL}hasExactSynonym",
    f"{OBO_IN_OWL}hasRelatedSynonym",
    f"{OBO_IN_OWL}hasSynonym",
    f"{OBO}IAO_0000118",
)
# Names of something wider or narrower are kept, but not linked.
OTHER_NAMES = (f"{OBO_IN_OWL}hasBroadSynonym", f"{OBO_IN_OWL}hasNarrowSynonym")
DESCRIPTIONS = (f"{OBO}IAO_0000115", f"{SKOS}definition", f"{RDFS}comment")
DEPRECATED, NAMESPACE = f"{OWL}deprecated", f"{OBO_IN_OWL}hasOBONamespace"
PARENTS = (f"{RDFS}subClassOf", f"{SKOS}broader")
ENGLISH = re.compile(r"en(-.*)?", re.IGNORECASE)


def require_rdflib() -> None:
    """Raise an ElqError if rdflib is not installed."""
    try:
        import rdflib  # noqa: F401
    except ImportError:
        raise ElqError(Errors.ELQ340) from None


def parse_graph(path: Path, syntax: str) -> Graph:
    """Read an RDF file, compressed or not; the whole graph is in memory.

    syntax (str): `TURTLE` (N-Triples too) or `XML`.
    RAISES (ElqError): If it is something else, or damaged.
    """
    require_rdflib()
    from xml.sax import SAXException

    from rdflib import Graph
    from rdflib.exceptions import ParserError

    graph = Graph(bind_namespaces="none")
    try:
        with OPENERS.get(path.suffix, open)(path, "rb") as file:
            return graph.parse(file, format=syntax)
    # rdflib's parser raises the last four for files that are cut or nested too deeply.
    except (
        SAXException,
        SyntaxError,
        ValueError,
        ParserError,
        AssertionError,
        IndexError,
        RecursionError,
        *UNREADABLE,
    ) as err:
        if isinstance(err, FileNotFoundError):
            raise
        reason = " ".join(str(err).split())[:120] or "it ends too early"
        named = "Turtle" if syntax == TURTLE else "RDF/XML"
        raise ElqError(Errors.ELQ343.format(path=path, syntax=named, reason=reason)) from None


def read_rdf(path: Path) -> Iterator[Record]:
    """Read the classes, individuals and concepts of a file in RDF/XML or Turtle.

    Their names are labels and synonyms in English or without a language; those in all languages, if
    there is none of these. What is deprecated, or has no name, is left out.

    YIELDS (tuple[str, dict]): "file, address", for messages, and the entity as an object, in the
        order of the addresses.
    """
    require_rdflib()
    from rdflib import RDF, URIRef

    graph = parse_graph(path, _syntax(path))
    kinds = [URIRef(kind) for kind in KINDS]
    nodes = {node for kind in kinds for node in graph.subjects(RDF.type, kind)}
    nodes |= set(graph.subjects(URIRef(TITLES[0])))
    for node in sorted(node for node in nodes if isinstance(node, URIRef)):
        if not _is_deprecated(graph, node) and (titles := _texts(graph, node, TITLES)):
            yield f"{path}, {node}", _record(graph, node, titles)


def _syntax(path: Path) -> str:
    """RETURNS (str): The syntax of a file, by how it begins: an `.owl` file may have any."""
    try:
        with OPENERS.get(path.suffix, open)(path, "rb") as file:
            begin = file.read(1024)
    except UNREADABLE as err:
        raise ElqError(Errors.ELQ301.format(where=path, reason=err)) from None
    return XML if BEGIN_OF_XML.match(begin) else TURTLE


def _record(graph: Graph, node: Node, titles: list[str]) -> dict[str, Any]:
    id_ = _id(graph, node)
    record = {
        "id": id_,
        "title": titles[0],
        "description": next(iter(_texts(graph, node, DESCRIPTIONS)), ""),
        "aliases": [*dict.fromkeys((*titles[1:], *_texts(graph, node, NAMES)))],
        "type": _type(graph, node),
        "other_names": _texts(graph, node, OTHER_NAMES),
        "parents": sorted(_id(graph, each) for each in _objects(graph, node, PARENTS)),
        "uri": str(node) if str(node) != id_ else "",
    }
    return {name: value for name, value in record.items() if value}


def _objects(graph: Graph, node: Node, predicates: Iterable[str]) -> list[Node]:
    from rdflib import URIRef

    found = (each for name in predicates for each in graph.objects(node, URIRef(name)))
    return [each for each in found if isinstance(each, URIRef)]


def _texts(graph: Graph, node: Node, predicates: Iterable[str]) -> list[str]:
    """RETURNS (list[str]): The texts that a node has, those of the first predicate first; English
    ones before those without a language, and only others if there is neither."""
    from rdflib import Literal, URIRef

    found: list[tuple[int, int, str]] = []
    for i, name in enumerate(predicates):
        for value in graph.objects(node, URIRef(name)):
            if isinstance(value, Literal) and str(value).strip():
                is_english = ENGLISH.fullmatch(value.language or "")
                rank = 0 if is_english else 1 if not value.language else 2
                found.append((rank, i, str(value).strip()))
    best = [each for each in found if each[0] < 2] or found
    ordered = sorted(best, key=lambda each: (each[1], each[0], each[2]))
    return [*dict.fromkeys(text for _, _, text in ordered)]


def _is_deprecated(graph: Graph, node: Node) -> bool:
    from rdflib import URIRef

    return any(
        str(value).lower() in ("true", "1") for value in graph.objects(node, URIRef(DEPRECATED))
    )


def _type(graph: Graph, node: Node) -> str:
    """RETURNS (str): The namespace in OBO; or else the name of a class that the node is in."""
    from rdflib import RDF, URIRef

    if namespace := graph.value(node, URIRef(NAMESPACE)):
        return str(namespace)
    others = [each for each in graph.objects(node, RDF.type) if str(each) not in KINDS]
    classes = sorted(each for each in others if isinstance(each, URIRef))
    if not classes or str(classes[0]).startswith((OWL, RDFS)):
        return ""
    return next(iter(_texts(graph, classes[0], TITLES)), re.split(r"[/#]", str(classes[0]))[-1])


def _id(graph: Graph, node: Node) -> str:
    """RETURNS (str): As in OBO, "MONDO:0005015", for what has such an address; else the address."""
    from rdflib import URIRef

    if named := graph.value(node, URIRef(f"{OBO_IN_OWL}id")):
        return str(named)
    found = re.fullmatch(rf"{re.escape(OBO)}([A-Za-z]+)_(\w+)", str(node))
    return f"{found[1]}:{found[2]}" if found else str(node)
