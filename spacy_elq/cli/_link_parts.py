"""`elq link` over many files, and what it shares with linking one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..about import __version__
from ..errors import ElqError, Errors
from ._common import echo_note, error_line, require_elq
from ._engines import choose_engine

if TYPE_CHECKING:
    from spacy.language import Language

    from ..batch.parts import PartLinker

KEPT = "Finished parts are kept in --output; run the same command again to resume."


class BadLines:
    """Reports the lines of the input that are not texts, and leaves them out."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, error: ElqError) -> None:
        self.count += 1
        typer.echo(f"Left out: {error_line(error)}", err=True)

    def exit_if_any(self) -> None:
        """End the command with status 1 if there were any."""
        if self.count:
            typer.echo(f"{self.count} lines of the input were left out.", err=True)
            raise typer.Exit(1)


def made_with(nlp: Language, elq: Any) -> dict[str, Any]:
    """RETURNS (dict): What determines the output, apart from the input."""
    from ..bulk.resume import hash_directory

    made_with = {name: value for name, value in elq.cfg.items() if name != "seen_ids"}
    if elq.kb_path is not None:  # outside the pipeline's directory
        made_with["kb"] = hash_directory(Path(elq.kb_path))
    return {"spacy_elq": __version__, "pipeline": hash_directory(nlp.path), **made_with}


def link_parts(
    work: PartLinker,
    source: Path | None,
    output: Path | None,
    engine: str,
    n_process: int,
    bad: BadLines,
    *,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Link each file that `source` stands for into one of the directory `output`."""
    from tqdm import tqdm

    from ..batch.linker import loaded_linker
    from ..batch.parts import plan_parts

    if source is None or output is None or (output.exists() and not output.is_dir()):
        raise ElqError(Errors.ELQ465)
    run = choose_engine(engine, n_process, work.gpu_id)
    nlp = loaded_linker(work.pipeline, work.gpu_id, tuple(work.settings.items()))
    settings = made_with(nlp, require_elq(nlp, work.pipeline))
    pairs = plan_parts(source, output, settings, overwrite=overwrite)
    done = texts = 0
    try:
        for part in tqdm(run(work, pairs), total=len(pairs), unit=" parts", disable=quiet):
            done, texts = done + part.was_there, texts + part.texts
            for problem in part.left_out:
                bad(ElqError(problem))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(KEPT) from None
    echo_note(f"{output}: {len(pairs)} parts ({done} were there), {texts} texts", quiet=quiet)
