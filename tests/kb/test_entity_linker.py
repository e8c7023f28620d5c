"""FaissKB under spaCy's own `entity_linker`."""

import numpy as np
import pytest
import spacy
from spacy.kb import InMemoryLookupKB
from spacy.training import Example

from spacy_elq.kb.build import build_kb
from spacy_elq.kb.knowledge_base import FaissKB
from spacy_elq.kb.loaders import empty_kb, kb_from_directory
from spacy_elq.types import Entity

WIDTH = 12
TEXTS = {
    "Paris sailed to Troy with Helen .": "person",
    "Paris shot Achilles in the heel .": "person",
    "The mayor of Paris opened a metro line .": "city",
    "We took the metro in Paris last week .": "city",
}
ENTITIES = [Entity("city", "Paris"), Entity("person", "Alexandros", aliases=("Paris",))]


class OneHot:
    width, fingerprint, normalized = WIDTH, "one-hot", True

    def encode(self, entities):
        return np.eye(WIDTH, dtype="f4")[[len(e.title) for e in entities]], np.arange(len(entities))


@pytest.fixture
def registered():
    """The entry of `[nlp.entity_linker.generate_empty_kb]`, as a config names it."""
    spacy.registry.misc.register("test.EmptyFaissKB.v1", func=empty_kb)


def make_examples(nlp):
    examples = []
    for text, id_ in TEXTS.items():
        start = text.index("Paris")
        doc = nlp.make_doc(text)
        gold = {"entities": [(start, start + 5, "X")], "links": {(start, start + 5): {id_: 1.0}}}
        gold["sent_starts"] = [1] + [-1] * (len(doc) - 1)
        examples.append(Example.from_dict(doc, gold))
    return examples


@pytest.fixture(params=["named", "spaCy's default"])
def trained(request, tmp_path, registered):
    build_kb(ENTITIES, tmp_path / "kb", OneHot(), progress=False)
    spacy.util.fix_random_seed(0)
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    config = {"incl_prior": False}
    if request.param == "named":
        config["generate_empty_kb"] = {"@misc": "test.EmptyFaissKB.v1"}
    linker = nlp.add_pipe("entity_linker", config=config)
    assert isinstance(linker.kb, FaissKB) is (request.param == "named")
    linker.set_kb(kb_from_directory(tmp_path / "kb"))
    examples = make_examples(nlp)
    optimizer = nlp.initialize(lambda: examples)
    for _ in range(40):
        losses = nlp.update(examples, sgd=optimizer, losses={})
    assert losses["entity_linker"] < 0.05
    return nlp


def predictions(nlp):
    linker = nlp.get_pipe("entity_linker")
    docs = []
    for example in make_examples(nlp):
        doc = example.predicted
        doc.ents = [
            doc.char_span(ent.start_char, ent.end_char, "X") for ent in example.reference.ents
        ]
        docs.append(linker(nlp.get_pipe("sentencizer")(doc)))
    return [doc.ents[0].kb_id_ for doc in docs]


@pytest.mark.slow
def test_trains_saves_and_loads(trained, tmp_path):
    assert predictions(trained) == list(TEXTS.values())
    trained.to_disk(tmp_path / "pipeline")
    again = spacy.load(tmp_path / "pipeline")
    kb = again.get_pipe("entity_linker").kb
    assert isinstance(kb, FaissKB)
    assert kb.entity_vector_length == WIDTH
    assert kb.path == tmp_path / "pipeline" / "entity_linker" / "kb"
    assert predictions(again) == list(TEXTS.values())
    scores = again.evaluate(make_examples(again))
    assert scores["nel_micro_f"] == 1.0
    from_bytes = spacy.blank("en").from_config(again.config).from_bytes(trained.to_bytes())
    assert predictions(from_bytes) == list(TEXTS.values())


def test_a_knowledge_base_of_spacy_is_loaded_as_before(tmp_path):
    nlp = spacy.blank("en")
    linker = nlp.add_pipe("entity_linker")
    linker.kb = InMemoryLookupKB(nlp.vocab, 2)
    linker.kb.add_entity("Q1", 1, [1.0, 2.0])
    nlp.to_disk(tmp_path)
    for again in (spacy.load(tmp_path), spacy.blank("en")):
        if not again.pipe_names:
            again = again.from_config(nlp.config).from_bytes(nlp.to_bytes())
        assert type(again.get_pipe("entity_linker").kb) is InMemoryLookupKB
        assert again.get_pipe("entity_linker").kb.get_entity_strings() == ["Q1"]
