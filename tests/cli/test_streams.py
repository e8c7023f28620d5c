"""Commands among closed streams, other encodings, full disks and impossible numbers."""

import errno
import os
import subprocess
import sys

import pytest

from spacy_elq.cli._common import argument_text, handle_errors
from spacy_elq.errors import ElqError
from spacy_elq.files import write_text

from ..helpers import run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a shell and its streams")
ENV = {**os.environ, "HF_HUB_OFFLINE": "1"}


def shell(script, *arguments, **env):
    """Run `elq` as a user does; $ELQ stands for the command."""
    elq = f"{sys.executable} -m spacy elq"
    command = ["bash", "-c", script.replace("ELQ", elq), "bash", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, env={**ENV, **env}, timeout=300)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.slow
@pytest.mark.parametrize("script", ['ELQ link "$1" <&-', 'echo paris | ELQ link "$1" >&-'])
def test_closed_streams_are_named(trained_path, script):
    status, _, stderr = shell(script, trained_path)
    assert (status, "Traceback" in stderr) == (1, False)
    assert "ELQ434" in stderr.splitlines()[-1]


@pytest.mark.slow
def test_a_closed_standard_error_is_no_error(trained_path):
    status, stdout, _ = shell('ELQ link "$1" "is georgia north of armenia" 2>&-', trained_path)
    assert status == 0 and '"Q3"' in stdout


@pytest.mark.slow
def test_a_reader_may_leave(trained_path, tmp_path):
    (tmp_path / "in.txt").write_text("is georgia north of armenia\n" * 3000)
    script = 'ELQ link "$1" -i "$2" -b 2 | head -n 1'
    status, stdout, stderr = shell(script, trained_path, tmp_path / "in.txt")
    assert (status, stdout.count("\n"), "Traceback" in stderr) == (0, 1, False)


@pytest.mark.slow
@pytest.mark.parametrize(
    "env",
    [
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "POSIX", "PYTHONIOENCODING": "ascii"},
    ],
)
def test_texts_in_any_locale(kb_path, tiny_bert, tmp_path, env):
    import shutil

    shutil.copytree(kb_path, tmp_path / "kb")
    (tmp_path / "e.jsonl").write_text('{"id": "Q72", "title": "Zürich"}\n', encoding="utf8")
    script = 'ELQ kb add "$1" "$2" -e "$3" -q && ELQ kb search "$1" Zürich -k 1 -e "$3"'
    arguments = (tmp_path / "kb", tmp_path / "e.jsonl", tiny_bert)
    status, stdout, stderr = shell(script, *arguments, **env)
    assert (status, "Traceback" in stderr) == (0, False), stderr
    assert stdout.startswith("name\tQ72\tZ")


def test_arguments_are_utf8(monkeypatch):
    assert argument_text("Zürich") == "Zürich"
    monkeypatch.setattr(os, "fsencode", lambda text: text.encode("ascii", "surrogateescape"))
    assert argument_text("Z\udcc3\udcbcrich") == "Zürich"
    with pytest.raises(ElqError, match="ELQ432"):
        argument_text("Z\udcfcrich")


HUGE = "99999999999999999999"


@pytest.mark.parametrize(
    "command",
    [
        *(["link", "P", "text", option] for option in ("-b", "-n", "-k", "-g")),
        *(["explain", "P", "text", option] for option in ("-k", "-c", "--limit", "-g")),
        *(["evaluate", "P", "data", option] for option in ("-b", "-g", "--min-link-probability")),
        *(["report", "P", "data", "out", option] for option in ("--limit", "-g")),
        *(["tune", "P", "data", option] for option in ("-g", "--precision")),
        *(["kb", "build", "E", "KB", option] for option in ("--device", "-g")),
        ["kb", "add", "KB", "E", "-g"],
        ["kb", "search", "KB", "text", "-k"],
        ["start", "OUT", "--kb", "KB", "-g"],
        ["weights", "OUT", "P", "--bits"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("value", [HUGE, f"-{HUGE}", "x", ""])
def test_numbers_have_bounds(command, value):
    result = run(*command, value)
    assert result.exit_code in (1, 2)
    assert "Error" in result.output and "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)


@pytest.mark.parametrize("value", ["9" * 400 + "GB", "-1GB", "0", "nan", "1e3", "", "GB"])
def test_memory_has_bounds(value, entities_path, tmp_path):
    result = run("kb", "build", entities_path, tmp_path / "kb", "--max-ram", value)
    assert (result.exit_code, "ELQ236" in result.stderr) == (1, True)


@pytest.mark.parametrize("out", ["/", ".", "..", "/tmp", "/dev/null", "/dev/null/kb"])
def test_places_that_are_no_knowledge_base(out, entities_path, tiny_bert):
    result = run("kb", "build", entities_path, out, "-e", tiny_bert, "-q")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ") and isinstance(result.exception, SystemExit)


def command_raising(error):
    import typer
    from typer.testing import CliRunner

    single = typer.Typer()

    @single.command()
    @handle_errors()
    def fail() -> None:
        raise error

    return CliRunner().invoke(single, [])


@pytest.mark.parametrize(
    ("error", "messages"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "x"), ("x: No space", "ELQ436")),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "x"), ("x: Disk quota", "ELQ436")),
        (OSError(errno.EROFS, "Read-only file system", "x"), ("x: Read-only", "ELQ436")),
        (PermissionError(errno.EACCES, "Permission denied", "x"), ("x: Permission", "ELQ436")),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "x"), ("x: Is a dir", "ELQ436")),
        (MemoryError("Unable to allocate 9 GiB"), ("Memory ran out", "9 GiB", "ELQ435")),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), ("Memory", "ELQ435")),
        (RuntimeError("CUDA out of memory. Tried"), ("Memory ran out", "ELQ435")),
    ],
)
def test_the_system_says_no(error, messages):
    result = command_raising(error)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ") and all(message in line for message in messages)


def test_other_runtime_errors_are_not_hidden():
    assert isinstance(command_raising(RuntimeError("a bug")).exception, RuntimeError)


def test_a_full_disk_names_the_file(tmp_path):
    """A limit of the size of files is a full disk that tests can make."""
    code = f"""
import resource, signal
from pathlib import Path
from spacy_elq.files import write_text
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    write_text(Path({str(tmp_path / "a.json")!r}), "x" * 5000)
except OSError as err:
    assert err.filename == {str(tmp_path / "a.json")!r}, err.filename
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_in_place_of_a_file_is_named(tmp_path):
    with pytest.raises(IsADirectoryError) as caught:
        write_text(tmp_path, "x")
    assert caught.value.filename == str(tmp_path)
