"""Fixtures of the commands: gold texts, and a pipeline that links each Paris to Q90."""

import pytest
import spacy
from spacy.language import Language

from ..helpers import write_jsonl
from .helpers import ROWS


@Language.component("cli_test_linker")
def link_paris(doc):
    doc.set_ents(
        [
            doc.char_span(token.idx, token.idx + len(token), label="ENTITY", kb_id="Q90")
            for token in doc
            if token.text == "Paris"
        ]
    )
    return doc


@pytest.fixture
def data(tmp_path):
    return write_jsonl(tmp_path / "dev.jsonl", ROWS)


@pytest.fixture
def pipeline(tmp_path):
    nlp = spacy.blank("en")
    nlp.add_pipe("cli_test_linker")
    nlp.to_disk(tmp_path / "pipeline")
    return tmp_path / "pipeline"
