"""Directories of pipelines that commands make: written beside their place, then put there whole."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ElqError, Errors
from ..kb.files import atomic

if TYPE_CHECKING:
    from spacy.language import Language

# Within a working directory: the pipeline itself.
PIPELINE = "pipeline"


def blank(lang: str) -> Language:
    """RETURNS (Language): A pipeline of a tokenizer alone.
    RAISES (ElqError): If spaCy has no language of that code."""
    import spacy

    try:
        return spacy.blank(lang)
    except ImportError:
        raise ElqError(Errors.ELQ404.format(lang=lang)) from None


def check_target(out: Path, overwrite: bool) -> None:
    """Raise an ElqError unless `out` is free, an empty directory, or a pipeline to be replaced."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        if not (out / "meta.json").is_file():
            raise ElqError(Errors.ELQ520.format(path=out))
        if not overwrite:
            raise ElqError(Errors.ELQ211.format(path=out))


def write_pipeline(nlp: Language, out: Path) -> None:
    """Write a pipeline, in place of any that `check_target` has allowed to replace."""
    out = out.absolute()
    work = make_working_directory(out.with_name(f"{out.name}.writing"))
    nlp.to_disk(work / PIPELINE)
    publish(work, out)


def make_working_directory(work: Path) -> Path:
    """RETURNS (Path): The directory, made unless an interrupted run left it.
    RAISES (ElqError): If it is a link: nothing is written where it leads."""
    if work.is_symlink():
        raise ElqError(Errors.ELQ281.format(path=work))
    work.mkdir(parents=True, exist_ok=True)
    return work


def publish(work: Path, out: Path) -> None:
    """Move the finished pipeline out of its working directory, and remove that.

    work (Path): Beside `out`; holds the pipeline as `PIPELINE`.
    """
    atomic.publish(work / PIPELINE, out, partial(check_target, overwrite=True))
    shutil.rmtree(work)
