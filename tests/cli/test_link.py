"""`elq link` and `elq explain` as a user meets them."""

import json
import os
import select
import signal
import subprocess
import sys
import time

import pytest
import spacy
import srsly
from rich.cells import cell_len
from rich.console import Console
from spacy.vocab import Vocab
from typer.testing import CliRunner

from spacy_elq.bulk.resume import only_writer
from spacy_elq.cli import app
from spacy_elq.cli._display import Display
from spacy_elq.cli._interactive import Conversation
from spacy_elq.cli._table import format_table
from spacy_elq.kb.knowledge_base import FaissKB
from spacy_elq.linking.explanation import ExplainedCandidate, ExplainedSpan, Explanation

from ..helpers import TEXTS, write_jsonl

QUESTION = "is georgia north of armenia"
ENV = {**os.environ, "HF_HUB_OFFLINE": "1", "TERM": "xterm"}


def run(*args, stdin=None):
    return CliRunner().invoke(app, [str(arg) for arg in args], input=stdin)


def ids(lines):
    return [[span["id"] for span in json.loads(line)["spans"]] for line in lines.splitlines()]


GOLD = [[span["id"] for span in row["spans"]] for row in TEXTS]


@pytest.fixture
def texts(tmp_path):
    rows = [{"id": i, "text": row["text"]} for i, row in enumerate(TEXTS)]
    srsly.write_jsonl(tmp_path / "in.jsonl", rows)
    return tmp_path / "in.jsonl"


def test_texts_of_the_command_line(trained_path):
    result = run("link", trained_path, QUESTION, "what time is it")
    assert (result.exit_code, result.stderr) == (0, "")
    assert ids(result.stdout) == [["Q3"], []]
    (span,) = json.loads(result.stdout.splitlines()[0])["spans"]
    assert (span["start"], span["end"], span["label"], span["title"]) == (
        3,
        10,
        "country",
        "Georgia",
    )
    assert span["candidates"][0].keys() == {"id", "title", "score"}
    assert span["score"] <= span["mention_score"] <= 0


@pytest.mark.slow
def test_standard_input_and_settings(trained_path):
    result = run("link", trained_path, "--quiet", stdin=f"{QUESTION}\n\n")
    assert ids(result.stdout) == [["Q3"], []]
    result = run("link", trained_path, "-i", "-", "-q", "--threshold", 0, stdin=QUESTION)
    assert ids(result.stdout) == [[]]
    result = run("link", trained_path, "-", "-q", stdin=f"{QUESTION}\n")
    assert ids(result.stdout) == [["Q3"]]
    one = json.dumps({"text": QUESTION, "n": 1})
    result = run("link", trained_path, "-i", "-", "-q", "--top-k", 1, "-b", 1, stdin=one)
    (line,) = map(json.loads, result.stdout.splitlines())
    assert line["n"] == 1
    assert {c["id"] for c in line["spans"][0]["candidates"]} == {"Q3", "Q4"}  # and namesakes


@pytest.mark.slow
def test_a_file_is_linked_and_gone_on_with(trained_path, texts, tmp_path):
    out = tmp_path / "out.jsonl"
    command = ("link", trained_path, "-i", texts, "-o", out)
    result = run(*command)
    assert (result.exit_code, result.stdout) == (0, "")
    assert f"{len(TEXTS)} texts" in result.stderr
    whole = out.read_bytes()
    rows = [json.loads(line) for line in whole.splitlines()]
    assert [row["id"] for row in rows] == list(range(len(TEXTS)))
    assert ids(whole) == GOLD
    out.write_bytes(whole[: len(whole) // 2])
    result = run(*command)
    assert "linked already" in result.stderr
    assert [json.loads(line)["id"] for line in out.read_text().splitlines()] == list(range(7))
    assert ids(out.read_text()) == GOLD
    assert run(*command, "--threshold", -1).exit_code == 1
    assert run(*command, "--threshold", 0, "--overwrite", "-q").output == ""
    assert ids(out.read_text()) == [[]] * len(TEXTS)


def test_one_run_at_a_time_writes_an_output(trained_path, texts, tmp_path):
    out, lock = tmp_path / "out.jsonl", tmp_path / "out.jsonl.lock"
    arguments = ("link", trained_path, "-i", texts, "-o", out, "--overwrite", "-q")
    out.write_text("of the other run\n")
    with only_writer(out):
        result = run(*arguments)
        assert result.exit_code == 1 and "ELQ437" in result.stderr
        assert out.read_text() == "of the other run\n"
    lock.touch()  # as a run that was killed leaves it
    assert run(*arguments).exit_code == 0
    assert ids(out.read_text(encoding="utf8")) == GOLD
    assert not lock.exists()


@pytest.mark.slow
def test_a_run_does_not_go_on_with_other_entities(trained_path, kb_path, texts, tmp_path):
    FaissKB.open(kb_path, Vocab()).to_disk(tmp_path / "kb")
    nlp = spacy.load(trained_path)
    nlp.get_pipe("elq").set_kb(FaissKB.open(tmp_path / "kb", nlp.vocab))
    nlp.get_pipe("elq").kb_path = str(tmp_path / "kb")
    nlp.to_disk(tmp_path / "pipeline")
    command = ("link", tmp_path / "pipeline", "-i", texts, "-o", tmp_path / "out.jsonl", "-q")
    assert run(*command).exit_code == run(*command).exit_code == 0
    FaissKB.open(tmp_path / "kb", Vocab()).remove(["Q6"])
    result = run(*command)
    assert (result.exit_code, "kb was" in result.stderr) == (1, True)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
def test_an_output_to_go_on_with_is_not_compressed(trained_path, tmp_path, suffix):
    result = run("link", trained_path, "paris", "-o", tmp_path / f"out.jsonl{suffix}")
    assert (result.exit_code, "ELQ428" in result.stderr) == (1, True)


@pytest.mark.slow
@pytest.mark.parametrize("processes", ["1", "2"])
def test_an_interrupt_keeps_whole_lines(processes, trained_path, tmp_path):
    source, out = tmp_path / "in.txt", tmp_path / "out.jsonl"
    source.write_text("".join(f"{QUESTION} {i}\n" for i in range(3000)))
    command = [sys.executable, "-m", "spacy", "elq", "link", str(trained_path)]
    command += ["-i", str(source), "-o", str(out), "-b", "2", "-n", processes]
    child = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=ENV, preexec_fn=_let_interrupt
    )
    until = time.monotonic() + 300
    while not (out.exists() and out.stat().st_size) and time.monotonic() < until:
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    message = child.communicate(timeout=30)[1]
    assert child.returncode == 130
    assert "run the same command again" in message
    done = out.read_bytes()
    assert f"{len(done.splitlines())} lines are written" in message
    assert 0 < done.count(b"\n") < 3000 and done.endswith(b"\n")
    source.write_text("".join(f"{QUESTION} {i}\n" for i in range(done.count(b"\n") + 5)))
    result = run("link", trained_path, "-i", source, "-o", out, "-b", 64)
    assert result.exit_code == 0, result.output
    assert out.read_bytes().startswith(done)
    assert [json.loads(line)["text"] for line in out.read_text().splitlines()] == (
        source.read_text().splitlines()
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("link", "PIPE", "text", "-i", "in.jsonl"), "ELQ423"),
        (("link", "PIPE", "-i", "none.jsonl"), "none.jsonl: No such file"),
        (("link", "PIPE", "-i", "page.pdf"), "ELQ420"),
        (("link", "PIPE", "-i", "in.jsonl", "-o", "in.jsonl"), "ELQ429"),
        (("link", "PIPE", "-i", "in.jsonl", "-o", "page.pdf"), "ELQ425"),
        (("link", "PIPE", "text", "--top-k", "0"), "ELQ112"),
        (("link", "PIPE", "text", "caf\udce9"), "ELQ432"),
        (("link", "nowhere", "text"), "ELQ401"),
        (("link", "blank", "text"), "ELQ403"),
        (("explain", "nowhere", "text"), "ELQ401"),
        (("explain", "blank", "text"), "ELQ403"),
        (("explain", "PIPE", "caf\udce9"), "ELQ432"),
        (("explain", "PIPE", "text", "--top-k", "0"), "ELQ112"),
        (("link", "PIPE", "text", "--mention-kinds", "concepts"), "ELQ110"),
    ],
)
def test_bad_input(arguments, message, trained_path, texts, monkeypatch):
    monkeypatch.chdir(texts.parent)
    (texts.parent / "page.pdf").write_text("not empty")
    spacy.blank("en").to_disk("blank")
    result = run(*(trained_path if each == "PIPE" else each for each in arguments))
    assert result.exit_code == 1
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("Error: ") and message in line
    assert result.stdout == ""


@pytest.mark.parametrize("command", ["link", "explain"])
def test_help_has_an_example(command):
    result = run(command, "--help")
    assert f"python -m spacy elq {command}" in " ".join(result.stdout.split())


@pytest.mark.slow
def test_explain_prints_tables(trained_path):
    result = run("explain", trained_path, QUESTION, "--candidates", 2, "--limit", 3)
    lines = result.stdout.splitlines()
    assert lines[1].split()[:5] == ["span", "mention", "entity", "none", "joint"]
    assert lines[2].split()[0] == "georgia" and lines[2].endswith("linked")
    assert lines[6].startswith("… and ")
    assert [line.split()[0] for line in lines[7:12]] == ["georgia", "id", "Q3", "Q4", "best"]
    assert len(lines) == 15
    assert "\x1b" not in result.stdout


@pytest.mark.slow
def test_explain_shows_what_can_be_a_mention_and_why_it_was_cut(trained_path):
    found = json.loads(run("explain", trained_path, QUESTION, "--json").stdout)["spans"]
    assert {"invalid", "not a word boundary"} & {span["cut"] for span in found}
    result = run("explain", trained_path, QUESTION, "--limit", 40)
    assert "[CLS]" not in result.stdout and "[SEP]" not in result.stdout
    assert "invalid" not in result.stdout and "not a word" not in result.stdout
    assert "mention threshold" in result.stdout or "joint threshold" in result.stdout


def test_tables_fit_a_terminal_and_are_whole_in_a_pipe(monkeypatch):
    candidates = (ExplainedCandidate("Q" * 10, "title " * 4, "", 0.0, 1.0, ""),)
    span = ExplainedSpan("mention " * 4, 0, 31, 0, 0, 0, 0, 0, (), candidates, "mention threshold")
    explained = Explanation("mention " * 4, 0.0, 0.0, "exact", (span,))
    monkeypatch.setenv("COLUMNS", "90")  # of the terminal that the pipe began on
    piped = Display().format_explanation(explained, 1, 1)
    assert "…" not in piped and "mention threshold" in piped
    fitted = Display(Console(width=90)).format_explanation(explained, 1, 1).splitlines()
    assert "…" in fitted[2] and "0.00" in fitted[2]
    assert 80 <= max(map(len, fitted)) <= 90


def test_wide_characters_are_aligned():
    lines = format_table(
        ["name", "n"], [["東京", "1"], ["[b]Rome[/b] :smile:", "22"]], "lr"
    ).splitlines()
    assert {cell_len(line) for line in lines} == {len("[b]Rome[/b] :smile:") + 4}
    assert lines[2] == "[b]Rome[/b] :smile:  22"


@pytest.mark.slow
def test_explain_as_json(trained_path):
    result = run("explain", trained_path, QUESTION, "--json", "--threshold", -5)
    found = json.loads(result.stdout, parse_constant=pytest.fail)
    assert (found["text"], found["threshold"], found["index"]) == (QUESTION, -5.0, "exact")
    assert found["spans"][0]["cut"] == "" and found["spans"][0]["candidates"][0]["id"] == "Q3"


@pytest.mark.slow
def test_explain_tells_as_many_spans_as_are_asked_for(trained_path):
    text = " ".join(row["text"] for row in TEXTS)
    counts = [
        len(json.loads(run("explain", trained_path, text, "--json", "--limit", n).stdout)["spans"])
        for n in (0, 50, 90)
    ]
    assert counts[0] == counts[1] < 90 <= counts[2]


@pytest.fixture
def talk(trained_path):
    nlp = spacy.load(trained_path)
    said = []
    conversation = Conversation(nlp, nlp.get_pipe("elq"), Display(Console(width=80)), said.append)

    def say(line):
        said.clear()
        return conversation.answer(line), "\n".join(said)

    return say


@pytest.mark.slow
def test_kinds_of_mentions(trained_path, tmp_path):
    text = "How hot is mercury? It is in Paris"
    gold = write_jsonl(
        tmp_path / "gold.jsonl",
        [{"text": text, "spans": [{"start": 11, "end": 18, "id": "Q5"}]}] * 4,
    )
    found = {}
    for kinds in ("names", "all"):
        options = ("--threshold", -30, "--mention-kinds", kinds)
        spans = json.loads(run("link", trained_path, text, *options).stdout)["spans"]
        found[kinds] = {text[span["start"] : span["end"]] for span in spans}
        result = run("explain", trained_path, text, *options, "--json")
        cuts = {span["text"]: span["cut"] for span in json.loads(result.stdout)["spans"]}
        assert (cuts["mercury"] == "not a name") is (kinds == "names")
        scores = tmp_path / f"{kinds}.json"
        result = run("evaluate", trained_path, gold, *options, "-o", scores)
        assert json.loads(scores.read_text())["mention_kinds"] == kinds
    assert "mercury" in found["all"] - found["names"]


@pytest.mark.slow
def test_a_conversation(talk):
    goes_on, said = talk(QUESTION)
    assert goes_on
    marked, header, row = said.splitlines()
    assert marked == "is [georgia] north of armenia"
    assert header.split() == ["mention", "id", "title", "score", "description"]
    assert row.split()[:3] == ["georgia", "Q3", "Georgia"] and "country in the Caucasus" in row
    said = talk("/candidates")[1].splitlines()
    assert said[0] == "georgia" and [line.split()[0] for line in said[2:4]] == ["Q3", "Q4"]
    assert "linked" in talk("/explain")[1]
    assert "mercury" in talk("/explain how hot is mercury")[1]
    said = talk("/threshold 0")[1].splitlines()
    assert said == ["how hot is mercury", "No links.", "threshold 0"]
    assert "[mercury]" in talk("/threshold -2.5")[1]
    assert talk("/top-k 3")[1].endswith("top-k 3")
    assert talk("/top-k") == (True, "top-k 3")
    assert talk("/mention-kinds all")[1].endswith("mention-kinds all")
    assert talk("  ") == (True, "")
    assert talk("/quit") == (False, "")


@pytest.mark.slow
def test_a_conversation_goes_on_after_mistakes(talk):
    assert talk("/candidates")[1] == "No links."
    assert talk("/explain")[1] == "There is no text yet."
    assert "ELQ431" in talk("/threshold low")[1]
    assert "ELQ112" in talk("/top-k 0")[1]
    assert "ELQ110" in talk("/mention-kinds none")[1]
    assert "ELQ432" in talk("caf\udce9")[1] and "ELQ432" in talk("/explain caf\udce9")[1]
    assert talk("/explain")[1] == "There is no text yet."
    assert talk("/top-k")[1] == "top-k 10"
    assert "/candidates" in talk("/nonsense")[1] and "/candidates" in talk("/help")[1]
    assert talk("?")[1] == "?\nNo links."


@pytest.mark.slow
def test_colors(trained_path, monkeypatch):
    doc = spacy.load(trained_path)(QUESTION)
    links = [ent._.elq for ent in doc.ents]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    colored = Display()
    marked = "is \x1b[1;32mgeorgia\x1b[0m north of armenia"
    assert colored.mark_links(QUESTION, links) == marked
    assert colored.tabulate_links(QUESTION, links).splitlines()[1].startswith("\x1b[32mgeorgia")
    monkeypatch.setenv("NO_COLOR", "1")
    assert Display().mark_links(QUESTION, links) == "is [georgia] north of armenia"


# Makes the pseudo-terminal the process's own, so that Ctrl-C interrupts it.
ON_TERMINAL = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGINT, signal.SIG_DFL)
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_on_a_terminal(trained_path, tmp_path):
    import pty

    main, end = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", ON_TERMINAL, "-m", "spacy", "elq", "link", str(trained_path)],
        stdin=end,
        stdout=end,
        stderr=end,
        env={**ENV, "XDG_STATE_HOME": str(tmp_path)},
        start_new_session=True,
    )
    os.close(end)
    _read_until(main, "> ")
    os.write(main, f"{QUESTION}\n".encode())
    assert "\x1b[1;32mgeorgia\x1b[0m" in _read_until(main, "\n> ")
    os.write(main, b"half a line")
    _read_until(main, "half a line")
    time.sleep(0.2)  # a signal between two reads of readline's waits for the next key
    os.write(main, b"\x03")
    _read_until(main, "\n> ")
    os.write(main, b"/threshold 0\n")
    assert "No links." in _read_until(main, "\n> ")
    os.write(main, b"\x04")
    assert child.wait(timeout=30) == 0
    os.close(main)
    history = (tmp_path / "spacy-elq" / "history").read_text()
    assert history.splitlines()[-2:] == [QUESTION, "/threshold 0"]


def _let_interrupt():
    """Where the tests run in the background, processes begin with Ctrl-C ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _read_until(terminal, wanted):
    seen, until = "", time.monotonic() + 120
    while wanted not in seen.replace("\r", ""):
        assert select.select([terminal], [], [], until - time.monotonic())[0], seen
        seen += os.read(terminal, 4096).decode(errors="replace")
    return seen


def test_a_bad_line_does_not_end_the_others(trained_path, tmp_path):
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    good = json.dumps({"text": QUESTION})
    bad = ['{"text": "\\ud800"}', '{"text": 5}', "[" * 5000, json.dumps({"text": "x" * 1_000_001})]
    source.write_text("\n".join([good, *bad, good]) + "\n")
    for _ in range(2):  # the second one finds all texts linked
        result = run("link", trained_path, "-i", source, "-o", out, "-q")
        assert result.exit_code == 1
        assert ids(out.read_text()) == [["Q3"], ["Q3"]]
        *lines, last = result.stderr.splitlines()
        assert [line.split("[")[1][:6] for line in lines] == [
            "ELQ302",
            "ELQ304",
            "ELQ302",
            "ELQ424",
        ]
        assert last == "4 lines of the input were left out."
