"""What an explanation says agrees with what linking does."""

from collections import Counter

import numpy as np
import pytest
import spacy
from spacy.tokens import Span

from spacy_elq import ElqError
from spacy_elq.kb.build import build_kb
from spacy_elq.kb.knowledge_base import FaissKB
from spacy_elq.kb.live.view import View
from spacy_elq.kb.search.file_vectors import SearchResult
from spacy_elq.linking import explanation
from spacy_elq.linking.document import SHORTENED
from spacy_elq.ml.model import get_heads
from spacy_elq.pipeline.lookup import doc_before
from spacy_elq.types import Entity

from ..helpers import TEXTS

LONG = " ".join(row["text"] for row in TEXTS * 5)
MANY = [row["text"] for row in TEXTS] + [
    "paris hilton, mercury: georgia's paris!",
    "paris hilton (PH) and PH",
    LONG,
    "",
    "?!",
]


@pytest.fixture
def nlp(trained_path):
    return spacy.load(trained_path)


@pytest.fixture
def elq(nlp):
    return nlp.get_pipe("elq")


def linked(explained):
    return sorted((s.start, s.end, s.candidates[0].id) for s in explained.spans if not s.cut)


def ents(doc):
    return [(e.start_char, e.end_char, e.kb_id_) for e in doc.ents if e.kb_id_]


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"threshold": -30.0},
        {"threshold": -8.0, "document_weight": 9.0},
        {"document_weight": 0.0},
        {"threshold": -8.0, "abbreviations": True},
        {"threshold": -30.0, "num_cand_mentions": 4},
        {"threshold": -8.0, "word_boundaries": False, "special_tokens": True},
        {"threshold_type": "top_entity_by_mention", "mention_threshold": -9.0},
        {"threshold_type": "thresholded_entity_by_mention", "mention_threshold": -9.0},
        {"threshold": -30.0, "span_group_threshold": -40.0, "max_mention_length": 2, "top_k": 2},
    ],
)
def test_what_is_not_cut_is_what_is_linked(nlp, elq, settings):
    for name, value in settings.items():
        setattr(elq, name, value)
    for text in MANY:
        explained = elq.explain(nlp.make_doc(text))
        assert linked(explained) == ents(nlp(text)), text


@pytest.mark.slow
def test_scores_are_those_of_the_links(nlp, elq):
    doc = nlp("is georgia north of armenia")
    (span,) = (s for s in elq.explain(doc).spans if not s.cut)
    link = doc.ents[0]._.elq
    assert span.score == pytest.approx(link.score)
    assert span.mention_score == pytest.approx(link.mention_score)
    assert span.mention_score == pytest.approx(-np.log1p(np.exp(-span.logit)), abs=1e-6)
    assert [(c.id, c.score) for c in span.candidates] == [(c.id, c.score) for c in link.candidates]
    assert span.candidates[0].description == "country in the Caucasus"
    raw = np.array([c.raw_score for c in span.candidates])
    assert span.entity_score == pytest.approx(raw[0] - np.log(np.exp(raw).sum()), abs=1e-4)


@pytest.mark.slow
def test_what_other_mentions_add_is_told(nlp, elq):
    text = "who did paris hilton marry and where was hilton when paris fell to paris hilton"
    elq.threshold, elq.document_weight = -8.0, 2.0
    shares = [
        (span, candidate)
        for span in elq.explain(nlp.make_doc(text)).spans
        for candidate in span.candidates
        if candidate.document_share
    ]
    assert shares
    for span, candidate in shares:
        start, end = candidate.source
        assert 0 < candidate.document_share <= 2 * SHORTENED
        assert (end <= span.start or span.end <= start) and text[start:end].endswith(span.text)
    elq.document_weight = 0.0
    for span in elq.explain(nlp.make_doc(text)).spans:
        assert not any(c.document_share or c.source for c in span.candidates)


@pytest.mark.slow
def test_every_span_says_truly_what_cut_it(nlp, elq):
    elq.threshold, elq.num_cand_mentions = -9.0, 20
    text = "who did (paris) marry"
    explained = elq.explain(nlp.make_doc(text), limit=1000)
    seen = {span.cut for span in explained.spans}
    wanted = {
        "",
        explanation.INVALID,
        explanation.NOT_A_WORD,
        explanation.MENTION_THRESHOLD,
        explanation.OVERLAP,
    }
    assert wanted <= seen
    kept = [(s.start, s.end, s.score) for s in explained.spans if not s.cut]
    for span in explained.spans:
        if span.cut == explanation.INVALID:
            assert "[CLS]" in span.text or "[SEP]" in span.text
        elif span.cut == explanation.NOT_A_WORD:
            before, after = text[max(0, span.start - 1) : span.start], text[span.end : span.end + 1]
            inside = (before + text[span.start]).isalnum() and before
            at_a_mark = not span.text[0].isalnum() or span.text[-1] == "("
            assert inside or (text[span.end - 1] + after).isalnum() or at_a_mark
        elif span.cut == explanation.MENTION_THRESHOLD:
            assert span.mention_score <= -9.0
        elif span.cut == explanation.JOINT_THRESHOLD:
            assert span.score <= -9.0 < span.mention_score
        elif span.cut == explanation.OVERLAP:
            (blocking,) = ((a, b, s) for a, b, s in kept if (a, b) == span.by)
            assert blocking[0] < span.end and span.start < blocking[1]
            assert blocking[2] >= span.score
    order = [(bool(s.cut), -s.score) for s in explained.spans]
    assert order == sorted(order)


@pytest.mark.slow
def test_spans_beyond_the_best_and_beyond_the_core(nlp, elq):
    elq.threshold, elq.num_cand_mentions = -60.0, 3
    cuts = [s.cut for s in elq.explain(nlp.make_doc(LONG), limit=10_000).spans]
    assert explanation.NOT_AMONG_BEST in cuts
    assert explanation.OUTSIDE_CORE in cuts
    assert explanation.MENTION_THRESHOLD not in cuts


@pytest.mark.slow
def test_limit_keeps_the_likeliest_and_all_that_got_candidates(nlp, elq):
    elq.threshold = -9.0
    doc = nlp.make_doc("who did paris marry")
    every, some = elq.explain(doc, limit=1000).spans, elq.explain(doc, limit=3).spans
    none = elq.explain(doc, limit=0).spans
    early = {explanation.INVALID, explanation.NOT_A_WORD, explanation.MENTION_THRESHOLD}
    assert len(every) > len(some) >= len(none) == len([s for s in every if s.cut not in early])
    assert {s.logit for s in some} >= set(sorted((s.logit for s in every), reverse=True)[:3])


@pytest.mark.slow
def test_names_that_fire(elq_config, kb_path):
    nlp = spacy.blank("en")
    model = {**elq_config["model"], "name_features": True}
    elq = nlp.add_pipe("elq", config={**elq_config, "model": model})
    nlp.initialize()
    elq.set_kb(FaissKB.open(kb_path, nlp.vocab))
    spans = {s.text: s for s in elq.explain("is Quicksilver in paris hilton", limit=999).spans}
    assert spans["Quicksilver"].names == ("verbatim", "alias", "recased")
    assert spans["paris hilton"].names == ("verbatim", "title", "length", "lowered")
    assert spans["paris"].names == ("verbatim", "title", "inside", "lowered")
    assert {c.id: c.name for c in spans["paris"].candidates} == {
        **dict.fromkeys(("Q3", "Q4", "Q5", "Q6"), ""), "Q1": "title", "Q2": "alias",
    }  # fmt: skip
    assert spans["is"].names == ()


@pytest.mark.slow
def test_tells_where_exact_search_chooses_another(nlp, elq, tiny_bert, tmp_path, monkeypatch):
    from spacy_elq.encoders.entity import EntityEncoder
    from spacy_elq.entities.records import entity_from_dict

    from ..helpers import ENTITIES

    get_heads(elq.model).names = None  # or else namesakes make up for what the index misses
    doc = nlp.make_doc("how hot is mercury")
    assert elq.explain(doc).index == "exact"
    (best,) = {s.candidates[0].id for s in elq.explain(doc).spans if s.text == "mercury"}
    out = tmp_path / "kb"
    entities = map(entity_from_dict, ENTITIES)
    build_kb(entities, out, EntityEncoder(str(tiny_bert)), progress=False, index="HNSW4")
    elq.set_kb(FaissKB.open(out, nlp.vocab))
    assert elq.explain(doc).index == "HNSW4"
    assert all(span.exact_id is None for span in elq.explain(doc).spans)
    search = View.search

    def misses_the_best(view, queries, k):
        rows, scores = search(view, queries, k + 1)
        return SearchResult(rows[:, 1:], scores[:, 1:])

    monkeypatch.setattr(View, "search", misses_the_best)
    right = {(s.start, s.end): s for s in elq.explain(doc, exact=False).spans}
    assert all(span.exact_id is None for span in right.values())
    spans = [s for s in elq.explain(doc).spans if s.text == "mercury"]
    assert [s.exact_id for s in spans] == [best]
    assert spans[0].candidates[0].id != best


@pytest.mark.slow
def test_exact_search_is_restricted_too(nlp, elq, tiny_bert, tmp_path):
    from spacy_elq.encoders.entity import EntityEncoder
    from spacy_elq.entities.records import entity_from_dict

    from ..helpers import ENTITIES

    entities = map(entity_from_dict, ENTITIES)
    build_kb(entities, tmp_path / "kb", EntityEncoder(str(tiny_bert)), index="HNSW4")
    elq.set_kb(tmp_path / "kb")
    elq.add_entities([{"id": "N1", "title": "Mercury", "type": "car"}])
    elq.update_entities([{"id": "Q4", "type": "car"}])
    for types in (["city"], ["car"], ["city", "person"]):
        elq.restrict(types=types)
        explained = elq.explain(nlp.make_doc("how hot is mercury"))
        assert any(span.candidates for span in explained.spans)
        assert all(span.exact_id is None for span in explained.spans)


@pytest.mark.slow
def test_given_mentions(nlp, elq):
    elq.mentions = "ents"
    doc = nlp.make_doc("who did paris marry")
    doc.ents = [Span(doc, 0, 1, label="X"), Span(doc, 2, 3, label="X")]
    explained = elq.explain(doc)
    assert {s.text for s in explained.spans} == {"who", "paris"}
    assert all(s.mention_score == 0 for s in explained.spans)
    assert linked(explained) == ents(elq(doc))


@pytest.mark.slow
def test_entities_that_are_there(nlp, elq):
    text = "is georgia north of armenia"
    doc = nlp.make_doc(text)
    doc.ents = [Span(doc, 1, 3, label="X")]
    assert linked(elq.explain(doc)) == [(3, 10, "Q3")]
    elq.overwrite = False
    (span,) = (s for s in elq.explain(doc).spans if s.cut == explanation.TAKEN)
    assert (span.text, span.by) == ("georgia", (3, 16))
    assert ents(elq(doc)) == []
    # What the component itself wrote before is no obstacle.
    assert linked(elq.explain(nlp(text))) == [(3, 10, "Q3")]


def test_texts_and_documents(nlp, elq):
    nlp.add_pipe("sentencizer", before="elq")
    text = "how hot is mercury"
    doc = doc_before(nlp, "elq", text)
    assert doc.has_annotation("SENT_START") and not doc.ents
    assert elq.explain(doc) == elq.explain(text)
    assert not doc.ents and "elq" not in doc.spans


@pytest.mark.slow
def test_an_empty_knowledge_base(nlp, elq):
    width, of = elq.kb.entity_vector_length, elq.kb.fingerprint
    kb = FaissKB(nlp.vocab, width, fingerprint=of, normalized=True)
    elq.set_kb(kb)
    explained = elq.explain("how hot is mercury")
    assert {s.cut for s in explained.spans} >= {explanation.NO_ENTITY}
    assert all(s.candidates == () and s.entity_score == -np.inf for s in explained.spans)
    kb.add([Entity("Z", "Z")], np.eye(1, width, dtype="f4"))
    assert {c.id for s in elq.explain("is it").spans for c in s.candidates} == {"Z"}


@pytest.mark.slow
def test_needs_an_initialized_component(elq_config):
    nlp = spacy.blank("en")
    with pytest.raises(ElqError, match="ELQ106"):
        nlp.add_pipe("elq", config=elq_config).explain("text")


@pytest.mark.slow
def test_the_likeliest_mentions_are_told_and_no_other_gets_a_query(nlp, elq, monkeypatch):
    from spacy_elq.linking import propose

    elq.max_length = 22
    doc, asked, queries = nlp.make_doc(LONG), [], propose._queries

    def watch(heads, batch, spans):
        asked.append(len(spans))
        return queries(heads, batch, spans)

    def spans(explained):  # one place may be in two windows
        return Counter((s.start, s.end, s.text, round(s.logit, 3)) for s in explained.spans)

    monkeypatch.setattr(propose, "_queries", watch)
    everything = elq.explain(doc, limit=1_000_000)
    few = elq.explain(doc, limit=0)
    n_all = sum(asked)
    asked.clear()
    some = elq.explain(doc, limit=10)
    assert sum(asked) < n_all / 3
    assert len(few.spans) <= len(some.spans) <= len(few.spans) + 10
    ranked = sorted(spans(everything).elements(), key=lambda span: -span[-1])
    assert ranked[9][-1] > ranked[10][-1]
    wanted = Counter(ranked[:10])
    assert wanted <= spans(some)
    # Beside them, only those that got candidates when linking.
    assert spans(some) - wanted <= spans(few)
