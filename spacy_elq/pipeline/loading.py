"""Load a saved pipeline, on a device and with other settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ElqError, Errors, error_line, raise_if_out_of_memory

if TYPE_CHECKING:
    from spacy.language import Language


def load_linker(name: str, gpu_id: int = -1, **settings: Any) -> Language:
    """Load a pipeline with a linker.

    name, gpu_id: As for `load_pipeline`.
    settings: Of the linker, see `override_settings`.
    RETURNS (Language): The pipeline.
    """
    nlp = load_pipeline(name, gpu_id)
    override_settings(require_elq(nlp, name), **settings)
    return nlp


def use_gpu(gpu_id: int) -> None:
    """Run on a GPU from now on.

    gpu_id (int): GPU, -1 for the CPU.
    RAISES (ElqError): If there is no such GPU.
    """
    if gpu_id < 0:
        return
    import spacy

    try:
        spacy.require_gpu(gpu_id)
    except ValueError as err:
        raise ElqError(Errors.ELQ402.format(gpu=gpu_id, reason=error_line(err))) from None


def load_pipeline(name: str, gpu_id: int = -1) -> Language:
    """Load a pipeline, on a GPU if one is named.

    name (str): Package or directory.
    gpu_id (int): GPU, -1 for the CPU.
    RETURNS (Language): The pipeline.
    RAISES (ElqError): If there is no such GPU, no such pipeline, or it can't be loaded.
    """
    import spacy

    use_gpu(gpu_id)
    path = Path(name)
    if (path / "manifest.json").is_file() and not (path / "meta.json").exists():
        raise ElqError(Errors.ELQ459.format(name=name))
    try:
        return spacy.load(name)
    except ElqError:
        raise
    except MemoryError:
        raise
    except Exception as err:  # whatever a damaged file makes spaCy raise
        raise_if_out_of_memory(err)
        raise ElqError(Errors.ELQ401.format(name=name, reason=error_line(err))) from err


def require_elq(nlp: Language, name: str) -> Any:
    """RETURNS (Any): The component "elq" of a pipeline; `name` is its name in messages.
    RAISES (ElqError): If it has none."""
    from ..pipeline.lookup import find_elq

    elq = find_elq(nlp)
    if elq is None:
        raise ElqError(Errors.ELQ403.format(name=name))
    return elq


def override_settings(elq: Any, **settings: Any) -> None:
    """Apply the settings of the linker that were given on the command line; the others are None.

    RAISES (ElqError): If a value is not allowed.
    """
    for name, value in settings.items():
        if value is not None:
            setattr(elq, name, value)
