"""A user's way through spaCy's own commands, with the tiny encoder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import spacy
import srsly
from spacy.cli import app as spacy_app
from typer.testing import CliRunner

from ..helpers import TEXTS

pytestmark = pytest.mark.slow

CONFIG = Path(__file__).parents[2] / "configs" / "minilm.cfg"


def run(*args, check=True):
    """spacy …, in this process."""
    done = CliRunner().invoke(spacy_app, [str(arg) for arg in args])
    assert (done.exit_code == 0) or not check, done.output
    return done


def run_process(*args, check=True, cwd=None):
    """python -m spacy …, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "spacy", *map(str, args)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        check=False,
    )
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def overrides(tiny_bert):
    return [
        *("--components.elq.model.pretrained", "null"),
        *("--components.elq.model.encoder.name", tiny_bert),
        *("--components.elq.model.encoder.max_length", 64),
        *("--components.elq.model.encoder.overlap", 24),
        *("--components.elq.entity_encoder.source", tiny_bert),
        *("--components.elq.training.freeze", "[]"),
        *("--training.optimizer.learn_rate.initial_rate", "3e-3"),
    ]


@pytest.fixture(scope="module")
def work(tmp_path_factory, tiny_bert, entities_path, overrides):
    """Data converted, knowledge base built, pipeline trained: all by commands."""
    work = tmp_path_factory.mktemp("work")
    srsly.write_jsonl(work / "texts.jsonl", TEXTS)
    run("elq", "convert", work / "texts.jsonl", work / "texts.spacy")
    run("elq", "kb", "build", entities_path, work / "kb", "--encoder", tiny_bert, "-q")
    run_process(
        *("train", CONFIG, "--output", work / "training"),
        *("--paths.train", work / "texts.spacy", "--paths.dev", work / "texts.spacy"),
        *("--paths.kb", work / "kb", "--training.max_steps", 80),
        *("--training.eval_frequency", 40, "--corpora.train.augmenter.level", 0.0),
        *overrides,
    )
    return work


@pytest.fixture(scope="module")
def pipeline(work):
    return work / "training" / "model-best"


def test_train_learns(pipeline):
    nlp = spacy.load(pipeline)
    assert [e.kb_id_ for e in nlp("is georgia north of armenia").ents] == ["Q3"]
    assert nlp.meta["performance"]["elq_weak_f"] > 0.9


def test_checkpoints_link_the_kb(work):
    # spaCy itself makes model-best by copying model-last.
    paths = [work / "kb", work / "training" / "model-last" / "elq" / "kb"]
    assert len({(path / "vectors.npy").stat().st_ino for path in paths}) == 1


def test_evaluate_puts_scores_into_the_json(work, pipeline):
    out = work / "scores.json"
    run("evaluate", pipeline, work / "texts.spacy", "--output", out)
    scores = json.loads(out.read_text())
    assert scores["elq_weak_f"] > 0.9
    assert scores["elq_r1"] > 0.9


def test_apply_writes_links(work, pipeline):
    from spacy.tokens import DocBin

    run("apply", pipeline, work / "texts.jsonl", work / "applied.spacy")
    docs = list(DocBin().from_disk(work / "applied.spacy").get_docs(spacy.blank("en").vocab))
    assert [e.kb_id_ for e in docs[0].ents] == ["Q1"]
    assert docs[0].ents[0]._.elq.title == "Paris"


def test_elq_evaluate_prints_a_table(work, pipeline, entities_path):
    texts = work / "texts.jsonl"
    done = run_process(
        "elq", "evaluate", pipeline, texts, "--baseline", entities_path, "--train", texts
    )
    assert "linker" in done.stdout and "alias dictionary" in done.stdout


def test_package_loads_from_elsewhere(work, pipeline, tmp_path):
    run("package", pipeline, tmp_path, "--name", "tiny", "--build", "none")
    (package,) = tmp_path.glob("en_tiny-*/en_tiny/en_tiny-*")
    nlp = spacy.load(package)
    assert [e.kb_id_ for e in nlp("how hot is mercury").ents] == ["Q5"]


def test_fill_config_and_debug_config(tmp_path, work, overrides):
    paths = ["--paths.train", work / "texts.spacy", "--paths.dev", work / "texts.spacy"]
    run("init", "fill-config", CONFIG, tmp_path / "filled.cfg")
    assert "[components.elq.training]" in (tmp_path / "filled.cfg").read_text()
    run("debug", "config", tmp_path / "filled.cfg", *paths, "--paths.kb", work / "kb", *overrides)


def test_bad_input_is_one_line_and_status_1(tmp_path):
    done = run_process("elq", "kb", "info", "nowhere", check=False, cwd=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("Error: ") and "nowhere" in line


def test_a_kb_of_another_encoder_is_refused_by_training(work, entities_path, overrides, tmp_path):
    done = run(
        *("train", CONFIG, "--output", tmp_path, "--paths.train", work / "texts.spacy"),
        *("--paths.dev", work / "texts.spacy", "--paths.kb", work / "kb"),
        *overrides,
        *("--components.elq.entity_encoder.pooling", "cls"),
        check=False,
    )
    assert done.exit_code != 0
    assert "ELQ213" in str(done.exception)
