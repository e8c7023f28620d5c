"""Multistream dumps, processes, and runs that are interrupted."""

from __future__ import annotations

import bz2
from pathlib import Path

import pytest

from spacy_elq.dumps import page_blocks
from spacy_elq.dumps.wikipedia import WikipediaOptions, convert_wikipedia
from spacy_elq.errors import ElqError

from .wiki_xml import header, page

PAGES = [page(f"Page {i}", f"Text {i} of [[Page {i // 3}|page {i // 3}]].", i) for i in range(120)]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(page_blocks, "MAX_PAGES", 30)
    monkeypatch.setattr(page_blocks, "STREAM_PAGES", 10)


def write_multistream(directory: Path) -> Path:
    dump = directory / "enwiki-20240301-pages-articles-multistream.xml.bz2"
    streams = [bz2.compress(header().encode())]
    lines = []
    for first in range(0, len(PAGES), 10):
        offset = sum(map(len, streams))
        lines += [f"{offset}:{i}:Page {i}: x" for i in range(first, first + 10)]
        streams.append(bz2.compress("".join(PAGES[first : first + 10]).encode()))
    dump.write_bytes(b"".join(streams) + bz2.compress(b"</mediawiki>"))
    index = dump.with_name(dump.name.replace(".xml.bz2", "-index.txt.bz2"))
    index.write_bytes(bz2.compress("\n".join(lines).encode()))
    return dump


def files(out: Path) -> dict[str, bytes]:
    parts = sorted(path for path in out.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in parts}


def convert(dump: Path, name: str, **options) -> dict[str, bytes]:
    out = dump.with_name(name)
    convert_wikipedia(dump, out, WikipediaOptions(), **options)
    return files(out)


def test_streams_give_what_the_whole_file_gives(tmp_path):
    dump = write_multistream(tmp_path)
    indexed = convert(dump, "indexed")
    index = page_blocks.index_beside(dump)
    index.rename(tmp_path / "index.bz2")
    whole = convert(dump, "whole")
    assert len(whole) == 9
    assert indexed == whole == convert(dump, "named", index=tmp_path / "index.bz2")


@pytest.mark.slow
def test_processes_change_nothing(tmp_path):
    dump = write_multistream(tmp_path)
    one = convert(dump, "one")
    assert convert(dump, "two", workers=2) == one
    page_blocks.index_beside(dump).unlink()
    assert convert(dump, "three", workers=2) == one


def test_an_index_of_another_dump_is_an_error(tmp_path):
    dump = write_multistream(tmp_path)
    dump.write_bytes(dump.read_bytes()[:2000])
    with pytest.raises(ElqError, match="ELQ350"):
        convert(dump, "out")


def test_a_damaged_stream_costs_its_block_alone(tmp_path):
    dump = write_multistream(tmp_path)
    content = bytearray(dump.read_bytes())
    content[len(content) // 2] ^= 255
    dump.write_bytes(content)
    manifest = convert_wikipedia(dump, tmp_path / "out", WikipediaOptions())
    assert 90 <= manifest.counts["entities"] < 120
    assert "The streams from byte" in manifest.problems[0]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("indexed", [False, True])
def test_a_run_goes_on_wherever_it_ended(indexed, tmp_path, monkeypatch):
    """Each step that is written or kept may be the last one."""
    from spacy_elq import files as atomic
    from spacy_elq.dumps.link_store import LinkStore

    dump = write_multistream(tmp_path)
    if not indexed:
        page_blocks.index_beside(dump).unlink()
    whole = convert(dump, "whole")
    steps = 0

    def count_down(function):
        def step(*args, **kwargs):
            nonlocal steps
            steps -= 1
            if not steps:
                raise Killed
            return function(*args, **kwargs)

        return step

    monkeypatch.setattr(atomic, "sync", count_down(atomic.sync))
    monkeypatch.setattr(LinkStore, "finish", count_down(LinkStore.finish))
    for ends in (*range(1, 60, 7), 10**6):
        steps = ends
        try:
            assert convert(dump, "out") == whole
            break
        except Killed:
            pass
    else:
        pytest.fail("it never ended")


def test_other_options_need_another_directory(tmp_path, monkeypatch):
    dump = write_multistream(tmp_path)
    monkeypatch.setattr("spacy_elq.dumps.wikipedia.entities", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        convert(dump, "out")
    with pytest.raises(ElqError, match="ELQ359"):
        convert_wikipedia(dump, tmp_path / "out", WikipediaOptions(propagate=True))


def test_a_finished_run_is_not_repeated_and_not_mixed_with_others(tmp_path):
    dump = write_multistream(tmp_path)
    first = convert(dump, "out")
    (tmp_path / "out" / "unfinished").mkdir()  # ended while it was removed
    assert convert(dump, "out") == first
    assert not (tmp_path / "out" / "unfinished").exists()
    with pytest.raises(ElqError, match="ELQ368"):
        convert_wikipedia(dump, tmp_path / "out", WikipediaOptions(propagate=True))
