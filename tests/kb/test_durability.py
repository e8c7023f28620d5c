"""A short run of what `benchmarks/durability.py` does at length."""

import subprocess
import sys
from pathlib import Path

import pytest

from . import durability

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "durability.py"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="forks, and reads /proc"),
]


def test_random_operations_match_a_plain_model(tmp_path):
    assert durability.run_operations(tmp_path, 400, seed=1)["search"] > 50


def test_a_wrong_answer_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(durability.PlainModel, "remove", lambda model, ids: None)
    with pytest.raises(AssertionError):
        durability.run_operations(tmp_path, 400, seed=1)


def test_killed_writers_keep_what_they_acknowledged(tmp_path):
    found = durability.kill_writers(tmp_path, 6, seed=1)
    assert found["acknowledged"] > 0
    assert found["done"] + found["not done"] == 6


def test_killed_builds_leave_all_or_nothing(tmp_path):
    assert durability.kill_builds(tmp_path, 4, seed=1).total() == 4


def test_killed_embedding_ends_with_the_same_bytes(tmp_path):
    found = durability.kill_embedding(tmp_path, 5, seed=1)
    assert found["killed"] >= 5
    assert found["again"] <= found["killed"]


def test_a_writer_that_fails_does_not_pass_for_a_killed_one(tmp_path, monkeypatch, capfd):
    def fail(*args):
        raise RuntimeError("the writer is broken")

    monkeypatch.setattr(durability, "_write", fail)
    with pytest.raises(AssertionError, match="the process failed"):
        durability.kill_writers(tmp_path, 9)
    assert "the writer is broken" in capfd.readouterr().err


def test_readers_share_memory(tmp_path):
    sizes = durability.share_memory(tmp_path, 40_000, 2, width=64, added=20)
    # Every reader has all vectors in memory, but the readers share them.
    assert sizes["files rss"] > 1.9 * sizes["vectors"]
    assert sizes["files pss"] < 1.5 * sizes["vectors"]


def test_the_command(tmp_path):
    command = [sys.executable, BENCHMARK, "model", "--operations", "20", "--directory", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "No difference found" in done.stdout
