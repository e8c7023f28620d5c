"""What `elq evaluate` keeps, and what it prints beside: scores of earlier runs, and predictions."""

import json
from pathlib import Path

import pytest

from spacy_elq import ElqError
from spacy_elq.cli._scores import of_set, read_scores, save_scores
from spacy_elq.evaluation.evaluate import Result

from ..helpers import run

PUBLISHED = Path(__file__).parents[2] / "assets" / "published_elq.json"


@pytest.mark.slow
def test_scores_are_printed_beside_those_of_an_earlier_run(data, pipeline, tmp_path):
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    assert run("evaluate", pipeline, data, "--output", first, "--quiet").exit_code == 0
    result = run("evaluate", pipeline, data, "--beside", first, "--output", second, "--quiet")
    assert result.exit_code == 0, result.output
    tables = result.stdout.split("\n\n")
    assert len(tables) == 3
    for _, *lines in map(str.splitlines, tables):
        assert len(lines) == 2
        assert lines[0].split()[:2] == ["dev.jsonl", "linker"]
        assert lines[1].split()[0] == "linker"
    # The other run's scores are shown, not mixed into this one's.
    assert len(json.loads(second.read_text())["results"]) == 1


@pytest.mark.slow
def test_scores_of_other_origin(data, pipeline, tmp_path):
    row = {"data": "dev", "system": "paper", "scores": {"elq_strong_f": 0.701}}
    (tmp_path / "paper.json").write_text(json.dumps({"results": [row, {**row, "data": "test"}]}))
    result = run("evaluate", pipeline, data, "--beside", tmp_path / "paper.json", "--quiet")
    (line,) = [line for line in result.stdout.splitlines() if "paper" in line]
    cells = line.split()
    assert cells[:2] == ["paper", "-"]
    assert cells.count("0.701") == 1
    assert set(cells[2:]) == {"-", "0.701"}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"results": [{"data": "a"}]}',
        '{"results": [{"data": "a", "system": "b", "scores": null}]}',
        '{"results": 1}',
        '{"name": "A"}',
        '{"name": "A", "scores": {}}',
        '{"name": "A", "scores": {"dev": 76.3}}',
        '{"name": "A", "scores": {"dev": "high"}}',
        '{"scores": {"dev": 0.5}}',
    ],
)
def test_a_file_of_something_else_is_named(tmp_path, content):
    (tmp_path / "scores.json").write_text(content)
    with pytest.raises(ElqError, match=r"ELQ333.*scores\.json"):
        read_scores(tmp_path / "scores.json")


def test_scores_round_trip_and_sets_are_found_by_name(tmp_path):
    results = [
        Result("a/dev.jsonl", "linker", "", 3, {"elq_weak_f": 0.5}, 10.0),
        Result("a/dev.jsonl", "linker", "unseen", 1, {"elq_weak_f": 0.25}),
        Result("test", "linker", "", None, {}),
    ]
    save_scores(tmp_path / "scores.json", results, pipeline="p")
    assert read_scores(tmp_path / "scores.json") == results
    assert of_set(results, "a/dev.jsonl") == results[:1]
    assert of_set(results, "b/dev.jsonl") == of_set(results, "dev.spacy") == []
    assert of_set(results, "test.jsonl") == results[2:]


PEERS = [
    {"name": "ReFinED", "scores": {"dev": 0.75, "other": 0.5}},
    {"name": "prior", "scores": {"dev": {"bench_peers_f": 0.25, "bench_p": 0.5}}},
]


@pytest.mark.parametrize("as_lines", [True, False])
def test_figures_of_other_systems_are_read_from_lists_and_lines(tmp_path, as_lines):
    path = tmp_path / "peers.json"
    path.write_text("\n".join(map(json.dumps, PEERS)) if as_lines else json.dumps(PEERS))
    found = read_scores(path)
    assert [(r.system, r.data, r.scores) for r in found] == [
        ("ReFinED", "dev", {"bench_peers_f": 0.75}),
        ("ReFinED", "other", {"bench_peers_f": 0.5}),
        ("prior", "dev", {"bench_peers_f": 0.25, "bench_p": 0.5}),
    ]
    assert of_set(found, "dev.benchmark.jsonl") == [found[0], found[2]]


@pytest.mark.slow
def test_figures_of_other_systems_are_printed_beside_and_averaged(data, pipeline, tmp_path):
    other = tmp_path / "other.jsonl"
    other.write_bytes(data.read_bytes())
    peers, output = tmp_path / "peers.json", tmp_path / "scores.json"
    peers.write_text(json.dumps(PEERS))
    options = ("--compare", peers, "--output", output)
    result = run("evaluate", pipeline, data, other, *options)
    assert result.exit_code == 0, result.output
    published, benchmark, errors = (t.splitlines() for t in result.stdout.split("\n\n"))
    assert [line.split()[:2] for line in published[1:]] == [
        ["dev.jsonl", "linker"], ["other.jsonl", "linker"], ["mean", "linker"],
    ]  # fmt: skip
    rows = [line.split() for line in benchmark[1:]]
    assert [row[:2] for row in rows] == [
        ["dev.jsonl", "linker"], ["ReFinED", "-"], ["prior", "-"],
        ["other.jsonl", "linker"], ["ReFinED", "-"],
        ["mean", "linker"], ["ReFinED", "-"],
    ]  # fmt: skip
    assert "0.750" in rows[1] and "0.500" in rows[4] and "0.625" in rows[6]
    assert "ReFinED" not in "".join(errors)
    saved = json.loads(output.read_text())
    assert {r["data"] for r in saved["results"]} == {"dev.jsonl", "other.jsonl"}
    (mean,) = saved["mean"]
    assert mean["scores"]["bench_f"] == saved["results"][0]["scores"]["bench_f"] > 0
    assert saved["results"][0]["chars_per_second"] > saved["results"][0]["speed"] > 0
    result = run("evaluate", pipeline, data, "--compare", other.with_name("peers.json"))
    assert "other sets" not in result.stderr
    peers.write_text(json.dumps({"name": "A", "scores": {"aida": 0.5}}))
    assert (
        f"{peers} has scores of other sets: aida\n"
        in run("evaluate", pipeline, data, "--compare", peers).stderr
    )


def test_the_published_numbers_are_such_a_file():
    published = read_scores(PUBLISHED)
    assert {result.data for result in published} == {
        "webqsp-test", "graphquestions-test", "aida-test",
    }  # fmt: skip
    for result in published:
        for kind in ("weak", "strong"):
            scores = [result.scores.get(f"elq_{kind}_{measure}") for measure in "prf"]
            if scores[0] is not None:
                p, r, f = scores
                assert f == pytest.approx(2 * p * r / (p + r), abs=1.5e-4), result


@pytest.mark.slow
def test_predictions_are_written_as_rows(data, pipeline, tmp_path):
    result = run("evaluate", pipeline, data, "--predictions", tmp_path / "out", "--quiet")
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in (tmp_path / "out" / "dev.jsonl").read_text().splitlines()]
    assert rows == [
        {
            "text": "is Paris big",
            "spans": [{"start": 3, "end": 8, "id": "Q90", "label": "ENTITY"}],
            "gold": [{"start": 3, "end": 8, "id": "Q90"}],
        },
        {"text": "is Rome big", "spans": [], "gold": [{"start": 3, "end": 7, "id": "Q220"}]},
    ]


@pytest.mark.slow
def test_predictions_never_replace_an_input(data, pipeline, tmp_path):
    before = data.read_bytes()
    other = tmp_path / "other" / "gold.jsonl"
    other.parent.mkdir()
    other.write_bytes(before)
    for directory, *options in (
        [data.parent],
        [other.parent / ".." / "other", "--part", f"x={other}", other],
        [other.parent, "--train", other, "--baseline", other, tmp_path / "gold.jsonl"],
    ):
        (tmp_path / "gold.jsonl").write_bytes(before)
        result = run("evaluate", pipeline, data, *options, "--predictions", directory, "--quiet")
        assert (result.exit_code, result.stdout) == (1, "")
        assert "ELQ408" in result.stderr
        assert "is an input" in result.stderr
    assert data.read_bytes() == other.read_bytes() == before


@pytest.mark.slow
def test_predictions_of_sets_of_one_name_are_refused(data, pipeline, tmp_path):
    other = tmp_path / "b" / "dev.jsonl"
    other.parent.mkdir()
    other.write_bytes(data.read_bytes())
    out = tmp_path / "out"
    result = run("evaluate", pipeline, data, other, "--predictions", out, "--quiet")
    assert result.exit_code == 1
    assert "two sets have its name" in result.stderr
    assert not out.exists()
