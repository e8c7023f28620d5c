"""Other processes: those of `nlp.pipe`, and those that get a pickle or a document."""

import pickle
import subprocess
import sys

import pytest
import spacy
from spacy.tokens import DocBin

from ..helpers import TEXTS

pytestmark = pytest.mark.slow

TEXTS_OF_ALL = [row["text"] for row in TEXTS]
PROGRAM = """
import multiprocessing, sys, spacy, torch

if __name__ == "__main__":
    path, method, *texts = sys.argv[1:]
    multiprocessing.set_start_method(method)
    torch.set_num_threads(2)
    nlp = spacy.load(path)
    # The parent's threads have worked before: a forked process that waits for them would hang.
    for docs in (map(nlp, texts), nlp.pipe(texts, n_process=2, batch_size=2)):
        print([[(e.start_char, e.end_char, e.kb_id_) for e in doc.ents] for doc in docs])
"""


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    """With the weights that come with the package: large enough for torch to use threads."""
    nlp = spacy.blank("en")
    nlp.add_pipe("elq").add_entities([{"id": "Q1", "title": "Paris"}])
    nlp.to_disk(path := tmp_path_factory.mktemp("pipeline"))
    return path


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_worker_processes_give_the_same(pipeline, tmp_path, method):
    printed = run(tmp_path, PROGRAM, pipeline, method, *TEXTS_OF_ALL)
    alone, at_once = printed.splitlines()
    assert alone == at_once
    assert "Q1" in alone


def run(tmp_path, program, *arguments):
    """RETURNS (str): What a new process prints."""
    file = tmp_path / "program.py"
    file.write_text(program)
    done = subprocess.run(
        [sys.executable, str(file), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


UNPICKLE = """
import pickle, sys, torch

if __name__ == "__main__":
    torch.set_num_threads(2)
    with open(sys.argv[1], "rb") as file:
        nlp = pickle.load(file)
    texts = sys.argv[2:]
    for docs in (map(nlp, texts), nlp.pipe(texts, n_process=2, batch_size=2)):
        print([[(e.kb_id_, e._.elq.title) for e in doc.ents] for doc in docs])
"""


def test_an_unpickled_pipeline_works_as_one_that_was_made(pipeline, tmp_path):
    (tmp_path / "nlp.pickle").write_bytes(pickle.dumps(spacy.load(pipeline)))
    alone, at_once = run(tmp_path, UNPICKLE, tmp_path / "nlp.pickle", *TEXTS_OF_ALL).splitlines()
    assert alone == at_once
    assert "('Q1', 'Paris')" in alone


READ = """
import pickle, sys
import spacy_elq
from spacy.tokens import DocBin
from spacy.vocab import Vocab

docs = DocBin().from_disk(sys.argv[1]).get_docs(Vocab())
with open(sys.argv[2], "rb") as file:
    docs = [*docs, pickle.load(file)]
print([[ent._.elq.title for ent in doc.ents] for doc in docs])
"""


def test_documents_are_read_where_no_component_was_made(pipeline, tmp_path):
    doc = spacy.load(pipeline)("who did paris marry")
    DocBin(docs=[doc]).to_disk(tmp_path / "docs.spacy")
    (tmp_path / "doc.pickle").write_bytes(pickle.dumps(doc))
    printed = run(tmp_path, READ, tmp_path / "docs.spacy", tmp_path / "doc.pickle")
    assert printed.strip() == "[['Paris'], ['Paris']]"


RESTRICTED = """
import multiprocessing, sys, spacy

if __name__ == "__main__":
    path, method, *texts = sys.argv[1:]
    multiprocessing.set_start_method(method)
    nlp = spacy.load(path)
    with nlp.get_pipe("elq").restrict(ids=["Q2"]):
        docs = list(nlp.pipe(texts, n_process=2, batch_size=2))
    print(sorted({e.kb_id_ for doc in docs for e in doc.ents}))
    print(sorted({e.kb_id_ for doc in nlp.pipe(texts) for e in doc.ents}))
"""


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_worker_processes_restrict_as_their_parent_does(pipeline, tmp_path, method):
    nlp = spacy.load(pipeline)
    nlp.get_pipe("elq").kb_path = None
    nlp.get_pipe("elq").add_entities([{"id": "Q2", "title": "Georgia"}])
    nlp.to_disk(tmp_path / "pipeline")
    printed = run(tmp_path, RESTRICTED, tmp_path / "pipeline", method, *TEXTS_OF_ALL)
    assert printed.splitlines() == ["['Q2']", "['Q1', 'Q2']"]
