"""projects/wikipedia: a small dump becomes a package, by `spacy project run`."""

import importlib.util
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import srsly

from .dumps.wiki_xml import write_dump

ROOT = Path(__file__).parents[1]
CITIES = [
    "Paris",
    "Rome",
    "Berlin",
    "Madrid",
    "Vienna",
    "Lisbon",
    "Prague",
    "Warsaw",
    "Oslo",
    "Bern",
]


def load(script):
    path = ROOT / "projects" / "wikipedia" / "scripts" / f"{script}.py"
    spec = importlib.util.spec_from_file_location(script, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_cities(path):
    nearby = zip(CITIES, CITIES[1:] + CITIES, CITIES[2:] + CITIES, strict=False)
    pages = {
        city: f"'''{city}''' is a city. It is not far from [[{other}]], nor from [[{third}]]."
        f"\n\nMany people from [[{third}]] live there."
        for city, other, third in nearby
    }
    return write_dump(path, pages)


@pytest.fixture
def wikipedia(tmp_path):
    rows = [
        {"text": f"{i}", "page": f"page {i // 2}", "spans": [{"start": 0, "end": 1, "id": f"Q{i}"}]}
        for i in range(40)
    ]
    for name in ("texts", "entities"):
        (tmp_path / "wikipedia" / name).mkdir(parents=True)
    for part in range(2):
        number = f"part-0000{part}.jsonl"
        srsly.write_jsonl(tmp_path / "wikipedia" / "texts" / number, rows[20 * part :][:20])
        entities = [{"id": f"Q{i}", "title": "T", "popularity": i} for i in range(20 * part, 20)]
        srsly.write_jsonl(tmp_path / "wikipedia" / "entities" / number, entities)
    return tmp_path / "wikipedia"


def test_texts_are_held_out_by_pages(wikipedia, tmp_path):
    split = load("split")
    dev = split.split_texts(wikipedia / "texts", tmp_path / "corpus", share=4)
    train = [
        row
        for part in sorted((tmp_path / "corpus" / "train").iterdir())
        for row in srsly.read_jsonl(part)
    ]
    assert len(dev) + len(train) == 40 and 0 < len(dev) < 40
    assert not {row["page"] for row in dev} & {row["page"] for row in train}


def test_dev_entities_are_the_gold_and_the_most_popular_ones(wikipedia):
    chosen = load("split").choose_entities(wikipedia / "entities", {"Q3", "Q99"}, 2)
    assert [entity["id"] for entity in chosen] == ["Q3", "Q19", "Q18"]


@pytest.mark.long
def test_from_a_dump_to_a_package(tiny_bert, tmp_path):
    project = tmp_path / "projects" / "wikipedia"
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    source = ROOT / "projects" / "wikipedia"
    shutil.copytree(source / "scripts", project / "scripts")
    shutil.copy(source / "project.yml", project)
    dump = write_cities(tmp_path / "cities.xml.bz2")
    command = [sys.executable, "-m", "spacy", "project", "run", "all", str(project)]
    options = ["--vars.size", "sample", "--vars.dump", str(dump), "--vars.encoder", str(tiny_bert)]
    options += ["--vars.workers", "1"]
    subprocess.run([*command, *options], check=True, capture_output=True, timeout=900)
    scores = json.loads((project / "output" / "scores.json").read_text(encoding="utf8"))
    assert scores
    (archive,) = (project / "packages").glob("*/dist/*.tar.gz")
    assert archive.name == "en_wikipedia-0.1.0.tar.gz"
    with tarfile.open(archive) as files:
        assert any(name.endswith("elq/kb/manifest.json") for name in files.getnames())
    done = subprocess.run([*command, *options], check=True, capture_output=True, timeout=900)
    assert b"nothing changed" in done.stdout
