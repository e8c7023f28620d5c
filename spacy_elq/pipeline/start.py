"""Entities → a pipeline that links to them, with the weights that come with the package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..entities.reader import read_entities
from ..errors import ElqError, Errors
from ..kb.build.builder import build_kb
from ..kb.files.manifest import Manifest
from ..kb.loaders import kb_from_directory
from .directories import PIPELINE, blank, check_target, make_working_directory, publish


def start(
    entities: Path,
    out: Path,
    *,
    lang: str = "en",
    from_: str = "",
    columns: Sequence[str] = (),
    refer: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> Manifest:
    """Make a pipeline with the starter linker; no training.

    Entities are embedded in a directory beside `out` whose name ends in ".starting". After an
    interrupt, the same call resumes from it.

    entities (Path): A file of entities, or a knowledge base directory that MiniLM embedded.
    out (Path): The pipeline's directory.
    lang (str): spaCy's code of the language, for the tokenizer.
    from_ (str): Format of the file; by default its name decides.
    columns (Sequence[str]): The columns of a table whose first line does not name them.
    refer (bool): Refer to the knowledge base directory instead of copying it.
    overwrite (bool): Whether a pipeline at `out` may be replaced.
    progress (bool): Whether to show a progress bar on stderr.
    RETURNS (Manifest): That of the knowledge base. `spacy.load(out)` loads the pipeline.
    RAISES (ElqError): If a file is missing or wrong, or another encoder embedded the entities.
    """
    out = out.absolute()
    check_target(out, overwrite)
    if not entities.exists():
        raise ElqError(Errors.ELQ218.format(path=entities, what="file of entities"))
    if refer and not entities.is_dir():
        raise ElqError(Errors.ELQ407.format(path=entities))
    in_out = entities.resolve().is_relative_to(out.resolve())
    if in_out and (refer or entities.is_file()):  # another directory is copied before that
        raise ElqError(Errors.ELQ448.format(path=entities, out=out))
    nlp = blank(lang)
    elq: Any = nlp.add_pipe("elq")
    elq.model.initialize()
    work = make_working_directory(out.with_name(f"{out.name}.starting"))
    kb = entities
    if not entities.is_dir():
        kb = work / "kb"
        rows = read_entities(entities, from_, columns)
        build_kb(
            rows, kb, elq.entity_encoder, source=entities.name, progress=progress, overwrite=True
        )
    elq.set_kb(kb_from_directory(kb))
    if refer:
        elq.kb_path = str(kb.absolute())
    nlp.to_disk(work / PIPELINE)
    publish(work, out)
    return elq.kb.manifest
