"""Vectors made in parts, and put together."""

import json
import shutil
from contextlib import suppress

import pytest

from spacy_elq.errors import ElqError
from spacy_elq.kb.build import build_kb
from spacy_elq.kb.build.parts import Part, build_part, merged_parts

from ..helpers import ENTITIES, HashEncoder
from ..test_build import Breaking, files


class Small(HashEncoder):
    entities_at_once = 4

    def count_vectors(self, entity):
        return len(entity.names)


class BreakingSmall(Breaking):
    entities_at_once = 4


def make(out, of=3, skip=(), entities=ENTITIES, **settings):
    for number in range(1, of + 1):
        if number not in skip:
            build_part(entities, out, Small(), f"{number}/{of}", progress=False, **settings)


def merge(out, entities=ENTITIES, **settings):
    return build_kb(entities, out, merged_parts(out), progress=False, **settings)


@pytest.mark.parametrize("of", [1, 2, 3, 12, 20])
@pytest.mark.parametrize("dtype", ["auto", "float16"])
def test_parts_make_the_files_of_an_undivided_build(tmp_path, of, dtype):
    build_kb(ENTITIES, tmp_path / "whole", Small(), dtype=dtype, progress=False)
    make(tmp_path / "kb", of, dtype=dtype)
    assert merge(tmp_path / "kb").inference == ""
    assert files(tmp_path / "kb") == files(tmp_path / "whole")


def test_each_entity_is_embedded_in_one_part(tmp_path):
    encoders = [Small() for _ in range(3)]
    for number, encoder in enumerate(encoders, 1):
        build_part(iter(ENTITIES), tmp_path / "kb", encoder, f"{number}/3", progress=False)
    encoded = [id_ for encoder in encoders for id_ in encoder.encoded]
    assert sorted(encoded) == sorted(entity.id for entity in ENTITIES)
    assert all(encoder.encoded for encoder in encoders)


def test_an_interrupted_part_goes_on(tmp_path):
    make(tmp_path / "kb", skip=[2])
    with pytest.raises(KeyboardInterrupt):
        build_part(ENTITIES, tmp_path / "kb", BreakingSmall(2), "2/3", progress=False)
    with pytest.raises(ElqError, match=r"ELQ287.*part-2-of-3 is unfinished"):
        merged_parts(tmp_path / "kb")
    encoder = Small()
    build_part(ENTITIES, tmp_path / "kb", encoder, "2/3", progress=False)
    assert encoder.encoded[0] == ENTITIES[4 * 7].id
    again = Small()
    build_part(ENTITIES, tmp_path / "kb", again, "2/3", progress=False)
    assert not again.encoded
    build_kb(ENTITIES, tmp_path / "whole", Small(), progress=False)
    merge(tmp_path / "kb")
    assert files(tmp_path / "kb") == files(tmp_path / "whole")


@pytest.mark.parametrize("entities", [ENTITIES[1:], ENTITIES[:20], ENTITIES[::-1]])
@pytest.mark.parametrize("batches", [6, 99])
def test_a_part_of_other_entities_is_not_continued(tmp_path, entities, batches):
    with suppress(KeyboardInterrupt):
        build_part(ENTITIES, tmp_path / "kb", BreakingSmall(batches), "1/1", progress=False)
    with pytest.raises(ElqError, match=r"ELQ286.*other entities"):
        build_part(entities, tmp_path / "kb", Small(), "1/1", progress=False)


def test_a_finished_part_takes_no_more_entities(tmp_path):
    make(tmp_path / "kb", entities=ENTITIES[:40])
    with pytest.raises(ElqError, match=r"ELQ286.*other entities"):
        make(tmp_path / "kb")


def part(out, number, of=3):
    return Part(number, of).directory(out)


def change(directory, **values):
    file = directory / "part.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def lacks_one(out):
    shutil.rmtree(part(out, 2))


def has_one_twice(out):
    shutil.copytree(part(out, 1), part(out, 1, 9))


def names_another(out):
    change(part(out, 2), number=1)


def is_of_another_number(out):
    build_part(ENTITIES, out, Small(), "1/4", progress=False)


def has_another_encoder(out):
    change(part(out, 3), fingerprint="other")


def has_other_entities(out):
    shutil.rmtree(part(out, 3))
    build_part(ENTITIES[:-1], out, Small(), "3/3", progress=False)


def is_damaged(out):
    file = part(out, 3) / "vectors.npy"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def is_cut(out):
    file = part(out, 3) / "owners.npy"
    file.write_bytes(file.read_bytes()[:-4])


def is_unreadable(out):
    (part(out, 3) / "part.json").write_text("{")


def is_swapped(out):
    change(part(out, 1), number=2)
    change(part(out, 2), number=1)


def has_none(out):
    for number in (1, 2, 3):
        shutil.rmtree(part(out, number))


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lacks_one, r"ELQ287.*part 2 of 3 is there 0 times"),
        (has_one_twice, r"ELQ287.*part 1 of 3 is there 2 times"),
        (names_another, r"ELQ287.*part 1 of 3 is there 2 times"),
        (is_of_another_number, r"ELQ286.*part-1-of-"),
        (has_another_encoder, r"ELQ286.*part-3-of-3"),
        (has_other_entities, r"ELQ286.*part-3-of-3"),
        (is_damaged, r"ELQ286.*part-3-of-3.*checksums"),
        (is_cut, r"ELQ286.*part-3-of-3.*checksums"),
        (is_unreadable, r"ELQ286.*part-3-of-3"),
        (is_swapped, r"ELQ286.*rows of other parts"),
        (has_none, r"ELQ287.*there are none"),
    ],
)
def test_every_row_is_of_one_part(tmp_path, spoil, message):
    make(tmp_path / "kb")
    spoil(tmp_path / "kb")
    with pytest.raises(ElqError, match=message):
        merged_parts(tmp_path / "kb")
    assert not (tmp_path / "kb").exists()


def test_the_entities_of_the_merge_are_those_of_the_parts(tmp_path):
    make(tmp_path / "kb")
    with pytest.raises(ElqError, match="ELQ209"):
        merge(tmp_path / "kb", ENTITIES[::-1])
    with pytest.raises(ElqError, match="ELQ209"):
        merge(tmp_path / "kb", ENTITIES[:-1])


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "1/0", "a/b", "-1/3", "1/3/5", ""])
def test_what_is_no_part(text):
    with pytest.raises(ElqError, match="ELQ285"):
        Part.parse(text)
