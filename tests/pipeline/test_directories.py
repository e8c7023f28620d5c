"""Pipelines that are put in place of others, and of symbolic links."""

import pytest
import spacy

from spacy_elq.errors import ElqError
from spacy_elq.pipeline.directories import check_target, write_pipeline


def names(directory):
    return {item.name for item in directory.iterdir()}


@pytest.mark.parametrize("target", ["old", "nowhere"])
def test_a_link_is_replaced_and_its_target_stays(tmp_path, target):
    spacy.blank("en").to_disk(tmp_path / "old")
    (tmp_path / "old" / "mine.txt").write_text("precious")
    (tmp_path / "link").symlink_to(target)  # relative, as `ln -s` makes them
    for lang in ("de", "fr"):
        check_target(tmp_path / "link", overwrite=True)
        write_pipeline(spacy.blank(lang), tmp_path / "link")
        assert not (tmp_path / "link").is_symlink()
        assert spacy.load(tmp_path / "link").lang == lang
    assert (tmp_path / "old" / "mine.txt").read_text() == "precious"
    assert names(tmp_path) == {"old", "link"}


def test_nothing_is_written_through_a_linked_working_directory(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out.writing").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ElqError, match=r"ELQ281.*out\.writing"):
        write_pipeline(spacy.blank("en"), tmp_path / "out")
    assert not names(tmp_path / "elsewhere")
