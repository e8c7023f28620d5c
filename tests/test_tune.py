"""Fitted probabilities, and what the command stores."""

import json
import re
import sys

import numpy as np
import pytest
import spacy
import srsly

from spacy_elq import ElqError
from spacy_elq.calibration import reliability
from spacy_elq.plots import plot_reliability
from spacy_elq.sweep import ScoredText
from spacy_elq.tune import fit, save, tune

from .cli.test_elq_cli import run
from .conftest import TEXTS, train


def sample(n=4000, slope=2.0, intercept=3.0, seed=0):
    """Scores, and links that are right as often as σ(slope · score + intercept) says."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(-5, 0, n)
    return scores, rng.random(n) < 1 / (1 + np.exp(-(slope * scores + intercept)))


@pytest.mark.parametrize("method", ["isotonic", "platt"])
def test_a_fit_finds_the_truth(method):
    calibration = fit(*sample(), method)
    grid = np.linspace(-4.5, -0.5, 9)
    truth = 1 / (1 + np.exp(-(2.0 * grid + 3.0)))
    assert np.abs(calibration(grid) - truth).max() < 0.08
    assert (np.diff(calibration(np.linspace(-9, 2, 99))) >= 0).all()
    # On links that were not seen, too.
    scores, right = sample(seed=1)
    assert reliability(calibration(scores), right).error < 0.03
    assert reliability(np.exp(scores), right).error > 0.1


def test_isotonic_knots_are_those_of_pooled_neighbours():
    scores, right = np.array([-4.0, -3.0, -2.0, -1.0]), np.array([0, 1, 0, 1], dtype=bool)
    # The violators at -3 and -2 are pooled to their mean.
    assert fit(scores, right, "isotonic")(scores).tolist() == [0.0, 0.5, 0.5, 1.0]


@pytest.mark.parametrize("right", [True, False])
def test_one_kind_of_links_teaches_nothing(right):
    with pytest.raises(ElqError, match="ELQ443"):
        fit(np.array([-1.0, -2.0]), np.array([right, right]), "isotonic")


def test_held_out_errors_are_not_those_of_the_fit():
    """Links without any pattern: a fit that saw them looks good, one that did not doesn't."""
    rng = np.random.default_rng(0)
    found = [
        ScoredText([("A", 0, 5)], [(("A", "B")[rng.integers(2)], 0, 5)], [-rng.random()])
        for _ in range(60)
    ]
    tuning = tune(found, -8.0)
    scores = np.array([text.scores[0] for text in found])
    right = np.array([text.links[0][0] == "A" for text in found])
    assert tuning.all_after.error > 2 * reliability(tuning.calibration(scores), right).error


@pytest.mark.parametrize("options", [{"method": "beta"}, {"match": "fuzzy"}])
def test_unknown_options_are_refused(options):
    with pytest.raises(ElqError, match="ELQ110"):
        tune([], -8.0, **options)


@pytest.mark.parametrize("package", ["sklearn.isotonic", "matplotlib.figure"])
def test_the_extra_is_named_where_it_is_missing(monkeypatch, package, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ElqError, match=r"ELQ442.*spacy-elq\[tune\]"):
        calibration = fit(*sample(50), "isotonic")
        found = reliability(calibration(np.array([-1.0])), np.array([True]))
        plot_reliability(found, found, tmp_path / "a.png")


def test_settings_are_stored_in_a_pipelines_directory_only(make_nlp, tmp_path):
    with pytest.raises(ElqError, match="ELQ444"):
        save(make_nlp(), tmp_path, "elq")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_stored_is_told_before_the_work(make_nlp, tmp_path, monkeypatch):
    nlp, read = make_nlp(), []
    monkeypatch.setattr("spacy_elq.cli.tune.load_pipeline", lambda *_: nlp)
    monkeypatch.setattr("spacy_elq.cli.tune.gold_docs", lambda *args: read.append(args))
    result = run("tune", "some_package", tmp_path / "dev.jsonl", "--save")
    assert (result.exit_code, "ELQ444" in result.stderr, read) == (1, True, [])


@pytest.fixture
def pipeline(make_nlp, tmp_path):
    nlp = make_nlp()
    train(nlp, steps=25)
    nlp.to_disk(tmp_path / "pipeline")
    return tmp_path / "pipeline"


def test_the_command(pipeline, tmp_path):
    srsly.write_jsonl(tmp_path / "dev.jsonl", TEXTS * 3)
    out, kb = tmp_path / "out", pipeline / "elq" / "kb"
    files = {path: path.stat().st_mtime_ns for path in kb.iterdir()}
    options = ("--floor", -20, "--output", out, "--save", "--quiet")
    result = run("tune", pipeline, tmp_path / "dev.jsonl", *options)
    assert result.exit_code == 0, result.output
    stored = json.loads((out / "tune.json").read_text())
    for name in ("curve.png", "reliability.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    assert re.search(rf"^{stored['threshold']:.3f} +best F1 ", result.stdout, re.MULTILINE)
    assert "ECE" in result.stdout
    elq = spacy.load(pipeline).get_pipe("elq")
    assert (elq.threshold, elq.calibration) == (stored["threshold"], stored["calibration"])
    assert elq.floor is None
    assert {path: path.stat().st_mtime_ns for path in kb.iterdir()} == files
    # What the command said of the chosen threshold is what `evaluate` measures.
    scores = tmp_path / "scores.json"
    run("evaluate", pipeline, tmp_path / "dev.jsonl", "--output", scores, "--quiet")
    measured = json.loads(scores.read_text())["results"][0]["scores"]["elq_weak_f"]
    (row,) = [line.split() for line in result.stdout.splitlines() if "best F1" in line]
    assert float(row[-1]) == pytest.approx(measured, abs=6e-4)
    # The report knows the calibration, too.
    run("report", pipeline, tmp_path / "dev.jsonl", tmp_path / "page.html", "--quiet")
    page = (tmp_path / "page.html").read_text(encoding="utf8")
    assert page.count("<svg") == 2
    assert "calibrated probability" in page and "probability: " in page
    # Out of reach.
    options = ("--precision", "1.0", "--floor", -20)
    srsly.write_jsonl(tmp_path / "none.jsonl", [{"text": text["text"]} for text in TEXTS])
    result = run("tune", pipeline, tmp_path / "none.jsonl", *options)
    assert result.exit_code == 1
    assert "ELQ441" in result.stderr
