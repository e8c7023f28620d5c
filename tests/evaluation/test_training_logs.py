"""Loggers of a training: lines, picture, TensorBoard."""

import io
import json
import sys

import pytest
import spacy

from spacy_elq import ElqError
from spacy_elq.evaluation.training_logs import create_learning_curve, create_tensorboard


@pytest.fixture
def nlp():
    nlp = spacy.blank("en")
    nlp.config["training"]["score_weights"] = {"elq_weak_f": 1.0, "elq_r1": 0.0, "other": None}
    return nlp


def info(step, score):
    return {
        "step": step,
        "epoch": 0,
        "words": 10 * step,
        "seconds": step,
        "score": score,
        "losses": {"elq": 3.0 * step, "elq_mention": 1.0},
        "other_scores": {"elq_weak_f": score, "elq_r1": 0.5, "per_type": {"city": {"f": 1.0}}},
        "checkpoints": [],
    }


def log(logger, nlp, *infos):
    out = io.StringIO()
    log_step, finish = logger(nlp, out, out)
    for each in infos:
        log_step(None)
        log_step(each)
    finish()
    return out.getvalue()


def test_a_learning_curve_is_kept_over_runs(nlp, tmp_path):
    path = tmp_path / "logs" / "curve.jsonl"
    printed = log(create_learning_curve(path), nlp, info(0, 0.1), info(10, 0.2), info(20, 0.3))
    assert "ELQ_WEAK_F" in printed
    first = path.with_suffix(".png").read_bytes()
    # The run is interrupted and goes on after step 10.
    log(create_learning_curve(path), nlp, info(20, 0.4), info(30, 0.5))
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(row["step"], row["score"]) for row in rows] == [
        (0, 0.1),
        (10, 0.2),
        (20, 0.4),
        (30, 0.5),
    ]
    assert rows[1]["losses"] == {"elq": 30.0, "elq_mention": 1.0}
    assert rows[1]["scores"] == {"elq_weak_f": 0.2, "elq_r1": 0.5}
    assert path.with_suffix(".png").read_bytes()[:4] == b"\x89PNG" != first
    # A new one begins.
    log(create_learning_curve(path), nlp, info(0, 0.6))
    assert len(path.read_text().splitlines()) == 1


def test_without_matplotlib_there_is_no_picture(nlp, tmp_path, monkeypatch):
    monkeypatch.setattr("spacy_elq.evaluation.training_logs.can_draw", lambda: False)
    log(create_learning_curve(tmp_path / "curve.jsonl"), nlp, info(0, 0.1))
    assert [path.name for path in tmp_path.iterdir()] == ["curve.jsonl"]


@pytest.mark.slow
def test_tensorboard(nlp, tmp_path):
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log(create_tensorboard(tmp_path), nlp, info(0, 0.1), info(10, 0.2))
    events = accumulators.EventAccumulator(str(tmp_path))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {
        "score", "loss/elq", "loss/elq_mention", "score/elq_weak_f", "score/elq_r1"
    }  # fmt: skip
    assert [(e.step, round(e.value, 3)) for e in events.Scalars("score")] == [(0, 0.1), (10, 0.2)]


def test_tensorboard_that_is_not_installed(nlp, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ElqError, match=r"ELQ169.*spacy-elq\[loggers\]"):
        create_tensorboard(tmp_path)(nlp, io.StringIO(), io.StringIO())
