"""The weights that come with the package, and `elq start`: links to entities never seen."""

import shutil

import pytest
import spacy
import srsly
from typer.testing import CliRunner

from spacy_elq.cli import app
from spacy_elq.ml.pretrained import resolve_weights

ENTITIES = [
    {
        "id": "player",
        "title": "Michael Jordan",
        "aliases": ["Jordan"],
        "description": "American basketball player",
        "type": "person",
    },
    {"id": "kingdom", "title": "Jordan", "description": "country in Western Asia"},
    {
        "id": "bulls",
        "title": "Chicago Bulls",
        "aliases": ["Chicago"],
        "description": "American basketball team",
    },
    {"id": "city", "title": "Chicago", "description": "city in Illinois, United States"},
]
LINKS = {
    "who coached jordan when chicago won its first title?": ["player", "bulls"],
    "what is the capital of jordan?": ["kingdom"],
    "Flights from Chicago to Jordan are long.": ["city", "kingdom"],
    "what time is it": [],
}


def run(*args):
    return CliRunner().invoke(app, [str(arg) for arg in args])


def check(nlp):
    for text, expected in LINKS.items():
        assert [ent.kb_id_ for ent in nlp(text).ents] == expected, text


@pytest.fixture(scope="module")
def entities(tmp_path_factory):
    path = tmp_path_factory.mktemp("start") / "entities.jsonl"
    srsly.write_jsonl(path, ENTITIES)
    return path


@pytest.fixture(scope="module")
def started(entities):
    out = entities.parent / "linker"
    result = run("start", out, "--kb", entities, "--quiet")
    assert result.exit_code == 0, result.output
    return out


def test_a_new_pipe_links_to_entities_that_are_added():
    nlp = spacy.blank("en")
    nlp.add_pipe("elq").add_entities(ENTITIES)
    check(nlp)


@pytest.mark.slow
def test_a_pipeline_of_a_file_of_entities(started):
    nlp = spacy.load(started)
    check(nlp)
    assert nlp("is jordan tall, the player").ents[0].label_ == "person"
    assert not list(started.parent.glob("*.starting"))


@pytest.mark.slow
def test_a_pipeline_of_a_knowledge_base_that_stays_where_it_is(started, tmp_path):
    kb = started / "elq" / "kb"
    result = run("start", tmp_path / "refers", "--kb", kb, "--refer", "-q")
    assert result.exit_code == 0, result.output
    assert not (tmp_path / "refers" / "elq" / "kb").exists()
    check(spacy.load(tmp_path / "refers"))


@pytest.mark.slow
def test_what_can_not_be_started_is_refused(started, entities, tmp_path):
    for code, args in {
        "ELQ211": (started, "--kb", entities),
        "ELQ520": (entities.parent, "--kb", entities),
        "ELQ407": (tmp_path / "out", "--kb", entities, "--refer"),
        "ELQ404": (tmp_path / "out", "--kb", entities, "--lang", "nowhere"),
    }.items():
        result = run("start", *args)
        assert result.exit_code == 1
        assert code in result.output
    assert run("start", tmp_path / "out", "--kb", tmp_path / "none.jsonl").exit_code == 1
    assert not list(tmp_path.glob("out*"))


@pytest.mark.slow
def test_entities_in_the_pipeline_that_is_replaced_are_not_lost(started, tmp_path):
    out = tmp_path / "linker"
    shutil.copytree(started, out)
    srsly.write_jsonl(out / "entities.jsonl", ENTITIES)
    for *options, kb in (["--refer", out / "elq" / "kb"], [out / "entities.jsonl"]):
        result = run("start", out, "--overwrite", *options, "--kb", kb)
        assert (result.exit_code, "ELQ448" in result.output) == (1, True)
    check(spacy.load(out))


@pytest.mark.slow
def test_a_pipeline_is_replaced_after_a_run_was_killed_at_its_end(started, tmp_path):
    out = tmp_path / "linker"
    shutil.copytree(started, out)
    shutil.copytree(started, tmp_path / "linker.starting" / "old")
    result = run("start", out, "--overwrite", "--kb", out / "elq" / "kb", "-q")
    assert result.exit_code == 0, result.output
    check(spacy.load(out))
    assert [path.name for path in tmp_path.iterdir()] == ["linker"]


def test_the_weights_are_small():
    assert resolve_weights("starter").stat().st_size <= 8e6
