"""Mentions with ranked entities: the same whatever is held in memory at once."""

import weakref

import numpy as np
import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.tokens import Doc

from spacy_elq.encoders import question
from spacy_elq.encoders.question import change_encoder
from spacy_elq.kb.knowledge_base import FaissKB
from spacy_elq.linking import propose, rank
from spacy_elq.linking.propose import propose_spans
from spacy_elq.linking.rank import add_namesakes, best_first, link_by_name, rank_entities
from spacy_elq.ml.model import get_encoder, get_heads
from spacy_elq.ml.name_features import LOOSE, MENTION_FEATURES, TITLE, NameMatch
from spacy_elq.pipeline import component

from ..helpers import TEXTS

BONUS = np.array([0.5, 0.25, 0.0, -0.75, 0.125], dtype=np.float32)
ENTITIES, WIDTH, K, MOST = 12, 3, 3, 2


class Vectors:
    """What `add_namesakes` asks of a knowledge base."""

    def __init__(self, vectors):
        self.vectors = vectors
        self.asked = []

    def scores(self, queries, rows):
        self.asked.append(rows.size)
        found = np.einsum("nh,nch->nc", queries, self.vectors[rows])
        return np.where(rows >= 0, found, -np.inf).astype(np.float32)


def name_of(rows, kinds, recased=False, log_share=0.0):
    """The entities in some rows share a name."""
    of_entities = np.zeros((len(rows), len(BONUS)), np.float32)
    of_entities[np.arange(len(rows)), kinds] = 1
    of_entities[:, 3], of_entities[:, 4] = recased, log_share
    return NameMatch(
        np.asarray(rows), np.asarray(kinds), np.zeros(len(MENTION_FEATURES), "f4"), of_entities
    )


@st.composite
def named_mentions(draw):
    """Queries, and for each a name of some entities, or none."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    names = []
    for _ in range(draw(st.integers(1, 4))):
        rows = np.array(draw(st.lists(st.integers(0, ENTITIES - 1), unique=True)), dtype=np.int64)
        kinds = rng.integers(0, 3, len(rows))
        recased, log_share = rng.random(len(rows)) < 0.5, -rng.random(len(rows))
        names.append(name_of(rows, kinds, recased, log_share) if len(rows) else None)
    vectors = rng.normal(size=(ENTITIES, WIDTH)).astype("f4")
    return vectors, rng.normal(size=(len(names), WIDTH)).astype("f4"), names


def plainly(vectors, query, name):
    """One mention by the definition: the K best entities, and the best `MOST` of its namesakes that
    are not among them, by score with what the name is worth."""
    plain = {row: float(vectors[row] @ query) for row in range(ENTITIES)}
    worth = {}
    if name is not None:
        bonus = BONUS[name.kinds] + name.of_entities[:, 3:] @ BONUS[3:]
        worth = dict(zip(name.rows.tolist(), bonus, strict=True))
    scores = {row: score + worth.get(row, 0.0) for row, score in plain.items()}
    retrieved = sorted(plain, key=lambda row: -plain[row])[:K]
    others = sorted(set(worth) - set(retrieved), key=lambda row: -scores[row])[:MOST]
    return sorted(((scores[row], row) for row in [*retrieved, *others]), reverse=True)


@pytest.mark.slow
@given(named_mentions())
def test_namesakes_join_what_was_retrieved(case):
    vectors, queries, names = case
    everything = queries @ vectors.T
    rows = np.argsort(-everything, axis=1)[:, :K]
    scores = np.take_along_axis(everything, rows, axis=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rank, "MAX_NAMESAKES", MOST)
        found = add_namesakes(Vectors(vectors).scores, queries, rows, scores, names, BONUS)
        rows, scores = best_first(*found)
    for i, name in enumerate(names):
        known = rows[i] >= 0
        assert not np.isfinite(scores[i, ~known]).any()
        wanted = plainly(vectors, queries[i], name)
        assert rows[i, known].tolist() == [row for _, row in wanted]
        np.testing.assert_allclose(scores[i, known], [score for score, _ in wanted], atol=1e-5)


def test_a_name_of_very_many_makes_no_room_for_them_beside_every_mention():
    n, common = 50, 2000
    kb = Vectors(np.ones((common, WIDTH), np.float32))
    hit = name_of(np.arange(common), np.zeros(common, np.int64))
    queries = np.ones((n, WIDTH), np.float32)
    retrieved = np.zeros((n, 1), np.int64), np.full((n, 1), WIDTH, np.float32)
    rows, _ = add_namesakes(kb.scores, queries, *retrieved, [hit] + [None] * (n - 1), BONUS)
    assert rows.shape[1] <= rank.MAX_NAMESAKES + 2
    assert max(kb.asked) <= n * (rank.MAX_NAMESAKES + 1)


@pytest.fixture
def nlp(trained_path):
    return spacy.load(trained_path)


@pytest.mark.slow
def test_documents_are_read_some_at_a_time(nlp, monkeypatch):
    elq = nlp.get_pipe("elq")
    docs = [nlp.make_doc(text) for text in ["", *(row["text"] for row in TEXTS), "", " "]]
    before = [[(link.start, link.end, link.id) for link in links] for links in elq.predict(docs)]
    read, forward = [], elq.model._func

    def watch(model, some, is_train):
        read.append(sum(len(doc.text) for doc in some))
        return forward(model, some, is_train)

    monkeypatch.setattr(elq.model, "_func", watch)
    monkeypatch.setattr(propose, "CHUNK_CHARS", 60)
    after = [[(link.start, link.end, link.id) for link in links] for links in elq.predict(docs)]
    assert after == before
    assert sum(read) == sum(len(doc.text) for doc in docs)
    assert len(read) > 1 and max(read) < 60 + 30


@pytest.mark.slow
def test_vectors_of_a_long_document_are_not_held_at_once(nlp, monkeypatch):
    elq = nlp.get_pipe("elq")
    change_encoder(get_encoder(elq.model), max_batch_items=100)
    doc = nlp.make_doc(". ".join(row["text"] for row in TEXTS * 9))
    before = elq.predict([doc])
    made, held, infer = [], [], question.infer

    def watched(*args):
        vectors = infer(*args)
        made.append(weakref.ref(vectors))
        held.append(sum(ref() is not None for ref in made))
        return vectors

    monkeypatch.setattr(question, "infer", watched)
    monkeypatch.setattr(propose, "GROUP_PIECES", 200)
    assert elq.predict([doc]) == before
    assert len(made) > 10 and max(held) <= 6


@pytest.mark.slow
def test_the_first_documents_do_not_wait_for_the_last(nlp, monkeypatch):
    monkeypatch.setattr(component, "BATCH_CHARS", 60)
    drawn = []
    docs = (drawn.append(row) or nlp.make_doc(row["text"]) for row in TEXTS)
    stream = nlp.get_pipe("elq").pipe(docs, batch_size=64)
    next(stream)
    assert sum(len(row["text"]) for row in drawn[:-1]) < 60
    assert 1 + sum(1 for _ in stream) == len(TEXTS)


@pytest.mark.slow
def test_a_given_mention_across_windows_without_an_overlap_is_found_once(nlp):
    elq = nlp.get_pipe("elq")
    change_encoder(get_encoder(elq.model), max_length=6, overlap=0)
    doc = nlp.make_doc("what river runs through paris who did paris marry in georgia")
    given = [[(doc[i].idx, doc[i + 2].idx + len(doc[i + 2])) for i in range(len(doc) - 2)]]
    assert sorted(elq.rank_mentions([doc], given).given.tolist()) == list(range(len(given[0])))


@pytest.mark.slow
def test_a_setting_between_two_calls_lets_mentions_tell_each_other(nlp):
    elq = nlp.get_pipe("elq")
    doc = nlp.make_doc("who did paris hilton marry and where was hilton")
    given = [[(8, 20), (len(doc.text) - 6, len(doc.text))]]
    found = {}
    for weight in (0.0, 1.0, 0.0):
        elq.document_weight = weight
        found.setdefault(weight, []).append(elq.rank_mentions([doc], given))
    off, on = found[0.0][0], found[1.0][0]
    np.testing.assert_array_equal(off.raw_scores, found[0.0][1].raw_scores)
    assert on.mention_score.tolist() == [0, 0]
    long, short = (int(np.flatnonzero(on.given == i)[0]) for i in (0, 1))
    row = on.rows[long, 0]
    before, after = (m.entity_scores[short][m.rows[short] == row] for m in (off, on))
    assert after[0] > before[0]


@pytest.mark.slow
def test_no_more_entities_are_looked_for_than_there_are(nlp):
    elq = nlp.get_pipe("elq")
    kb, heads, asked = elq.kb.view, get_heads(elq.model), []

    def search(queries, k):
        asked.append(k)
        return kb.search(queries, 3)

    (found,) = propose_spans(elq.model, kb, [nlp.make_doc(TEXTS[0]["text"])], elq.settings)
    for top_k in (1, 1_000_000_000):
        rank_entities(found, kb, heads, top_k, search)
    assert asked == [1, len(kb)]


def test_what_the_encoder_cannot_read_is_linked_by_its_exact_name():
    rows = np.array([[5, 4, 3], [5, 4, 3], [5, 4, -1]])
    scores = np.array([[3, 2, 1], [3, 2, 1], [3, 2, -np.inf]], dtype=np.float32)
    name = name_of([3, 5], [TITLE, LOOSE])
    found, left = link_by_name(rows, scores, [name, name, None], np.array([True, False, True]))
    assert found.tolist() == [[3, -1, -1], [5, 4, 3], [-1, -1, -1]]
    assert left[0, 0] == 1
    assert np.isneginf(left[2]).all()


def test_unread_mentions_have_names_or_nothing(nlp, trained_path):
    elq = nlp.get_pipe("elq")
    elq.set_kb(FaissKB.open(trained_path / "elq" / "kb", nlp.vocab, in_place=False))
    elq.add_entities([{"id": "T", "title": "トヨタ"}, {"id": "K", "title": "東京", "type": "city"}])
    doc = Doc(nlp.vocab, words=["トヨタ", "の社長", "is", "東京", "and", "社長"])
    given = [[(token.idx, token.idx + len(token)) for token in doc]]
    mentions = elq.rank_mentions([doc], given)
    kept = [[r for r in rows if r >= 0] for rows in mentions.rows.tolist()]
    ids = [[entity.id for entity in elq.kb.records(rows)] for rows in kept]
    assert [ids[i] for i in (0, 1, 3, 5)] == [["T"], [], ["K"], []]
    assert len(ids[2]) == len(elq.kb)
    assert mentions.entity_scores[[0, 3], 0].tolist() == [0, 0]
    assert np.isneginf(mentions.entity_scores[[1, 5]]).all()
    doc.spans["given"] = [doc[1:2], doc[3:4]]
    elq.mentions = "given"
    assert [link.id for link in elq.predict([doc])[0]] == ["K"]
