"""The examples of the README and of the documentation run as they are written."""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import spacy
import typer
from thinc.api import Config
from typer.testing import CliRunner

from spacy_elq.cli import app

ROOT = Path(__file__).parents[2]
ASSETS = ROOT / "assets"
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md"]
# Pages whose commands and Python run; the others' commands are parsed.
RUN = ["README.md", "knowledge-base.md", "linking.md", "settings.md", "evaluation.md"]
# Not run, but parsed: they train for minutes, serve, or read benchmarks that are not here.
NOT_RUN = ("python -m spacy train", "python -m spacy project", "kore50", "elq serve")
TEXTS = 30
ENTITIES = ["Q41421", "Q810", "Q128109"]


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[str]:
    """The lines of shell examples, continued ones joined."""
    lines = "\n".join([*blocks(page, "bash"), *blocks(page, "")]).replace("\\\n", " ")
    return [line for line in lines.splitlines() if line.startswith("python -m spacy")]


def arguments(line: str) -> list[str]:
    return shlex.split(line, comments=True)[3:]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_parse(page: Path) -> None:
    for line in commands(page):
        kind, *rest = arguments(line)
        if kind == "elq":
            command: Any = typer.main.get_command(app)
            while hasattr(command, "commands"):
                command = command.commands[rest.pop(0)]
            command.make_context(command.name, rest)
        elif kind in ("train", "assemble"):
            config = Config().from_disk(ROOT / rest[0], interpolate=False)
            for argument in rest:
                if argument.startswith("--") and "." in argument:
                    block: Any = config
                    for key in argument[2:].split("."):
                        assert key in block, f"{argument}: {line}"
                        block = block[key]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_are_valid(page: Path) -> None:
    for block in blocks(page, "python"):
        compile(block, page.name, "exec")
    for block in blocks(page, "json"):
        for line in block.splitlines():
            json.loads(line)


def test_the_readme_fits_on_two_screens() -> None:
    assert len(README.read_text(encoding="utf8").splitlines()) <= 150


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with the files that the examples name: a few of the starter data."""
    directory = tmp_path_factory.mktemp("examples")
    records = [json.loads(line) for line in (ASSETS / "entities.jsonl").open(encoding="utf8")]
    texts = [json.loads(line) for line in (ASSETS / "dev.jsonl").open(encoding="utf8")]
    some = {span["id"] for text in texts[:TEXTS] for span in text["spans"]}
    records = [record for record in records if record["id"] in some or record["id"] in ENTITIES]

    def write(name: str, rows: list[Any]) -> None:
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (directory / name).write_text("\n".join(lines) + "\n", encoding="utf8")

    write("entities.jsonl", records)
    write("more.jsonl", [{"id": "X2", "title": "Ken Barlow"}])
    write("questions.txt", ["who coached jordan", "what is paris"])
    write("questions.jsonl", [{"text": "who coached jordan", "n": 1}])
    for name in ("train.jsonl", "dev.jsonl", "test.jsonl"):
        write(name, list(islice(texts, TEXTS)))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        # Loading takes longer than all else; no command here changes what the next one reads.
        patch.setattr(spacy, "load", cache(spacy.load))
        start = "python -m spacy elq start my_linker --kb entities.jsonl"
        assert start in commands(README)
        subprocess.run([sys.executable, *shlex.split(start)[1:], "--quiet"], check=True)
        yield directory


def run_command(line: str) -> str:
    result = CliRunner().invoke(app, arguments(line)[1:], input="")
    assert result.exit_code == 0, f"{line}\n{result.output}\n{result.exception}"
    return result.output


@pytest.mark.slow
@pytest.mark.parametrize("name", RUN)
def test_commands_run(name: str, workspace: Path) -> None:
    page = README if name == "README.md" else ROOT / "docs" / name
    shutil.rmtree("my_kb", ignore_errors=True)
    for made in workspace.glob("linked.jsonl*"):
        made.unlink()
    elq = [line for line in commands(page) if line.startswith("python -m spacy elq")]
    ran = [line for line in elq if "elq start" not in line and not any(n in line for n in NOT_RUN)]
    for line in ran:
        run_command(line)
        if " kb add " in line:
            assert "Ken Barlow" in run_command('python -m spacy elq kb search my_kb "ken barlow"')


def check_outputs(block: str, names: dict[str, Any]) -> int:
    """Run a block; an expression with a comment in the next line has the value in the comment.

    RETURNS (int): How many values were compared.
    """
    lines, compared = block.splitlines(), 0
    for node in ast.parse(block).body:
        code = "\n".join(lines[node.lineno - 1 : node.end_lineno])
        after = lines[node.end_lineno] if node.end_lineno < len(lines) else ""
        if isinstance(node, ast.Expr) and after.startswith("# ["):
            assert eval(code, names) == ast.literal_eval(after[2:]), code
            compared += 1
        else:
            exec(code, names)
    return compared


@pytest.mark.slow
@pytest.mark.parametrize("name", RUN)
def test_python_runs(name: str, workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = README if name == "README.md" else ROOT / "docs" / name
    if not (workspace / "my_kb").exists():
        run_command("python -m spacy elq kb build entities.jsonl my_kb --quiet")
    names: dict[str, Any] = {}
    compared = sum(check_outputs(block, names) for block in blocks(page, "python"))
    assert compared == (1 if page == README else 0)
    if name == "README.md":
        link = names["doc"].ents[0]._.elq
        assert (link.title, link.description) == ("Michael Jordan", "American basketball player")
        assert link.score and link.candidates
