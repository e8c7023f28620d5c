"""Dumps are read whatever compresses them, and to the last byte before damage."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random

import pytest
from backports import zstd

from spacy_elq.dumps.compressed import DumpFile
from spacy_elq.errors import ElqError
from spacy_elq.files import UNREADABLE

COMPRESS = {
    "bz2": lambda data: bz2.compress(data, 1),
    "gz": gzip.compress,
    "xz": lambda data: lzma.compress(data, preset=0),
    "zst": zstd.compress,
}
# Incompressible, and longer than what is read at once: a cut loses little of it.
DATA = random.Random(0).randbytes(400_000)
HALF = len(DATA) // 2


def read_all(path):
    blocks = []
    with DumpFile(path) as dump:
        try:
            while block := dump.stream.read1(1 << 16):
                blocks.append(block)
        except UNREADABLE as err:
            return b"".join(blocks), dump, err
    return b"".join(blocks), dump, None


@pytest.fixture(params=[*COMPRESS])
def compress(request):
    return COMPRESS[request.param]


def test_content_decides_not_the_name(tmp_path, compress):
    path = tmp_path / "dump.txt"
    path.write_bytes(compress(DATA))
    assert read_all(path)[0] == DATA


def test_members_are_read_as_one_stream(tmp_path, compress):
    path = tmp_path / "dump"
    path.write_bytes(compress(DATA[:HALF]) + compress(b"") + compress(DATA[HALF:]))
    content, dump, error = read_all(path)
    assert content == DATA
    assert error is None
    assert dump.size == path.stat().st_size


def test_position_ends_at_the_size(tmp_path, compress):
    path = tmp_path / "dump"
    path.write_bytes(compress(DATA))
    with DumpFile(path) as dump:
        dump.stream.read1(1)
        assert 0 < dump.position < dump.size
        while dump.stream.read1(1 << 16):
            pass
        assert dump.position == dump.size


def test_a_cut_file_is_read_up_to_the_cut(tmp_path, compress):
    path = tmp_path / "dump"
    data = compress(DATA)
    path.write_bytes(data[: len(data) * 9 // 10])
    content, _, error = read_all(path)
    assert isinstance(error, EOFError)
    assert DATA.startswith(content)
    assert len(content) > HALF


def test_a_damaged_file_is_an_error(tmp_path, compress):
    path = tmp_path / "dump"
    data = bytearray(compress(b"text " * 100_000))
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    path.write_bytes(data)
    assert read_all(path)[2] is not None


@pytest.mark.parametrize("data", [b"", b"plain", DATA])
def test_a_plain_file(tmp_path, data):
    path = tmp_path / "dump"
    path.write_bytes(data)
    content, dump, error = read_all(path)
    assert (content, dump.size, error) == (data, len(data), None)


@pytest.mark.parametrize("magic", [b"7z\xbc\xaf\x27\x1c\0\4", b"PK\3\4abc"])
def test_an_archive_is_an_error(tmp_path, magic):
    path = tmp_path / "dump"
    path.write_bytes(magic)
    with pytest.raises(ElqError, match="ELQ360"):
        DumpFile(path)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(ElqError, match="ELQ218"):
        DumpFile(tmp_path / "missing")
    with pytest.raises(ElqError, match="ELQ255"):
        DumpFile(tmp_path)
