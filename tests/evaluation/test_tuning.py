"""Fitted probabilities, and what the command stores."""

import json
import re
import sys

import numpy as np
import pytest
import spacy
import srsly

from spacy_elq import ElqError
from spacy_elq.evaluation.plots import plot_reliability
from spacy_elq.evaluation.threshold_curve import ScoredLinks
from spacy_elq.evaluation.tuning import fit_calibration, save_settings, tune_threshold
from spacy_elq.linking.calibration import measure_reliability

from ..helpers import TEXTS, run, train


def sample(n=4000, slope=2.0, intercept=3.0, seed=0):
    """Scores, and links that are right as often as σ(slope · score + intercept) says."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(-5, 0, n)
    return scores, rng.random(n) < 1 / (1 + np.exp(-(slope * scores + intercept)))


@pytest.mark.parametrize("method", ["isotonic", "platt"])
def test_a_fit_finds_the_truth(method):
    calibration = fit_calibration(*sample(), method)
    grid = np.linspace(-4.5, -0.5, 9)
    truth = 1 / (1 + np.exp(-(2.0 * grid + 3.0)))
    assert np.abs(calibration(grid) - truth).max() < 0.08
    assert (np.diff(calibration(np.linspace(-9, 2, 99))) >= 0).all()
    # On links that were not seen, too.
    scores, right = sample(seed=1)
    assert measure_reliability(calibration(scores), right).error < 0.03
    assert measure_reliability(np.exp(scores), right).error > 0.1


def test_isotonic_knots_are_those_of_pooled_neighbours():
    scores, right = np.array([-4.0, -3.0, -2.0, -1.0]), np.array([0, 1, 0, 1], dtype=bool)
    # The violators at -3 and -2 are pooled to their mean.
    assert fit_calibration(scores, right, "isotonic")(scores).tolist() == [0.0, 0.5, 0.5, 1.0]


def one_link_each(*right, score=-1.0):
    """Texts of one link each, right or wrong, from better to worse scores."""
    return [
        ScoredLinks([("A", 0, 5)], [("A" if is_right else "B", 0, 5)], [score - 0.1 * i])
        for i, is_right in enumerate(right)
    ]


@pytest.mark.parametrize("method", ["isotonic", "platt"])
@pytest.mark.parametrize("n_wrong", [0, 1])
def test_a_threshold_needs_no_wrong_links(method, n_wrong):
    """All links of a kind in one fold: the others can't be calibrated without it."""
    with pytest.warns(UserWarning, match=rf"ELQ357\] {8 - n_wrong} of 8 links are right"):
        tuning = tune_threshold(
            one_link_each(*[True] * (8 - n_wrong), *[False] * n_wrong), -8.0, method=method
        )
    assert tuning.curve.f[tuning.chosen] == pytest.approx((8 - n_wrong) / (8 - n_wrong / 2))
    assert tuning.calibrated is None
    assert "calibration" not in tuning.to_dict()


def test_no_right_link_gives_no_threshold():
    with pytest.raises(ElqError, match=r"ELQ443.* None of 3 links"):
        tune_threshold(one_link_each(False, False, False), -8.0)


def test_held_out_errors_are_not_those_of_the_fit():
    """Links without any pattern: a fit that saw them looks good, one that did not doesn't."""
    rng = np.random.default_rng(0)
    texts = [
        ScoredLinks([("A", 0, 5)], [(("A", "B")[rng.integers(2)], 0, 5)], [-rng.random()])
        for _ in range(60)
    ]
    calibrated = tune_threshold(texts, -8.0).calibrated
    scores = np.array([text.scores[0] for text in texts])
    right = np.array([text.links[0][0] == "A" for text in texts])
    seen = measure_reliability(calibrated.calibration(scores), right).error
    assert calibrated.all_after.error > 2 * seen


@pytest.mark.parametrize("options", [{"method": "beta"}, {"match": "fuzzy"}])
def test_unknown_options_are_refused(options):
    with pytest.raises(ElqError, match="ELQ110"):
        tune_threshold([], -8.0, **options)


@pytest.mark.parametrize("package", ["sklearn.isotonic", "matplotlib.figure"])
def test_the_extra_is_named_where_it_is_missing(monkeypatch, package, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ElqError, match=r"ELQ442.*spacy-elq\[tune\]"):
        calibration = fit_calibration(*sample(50), "isotonic")
        found = measure_reliability(calibration(np.array([-1.0])), np.array([True]))
        plot_reliability({"calibrated": found})


def test_settings_are_stored_in_a_pipelines_directory_only(make_nlp, tmp_path):
    with pytest.raises(ElqError, match="ELQ444"):
        save_settings(make_nlp(), tmp_path, "elq")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["sklearn.isotonic", "matplotlib.figure"])
def test_what_is_not_installed_is_told_before_the_work(monkeypatch, package, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    result = run("tune", tmp_path / "no_pipeline", tmp_path / "dev.jsonl", "--output", tmp_path)
    assert (result.exit_code, "ELQ442" in result.stderr) == (1, True)


@pytest.mark.slow
def test_what_cannot_be_stored_is_told_before_the_work(make_nlp, tmp_path, monkeypatch):
    nlp, read = make_nlp(), []
    monkeypatch.setattr("spacy_elq.cli.tune.load_pipeline", lambda *_: nlp)
    monkeypatch.setattr("spacy_elq.cli.tune.read_gold_docs", lambda *args: read.append(args))
    result = run("tune", "some_package", tmp_path / "dev.jsonl", "--save")
    assert (result.exit_code, "ELQ444" in result.stderr, read) == (1, True, [])


@pytest.fixture
def pipeline(make_nlp, tmp_path):
    nlp = make_nlp()
    train(nlp, steps=25)
    nlp.to_disk(tmp_path / "pipeline")
    return tmp_path / "pipeline"


@pytest.mark.slow
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
    assert elq.span_group_threshold is None
    assert {path: path.stat().st_mtime_ns for path in kb.iterdir()} == files
    # What the command said of the chosen threshold is what `evaluate` measures.
    scores = tmp_path / "scores.json"
    said = [srsly.read_json(pipeline / "meta.json")]
    run("evaluate", pipeline, tmp_path / "dev.jsonl", "--output", scores, "--save", "--quiet")
    said.append(srsly.read_json(pipeline / "meta.json"))
    measured = json.loads(scores.read_text())["results"][0]["scores"]["elq_weak_f"]
    (row,) = [line.split() for line in result.stdout.splitlines() if "best F1" in line]
    assert float(row[-1]) == pytest.approx(measured, abs=6e-4)
    # Both say so of the pipeline.
    for meta in said:
        assert meta["performance"]["elq_weak_f"] == pytest.approx(measured)
        assert f"above {stored['threshold']}: best F1 on dev.jsonl (P" in meta["notes"]
        assert "isotonic regression), fitted on dev.jsonl" in meta["notes"]
    assert "Not measured" in said[0]["notes"] and said[0]["elq"]["scores"] is None
    assert re.search(rf"\| dev.jsonl \| {len(TEXTS) * 3} \|.* {measured:.3f} \|", said[1]["notes"])
    assert said[1]["elq"]["tuning"] == said[0]["elq"]["tuning"]
    result = run("evaluate", pipeline, tmp_path / "dev.jsonl", "--save", "--threshold", -1)
    assert (result.exit_code, "ELQ468" in result.stderr) == (1, True)
    # The report knows the calibration, too.
    run("report", pipeline, tmp_path / "dev.jsonl", tmp_path / "page.html", "--quiet")
    page = (tmp_path / "page.html").read_text(encoding="utf8")
    assert page.count("<svg") == 2
    assert "calibrated, ECE" in page and "probability: " in page
    # No gold mentions; no floor.
    srsly.write_jsonl(tmp_path / "none.jsonl", [{"text": text["text"]} for text in TEXTS])
    for data, lowest, code in (("none", -20, "ELQ443"), ("dev", "-inf", "ELQ356")):
        result = run("tune", pipeline, tmp_path / f"{data}.jsonl", "--floor", lowest)
        assert (result.exit_code, code in result.stderr) == (1, True)


@pytest.mark.slow
def test_the_command_without_a_wrong_link(make_nlp, tmp_path, monkeypatch):
    nlp = make_nlp()
    nlp.to_disk(tmp_path / "pipeline")
    (tmp_path / "texts.jsonl").write_text("{}")
    before = nlp.get_pipe("elq").calibration
    texts = iter(one_link_each(*[True] * 7))
    monkeypatch.setattr("spacy_elq.cli.tune.load_pipeline", lambda *_: nlp)
    monkeypatch.setattr("spacy_elq.cli.tune.read_gold_docs", lambda *_: [nlp.make_doc("a")] * 7)
    monkeypatch.setattr(
        "spacy_elq.evaluation.threshold_curve.read_scored_links", lambda *_: next(texts)
    )
    arguments = (tmp_path / "pipeline", tmp_path / "texts.jsonl")
    with pytest.warns(UserWarning, match="ELQ357"):
        result = run("tune", *arguments, "--save", "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "best F1" in result.stdout and "ECE" not in result.stdout
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"tune.json", "curve.png"}
    elq = spacy.load(tmp_path / "pipeline").get_pipe("elq")
    assert elq.threshold == json.loads((tmp_path / "out" / "tune.json").read_text())["threshold"]
    assert elq.calibration == before
