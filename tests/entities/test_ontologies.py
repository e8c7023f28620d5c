"""Entities of ontologies: OBO, OWL, SKOS, and concepts as biomedical tools have them."""

import gzip
import json
import sys

import pytest

from spacy_elq.entities.reader import read_entities
from spacy_elq.errors import ElqError
from spacy_elq.types import Entity

OBO = r"""format-version: 1.4
default-namespace: disease
ontology: test
! a comment

[Term]
id: T:1
name: amyotrophic lateral sclerosis ! a comment
def: "A \"motor\" neuron disease\nof adults." [DOI:1, "x, y"] {source="z"}
synonym: "ALS" EXACT ABBREVIATION [T:x]
synonym: "Lou Gehrig\: disease" RELATED []
synonym: "motor neuron disease" BROAD []
synonym: "old" []
alt_id: T:01
xref: UMLS:C1 "a name" {source="x"}
is_a: T:2 {source="y"} ! neuro\!degenerative disease
namespace: neuro
unknown-tag: is left alone

[Term]
id: T:2
name: obsolete thing
is_obsolete: true

[Term]
id: T:3
name: Ü (\{Ü\})

[Term]
id: T:4

[Typedef]
id: part_of
name: part of

[Term]
id: T:5
name: last
is_obsolete: false
"""
ALS = Entity(
    "T:1",
    "amyotrophic lateral sclerosis",
    'A "motor" neuron disease\nof adults.',
    ("ALS", "Lou Gehrig: disease", "old"),
    "neuro",
    {
        "other_names": ["motor neuron disease"],
        "alt_ids": ["T:01"],
        "xrefs": ["UMLS:C1"],
        "parents": ["T:2"],
    },
)


def write(path, content):
    path.write_text(content, encoding="utf8")
    return path


def test_obo(tmp_path):
    als, named, last = read_entities(write(tmp_path / "a.obo", OBO))
    assert als == ALS
    assert named == Entity("T:3", "Ü ({Ü})", type="disease")
    assert last == Entity("T:5", "last", type="disease")
    (tmp_path / "a.obo.gz").write_bytes(gzip.compress(OBO.replace("\n", "\r\n").encode()))
    assert next(read_entities(tmp_path / "a.obo.gz")) == ALS


@pytest.mark.parametrize(
    "line, message",
    [
        ("no tag", r"ELQ383.*a\.obo:4: .*'no tag'"),
        ("def: unquoted", r"ELQ383.*a\.obo:4: .*unquoted"),
        ('synonym: "cut', r"ELQ383.*a\.obo:4"),
        ("[Term", r"ELQ383.*a\.obo:4"),
    ],
)
def test_damaged_obo(tmp_path, line, message):
    with pytest.raises(ElqError, match=message):
        list(read_entities(write(tmp_path / "a.obo", f"[Term]\nid: a\nname: b\n{line}\n")))


def test_a_term_without_an_id(tmp_path):
    with pytest.raises(ElqError, match=r"ELQ232.*a\.obo:2: 'id'"):
        list(read_entities(write(tmp_path / "a.obo", "x: y\n[Term]\nname: b\n")))


TURTLE = """
@prefix owl: <http://www.w3.org/2002/07/owl#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix oio: <http://www.geneontology.org/formats/oboInOwl#> .
@prefix obo: <http://purl.obolibrary.org/obo/> .
@prefix skos: <http://www.w3.org/2004/02/skos/core#> .
@prefix x: <http://x.org/> .
obo:T_1 a owl:Class ; rdfs:label "amyotrophic lateral sclerosis" ;
    oio:hasExactSynonym "ALS", "Charcot disease" ; oio:hasRelatedSynonym "Lou Gehrig's" ;
    oio:hasBroadSynonym "motor neuron disease" ; obo:IAO_0000115 "A disease." ;
    rdfs:comment "not this" ; oio:hasOBONamespace "disease" ;
    rdfs:subClassOf obo:T_2, [ a owl:Restriction ] .
obo:T_2 a owl:Class ; rdfs:label "gone" ; owl:deprecated true .
obo:T_3 a owl:Class .
obo:part_of a owl:ObjectProperty ; rdfs:label "part of" .
x:4 a skos:Concept ; skos:prefLabel "Katze"@de, "cat"@en-GB, "chat"@fr ;
    skos:altLabel "kitty"@en, "puss", "Mieze"@de ; skos:definition "A pet."@en ; a x:Animal ;
    skos:broader x:5 .
x:5 skos:prefLabel "Tier"@de ; skos:altLabel "Vieh"@de .
x:Animal rdfs:label "animal" .
"""
OF_TURTLE = [
    Entity(
        "T:1",
        "amyotrophic lateral sclerosis",
        "A disease.",
        ("ALS", "Charcot disease", "Lou Gehrig's"),
        "disease",
        {
            "other_names": ["motor neuron disease"],
            "parents": ["T:2"],
            "uri": "http://purl.obolibrary.org/obo/T_1",
        },
    ),
    Entity(
        "http://x.org/4", "cat", "A pet.", ("kitty", "puss"), "animal",
        {"parents": ["http://x.org/5"]},
    ),
    Entity("http://x.org/5", "Tier", aliases=("Vieh",)),
]  # fmt: skip


def test_owl_and_skos(tmp_path):
    rdflib = pytest.importorskip("rdflib")
    assert list(read_entities(write(tmp_path / "a.ttl", TURTLE))) == OF_TURTLE
    graph = rdflib.Graph().parse(data=TURTLE, format="turtle")
    for name, syntax in (("a.owl", "xml"), ("b.owl", "turtle"), ("a.nt", "nt"), ("a.rdf", "xml")):
        graph.serialize(tmp_path / name, format=syntax)
        assert list(read_entities(tmp_path / name)) == OF_TURTLE, name
    (tmp_path / "c.owl.gz").write_bytes(gzip.compress((tmp_path / "a.owl").read_bytes()))
    assert list(read_entities(tmp_path / "c.owl.gz")) == OF_TURTLE


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("a.owl", "Prefix(:=<http://x.org/>)\nOntology()", "ELQ343.*a.owl.*as Turtle"),
        ("a.owl", "<?xml version='1.0'?><rdf:RDF>", "ELQ343.*a.owl.*as RDF/XML"),
        ("a.ttl", "cut", "ELQ343.*a.ttl.*as Turtle"),
        ("a.ttl.gz", "plain", "ELQ301.*a.ttl.gz"),
    ],
)
def test_damaged_rdf(tmp_path, name, content, message):
    pytest.importorskip("rdflib")
    with pytest.raises(ElqError, match=message):
        list(read_entities(write(tmp_path / name, content)))


def test_without_rdflib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rdflib", None)
    with pytest.raises(ElqError, match=r"ELQ340.*spacy-elq\[nif\]"):
        list(read_entities(write(tmp_path / "a.owl", "<?xml version='1.0'?>")))


def names(id_, text, lang="ENG", ts="P", stt="PF", preferred="Y", suppress="N"):
    cells = [id_, lang, ts, "L", stt, "S", preferred, *"ABCD", "SRC", "PT", "x", text, "0"]
    return "|".join([*cells, suppress, "", ""])


CONSO = [
    names("C1", "SLA", lang="FRE"),
    names("C1", "ALS", stt="VO"),
    names("C1", "Amyotrophic Lateral Sclerosis"),
    names("C1", "ALS", ts="S"),
    names("C1", "old", suppress="O"),
    names("C2", "gone", suppress="O"),
    names("C3", "cat", stt="VC"),
]
BESIDE = {
    "MRDEF": ["C1|A|T||SRC|suppressed|Y||", "C1|A|T||SRC|A disease.|N||", "C2|A|T||SRC|x|N||"],
    "MRSTY": ["C0|T047|B|Nothing|AT||", "C1|T047|B|Disease|AT||", "C1|T048|B|Other|AT||"],
}


def test_rrf(tmp_path):
    path = write(tmp_path / "MRCONSO.RRF", "\n".join(CONSO) + "\n")
    title, extra = "Amyotrophic Lateral Sclerosis", {"sources": ["SRC"]}
    alone = Entity("C1", title, aliases=("ALS",), extra=extra)
    assert list(read_entities(path)) == [alone, Entity("C3", "cat", extra=extra)]
    for name, rows in BESIDE.items():
        write(tmp_path / f"{name}.RRF", "\n".join(rows) + "\n")
    als, cat = read_entities(path)
    both = {**extra, "types": ["Disease", "Other"]}
    assert als == Entity("C1", title, "A disease.", ("ALS",), "Disease", both)
    assert cat == Entity("C3", "cat", extra=extra)


@pytest.mark.parametrize(
    "name, rows, message",
    [
        ("MRCONSO.RRF", ["C1|ENG"], r"ELQ385.*MRCONSO\.RRF:1"),
        ("MRCONSO.RRF", [CONSO[-1], CONSO[0]], r"ELQ385.*MRCONSO\.RRF:2"),
        ("MRSTY.RRF", CONSO, r"ELQ384.*MRSTY"),
    ],
)
def test_damaged_rrf(tmp_path, name, rows, message):
    with pytest.raises(ElqError, match=message):
        list(read_entities(write(tmp_path / name, "\n".join(rows))))


HEADER = "id\tname\tsynonyms\tdefinition\ttypes\tobsolete\tsource\n"


def test_tables_of_concepts(tmp_path):
    rows = [
        "C1\tamyotrophic lateral sclerosis\tALS|Charcot disease\tA disease.\tT047|T048\t0\tx",
        "C2\tgone\t\t\tT047\ttrue\t",
        "C3\tcat\t\t\tT001\t\t",
    ]
    als, cat = read_entities(write(tmp_path / "a.tsv", HEADER + "\n".join(rows)))
    assert als == Entity(
        "C1", "amyotrophic lateral sclerosis", "A disease.", ("ALS", "Charcot disease"), "T047",
        {"types": ["T047", "T048"], "source": "x"},
    )  # fmt: skip
    assert cat == Entity("C3", "cat", type="T001")
    bare = write(tmp_path / "b.csv", "C1,ALS,1\nC3,cat,\n")
    assert [e.id for e in read_entities(bare, columns=["id", "name", "obsolete"])] == ["C3"]


def test_other_tables_keep_such_columns(tmp_path, recwarn):
    path = write(tmp_path / "a.csv", "id,title,name,types,obsolete\nC1,T,N,a|b,1\n")
    (entity,) = read_entities(path)
    assert entity == Entity("C1", "T", extra={"name": "N", "types": "a|b", "obsolete": "1"})


def test_concepts_of_scispacy(tmp_path):
    concept = {
        "concept_id": "C1", "canonical_name": "ALS", "aliases": ["Charcot disease"],
        "types": ["T047"], "definition": "A disease.", "more": 1,
    }  # fmt: skip
    path = write(tmp_path / "kb.jsonl", json.dumps(concept))
    expected = Entity("C1", "ALS", "A disease.", ("Charcot disease",), "T047", {"more": 1})
    assert list(read_entities(path, "scispacy")) == [expected]
    with pytest.raises(ElqError, match=r"ELQ232.*kb\.jsonl:1: 'title'"):
        list(read_entities(write(path, '{"concept_id": "C1"}'), "scispacy"))
