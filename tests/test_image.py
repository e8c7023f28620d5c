"""The image and the compose file name files and commands that there are. No Docker is needed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from spacy_elq.cli import app

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf8").replace("\\\n", " ")
SERVICE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf8"))["services"]["linker"]
WORKFLOW = (ROOT / ".github" / "workflows" / "image.yml").read_text(encoding="utf8")


def instruction(name: str) -> list[str]:
    (found,) = re.findall(rf"^{name} (\[.*\])$", DOCKERFILE, re.MULTILINE)
    return json.loads(found)


def parse(arguments: list[str]) -> dict[str, Any]:
    """RETURNS (dict): The options of a command of `elq`."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        command, arguments = command.commands[arguments[0]], arguments[1:]
    return command.make_context(command.name, list(arguments)).params


@pytest.mark.parametrize("arguments", [instruction("CMD"), SERVICE["command"]])
def test_the_container_serves(arguments):
    assert instruction("ENTRYPOINT") == ["python", "-m", "spacy", "elq"]
    options = parse(arguments)
    assert options["read_only"] and options["host"] == "0.0.0.0"
    port = str(options["port"])
    assert f"EXPOSE {port}\n" in DOCKERFILE and SERVICE["ports"] == [f"127.0.0.1:{port}:{port}"]
    (mounted,) = (volume.rpartition(":")[2] for volume in SERVICE["volumes"])
    assert Path(options["pipeline"]).parent == Path(mounted)


def test_the_health_check_asks_the_service():
    (check,) = re.findall(r"HEALTHCHECK .*CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    python, flag, code = json.loads(check)
    compile(code, "HEALTHCHECK", "exec")
    assert (python, flag) == ("python", "-c") and "127.0.0.1:8080/health" in code


def test_the_image_gets_the_files_that_it_copies():
    sent = (ROOT / ".dockerignore").read_text(encoding="utf8").splitlines()
    copied = [name for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
              for name in line.split()]  # fmt: skip
    assert {f"!{name}" for name in copied} <= set(sent)
    assert all((ROOT / name).exists() for name in copied)


def test_the_workflow_runs_commands_that_there_are():
    yaml.safe_load(WORKFLOW)
    ran = re.findall(r"docker compose run --rm linker (.*)", WORKFLOW)
    assert [parse(line.split())["quiet"] for line in ran] == [True, True]
