"""The project files: every workflow's steps exist, and every command line is one that parses."""

import shlex
from pathlib import Path

import pytest
import typer
from thinc.api import Config
from weasel.cli.document import project_document
from weasel.util.config import load_project_config

from spacy_elq.cli import app

ROOT = Path(__file__).parents[1]
NAMES = ["root", "published", "starter", "wikipedia"]
PROJECTS = [ROOT, *(ROOT / "projects" / name for name in NAMES[1:])]


def scripts(project):
    return [line for c in load_project_config(project)["commands"] for line in c["script"]]


def check_elq(arguments):
    """Parse the arguments of `python -m spacy elq`, without running anything."""
    command = typer.main.get_command(app)
    while hasattr(command, "commands"):
        command = command.commands[arguments.pop(0)]
    command.make_context(command.name, arguments)


def check_config(config, arguments, project):
    """Each `--section.key` of `spacy train` or `spacy assemble` is in the config."""
    config = Config().from_disk(project / config, interpolate=False)
    for argument in arguments:
        if argument.startswith("--") and "." in argument:
            *sections, key = argument[2:].split(".")
            block = config
            for section in sections:
                block = block[section]
            assert key in block, argument


@pytest.mark.slow
@pytest.mark.parametrize("project", PROJECTS, ids=NAMES)
def test_command_lines_parse(project):
    for line in scripts(project):
        python, *arguments = shlex.split(line)
        assert python == "python"
        if arguments[:3] == ["-m", "spacy", "elq"]:
            check_elq(arguments[3:])
        elif arguments[:2] == ["-m", "spacy"] and arguments[2] in ("train", "assemble"):
            check_config(arguments[3], arguments[4:], project)


@pytest.mark.parametrize("project", PROJECTS, ids=NAMES)
def test_projects_can_be_documented(project, tmp_path):
    project_document(project, tmp_path / "README.md")
    documented = (tmp_path / "README.md").read_text(encoding="utf8")
    for name in load_project_config(project)["workflows"]:
        assert f"`{name}`" in documented


def test_published_workflows():
    config = load_project_config(PROJECTS[1])
    assert set(config["workflows"]) == {
        "webqsp", "wikipedia", "webqsp-finetune", "embed", "evaluate",
    }  # fmt: skip
    # Without them everything else still works.
    assert all(asset["extra"] for asset in config["assets"])
    assert all(
        asset["url"].startswith("http://dl.fbaipublicfiles.com/") for asset in config["assets"]
    )


@pytest.mark.slow
def test_the_gpu_is_one_variable():
    for project in PROJECTS:
        for line in scripts(project):
            if "spacy train" in line or "elq evaluate" in line:
                gpu = load_project_config(project)["vars"]["gpu_id"]
                assert line.endswith(f"--gpu-id {gpu}")


def named_files(line, project):
    """What a command line names of the project's own data: inputs, and outputs."""
    data = [str(v) for v in load_project_config(project)["vars"].values() if "/" in str(v)]
    return {word for word in shlex.split(line) if word.startswith(("assets/", *data))}


@pytest.mark.slow
@pytest.mark.parametrize("project", PROJECTS, ids=NAMES)
def test_steps_depend_on_the_data_that_they_read(project):
    for command in load_project_config(project)["commands"]:
        groups = (command.get(name, ()) for name in ("deps", "outputs", "outputs_no_cache"))
        as_list = [Path(file) for group in groups for file in group]
        files = {w for line in command["script"] for w in named_files(line, project)}
        for file in files:
            if Path(file).suffix in (".jsonl", ".txt", ".bin", ".t7", ".pkl"):
                assert Path(file) in as_list, (command["name"], file)


def test_pipelines_count_as_changed_with_their_knowledge_base():
    for command in load_project_config(PROJECTS[1])["commands"]:
        deps = command["deps"]
        assert not any(dep.endswith("meta.json") for dep in deps)
        for dep in deps:
            if dep.endswith("/elq/model"):
                assert dep.replace("/elq/model", "/elq/kb/manifest.json") in deps


def test_clean_removes_what_the_steps_make():
    config = load_project_config(ROOT)
    (line,) = next(c["script"] for c in config["commands"] if c["name"] == "clean")
    for command in config["commands"]:
        for output in (*command.get("outputs", ()), *command.get("outputs_no_cache", ())):
            assert f"'{'/'.join(Path(output).parts[:2])}'" in line, output
