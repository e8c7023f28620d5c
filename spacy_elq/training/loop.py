"""`spacy train`, but a run that was interrupted goes on as if it had not been.

spaCy's own loop counts from 0 again, begins its texts anew, forgets the optimizer's state and the
best score, and empties the output directory. Config, callbacks, loggers and output are spaCy's.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from time import monotonic
from typing import IO, Any

import torch
from spacy.language import Language
from spacy.schemas import ConfigSchemaTraining
from spacy.training import Example
from spacy.training.loop import (
    DIR_MODEL_BEST,
    DIR_MODEL_LAST,
    clean_output_dir,
    create_before_to_disk_callback,
    create_evaluation_callback,
    create_train_batches,
    subdivide_batch,
    update_meta,
)
from spacy.util import registry, resolve_dot_names
from thinc.api import fix_random_seed

from ..errors import ElqError, Errors
from ..files import remove
from ..kb.files.atomic import atomic_directory, recover
from ..kb.files.locks import exclusive_lock
from . import processes
from .checkpoint import CHECKPOINT, Progress, has_checkpoint, load_checkpoint, save_checkpoint
from .random_state import random_state, set_random_state

logger = logging.getLogger("spacy")
# In the output directory: held by the training that writes there.
LOCK = ".training.lock"


class TrainingRun:
    """One training of a pipeline.

    nlp (Language): From `spacy.training.initialize.init_nlp`.
    output (Path): Directory of model-last, model-best and the checkpoint. A checkpoint that is
        there is gone on from.
    progress (Progress): How far it is.
    """

    def __init__(self, nlp: Language, output: Path) -> None:
        config = nlp.config.interpolate()
        self.nlp, self.output, self.progress = nlp, output, Progress()
        self.seed = config["training"]["seed"]
        if self.seed is not None:
            fix_random_seed(self.seed)
            torch.manual_seed(self.seed + processes.rank())  # dropout
        self.settings: dict[str, Any] = registry.resolve(
            config["training"], schema=ConfigSchemaTraining
        )
        self.optimizer = self.settings["optimizer"]
        self._check_processes()
        names = [self.settings["train_corpus"], self.settings["dev_corpus"]]
        self.texts, dev_texts = resolve_dot_names(config, names)
        weights = self.settings["score_weights"]
        self.evaluate = create_evaluation_callback(nlp, dev_texts, weights)
        self.before_to_disk = create_before_to_disk_callback(self.settings["before_to_disk"])

    def _check_processes(self) -> None:
        """Raise an ElqError if gradients would not be those of all processes."""
        for name, pipe in self._trained():
            if processes.count() > 1 and not hasattr(pipe, "training_state"):
                raise ElqError(Errors.ELQ165.format(name=name))

    def _trained(self) -> Iterator[tuple[str, Any]]:
        frozen = self.settings["frozen_components"]
        for name, pipe in self.nlp.pipeline:
            if name not in frozen and getattr(pipe, "is_trainable", False):
                yield name, pipe

    def run(self, stdout: IO[str] = sys.stdout, stderr: IO[str] = sys.stderr) -> None:
        """Train to the end, and write model-last at each evaluation, in the end, and if something
        goes wrong."""
        batches = self._begin()
        log_step, finish_log = self._make_log(stdout, stderr)
        info: dict[str, Any] | None = {}
        try:
            for info in self._steps(batches):
                log_step(info)
            if info is None:  # the last step was not evaluated
                self._share_seen()
                self._save_checkpoint()
        finally:
            finish_log()
            self._save(DIR_MODEL_LAST)

    def _make_log(
        self, stdout: IO[str], stderr: IO[str]
    ) -> tuple[Callable[[dict[str, Any] | None], None], Callable[[], None]]:
        """RETURNS (tuple): What takes the results of each step, and what is called in the end."""
        if processes.rank():
            return (lambda info: None), (lambda: None)
        with self.nlp.select_pipes(disable=self.settings["frozen_components"]):
            return self.settings["logger"](self.nlp, stdout, stderr)

    def _begin(self) -> Iterator[tuple[int, list[Example]]]:
        """RETURNS (Iterator): Number of the pass and examples of each batch that is to come."""
        settings = self.settings
        batches = create_train_batches(
            self.nlp, self.texts, settings["batcher"], settings["max_epochs"]
        )
        found = processes.gather(has_checkpoint(self.output))
        if not any(found):
            processes.from_first(lambda: clean_output_dir(self.output))
            return batches
        if not all(found):
            raise ElqError(Errors.ELQ166.format(path=self.output))
        self.progress = load_checkpoint(self.nlp, self.optimizer, self.output)
        done, epoch = self.progress.step, self.progress.epoch
        if self.progress.texts is not None:
            self.texts.state = self.progress.texts
            batches = ((epoch + later, batch) for later, batch in batches)
        else:  # a reader without a position: read again what was read
            next(islice(batches, done, done), None)
        states = self.progress.random
        set_random_state(states[processes.rank() % len(states)])
        logger.info("elq: training goes on after %d steps, from %s", done, self.output / CHECKPOINT)
        return batches

    def _steps(self, batches: Iterator[tuple[int, list[Example]]]) -> Iterator[dict | None]:
        """YIELDS (dict | None): What loggers get of a step: None if it was not evaluated."""
        progress, begun = self.progress, monotonic() - self.progress.seconds
        losses: dict[str, float] = {}
        while not self._is_over() and (drawn := next(batches, None)):
            progress.epoch, batch = drawn
            self._update(batch, losses)
            step, progress.step = progress.step, progress.step + 1
            progress.words += sum(map(len, batch))
            progress.seconds = int(monotonic() - begun)
            if step % self.settings["eval_frequency"]:
                yield None
                continue
            yield self._evaluated(step, losses)
            losses = {}

    def _is_over(self) -> bool:
        """RETURNS (bool): Whether `max_steps` or `patience` end the training."""
        last, results = self.progress.step - 1, self.progress.results
        limit, patience = self.settings["max_steps"], self.settings["patience"]
        if limit and last >= limit:
            return True
        best = -max(((score, -step) for score, step in results), default=(0.0, -last))[1]
        return bool(patience and last - best >= patience)

    def _update(self, batch: list[Example], losses: dict[str, float]) -> None:
        settings = self.settings
        if settings["before_update"]:
            place = {"step": self.progress.step, "epoch": self.progress.epoch}
            settings["before_update"](self.nlp, place)
        for part in subdivide_batch(batch, settings["accumulate_gradient"]):
            self.nlp.update(
                part,
                drop=settings["dropout"],
                losses=losses,
                sgd=False,  # type: ignore[arg-type]
                exclude=settings["frozen_components"],
                annotates=settings["annotating_components"],
            )
        for _, pipe in self._trained():
            pipe.finish_update(self.optimizer)
        self.optimizer.step_schedules()

    def _evaluated(self, step: int, losses: dict[str, float]) -> dict[str, Any]:
        """Evaluate and save.

        RETURNS (dict): What spaCy's loggers get.
        """
        progress = self.progress
        self._share_seen()
        with self.nlp.use_params(self.optimizer.averages):
            score, scores = processes.from_first(self.evaluate)
        progress.results.append((score, step))
        info = {
            "epoch": progress.epoch,
            "step": step,
            "score": score,
            "other_scores": scores,
            "losses": losses,
            "checkpoints": progress.results,
            "seconds": progress.seconds,
            "words": progress.words,
        }
        with self.nlp.select_pipes(disable=self.settings["frozen_components"]):
            update_meta(self.settings, self.nlp, info)
        self._save(DIR_MODEL_LAST)
        if score == max(progress.results)[0]:
            self._save(DIR_MODEL_BEST)
        self._save_checkpoint()
        return {**info, "output_path": str(self.output / DIR_MODEL_LAST)}

    def _share_seen(self) -> None:
        """Let each process know which entities the others were trained on."""
        for _, pipe in self._trained():
            if processes.count() > 1 and hasattr(pipe, "set_seen"):
                of_all = processes.gather(pipe.seen_ids)
                pipe.set_seen(dict.fromkeys(chain.from_iterable(of_all)))

    def _save(self, name: str) -> None:
        if processes.rank():
            return
        with (
            self.nlp.use_params(self.optimizer.averages),
            atomic_directory(self.output / name, _any_pipeline) as work,
        ):
            self.before_to_disk(self.nlp).to_disk(work)

    def _save_checkpoint(self) -> None:
        self.progress.texts = self._position()
        self.progress.random = processes.gather(random_state())
        processes.from_first(lambda: save_checkpoint(self.nlp, self.progress, self.output))

    def _position(self) -> dict[str, Any] | None:
        """RETURNS (dict | None): Where the reader is, if it keeps that and texts are streamed."""
        streamed = self.settings["max_epochs"] == -1
        return getattr(self.texts, "state", None) if streamed else None


@contextmanager
def prepared_output(output: Path, *, overwrite: bool) -> Iterator[None]:
    """Make the output directory, keep other trainings out of it, and repair what was interrupted
    there.

    overwrite (bool): Begin anew: remove a checkpoint.
    """
    output.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(output / LOCK, busy=Errors.ELQ159.format(path=output)):
        for name in (DIR_MODEL_LAST, DIR_MODEL_BEST):
            recover(output / name)
        if overwrite:
            recover(output / CHECKPOINT)
            remove(output / CHECKPOINT)
        yield


def _any_pipeline(directory: Path) -> None:
    """Whatever has the name of spaCy's output is replaced, as spaCy does."""
