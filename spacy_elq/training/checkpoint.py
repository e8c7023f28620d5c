"""Where an interrupted training goes on: the pipeline, the optimizer's state, the place in the
texts. Safetensors and JSON, no pickles."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spacy.language import Language
from thinc.api import Optimizer

from ..errors import ElqError, Errors
from ..files import UNREADABLE, write_text
from ..kb.files.atomic import atomic_directory, recover

if TYPE_CHECKING:
    import torch

CHECKPOINT = "checkpoint"
PIPELINE, OPTIMIZER, STATE = "pipeline", "optimizer.safetensors", "state.json"


@dataclass
class Progress:
    """How far a training is.

    step (int): Steps that are done.
    epoch (int): Passes over the texts that are done.
    words, seconds (int): Words read, time taken.
    results (list): Score and step of each evaluation.
    texts (dict | None): The position of a reader that keeps one.
    random (list[dict]): The random generators of each process.
    """

    step: int = 0
    epoch: int = 0
    words: int = 0
    seconds: int = 0
    results: list[tuple[float, int]] = field(default_factory=list)
    texts: dict[str, Any] | None = None
    random: list[dict[str, Any]] = field(default_factory=list)


def save_checkpoint(nlp: Language, progress: Progress, output: Path) -> None:
    """Write a checkpoint, replacing the one before as a whole."""
    from safetensors.torch import save_file

    tensors = {
        f"{name}.{key}": tensor.contiguous()
        for name, pipe in nlp.pipeline
        if hasattr(pipe, "training_state")
        for key, tensor in pipe.training_state().items()
    }
    with atomic_directory(output / CHECKPOINT, _may_be_replaced) as work:
        nlp.to_disk(work / PIPELINE)
        save_file(tensors, work / OPTIMIZER)
        write_text(work / STATE, json.dumps(asdict(progress)))


def has_checkpoint(output: Path) -> bool:
    """RETURNS (bool): Whether there is one to go on from."""
    recover(output / CHECKPOINT)
    return (output / CHECKPOINT / STATE).is_file()


def load_checkpoint(nlp: Language, optimizer: Optimizer, output: Path) -> Progress:
    """Take weights, moments and learning rate from a checkpoint.

    nlp (Language): The initialized pipeline of the same config, which stays.
    RETURNS (Progress): How far that training was.
    RAISES (ElqError): If the checkpoint can't be read, or is of other parameters.
    """
    directory = output / CHECKPOINT
    nlp.from_disk(directory / PIPELINE, exclude=["config"])
    tensors, progress = _read_state(directory)
    for name, pipe in nlp.pipeline:
        if hasattr(pipe, "restore_training"):
            own = f"{name}."
            of_pipe = {k.removeprefix(own): v for k, v in tensors.items() if k.startswith(own)}
            pipe.restore_training(of_pipe)
    for _ in range(progress.step):
        optimizer.step_schedules()
    return progress


def _read_state(directory: Path) -> tuple[dict[str, torch.Tensor], Progress]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(directory / OPTIMIZER)
        progress = Progress(**json.loads((directory / STATE).read_bytes()))
    except (SafetensorError, ValueError, TypeError, *UNREADABLE) as err:
        raise ElqError(Errors.ELQ160.format(path=directory, reason=err)) from None
    progress.results = [(score, step) for score, step in progress.results]
    return tensors, progress


def _may_be_replaced(directory: Path) -> None:
    if not (directory / STATE).is_file():
        raise ElqError(Errors.ELQ161.format(path=directory))
