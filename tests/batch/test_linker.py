"""One callable on columns, in this process."""

import pickle

import pyarrow as pa
import pytest

from spacy_elq.batch import BatchEmbedder, BatchLinker, linker
from spacy_elq.encoders.entity import EntityEncoder
from spacy_elq.errors import ElqError
from spacy_elq.pipeline.loading import load_pipeline
from spacy_elq.types import Entity

from ..helpers import TEXTS

pd = pytest.importorskip("pandas")
SOME = [row["text"] for row in TEXTS]
FIELDS = ["start", "end", "id", "title", "label", "score", "prob", "mention_score"]


@pytest.fixture(scope="module")
def link(trained_path):
    return BatchLinker(trained_path)


def places(spans):
    return [[(span["start"], span["end"], span["id"]) for span in each] for each in spans]


def expected(trained_path, texts):
    nlp = load_pipeline(str(trained_path))
    return [
        [(ent.start_char, ent.end_char, ent.kb_id_) for ent in doc.ents if ent.kb_id_]
        for doc in nlp.pipe(texts)
    ]


@pytest.mark.slow
def test_links_are_those_of_the_pipeline(link, trained_path):
    result = link({"text": SOME, "n": list(range(len(SOME)))})
    wanted = expected(trained_path, SOME)
    assert any(wanted)
    assert places(result["spans"]) == wanted
    assert result["error"] == [None] * len(SOME)
    assert list(next(filter(None, result["spans"]))[0]) == FIELDS
    table = link(pa.table({"text": SOME}))
    assert places(table.column("spans").to_pylist()) == wanted
    assert table.schema == link.schema(pa.schema({"text": pa.string()}))
    (frame,) = link.in_pandas([pd.DataFrame({"text": SOME})])
    assert places(frame["spans"]) == wanted
    assert link.in_pandas(iter([])) is not None


@pytest.mark.slow
def test_bad_rows_lose_nothing_but_themselves(link, trained_path, monkeypatch):
    good = SOME[0]
    texts = [good, None, "", 5, "x" * 1_000_001, "half \ud800", good, float("nan")]
    result = link({"text": texts})
    wanted = expected(trained_path, [good])[0]
    assert places(result["spans"]) == [wanted, [], [], [], [], [], wanted, []]
    codes = [error and error[1:7] for error in result["error"]]
    absent = "ELQ138"
    assert codes == [None, absent, None, absent, "ELQ424", "ELQ432", None, absent]

    through = linker.link_texts

    def fails(nlp, texts, *args):
        if "boom" in texts:
            raise RuntimeError("odd input")
        return through(nlp, texts, *args)

    monkeypatch.setattr(linker, "link_texts", fails)
    result = link({"text": [good, "boom", good]})
    assert places(result["spans"]) == [wanted, [], wanted]
    assert result["error"] == [None, "odd input", None]


@pytest.mark.slow
def test_running_out_of_memory_is_no_fault_of_a_row(link, monkeypatch):
    def fails(*args):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(linker, "link_texts", fails)
    with pytest.raises(MemoryError):
        link({"text": ["one"]})


@pytest.mark.slow
def test_a_copy_in_a_process_uses_the_pipeline_that_is_loaded(link, monkeypatch):
    link({"text": SOME[:1]})
    data = pickle.dumps(link)
    assert len(data) < 1000
    monkeypatch.setattr(linker, "load_linker", None)
    assert pickle.loads(data)({"text": SOME[:1]}) == link({"text": SOME[:1]})


@pytest.mark.slow
def test_settings(trained_path):
    link = BatchLinker(trained_path, output="links", error="why", candidates=True, top_k=2)
    result = link(pa.table({"text": SOME, "why": [1] * len(SOME)}))
    assert result.schema == link.schema(pa.schema({"text": pa.string(), "why": pa.int64()}))
    spans = [span for row in result.column("links").to_pylist() for span in row]
    assert spans and all(span["candidates"] for span in spans)
    assert all(span["candidates"][0]["id"] == span["id"] for span in spans)
    strict = BatchLinker(trained_path, threshold=0.0)
    assert not any(strict({"text": SOME})["spans"])


def test_nothing_is_loaded_before_the_first_call():
    link = BatchLinker("nowhere")
    assert pickle.loads(pickle.dumps(link)) == link
    assert link.schema().names == ["spans", "error"]
    with pytest.raises(ElqError, match="ELQ401"):
        link({"text": ["a"]})


# Vectors


def test_vectors_are_those_of_the_encoder(tiny_bert):
    embed = pickle.loads(pickle.dumps(BatchEmbedder(str(tiny_bert))))
    data = {
        "id": ["Q1", "Q2", "", "Q4"],
        "title": ["paris", "georgia", "nowhere", "mercury"],
        "description": ["capital", None, None, ""],
        "aliases": [["lutetia", "paname"], None, [], ["quicksilver"]],
        "rank": [1, 2, 3, 4],
    }
    entities = [
        Entity("Q1", "paris", "capital", ("lutetia", "paname")),
        Entity("Q2", "georgia"),
        Entity("Q4", "mercury", "", ("quicksilver",)),
    ]
    vectors, _ = EntityEncoder(str(tiny_bert)).encode(entities)
    for batch in (data, pa.table(data), pd.DataFrame(data)):
        result = embed(batch)
        assert type(result) is type(batch)
        found = result["vectors"].to_pylist() if isinstance(batch, pa.Table) else result["vectors"]
        assert [len(each) for each in found] == [3, 1, 0, 2]
        flat = [vector for each in found for vector in each]
        assert [list(vector) for vector in flat] == vectors.tolist()
        assert "ELQ232" in str(result["error"][2])
    assert embed(pa.table(data)).schema == embed.schema(pa.table(data).schema)
