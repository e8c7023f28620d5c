import pytest
import spacy
from spacy.kb import InMemoryLookupKB
from spacy.language import Language

from spacy_elq import ElqError, Entity
from spacy_elq.corpora.spans_jsonl import LinkedSpan, LinkedText, docs_from_texts
from spacy_elq.evaluation import evaluate
from spacy_elq.evaluation.baseline import AliasDictionary
from spacy_elq.gold import RANKS_KEY

ROWS = [
    LinkedText("is Paris big", (LinkedSpan(3, 8, "Q90"),), {"topic_id": "Q90"}),
    LinkedText("is Rome big", (LinkedSpan(3, 7, "Q220"),)),
    LinkedText("who is Helen", ()),
]


class FakeLinker:
    """Links every "Paris" to Q90, and ranks every gold entity first."""

    def __init__(self, nlp, name):
        self.cfg = {"seen_ids": ["Q90"]}
        self.kb = InMemoryLookupKB(nlp.vocab, entity_vector_length=1)
        for entity in ("Q90", "Q167646", "Q220"):
            self.kb.add_entity(entity, 1.0, [0.0])
        self.kb.add_alias("Paris", ["Q90", "Q167646"], [0.5, 0.5])
        self.kb.add_alias("Rome", ["Q220"], [1.0])

    def __call__(self, doc):
        places = [i for i, token in enumerate(doc) if token.text == "Paris"]
        spans = [doc[i : i + 1] for i in places]
        doc.set_ents(
            [doc.char_span(s.start_char, s.end_char, label="CITY", kb_id="Q90") for s in spans]
        )
        return doc

    def note_gold_ranks(self, examples):
        for example in examples:
            example.predicted.user_data[RANKS_KEY] = [1] * len(example.reference.ents)


Language.factory("fake_linker", func=FakeLinker)


@pytest.fixture
def nlp(monkeypatch):
    nlp = spacy.blank("en")
    nlp.add_pipe("fake_linker")
    monkeypatch.setattr(evaluate, "find_elq", lambda nlp: nlp.get_pipe("fake_linker"))
    return nlp


@pytest.fixture
def references(nlp):
    return list(docs_from_texts(nlp, ROWS))


def by_part(results):
    return {(result.system, result.part): result for result in results}


def test_whole_set_and_its_parts(nlp, references):
    results = by_part(
        evaluate.evaluate_set(nlp, "dev", references, parts={"first": {ROWS[0].text}, "none": ()})
    )
    whole = results["linker", ""]
    assert whole.texts == 3
    assert whole.speed > 0
    assert whole.scores["elq_weak_r"] == whole.scores["elq_strong_r"] == 0.5
    assert whole.scores["elq_r1"] == 1.0
    assert whole.scores["elq_topic_r"] == 1.0
    assert whole.scores["elq_seen_weak_f"] == 1.0
    assert whole.scores["elq_unseen_weak_f"] == 0.0
    # Labels differ ("CITY", "ENTITY"): spaCy's mention scores must not count them.
    assert (whole.scores["ents_p"], whole.scores["ents_r"]) == (1.0, 0.5)
    assert whole.scores["nel_micro_f"] == 1.0
    sizes = {part: result.texts for (_, part), result in results.items() if part}
    assert sizes == {"unseen": 1, "ambiguous": 1, "first": 1, "none": 0}
    assert results["linker", "unseen"].scores["elq_weak_f"] == 0.0
    assert results["linker", "ambiguous"].scores["elq_weak_f"] == 1.0
    assert results["linker", "first"].scores["elq_weak_f"] == 1.0
    assert results["linker", "none"].scores["elq_weak_f"] == 0.0


def test_means_are_of_systems_that_were_measured_on_all_sets():
    def result(data, system, f, part=""):
        return evaluate.Result(data, system, part, 3, {"elq_weak_f": f, "n": 2, "none": None})

    results = [result("a", "x", 0.5), result("a", "x", 0.1, "unseen"), result("a", "y", 0.9)]
    assert evaluate.mean_results(results) == []
    (mean,) = evaluate.mean_results([*results, result("b", "x", 0.25)])
    assert mean == evaluate.Result("mean", "x", "", 6, {"elq_weak_f": 0.375})


def test_ids_are_compared_without_case(references):
    assert evaluate.is_unseen(references, ["q90"]) == [False, True, False]


def test_the_baseline_is_measured_on_the_same_texts(nlp, references):
    baseline = AliasDictionary([Entity("Q220", "Rome"), Entity("Q2", "Helen")])
    results = by_part(evaluate.evaluate_set(nlp, "dev", references, baseline=baseline))
    scores = results["alias dictionary", ""].scores
    assert (scores["elq_strong_p"], scores["elq_strong_r"]) == (0.5, 0.5)
    assert "elq_r1" not in scores
    assert results["alias dictionary", "unseen"].scores["elq_weak_f"] == 1.0
    # The references stay what they were.
    assert [[ent.kb_id_ for ent in doc.ents] for doc in references] == [["Q90"], ["Q220"], []]


def test_a_pipeline_without_a_linker_has_no_parts():
    nlp = spacy.blank("en")
    assert evaluate.find_elq(nlp) is None
    assert evaluate.seen_ids(nlp) is None
    (result,) = evaluate.evaluate_set(nlp, "dev", list(docs_from_texts(nlp, ROWS)))
    assert result.scores["elq_weak_f"] == 0.0


def test_nothing_is_unseen_where_nothing_was_seen(nlp, references):
    nlp.get_pipe("fake_linker").cfg["seen_ids"] = []
    assert evaluate.seen_ids(nlp) is None
    parts = {result.part for result in evaluate.evaluate_set(nlp, "dev", references)}
    assert parts == {"", "ambiguous"}


def test_every_document_passes_the_watcher(nlp, references):
    watched = []

    def watch(docs):
        for doc in docs:
            watched.append(doc.text)
            yield doc

    evaluate.evaluate_set(nlp, "dev", references, batch_size=2, watch=watch)
    assert watched == [row.text for row in ROWS]


def test_several_linkers_are_refused():
    nlp = spacy.blank("en")
    assert evaluate.find_elq(nlp) is None
    first = nlp.add_pipe("elq")
    assert evaluate.find_elq(nlp) is first
    nlp.add_pipe("elq", name="places")
    with pytest.raises(ElqError, match=r"ELQ453.*elq, places"):
        evaluate.find_elq(nlp)
