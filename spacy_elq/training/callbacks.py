"""Callbacks for `[initialize]` of a config."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.util import SimpleFrozenDict

from ..errors import ElqError, Errors


def configure_sourced_component(
    component: str = "elq",
    settings: Mapping[str, Any] = SimpleFrozenDict(),
    training: Mapping[str, Any] = SimpleFrozenDict(),
    kb: str | Path | None = None,
) -> Callable[[Language], None]:
    """Change a component that comes from another pipeline: a config block with `source` takes the
    component as it is, its settings included.

    Registered as "spacy-elq.adapt.v1", for `[initialize.after_init]`.

    component (str): Name of the component.
    settings (Mapping): Attributes of the component, such as `threshold`.
    training (Mapping): Fields of `training.TrainingSettings`; the others stay as they are.
    kb (Optional[Path]): Knowledge base directory to link to, in place of the component's own. It
        is saved with the pipeline, unless the setting `kb_path` names it.
    RETURNS (Callable): The callback.
    """

    def adapt(nlp: Language) -> None:
        elq: Any = nlp.get_pipe(component)
        unknown = settings.keys() - elq.cfg.keys()
        if unknown:
            raise ElqError(Errors.ELQ332.format(names=", ".join(sorted(unknown)), of="settings"))
        for name, value in settings.items():
            setattr(elq, name, value)
        if training:
            elq.set_training(**training)
        directory = kb or settings.get("kb_path")
        if directory:
            from ..kb.loaders import kb_from_directory

            elq.set_kb(kb_from_directory(directory))
        if kb and "kb_path" not in settings:
            elq.kb_path = None  # saved with the pipeline

    return adapt
