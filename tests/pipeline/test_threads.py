"""Threads that share a pipeline, or use several of them."""

import copy
import json
import pickle
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest
import spacy
from spacy.vocab import Vocab

from spacy_elq.errors import ElqError
from spacy_elq.kb.knowledge_base import FaissKB
from spacy_elq.ml.pretrained import load_untrained_encoder, save_changes

from ..helpers import ENTITIES, TEXTS

pytestmark = pytest.mark.slow

THREADS = 4
STEPS = 25


def at_once(function, count=THREADS):
    """RETURNS (list): What the function returned in each of several threads that begin together."""
    barrier = threading.Barrier(count)

    def call(number):
        barrier.wait()
        return function(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(call, range(count)))


def links(nlp):
    return [
        [(e.start, e.end, e.kb_id_) for e in doc.ents] for doc in nlp.pipe(t["text"] for t in TEXTS)
    ]


@pytest.fixture(scope="module")
def unused(trained_path, tiny_bert, tmp_path_factory, elq_config):
    """Makes pipelines whose weights and knowledge base nothing has opened yet."""
    directory = tmp_path_factory.mktemp("unused")
    trained = spacy.load(trained_path).get_pipe("elq")
    weights = directory / "weights.safetensors"
    save_changes([trained.model], load_untrained_encoder(str(tiny_bert)), weights, 8)
    trained.kb.to_disk(directory / "KB")

    def make(**config):
        nlp = spacy.blank("en")
        model = {**elq_config["model"], "pretrained": str(weights)}
        nlp.add_pipe("elq", config={**elq_config, "model": model, **config})
        return nlp

    make.kb = str(directory / "KB")
    return make


def test_the_first_call_may_come_from_several_threads(unused, tmp_path):
    expected = links(unused(kb_path=unused.kb))
    assert any(expected)
    unused(kb_path=unused.kb).to_disk(tmp_path / "pipeline")  # never called
    loaded = spacy.load(tmp_path / "pipeline")
    assert at_once(lambda _: links(loaded)) == [expected] * THREADS
    others = [unused(kb_path=unused.kb) for _ in range(THREADS)]
    assert at_once(lambda i: links(others[i])) == [expected] * THREADS
    assert at_once(lambda _: links(spacy.load(tmp_path / "pipeline"))) == [expected] * THREADS


def test_the_first_entities_may_come_from_several_threads(unused):
    elq = unused().get_pipe("elq")
    at_once(lambda i: elq.add_entities([ENTITIES[i]]))
    assert sorted(entity.id for entity in elq.kb) == ["Q1", "Q2", "Q3", "Q4"]


def test_changes_of_several_settings_are_all_kept(unused):
    elq = unused().get_pipe("elq")
    changes = [
        lambda i: setattr(elq, "max_length", 32 + i),
        lambda i: elq.set_training(mention_weight=1.0 + i),
        lambda i: elq.set_training(entity_weight=1.0 + i),
        lambda i: setattr(elq, "top_k", 1 + i),
    ]
    at_once(lambda number: [changes[number](i) for i in range(30)])
    training = elq.training
    assert (elq.max_length, training.mention_weight, training.entity_weight, elq.top_k) == (
        61, 30.0, 30.0, 30,
    )  # fmt: skip


def test_saving_takes_no_weights_from_another_thread(make_nlp, tmp_path):
    nlp = make_nlp()
    expected = nlp.get_pipe("elq").to_bytes(exclude=["vocab"])

    def save(number):
        for i in range(3):
            nlp.get_pipe("elq").to_disk(tmp_path / f"{number}-{i}")
        return nlp.get_pipe("elq").to_bytes(exclude=["vocab"])

    assert {len(data) for data in at_once(save)} == {len(expected)}


def test_each_thread_restricts_for_itself(make_nlp):
    nlp = make_nlp(threshold=-1000.0, mention_threshold=-1000.0)
    elq = nlp.get_pipe("elq")
    everything = frozenset(entity["id"] for entity in ENTITIES)

    def found():
        doc = nlp("who did paris marry")
        return frozenset(c.id for span in doc.spans["elq"] for c in span._.elq.candidates)

    def restrict(number):
        wanted = {f"Q{number + 1}"}
        for _ in range(5):
            with elq.restrict(ids=wanted):
                assert found() == wanted
                with elq.restrict(ids=["Q6"]):
                    assert found() == {"Q6"}
                assert found() == wanted
            assert found() == everything

    elq.restrict(ids=["Q5"])
    at_once(restrict)
    assert found() == {"Q5"}
    elq.restrict()
    assert found() == everything


def test_a_restriction_holds_though_another_thread_sets_the_knowledge_base(make_nlp, kb_path):
    nlp = make_nlp(threshold=-1000.0, mention_threshold=-1000.0)
    elq = nlp.get_pipe("elq")
    with elq.restrict(types=["city"]), ThreadPoolExecutor(1) as pool:
        pool.submit(elq.set_kb, FaissKB.open(kb_path, nlp.vocab, in_place=False)).result()
        assert {ent.kb_id_ for ent in nlp("who did paris marry").ents} == {"Q1"}
        again = copy.deepcopy(elq)
    with ThreadPoolExecutor(1) as pool:  # as in a worker process that was given it
        doc = pool.submit(lambda: next(again.pipe([nlp.make_doc("who did paris marry")]))).result()
    assert {ent.kb_id_ for ent in doc.ents} == {"Q1"}
    assert {ent.kb_id_ for ent in nlp("is georgia north of armenia").ents} > {"Q1"} - {"Q1"}


@pytest.mark.parametrize("how", ["disk", "bytes"])
def test_a_pipe_that_can_not_load_stays_as_it_is(make_nlp, kb_path, tmp_path, how):
    elq, other = make_nlp().get_pipe("elq"), make_nlp().get_pipe("elq")
    FaissKB.open(kb_path, elq.vocab).to_disk(tmp_path / "KB")
    other.set_kb(tmp_path / "KB")
    other.kb_path, other.threshold = str(tmp_path / "KB"), -1.0
    other.to_disk(tmp_path / "other")
    data = other.to_bytes(exclude=["vocab"])
    (tmp_path / "KB" / "manifest.json").unlink()
    kb, threshold = elq.kb, elq.threshold
    with pytest.raises(ElqError, match="ELQ243"):
        elq.from_disk(tmp_path / "other") if how == "disk" else elq.from_bytes(data)
    assert (elq.kb, elq.threshold, elq.kb_path) == (kb, threshold, None)
    assert "elq" in next(elq.pipe([spacy.blank("en")("who did paris marry")])).spans


def test_bytes_may_have_another_entity_encoder(make_nlp, kb_path, tmp_path):
    elq, other = make_nlp().get_pipe("elq"), make_nlp().get_pipe("elq")
    other.kb.to_disk(tmp_path / "kb")
    manifest = tmp_path / "kb" / "manifest.json"
    changed = json.loads(manifest.read_text()) | {"fingerprint": "f" * 16}
    manifest.write_text(json.dumps(changed))
    other.linked_kb._load(FaissKB.open(tmp_path / "kb", other.vocab))
    elq.from_bytes(other.to_bytes(exclude=["vocab"]))
    assert elq.kb.fingerprint == "f" * 16


def test_whatever_threads_do_at_once_nothing_is_lost(trained_path, tmp_path):
    """Two pipelines over one knowledge base, six threads, mixed calls: no error, no half state, and
    in the end each entity that a thread added and did not remove."""
    FaissKB.open(trained_path / "elq" / "kb", Vocab()).to_disk(tmp_path / "KB")
    pipelines = [spacy.load(trained_path) for _ in range(2)]
    for nlp in pipelines:
        nlp.get_pipe("elq").set_kb(tmp_path / "KB")
    counts: Counter[str] = Counter()

    def work(number):
        choose, nlp = Random(number), pipelines[number % 2]
        elq, own = nlp.get_pipe("elq"), set()

        def add():
            id_ = f"T{number}-{len(own)}-{choose.random()}"
            elq.add_entities([{"id": id_, "title": f"Thing {number}"}])
            own.add(id_)

        def update():
            if own:
                elq.update_entities([{"id": min(own), "description": str(choose.random())}])

        def remove():
            if own:
                elq.remove_entities([own.pop()])

        def restrict():
            with elq.restrict(ids=["Q1"]):
                docs = nlp.pipe(text["text"] for text in TEXTS)
                assert {ent.kb_id_ for doc in docs for ent in doc.ents} <= {"Q1"}

        def call():
            for doc in nlp.pipe(text["text"] for text in TEXTS):
                assert all(ent._.elq.id == ent.kb_id_ for ent in doc.ents)

        def change():
            elq.top_k = choose.randint(1, 10)
            elq.max_length = choose.randint(32, 64)

        def set_kb():
            elq.set_kb(tmp_path / "KB")

        def save():
            elq.to_disk(tmp_path / f"saved-{number}")
            elq.to_bytes(exclude=["vocab"])

        def copy_it():
            pickle.loads(pickle.dumps(elq)).predict([nlp.make_doc("who did paris marry")])

        for _ in range(STEPS):
            step = choose.choice([add, add, update, remove, restrict, call, call, change, set_kb])
            step = choose.choice([save, copy_it]) if choose.random() < 0.1 else step
            step()
            counts[step.__name__] += 1
        return own

    left = set().union(*at_once(work, 6))
    assert sum(counts.values()) == 6 * STEPS
    kb = FaissKB.open(tmp_path / "KB", Vocab())
    assert {entity.id for entity in kb} == left | {entity["id"] for entity in ENTITIES}
    print(dict(counts))
