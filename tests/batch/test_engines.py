"""The lines of docs/scale.md, run with the real engines."""

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from spacy_elq.batch.ray_engine import map_on_ray
from spacy_elq.errors import ElqError

from ..helpers import TEXTS, run, write_jsonl

SCALE = Path(__file__).parents[2] / "docs" / "scale.md"
BLOCKS = re.findall(r"```python\n(.*?)```", SCALE.read_text(encoding="utf8"), re.DOTALL)
ROWS = [{"text": row["text"], "n": n} for n, row in enumerate(TEXTS)]
ROWS[2]["text"] = None


@pytest.fixture
def here(tmp_path, monkeypatch, trained_path):
    """A directory with texts and a pipeline, as the documentation names them."""
    (tmp_path / "my_linker").symlink_to(trained_path)
    (tmp_path / "texts").mkdir()
    for part in range(2):
        table = pa.Table.from_pylist(ROWS[part::2])
        pq.write_table(table, tmp_path / "texts" / f"part-{part}.parquet")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def ray(here):  # workers start in the directory of the driver
    ray = pytest.importorskip("ray")
    pytest.importorskip("ray.data")
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()


def block(engine):
    (lines,) = [block for block in BLOCKS if re.search(rf"^(import|from) {engine}\b", block, re.M)]
    return lines


def check(rows, trained_path):
    """Compare the links with those of the command."""
    rows = sorted(rows, key=lambda row: row["n"])
    assert [(row["n"], row["text"]) for row in rows] == [(row["n"], row["text"]) for row in ROWS]
    write_jsonl(Path("all.jsonl"), [row for row in ROWS if row["text"]])
    assert run("link", trained_path, "-i", "all.jsonl", "-o", "one.jsonl", "-O").exit_code == 0
    lines = Path("one.jsonl").read_text(encoding="utf8").splitlines()
    wanted = {row["n"]: row["spans"] for row in map(json.loads, lines)}
    assert any(wanted.values())
    for row in rows:
        found = [(span["start"], span["end"], span["id"]) for span in row["spans"]]
        spans = wanted.get(row["n"], [])
        assert found == [(span["start"], span["end"], span["id"]) for span in spans]
        assert (row["error"] or "")[:8] == ("" if row["text"] else "[ELQ138]")


def check_tasks(mark):
    """A task whose worker is killed is repeated; what it raises comes back."""

    def killed_once(number):
        import os

        from spacy_elq.errors import ElqError

        if number == 1 and not mark.exists():
            mark.touch()
            os._exit(1)
        if number == 3:
            raise ElqError("no threes")
        return number**2

    found = []
    with pytest.raises(ElqError, match="no threes"):
        for result in map_on_ray(killed_once, range(5)):
            found.append(result)
    assert found == [0, 1, 4]
    assert mark.exists()


def parquet(path):
    return pq.read_table(path).to_pylist()


@pytest.mark.slow
def test_ray(here, ray, trained_path, entities_path, tiny_bert, monkeypatch):
    check_tasks(here / "killed")
    exec(block("ray"), {})
    check(parquet("linked"), trained_path)
    result = run("link", "my_linker", "-i", "texts", "-o", "by_part", "--engine", "ray")
    assert result.exit_code == 1  # the missing text
    assert "2 parts (0 were there), 6 texts" in result.stderr
    lines = [line for path in sorted(Path("by_part").glob("*.jsonl")) for line in path.open()]
    assert [json.loads(line)["n"] for line in lines] == [0, 4, 6, 1, 3, 5]
    for name, options in (("here", ()), ("ray", ("--engine", "ray"))):
        built = run("kb", "build", entities_path, name, "--encoder", tiny_bert, *options)
        assert built.exit_code == 0, built.stderr
    for name in ("vectors.npy", "owners.npy", "name_keys.npy"):
        assert (here / "ray" / name).read_bytes() == (here / "here" / name).read_bytes()


@pytest.mark.slow
def test_spark(here, trained_path):
    pytest.importorskip("pyspark")
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    session = spark.getOrCreate()
    try:
        exec(block("pyspark.sql"), {})
        check(parquet("linked"), trained_path)
    finally:
        session.stop()


@pytest.mark.slow
def test_datasets(here, trained_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(here / "cache"))
    exec(block("datasets"), {})
    check(parquet("linked.parquet"), trained_path)


@pytest.mark.slow
def test_dask(here, trained_path):
    pytest.importorskip("dask.dataframe")
    names = {}
    exec(block("dask.dataframe").replace('"processes"', '"threads"'), names)
    check(names["linked"].to_dict("records"), trained_path)
