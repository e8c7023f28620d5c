import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import spacy
import typer
from spacy.cli._util import app as spacy_app
from spacy.language import Language
from typer.testing import CliRunner

from spacy_elq import ElqError
from spacy_elq.cli import app
from spacy_elq.cli._common import BATCH_SIZE, handle_errors
from spacy_elq.cli._scores import format_scores
from spacy_elq.corpora.convert import FORMATS
from spacy_elq.evaluation.evaluate import Result, evaluate_set
from spacy_elq.evaluation.scorer import make_elq_scorer

from ..helpers import run, write_jsonl
from .helpers import ROWS

ENTITIES = [{"id": "Q220", "title": "Rome"}, {"id": "Q90", "title": "Paris"}]


def test_mounted_in_spacys_command_line():
    result = CliRunner().invoke(spacy_app, ["elq", "--help"])
    assert result.exit_code == 0
    assert {"convert", "evaluate", "report", "tune"} <= set(result.stdout.split())
    listing = CliRunner().invoke(spacy_app, ["--help"]).stdout
    assert any(line.split()[:1] == ["elq"] for line in listing.splitlines())


@pytest.mark.slow
def test_starts_from_spacys_main_module():
    done = subprocess.run(
        [sys.executable, "-m", "spacy", "elq", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "report" in done.stdout


@pytest.mark.slow
def test_importing_the_commands_loads_nothing_heavy():
    # What spaCy itself loads is not ours to avoid.
    heavy = {"faiss", "transformers", "spacy_transformers", "tqdm"}
    code = (
        "import sys, spacy.cli; before = set(sys.modules); import spacy_elq.cli;"
        f"sys.exit(repr(({heavy!r} & set(sys.modules)) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == "set()"


@pytest.mark.parametrize("command", ["convert", "evaluate", "report"])
def test_help_has_an_example(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"python -m spacy elq {command}" in " ".join(result.stdout.split())


def test_convert_there_and_back(data, tmp_path):
    result = run("convert", data, tmp_path / "a.spacy")
    assert result.exit_code == 0
    assert "2 texts, 2 spans" in result.stderr
    assert "widened to whole tokens: 1" in result.stderr
    assert result.stdout == ""
    result = run("convert", tmp_path / "a.spacy", tmp_path / "b.txt", "--to", "spans-jsonl", "-q")
    assert (result.exit_code, result.output) == (0, "")
    lines = (tmp_path / "b.txt").read_text().splitlines()
    assert [json.loads(line)["spans"][0]["id"] for line in lines] == ["Q90", "Q220"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("convert", "none.jsonl", "a.spacy"), "none.jsonl: No such file or directory"),
        (("convert", "bad.jsonl", "a.spacy"), "bad.jsonl:1"),
        (("convert", "dev.jsonl", "a.odd"), "ELQ312"),
        (("convert", "dev.jsonl", "a.spacy", "--lang", "qq"), "ELQ404"),
        (("convert", "dev.jsonl", "."), "ELQ312"),
        (("evaluate", "no-such-pipeline", "dev.jsonl"), "ELQ401"),
        (("evaluate", "pipeline", "none.jsonl"), "none.jsonl"),
        (("evaluate", "kb", "dev.jsonl"), "python -m spacy elq start OUT --kb kb"),
        (("evaluate", "pipeline", "empty.jsonl"), "ELQ406"),
        (("evaluate", "pipeline", "dev.jsonl", "--part", "x"), "ELQ405"),
        (("evaluate", "pipeline", "dev.jsonl", "--to", "nif"), "ELQ457"),
        (("evaluate", "pipeline", "dev.jsonl", "--to", "x", "--predictions", "out"), "ELQ311"),
        (("evaluate", "pipeline", "dev.jsonl", "--train", "dev.jsonl"), "ELQ457"),
        (("evaluate", "pipeline", "dev.jsonl", "--min-link-probability", "0.1"), "ELQ457"),
        (("evaluate", "pipeline", "dev.jsonl", "--threshold", "-2"), "ELQ403"),
        (("report", "pipeline", "empty.jsonl", "a.html"), "ELQ406"),
        (("report", "pipeline", "dev.jsonl", "pipeline"), "pipeline: Is a directory"),
        (("convert", "large.jsonl", "a.spacy"), "ELQ451"),
        (("convert", "deep.jsonl", "a.spacy"), "ELQ451"),
    ],
)
def test_bad_input_is_one_line_and_exit_1(
    arguments, message, data, pipeline, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("kb").mkdir()
    Path("kb", "manifest.json").touch()
    Path("bad.jsonl").write_text("no json\n")
    Path("large.jsonl").write_text('{"text": "a", "n": 18446744073709551616}\n')
    Path("deep.jsonl").write_text('{"text": "a", "n": ' + "[" * 600 + "]" * 600 + "}\n")
    Path("empty.jsonl").touch()
    result = run(*arguments, "--quiet")
    assert result.exit_code == 1
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("Error: ")
    assert message in line
    assert result.stdout == ""


def test_evaluate_prints_a_table_and_writes_json(data, pipeline, tmp_path):
    entities = write_jsonl(tmp_path / "entities.jsonl", ENTITIES)
    part = write_jsonl(tmp_path / "part.jsonl", ROWS[1:])
    output = tmp_path / "scores.json"
    result = run(
        *("evaluate", pipeline, data, data, "--output", output),
        *("--baseline", entities, "--train", data, "--part", f"rome={part}", "-b", 8),
    )
    assert result.exit_code == 0, result.output
    tables = [table.splitlines() for table in result.stdout.split("\n\n")]
    assert len(tables) == 3
    for lines in tables:
        assert lines[0].split()[:3] == ["set", "system", "texts"]
        assert len(lines) == 1 + 2 * 4
    assert "batch size 8" in result.stderr
    saved = json.loads(output.read_text())
    assert saved["batch_size"] == 8
    found = {(r["system"], r["part"]): r for r in saved["results"]}
    assert found["linker", ""]["scores"]["elq_strong_r"] == 0.5
    assert found["linker", "rome"]["scores"]["elq_strong_r"] == 0.0
    assert found["alias dictionary", ""]["scores"]["elq_strong_f"] == 1.0
    assert found["linker", ""]["speed"] > 0


@pytest.mark.slow
def test_an_interrupt_says_what_is_kept(data, pipeline, tmp_path, monkeypatch):
    other, links = write_jsonl(tmp_path / "other.jsonl", ROWS), tmp_path / "links"

    def interrupt(*args, **kwargs):
        if links.exists():
            raise KeyboardInterrupt
        return evaluate_set(*args, **kwargs)

    monkeypatch.setattr("spacy_elq.evaluation.evaluate.evaluate_set", interrupt)
    result = run("evaluate", pipeline, data, other, "--predictions", links, "-q")
    assert result.exit_code == 130
    assert [path.name for path in links.iterdir()] == ["dev.jsonl"]
    assert "the links of finished sets are in --predictions" in result.stderr


def test_the_formats_of_predictions_are_those_of_the_table():
    shown = "".join(
        char for char in run("evaluate", "--help").stdout if char.isalnum() or char in ",-"
    )
    assert ",".join(FORMATS) in shown


@pytest.mark.slow
def test_gold_entities_that_the_linker_cannot_find_are_told(data, trained_path, tmp_path):
    for command in (["evaluate"], ["report", tmp_path / "page.html"], ["tune"]):
        result = run(command[0], trained_path, data, *command[1:])
        line = "dev.jsonl: 2 of 2 gold entities are not in the knowledge base: Q90, Q220\n"
        assert line in result.stderr, command
        assert "gold entities" not in run(command[0], trained_path, data, *command[1:], "-q").stderr
    rows = [
        {
            "text": "a b c d",
            "spans": [{"start": i, "end": i + 1, "id": f"X{i}"} for i in (0, 2, 4, 6)],
        }
    ]
    known = {"text": "mercury", "spans": [{"start": 0, "end": 7, "id": "Q3"}]}
    result = run("evaluate", trained_path, write_jsonl(data, [*rows, known]))
    assert "4 of 5 gold entities are not in the knowledge base: X0, X2, X4, …\n" in result.stderr


@pytest.mark.slow
def test_report_writes_one_page(data, pipeline, tmp_path):
    page = tmp_path / "page.html"
    result = run("report", pipeline, data, page, "--limit", 1, "--kb-url", "https://kb/{}")
    assert result.exit_code == 0, result.output
    content = page.read_text(encoding="utf8")
    assert "https://kb/Q90" in content
    assert ">Q90<" in content and content.count("<article") == 1
    assert "2 texts, the first 1 are shown" in content


@pytest.mark.slow
def test_outputs_never_replace_an_input(data, pipeline, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = write_jsonl(tmp_path / "other.jsonl", ROWS)
    (tmp_path / "tuned").mkdir()
    tuned = write_jsonl(tmp_path / "tuned" / "tune.json", ROWS)
    before = data.read_bytes()
    for code, *arguments in (
        ("ELQ446", "report", pipeline, data, "dev.jsonl"),
        ("ELQ447", "report", pipeline, data, other),
        ("ELQ446", "evaluate", pipeline, data, "--output", "dev.jsonl"),
        ("ELQ446", "evaluate", pipeline, data, "--baseline", other, "--output", other),
        ("ELQ446", "evaluate", pipeline, data, "--part", f"x={other}", "--output", other),
        ("ELQ446", "convert", data, "dev.jsonl", "--to", "elq-raw"),
        ("ELQ446", "tune", pipeline, tuned, "--from", "spans-jsonl", "--output", "tuned"),
    ):
        result = run(*arguments, "--quiet")
        assert (result.exit_code, result.stdout) == (1, ""), arguments
        assert code in result.stderr
    assert data.read_bytes() == other.read_bytes() == tuned.read_bytes() == before


@pytest.mark.slow
def test_report_writes_over_a_page(data, pipeline, tmp_path):
    page = tmp_path / "page.html"
    for before in ("", "<!DOCTYPE html><p>yesterday"):
        page.write_text(before)
        assert run("report", pipeline, data, page, "--quiet").exit_code == 0
        assert "yesterday" not in page.read_text(encoding="utf8")


def test_table_is_aligned_and_leaves_out_what_nobody_has():
    scores = {"elq_weak_p": 0.25, "elq_links_per_text": 1.5}
    text = format_scores(
        [
            Result("dev", "linker", "", 1000, {**scores, "elq_r1": 1.0}, 148.4),
            Result("dev", "linker", "unseen", 9, scores),
            Result("dev", "linker", "seen", 0, scores),
        ]
    )
    assert text.splitlines() == [
        "set  system    texts  weak P    R@1  links/text  texts/s",
        "dev  linker     1000   0.250  1.000        1.50      148",
        "       unseen      9   0.250      -        1.50        -",
        "       seen        0       -      -           -        -",
    ]


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (ElqError("[ELQ999] two\n  lines"), 1, "Error: [ELQ999] two lines"),
        (FileNotFoundError(2, "No such file or directory", "x"), 1, "Error: x: No such file"),
        (OSError("disk full"), 1, "Error: disk full"),
        (sqlite3.OperationalError("disk I/O error"), 1, "Error: [ELQ450] "),
        (KeyboardInterrupt("5 lines are kept."), 130, "Interrupted. 5 lines are kept."),
        (KeyboardInterrupt(), 130, "Interrupted. The rest is kept."),
    ],
)
def test_how_commands_end(error, status, message):
    single = typer.Typer()

    @single.command()
    @handle_errors("The rest is kept.")
    def fail() -> None:
        raise error

    result = CliRunner().invoke(single, [])
    assert result.exit_code == status
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_other_errors_are_not_hidden():
    @handle_errors()
    def fail() -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        fail()


def test_entry_points_name_things_that_exist():
    assert spacy.registry.cli.get("elq") is app
    assert spacy.registry.scorers.get("spacy-elq.elq_scorer.v1") is make_elq_scorer


@pytest.mark.slow
@pytest.mark.parametrize("command", ["report", "evaluate"])
def test_not_all_texts_are_linked_at_once(command, data, pipeline, tmp_path, monkeypatch):
    sizes, pipe = [], Language.pipe

    def watch(nlp, texts, **options):
        sizes.append(options["batch_size"])
        return pipe(nlp, texts, **options)

    monkeypatch.setattr(Language, "pipe", watch)
    targets = [tmp_path / "page.html"] if command == "report" else []
    assert run(command, pipeline, data, *targets, "--quiet").exit_code == 0
    assert set(sizes) == {BATCH_SIZE}
