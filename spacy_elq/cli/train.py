"""`elq train`"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer

from ._common import GpuOption, handle_errors, use_gpu

EXAMPLE = (
    "Example: python -m spacy elq train configs/pretrain.cfg --output training/wikipedia "
    "--paths.train wikipedia/texts --paths.dev dev.jsonl --paths.kb kb/wikipedia"
)
# Options that are not the command's own are values of the config.
OVERRIDES = {"allow_extra_args": True, "ignore_unknown_options": True}
GO_ON = "Steps since the last evaluation are lost; run the same command again to resume."


@handle_errors(GO_ON)
def train_command(
    context: typer.Context,  # overrides of the config
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", exists=True, help="Config file, as spaCy's")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Directory for the pipelines; resumes there")
    ],
    code: Annotated[
        Path | None, typer.Option("--code", "-c", help="Python file with registered functions")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", "-O", help="Begin anew, whatever the output has")
    ] = False,
    gpu_id: GpuOption = -1,
) -> None:
    """`spacy train` that resumes: like it, but a run that was interrupted goes on with the same
    steps. Other options set values of the config, such as --training.max_steps 1000."""
    from spacy.cli._util import import_code, parse_config_overrides

    from ..corpora.streamed import share_of_process

    overrides = parse_config_overrides(context.args)
    import_code(code)
    number, count = share_of_process()
    if count == 1:
        _train(config, output, overrides, overwrite, gpu_id)
        return
    from ..training.processes import joined

    gpu = int(os.environ["LOCAL_RANK"]) if gpu_id >= 0 else -1
    with joined(gpu=gpu_id >= 0), _only_first_prints(number):
        _train(config, output, overrides, overwrite, gpu)


def _train(
    config: Path, output: Path, overrides: dict[str, Any], overwrite: bool, gpu_id: int
) -> None:
    from spacy.cli._util import show_validation_error
    from spacy.training.initialize import init_nlp
    from spacy.util import load_config

    from ..training.loop import TrainingRun, prepared_output
    from ..training.processes import from_first

    use_gpu(gpu_id)
    with ExitStack() as held:
        from_first(lambda: held.enter_context(prepared_output(output, overwrite=overwrite)))
        with show_validation_error(config):
            filled = load_config(config, overrides=overrides, interpolate=False)
            nlp = init_nlp(filled, use_gpu=gpu_id)
            run = TrainingRun(nlp, output)
        run.run(sys.stdout, sys.stderr)


@contextmanager
def _only_first_prints(number: int) -> Iterator[None]:
    """number (int): That of this process; warnings and errors of the others are shown."""
    with Path(os.devnull).open("w") as nowhere:
        out = nowhere if number else sys.stdout
        if number:
            logging.getLogger("spacy").setLevel(logging.WARNING)
        with redirect_stdout(out):
            yield
