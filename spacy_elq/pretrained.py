"""Trained weights that fit into a package: what training changed of an encoder installed by itself.

A weight file (safetensors, read without unpickling) holds, for each weight matrix of the question
encoder, two thin matrices whose product is the change of it (its truncated singular value
decomposition), the change of every other parameter as it is, and the heads. The metadata tell of
which encoder: applied to any other one the changes would mean nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .encoders.question import get_transformer
from .encoders.sources import resolve_source
from .errors import ElqError, Errors
from .kb.store import atomic_file
from .model import ElqModel, get_encoder, get_heads, is_initialized

if TYPE_CHECKING:
    import torch

# Weight files that are part of the package, by name.
SHIPPED = Path(__file__).parent / "weights"
SUFFIX = ".safetensors"
FORMAT = "1"

# Attribute of a model that begins with trained weights: their name.
PRETRAINED = "pretrained"
HEADS = "heads."
# Endings of the names of a changed parameter's tensors.
CHANGE, LEFT, RIGHT, SCALE = ".change", ".left", ".right", ".scale"


def with_pretrained(model: ElqModel, name: str) -> ElqModel:
    """Let a model begin, when it is initialized, with trained weights.

    name (str): "starter", or the path of a file that `save_changes` wrote.
    """
    initialize = model.init

    def init(model: ElqModel, X: Any = None, Y: Any = None) -> None:
        if is_initialized(model):  # it was loaded, or used, and has them
            return
        if initialize is not None:
            initialize(model, X, Y)
        apply_changes(model, resolve_weights(name))

    model.init = init
    model.attrs[PRETRAINED] = name
    return model


def is_pretrained(model: ElqModel) -> bool:
    """RETURNS (bool): Whether a model is trained as soon as it is initialized."""
    return PRETRAINED in model.attrs


def resolve_weights(name: str) -> Path:
    """RETURNS (Path): The file behind the name of shipped weights, or a path.
    RAISES (ElqError): If there is none."""
    for path in (SHIPPED / f"{name}{SUFFIX}", Path(name).expanduser()):
        if path.is_file():
            return path
    shipped = ", ".join(sorted(path.stem for path in SHIPPED.glob(f"*{SUFFIX}")))
    raise ElqError(Errors.ELQ117.format(name=name, shipped=shipped))


def untrained_encoder(source: str | None) -> torch.nn.Module:
    """RETURNS (Module): The transformer that a model with an encoder of that name begins with.
    RAISES (ElqError): If there is no name: a shared transformer has none."""
    from transformers import AutoModel

    if source is None:
        raise ElqError(Errors.ELQ120)
    return AutoModel.from_pretrained(resolve_source(source))


def save_changes(models: Sequence[ElqModel], base: torch.nn.Module, path: Path, rank: int) -> None:
    """Write what training changed. Of several trainings it is the mean: that of models which began
    with the same weights is often better than each (Wortsman et al., ICML 2022, "Model soups").

    models (Sequence[Model]): Trained models of one kind, with transformers of their own.
    base (Module): The same transformer before it was trained.
    path (Path): The file to write.
    rank (int): Columns of the thin matrices: more of them are closer to the change, and larger.
    """
    from safetensors.torch import save_file

    options = {json.dumps(model.attrs["head_options"], sort_keys=True) for model in models}
    if len(options) > 1:
        raise ElqError(Errors.ELQ123.format(options=" and ".join(sorted(options))))
    before = base.state_dict()
    tensors: dict[str, torch.Tensor] = {}
    changed = []
    for name, after in _mean([_transformer(model) for model in models]).items():
        change = after - before[name].cpu().float()
        if change.any():
            changed.append(name)
            tensors |= {f"{name}{part}": value for part, value in _thin(change, rank).items()}
    for name, value in _mean([get_heads(model) for model in models]).items():
        tensors[f"{HEADS}{name}"] = value.contiguous()
    metadata = {
        "format": FORMAT,
        "base": _digest({name: before[name] for name in changed}),
        "heads": options.pop(),
    }
    with atomic_file(path) as file:
        save_file(tensors, file, metadata)


def apply_changes(model: ElqModel, path: Path) -> None:
    """Add changes to the transformer of an initialized model, and set its heads.

    RAISES (ElqError): If the changes are of another encoder, or the heads of another shape.
    """
    import torch

    tensors, metadata = _read(path)
    heads = {n.removeprefix(HEADS): t for n, t in tensors.items() if n.startswith(HEADS)}
    names = {n.rpartition(".")[0] for n in tensors if not n.startswith(HEADS)}
    transformer = get_transformer(get_encoder(model))
    state = {} if transformer is None else transformer.state_dict()
    if not names <= state.keys() or _digest({n: state[n] for n in names}) != metadata["base"]:
        raise ElqError(Errors.ELQ118.format(path=path))
    if json.loads(metadata["heads"]) != model.attrs["head_options"]:
        raise ElqError(Errors.ELQ119.format(path=path, options=metadata["heads"]))
    with torch.no_grad():
        for name in names:
            state[name] += _change(tensors, name).to(state[name])
    get_heads(model).load_state_dict(heads)


def _mean(modules: Sequence[torch.nn.Module]) -> dict[str, torch.Tensor]:
    """The mean of each parameter of modules of one shape, float32 on the CPU."""
    states = [module.state_dict() for module in modules]
    return {name: sum(s[name].cpu().float() for s in states) / len(states) for name in states[0]}


def _transformer(model: ElqModel) -> torch.nn.Module:
    transformer = get_transformer(get_encoder(model))
    if transformer is None:
        raise ElqError(Errors.ELQ120)
    return transformer


def _thin(change: torch.Tensor, rank: int) -> dict[str, torch.Tensor]:
    """A change of a parameter as small tensors, by the ending of their names."""
    import torch

    if change.ndim < 2 or min(change.shape) <= rank:
        return {CHANGE: change.half()}
    left, values, right = torch.linalg.svd(change, full_matrices=False)
    columns, column_scale = _bytes(left[:, :rank], dim=0)
    rows, row_scale = _bytes(right[:rank], dim=1)
    # The vectors have length 1: the singular values may share a scale with their bytes.
    scale = values[:rank] * column_scale.flatten() * row_scale.flatten()
    return {LEFT: columns, RIGHT: rows, SCALE: scale}


def _bytes(vectors: torch.Tensor, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors along an axis as bytes, each with a scale of its own: a file of one size holds twice
    the rank that half precision would leave it, which costs less than what it cuts off."""
    import torch

    scale = vectors.abs().amax(dim, keepdim=True).clamp(min=1e-12) / 127
    return (vectors / scale).round().to(torch.int8).contiguous(), scale


def _change(tensors: Mapping[str, torch.Tensor], name: str) -> torch.Tensor:
    if f"{name}{CHANGE}" in tensors:
        return tensors[f"{name}{CHANGE}"].float()
    left, right = tensors[f"{name}{LEFT}"].float(), tensors[f"{name}{RIGHT}"].float()
    return left * tensors[f"{name}{SCALE}"] @ right


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as err:
        raise ElqError(Errors.ELQ121.format(path=path, reason=err)) from None
    if metadata.get("format") != FORMAT:
        raise ElqError(Errors.ELQ121.format(path=path, reason="it has another format"))
    return tensors, metadata


def _digest(weights: Mapping[str, torch.Tensor]) -> str:
    """Names the values of parameters."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().float().contiguous().numpy().data)
    return digest.hexdigest()
