"""NIF in Turtle, as GERBIL reads and writes it."""

import math
import sys

import pytest
import rdflib
from hypothesis import given
from hypothesis import strategies as st

from spacy_elq import ElqError
from spacy_elq.corpora.nif import WIKIDATA, EntityUris, read_nif, write_nif
from spacy_elq.corpora.spans_jsonl import ConversionStats, LinkedSpan, LinkedText, text_to_dict

from .strategies import rows

PREFIXES = """
@prefix itsrdf: <http://www.w3.org/2005/11/its/rdf#> .
@prefix nif: <http://persistence.uni-leipzig.org/nlp2rdf/ontologies/nif-core#> .
@prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
"""
# Written by hand, in the two styles of addresses that are in use.
DOCUMENT = (
    PREFIXES
    + """
<http://x/set/doc10#char=0,13> a nif:Context, nif:RFC5147String ;
    nif:beginIndex "0"^^xsd:nonNegativeInteger ;
    nif:endIndex "13"^^xsd:nonNegativeInteger ;
    nif:isString "🚀 Brad, Jon ."@en .
<http://x/set/doc10#char=2,6> a nif:Phrase ;
    nif:anchorOf "Brad" ; nif:beginIndex 2 ; nif:endIndex 6 ;
    nif:referenceContext <http://x/set/doc10#char=0,13> ;
    itsrdf:taConfidence "0.25"^^xsd:double ;
    itsrdf:taIdentRef <https://www.wikidata.org/wiki/Q35332>, <http://dbpedia.org/resource/Brad> .
<http://x/set/doc10#char=8,11> a nif:Phrase ;
    nif:anchorOf "Jon" ; nif:beginIndex 8 ; nif:endIndex 11 ;
    nif:referenceContext <http://x/set/doc10#char=0,13> ;
    itsrdf:taIdentRef <http://aksw.org/notInWiki/Jon> .
<http://x/set/doc10#char=11,12> a nif:Word ;
    nif:anchorOf " " ; nif:beginIndex 11 ; nif:endIndex 12 ;
    nif:referenceContext <http://x/set/doc10#char=0,13> .
<http://x/set/doc9#char=0,0> a nif:Context ; nif:isString "" .
"""
)


def parse(text, tmp_path, stats=None, entities=None):
    path = tmp_path / "a.ttl"
    path.write_text(text, encoding="utf8")
    return list(read_nif(path, entities or EntityUris(), stats or ConversionStats()))


def test_a_document_by_hand(tmp_path):
    stats = ConversionStats()
    empty, row = parse(DOCUMENT, tmp_path, stats)
    assert text_to_dict(empty) == {"text": "", "spans": [], "uri": "http://x/set/doc9"}
    brad = {"start": 2, "end": 6, "confidence": 0.25}
    assert text_to_dict(row) == {
        "text": "🚀 Brad, Jon .",
        "spans": [{**brad, "id": "Q35332"}, {**brad, "id": "http://dbpedia.org/resource/Brad"}],
        "uri": "http://x/set/doc10",
        "nil": [{"start": 8, "end": 11}],
    }
    assert (stats.unlinked, stats.displaced) == (1, 0)


def test_offsets_in_utf_16_are_noticed(tmp_path):
    stats = ConversionStats()
    parse(DOCUMENT.replace("nif:beginIndex 2 ; nif:endIndex 6", "nif:beginIndex 3 ; "
                           "nif:endIndex 7"), tmp_path, stats)  # fmt: skip
    assert stats.displaced == 1
    with pytest.warns(UserWarning, match="code points"):
        stats.warn()


def test_what_is_written_is_nif(tmp_path):
    spans = (
        LinkedSpan(2, 6, "Q35332", {"score": -0.5}),
        LinkedSpan(8, 11, "Q1", {"score": -0.5, "prob": 0.75}),
        LinkedSpan(8, 9, "Q2"),
    )
    write_nif([LinkedText("🚀 Brad, Jon .", spans)], tmp_path / "a.ttl", EntityUris())
    found = (
        rdflib.Graph()
        .parse(tmp_path / "a.ttl")
        .query(
            """
        PREFIX nif: <http://persistence.uni-leipzig.org/nlp2rdf/ontologies/nif-core#>
        PREFIX itsrdf: <http://www.w3.org/2005/11/its/rdf#>
        SELECT ?text ?anchor ?begin ?end ?entity ?confidence WHERE {
            ?context a nif:Context ; nif:isString ?text .
            ?phrase a nif:Phrase ; nif:referenceContext ?context ; nif:anchorOf ?anchor ;
                nif:beginIndex ?begin ; nif:endIndex ?end ; itsrdf:taIdentRef ?entity .
            OPTIONAL { ?phrase itsrdf:taConfidence ?confidence }
        } ORDER BY ?begin DESC(?end)
        """
        )
    )
    text = "🚀 Brad, Jon ."
    assert [tuple(None if v is None else v.toPython() for v in row) for row in found] == [
        (text, "Brad", 2, 6, f"{WIKIDATA}Q35332", pytest.approx(math.exp(-0.5))),
        (text, "Jon", 8, 11, f"{WIKIDATA}Q1", 0.75),
        (text, "J", 8, 9, f"{WIKIDATA}Q2", None),
    ]  # fmt: skip


@pytest.mark.slow
@given(texts=st.lists(rows(), max_size=4), prefix=st.sampled_from([WIKIDATA, "urn:kb:"]))
def test_round_trip(texts, prefix, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "round.ttl"
    stats = ConversionStats()
    write_nif(texts, path, EntityUris(prefix))
    back = list(read_nif(path, EntityUris(prefix), stats))
    assert [(row.text, row.spans) for row in back] == [(row.text, row.spans) for row in texts]
    assert (stats.displaced, stats.unlinked) == (0, 0)


@pytest.mark.parametrize("uri", ["http://dbpedia.org/resource/Paris", "https://kb.org/a?b=c#d"])
def test_other_addresses_are_ids(uri):
    assert EntityUris().id(EntityUris().uri(uri)) == uri


def test_texts_keep_their_addresses_and_their_order(tmp_path):
    texts = [LinkedText(str(n), (), {"uri": f"http://x/{n}"}) for n in (2, 10, 33)]
    write_nif(texts, tmp_path / "a.ttl", EntityUris())
    assert list(read_nif(tmp_path / "a.ttl", EntityUris(), ConversionStats())) == texts
    with pytest.raises(ElqError, match="ELQ345"):
        write_nif([texts[0], texts[0]], tmp_path / "a.ttl", EntityUris())
    assert list(read_nif(tmp_path / "a.ttl", EntityUris(), ConversionStats())) == texts


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("no turtle", "ELQ343"),
        (DOCUMENT + '<http://x#1> nif:isString "cut', "ELQ343"),
        (DOCUMENT + "<http://x#1> nif:isString " + "( " * 5000, "ELQ343"),
        (DOCUMENT.replace('"0.25"^^xsd:double', '"high"'), "ELQ323"),
        (PREFIXES + "<http://x#1> nif:referenceContext <http://x#2> .", "ELQ344"),
        (DOCUMENT.replace("nif:beginIndex 8 ;", ""), "ELQ323"),
        (DOCUMENT.replace("nif:beginIndex 8 ;", 'nif:beginIndex "-1" ;'), "ELQ323"),
        (DOCUMENT.replace("nif:endIndex 6", "nif:endIndex 60"), "ELQ307"),
    ],
)
def test_bad_files_are_named(tmp_path, text, code):
    with pytest.raises(ElqError, match=rf"{code}.*a\.ttl"):
        parse(text, tmp_path)


def test_without_rdflib_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rdflib", None)
    with pytest.raises(ElqError, match=r"ELQ340.*spacy-elq\[nif\]"):
        write_nif([], tmp_path / "a.ttl", EntityUris())
