"""Predictions, against the arithmetic and against what a build makes."""

import bz2

import pytest

from spacy_elq.batch.plan import (
    EMBEDDED,
    DumpRates,
    EntityRates,
    hours,
    make_plan,
    measure_dump,
    measure_entities,
    size,
)
from spacy_elq.encoders.entity import EntityEncoder
from spacy_elq.entities.reader import read_entities
from spacy_elq.errors import ElqError
from spacy_elq.kb.build import build_kb

from ..helpers import run, write_jsonl

RATES = EntityRates(
    entities=1000,
    vectors=1500,
    embedded=100,
    seconds=2.0,
    cpu=3.0,
    wordpieces=5000,
    weights=1_000_000,
    width=100,
    building=0.001,
    record_bytes=500.0,
    memory=10**9,
)


def amounts(*args, **options):
    return {row.what: row.amount for row in make_plan(*args, **options)}


def test_the_arithmetic():
    assert amounts(RATES) == {
        "embedding, here": "20 s",
        "embedding, CPU": "30 s",
        "records, names, index": "1 s",
        "vectors": "600 kB",
        "records and names": "500 kB",
        "index": "0 B",
        "disk": "1.11 MB",
        "memory of the build": "1 GB",
    }
    many = amounts(RATES, entities=10_000_000, tflops=100)
    assert many["embedding, here"] == "55.6 h"
    assert many["embedding, GPU"] == "10 s"  # 2 x 10^6 x 50 x 10^7 / 10^14
    assert many["vectors"] == "3 GB"  # two bytes
    dump = DumpRates(read=10**6, whole=10**9, seconds=1.0, written=10**5)
    parsed = amounts(RATES, dump)
    assert (parsed["parsing, CPU"], parsed["entities and texts"]) == ("17 min", "100 MB")
    assert parsed["vectors"] == "300 MB"  # a million entities
    assert amounts(RATES, dump, dump_bytes=10**10)["parsing, CPU"] == "2.8 h"
    assert amounts(RATES, dump, entities=1000)["vectors"] == "600 kB"
    with pytest.raises(ElqError, match="ELQ227"):
        make_plan(RATES, entities=10_000_000, max_ram=1000)


def test_units():
    assert [size(n) for n in (0, 999, 1000, 2_500_000, 4e12)] == [
        "0 B",
        "999 B",
        "1 kB",
        "2.5 MB",
        "4 TB",
    ]
    assert [hours(n) for n in (1.5, 300, 9000)] == ["1.5 s", "5 min", "2.5 h"]


@pytest.mark.slow
def test_sizes_are_those_of_a_build(tmp_path, tiny_bert):
    records = [
        {"id": f"Q{n}", "title": f"paris {n}", "description": "x" * (n % 50), "aliases": [f"a{n}"]}
        for n in range(1500)
    ]
    path, encoder = write_jsonl(tmp_path / "e.jsonl", records), EntityEncoder(str(tiny_bert))
    rates = measure_entities(path, encoder)
    assert (rates.entities, rates.vectors, rates.embedded) == (1500, 3000, EMBEDDED)
    build_kb(read_entities(path), tmp_path / "kb", encoder, progress=False)
    files = {file.name: file.stat().st_size for file in (tmp_path / "kb").iterdir()}
    vectors = files.pop("vectors.npy")
    assert vectors == pytest.approx(3000 * rates.width * 4, rel=0.01)
    del files["owners.npy"], files["manifest.json"]
    assert sum(files.values()) == pytest.approx(1500 * rates.record_bytes, rel=0.15)


PAGE = """<page><title>Paris {n}</title><ns>0</ns><id>{n}</id><revision><id>1</id>
<timestamp>2020-01-01T00:00:00Z</timestamp><model>wikitext</model><format>text/x-wiki</format>
<text>'''Paris {n}''' is a city near [[Paris 1]].</text></revision></page>
"""


@pytest.mark.slow
def test_a_dump(tmp_path, tiny_bert, monkeypatch):
    monkeypatch.setattr("spacy_elq.batch.plan.PARSED", 20_000)
    pages = "".join(PAGE.format(n=n) for n in range(1, 1000))
    head = "<siteinfo><dbname>enwiki</dbname></siteinfo>"
    begin = '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" xml:lang="en">'
    xml = f"{begin}{head}{pages}</mediawiki>"
    (tmp_path / "d.xml").write_text(xml)
    found = measure_dump(tmp_path / "d.xml", tmp_path / "out")
    assert 19_000 < found.read <= 20_000
    assert found.whole >= found.read and found.written > 0
    (tmp_path / "whole.xml.bz2").write_bytes(bz2.compress(xml[:9000].encode()))
    result = run("plan", tmp_path / "d.xml", "--encoder", tiny_bert, "--entities", 10**6, "-q")
    assert result.exit_code == 0, result.output
    assert "1,000,000 entities" in result.stdout and "parsing, CPU" in result.stdout
    (tmp_path / "odd.xml").write_bytes(b"x" * 30_000)
    result = run("plan", tmp_path / "odd.xml", "--encoder", tiny_bert)
    assert result.exit_code == 1 and "ELQ470" in result.stderr
