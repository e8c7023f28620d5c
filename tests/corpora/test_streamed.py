"""Texts streamed from parts: each once in a pass, in an order that can be gone on with."""

import gzip
import json
from collections import Counter
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_elq import ElqError
from spacy_elq.corpora.spans_jsonl import text_from_doc
from spacy_elq.corpora.streamed import create_streamed_reader
from spacy_elq.files import write_jsonl

NLP = spacy.blank("en")


def write_parts(directory: Path, sizes: list[int]) -> list[str]:
    """RETURNS (list[str]): The texts, in the order of the files."""
    directory.mkdir()
    texts = [[f"text {part}.{i}" for i in range(size)] for part, size in enumerate(sizes)]
    for part, lines in enumerate(texts):
        rows = "".join(json.dumps({"text": line, "spans": []}) + "\n\n" for line in lines)
        (directory / f"part-{part:05}.jsonl").write_text(rows)
    return [line for lines in texts for line in lines]


def texts_of(reader, count=None):
    return [example.reference.text for example in islice(reader(NLP), count)]


@pytest.fixture
def split_among(monkeypatch):
    """Makes the readers of several processes."""

    def make(world, *args, **options):
        readers = []
        for rank in range(world):
            monkeypatch.setenv("RANK", str(rank))
            monkeypatch.setenv("WORLD_SIZE", str(world))
            readers.append(create_streamed_reader(*args, split=True, **options))
        return readers

    return make


@settings(max_examples=30)
@given(
    sizes=st.lists(st.integers(0, 7), min_size=1, max_size=4).filter(any),
    buffer=st.integers(0, 9),
    stop=st.integers(0, 40),
)
def test_a_stream_goes_on_after_the_last_text_that_was_read(sizes, buffer, stop):
    with TemporaryDirectory() as name:
        path = Path(name) / "texts"
        all_texts = write_parts(path, sizes)
        whole = create_streamed_reader(path, shuffle_buffer=buffer)
        passes = [texts_of(whole) for _ in range(3)]
        for one in passes:
            assert Counter(one) == Counter(all_texts)
        if buffer < 2:
            assert passes == [all_texts] * 3
        first = create_streamed_reader(path, shuffle_buffer=buffer)
        read = []
        while len(read) < stop:
            read += texts_of(first, stop - len(read))
        state = json.loads(json.dumps(first.state))
        second = create_streamed_reader(path, shuffle_buffer=buffer)
        second.state = state
        while len(read) < 3 * len(all_texts):
            read += texts_of(second)
        assert read[: 3 * len(all_texts)] == [text for one in passes for text in one]


def test_parts_and_texts_are_shuffled_anew_in_each_pass(tmp_path):
    texts = write_parts(tmp_path / "texts", [50] * 4)
    orders = []
    for seed in (0, 0, 1):
        reader = create_streamed_reader(tmp_path / "texts", seed=seed, shuffle_buffer=20)
        orders.append([texts_of(reader), texts_of(reader)])
    assert orders[0] == orders[1]
    different = [tuple(order) for order in (*orders[0], *orders[2], texts)]
    assert len(set(different)) == 5
    # The first buffer is of one file, and not always of the first.
    assert len({text[:6] for text in orders[0][0][:20]}) == 1


@pytest.mark.parametrize("world, buffer", [(2, 6), (3, 7), (4, 0)])
def test_processes_share_a_pass_evenly(tmp_path, split_among, world, buffer):
    all_texts = write_parts(tmp_path / "texts", [5, 9, 4])
    readers = split_among(world, tmp_path / "texts", shuffle_buffer=buffer)
    alone = create_streamed_reader(tmp_path / "texts", shuffle_buffer=readers[0].block_size)
    if not buffer:
        alone = create_streamed_reader(tmp_path / "texts", shuffle_buffer=0)
    for _ in range(2):
        shares = [texts_of(reader) for reader in readers]
        assert {len(share) for share in shares} == {len(all_texts) // world}
        # Together, in turns, they read what one process reads.
        together = [text for turn in zip(*shares, strict=True) for text in turn]
        assert together == texts_of(alone)[: len(together)]


def test_all_processes_go_on_from_one_position(tmp_path, split_among):
    write_parts(tmp_path / "texts", [5, 9, 4])
    readers = split_among(2, tmp_path / "texts", shuffle_buffer=6)
    for reader in readers:
        texts_of(reader, 4)
    state = readers[0].state
    assert readers[1].state == state
    resumed = split_among(2, tmp_path / "texts", shuffle_buffer=6)
    for reader, before in zip(resumed, readers, strict=True):
        reader.state = state
        assert texts_of(reader) == texts_of(before)


def test_a_limit_holds_for_each_pass(tmp_path):
    texts = write_parts(tmp_path / "texts", [5, 5])
    reader = create_streamed_reader(tmp_path / "texts", shuffle_buffer=0, limit=7)
    assert texts_of(reader) == texts_of(reader) == texts[:7]
    reader = create_streamed_reader(tmp_path / "texts", shuffle_buffer=3, limit=7)
    assert len(texts_of(reader)) == 7


def test_compressed_parts_and_a_pattern(tmp_path):
    write_parts(tmp_path / "texts", [2])
    with gzip.open(tmp_path / "texts" / "part-00001.jsonl.gz", "wt") as file:
        file.write('{"text": "compressed"}\n')
    write_jsonl(tmp_path / "texts" / "part-00002.jsonl.zst", [{"text": "by zstd"}])
    reader = create_streamed_reader(tmp_path / "texts", shuffle_buffer=0)
    assert texts_of(reader) == ["text 0.0", "text 0.1", "compressed", "by zstd"]
    content = (tmp_path / "texts" / "part-00002.jsonl.zst").read_bytes()
    (tmp_path / "cut.jsonl.zst").write_bytes(content[:-3])
    with pytest.raises(ElqError, match=r"ELQ301.*cut\.jsonl\.zst"):
        texts_of(create_streamed_reader(tmp_path / "cut.jsonl.zst"))
    reader = create_streamed_reader(f"{tmp_path}/texts/*.gz", shuffle_buffer=0)
    assert texts_of(reader) == ["compressed"]


def test_parquet_parts_are_read_as_lines_are(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    from pyarrow.parquet import write_table

    rows = [
        {
            "text": "Paris and Rome",
            "spans": [
                {"start": 0, "end": 5, "id": "Q90", "title": "Paris"},
                {"start": 10, "end": 14, "id": "Q220"},
            ],
            "unknown": [{"start": 0, "end": 5}],
        },
        {"text": "none", "spans": []},
    ]
    (tmp_path / "lines.jsonl").write_text("\n".join(map(json.dumps, rows)))
    write_table(arrow.Table.from_pylist(rows), tmp_path / "table.parquet")
    read = [
        [text_from_doc(example.reference) for example in create_streamed_reader(path)(NLP)]
        for path in (tmp_path / "lines.jsonl", tmp_path / "table.parquet")
    ]
    assert read[0] == read[1]


@pytest.mark.parametrize(
    "path, message",
    [
        (None, "ELQ313"),
        ("missing.jsonl", "ELQ218.*missing.*corpus file"),
        ("directory", "ELQ315.*corpus file"),
        ("texts.csv", "ELQ312"),
        ("empty.jsonl", r"ELQ316.*empty\.jsonl\. Each"),
        ("bad.jsonl", "ELQ304.*bad.jsonl:2"),
    ],
)
def test_texts_that_cannot_be_read(tmp_path, path, message):
    (tmp_path / "directory").mkdir()
    for name in ("texts.csv", "empty.jsonl"):
        (tmp_path / name).touch()
    (tmp_path / "bad.jsonl").write_text('{"text": "good", "spans": []}\n{"spans": []}\n')
    reader = create_streamed_reader(path and tmp_path / path, shuffle_buffer=0)
    with pytest.raises(ElqError, match=message):
        texts_of(reader)


def test_fewer_texts_than_processes(tmp_path, split_among):
    write_parts(tmp_path / "texts", [2])
    for reader in split_among(3, tmp_path / "texts"):
        with pytest.raises(ElqError, match=r"ELQ318.*3 processes"):
            texts_of(reader)


def test_a_position_is_of_the_same_files_and_shuffle(tmp_path):
    write_parts(tmp_path / "texts", [5, 5])
    reader = create_streamed_reader(tmp_path / "texts", shuffle_buffer=4)
    texts_of(reader, 3)
    other = create_streamed_reader(tmp_path / "texts", seed=1, shuffle_buffer=4)
    with pytest.raises(ElqError, match="ELQ317"):
        other.state = reader.state
    state = reader.state
    (tmp_path / "texts" / "part-00002.jsonl").write_text('{"text": "more"}\n')
    with pytest.raises(ElqError, match="ELQ317"):
        create_streamed_reader(tmp_path / "texts", shuffle_buffer=4).state = state


def test_links_under_another_name_are_warned_of(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "Paris", "ents": [{"start": 0, "end": 5}]}\n' * 3)
    with pytest.warns(UserWarning, match="ELQ456") as caught:
        texts_of(create_streamed_reader(tmp_path / "a.jsonl"))
    assert len(caught) == 1
