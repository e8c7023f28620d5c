"""Callbacks for `[initialize]` and `[nlp]` of a config."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.util import SimpleFrozenDict, registry
from thinc.api import Optimizer


def configure_sourced_component(
    component: str = "elq",
    settings: Mapping[str, Any] = SimpleFrozenDict(),
    training: Mapping[str, Any] = SimpleFrozenDict(),
    kb: str | Path | None = None,
) -> Callable[[Language], None]:
    """Change a component from another pipeline: a config block with `source` copies the component
    with its settings.

    Registered as "spacy-elq.adapt.v1", for `[initialize.after_init]`.

    component (str): Name of the component.
    settings (Mapping): Attributes of the component, such as `threshold`.
    training (Mapping): Fields of `TrainingSettings`; the others stay as they are.
    kb (Path | None): Knowledge base directory to link to, instead of the component's. It is saved
        inside the pipeline, unless the setting `kb_path` names it.
    RETURNS (Callable): The callback.
    """

    def configure(nlp: Language) -> None:
        elq: Any = nlp.get_pipe(component)
        own = {name: value for name, value in settings.items() if name != "kb_path"}
        elq.settings = elq.settings.changed(**own)
        if "kb_path" in settings:
            elq.kb_path = settings["kb_path"]
        if training:
            elq.set_training(**training)
        directory = kb or settings.get("kb_path")
        if directory:
            elq.set_kb(directory)
        if kb and "kb_path" not in settings:
            elq.kb_path = None  # saved with the pipeline

    return configure


def interpolate_optimizer() -> Callable[[Language], Language]:
    """Let `[training.optimizer]` refer to other blocks, such as `${training.max_steps}`. spaCy
    resolves it without them in `nlp.resume_training`, `nlp.initialize` and `spacy debug data`, also
    those of the trained pipeline, and fails.

    Registered as "spacy-elq.interpolate_optimizer.v1", for `[nlp.after_pipeline_creation]`.

    RETURNS (Callable): The callback.
    """

    def interpolate(nlp: Language) -> Language:
        # Not the config itself: a value given on the command line has to reach the optimizer.
        nlp.create_optimizer = partial(_create_optimizer, nlp)  # type: ignore[method-assign]
        return nlp

    return interpolate


def _create_optimizer(nlp: Language) -> Optimizer:
    block = nlp.config.interpolate()["training"]["optimizer"]
    return registry.resolve({"optimizer": block})["optimizer"]
