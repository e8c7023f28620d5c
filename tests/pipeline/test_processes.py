"""`nlp.pipe` with several processes, in a program of its own."""

import subprocess
import sys

import pytest
import spacy

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
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, str(program), str(pipeline), method, *TEXTS_OF_ALL],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    alone, at_once = done.stdout.splitlines()
    assert alone == at_once
    assert "Q1" in alone
