import pytest
import spacy
from spacy.tokens import Doc

from spacy_elq import Entity
from spacy_elq.annotate import LINKS_ATTR
from spacy_elq.corpora.spans_jsonl import LinkedSpan, LinkedText, docs_from_texts
from spacy_elq.evaluation.baseline import AliasDictionary

ENTITIES = [
    Entity("Q830149", "Paris Hilton", aliases=("Paris",)),
    Entity("Q90", "Paris", aliases=("City of Light",)),
    Entity("Q167646", "Paris", "figure of Greek myth"),
    Entity("Q1", "Big"),
    Entity("Q213439", "Orléans"),
]


@pytest.fixture(scope="module")
def nlp():
    return spacy.blank("en")


def docs(nlp, *rows):
    """Reference documents from (text, (surface, id), …)."""
    made = []
    for text, *mentions in rows:
        starts = [(text.index(surface), surface, entity) for surface, entity in mentions]
        spans = tuple(LinkedSpan(start, start + len(s), entity) for start, s, entity in starts)
        made.append(LinkedText(text, spans))
    return list(docs_from_texts(nlp, made))


def test_the_longest_name_is_linked():
    links = AliasDictionary(ENTITIES).link("Is paris  HILTON in the city of light?")
    assert links == [(3, 16, "Q830149"), (24, 37, "Q90")]


def test_accents_and_case_do_not_count():
    assert AliasDictionary(ENTITIES).link("ORLEANS!") == [(0, 7, "Q213439")]


def test_a_possessive_is_no_part_of_a_name():
    dictionary = AliasDictionary([*ENTITIES, Entity("Q2", "Hilton's Wife")])
    assert dictionary.link("is Paris's big") == [(3, 8, "Q90"), (11, 14, "Q1")]
    assert dictionary.link("a Hilton's wife") == [(2, 15, "Q2")]


def test_without_counts_titles_come_first_and_then_the_order():
    assert AliasDictionary(ENTITIES).link("Paris") == [(0, 5, "Q90")]
    assert AliasDictionary(ENTITIES[::-1]).link("Paris") == [(0, 5, "Q167646")]


def test_the_most_frequent_sense_in_training_wins(nlp):
    training = docs(
        nlp,
        ("who shot Achilles? Paris", ("Paris", "Q167646")),
        ("Paris and Helen", ("Paris", "Q167646")),
        ("the river in Paris", ("Paris", "Q90")),
    )
    assert AliasDictionary(ENTITIES, training_docs=training).link("Paris") == [(0, 5, "Q167646")]


def test_names_are_learned_from_training_but_entities_are_not(nlp):
    training = docs(nlp, ("in gay Paree", ("Paree", "Q90")), ("in Rome", ("Rome", "Q220")))
    dictionary = AliasDictionary(ENTITIES, training_docs=training)
    assert dictionary.link("Paree or Rome") == [(0, 5, "Q90")]


def test_rarely_linked_names_can_be_left_alone(nlp):
    training = docs(
        nlp,
        ("how big is Paris", ("Paris", "Q90")),
        ("is Big a big film", ("Big", "Q1")),
        ("Paris Hilton in Paris", ("Paris Hilton", "Q830149")),
    )
    every = AliasDictionary(ENTITIES, training_docs=training)
    # "big" occurs three times and is linked once, "Paris" by itself once of two times.
    assert every.link_probability("big") == pytest.approx(1 / 3)
    assert every.link_probability("paris") == 0.5
    assert every.link_probability("paris hilton") == 1.0
    assert every.link_probability("orleans") == 1.0
    text = "big Paris, Orléans"
    assert [link[2] for link in every.link(text)] == ["Q1", "Q90", "Q213439"]
    some = AliasDictionary(ENTITIES, training_docs=training, min_link_probability=0.4)
    assert [link[2] for link in some.link(text)] == ["Q90", "Q213439"]
    few = AliasDictionary(ENTITIES, training_docs=training, min_link_probability=0.6)
    assert [link[2] for link in few.link(text)] == ["Q213439"]


def test_documents_are_annotated_as_the_component_does(nlp):
    doc = AliasDictionary(ENTITIES).annotate(nlp.make_doc("Is Paris Hilton in Orléans?"))
    assert [(ent.text, ent.kb_id_, ent.label_) for ent in doc.ents] == [
        ("Paris Hilton", "Q830149", "ENTITY"),
        ("Orléans", "Q213439", "ENTITY"),
    ]
    assert {span.kb_id_ for span in doc.spans["elq"]} == {"Q830149", "Q213439"}
    titles = {link["id"]: link["title"] for link in doc.spans["elq"].attrs[LINKS_ATTR]}
    assert titles == {"Q830149": "Paris Hilton", "Q213439": "Orléans"}


def test_names_that_share_a_token_become_one_link(nlp):
    doc = Doc(nlp.vocab, words=["big.Paris", "is", "Orléans"])
    linked = AliasDictionary(ENTITIES).annotate(doc)
    assert [(ent.text, ent.kb_id_) for ent in linked.ents] == [
        ("big.Paris", "Q1"),
        ("Orléans", "Q213439"),
    ]


def test_an_empty_dictionary_links_nothing(nlp):
    assert AliasDictionary([]).link("Paris") == []
    assert AliasDictionary(ENTITIES).annotate(nlp.make_doc("")).ents == ()
