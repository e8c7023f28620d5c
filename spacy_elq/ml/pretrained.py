"""Trained weights that fit into a package: what training changed of an encoder installed by itself.

A weight file (safetensors, read without unpickling) holds the change of each parameter of the
question encoder that training changed, and the heads. The changes of matrices are whole numbers of
a few bits times a scale a row; a change is small beside what it is added to, so that a rough one
does. The metadata tell of which encoder: applied to any other one the changes would mean nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..encoders.model_paths import resolve_model_path
from ..encoders.question import get_transformer
from ..errors import ElqError, Errors
from ..files import atomic_file
from .model import ElqModel, get_encoder, get_heads, is_initialized

if TYPE_CHECKING:
    import torch

# Weight files that are part of the package, by name.
SHIPPED = Path(__file__).parents[1] / "weights"
SUFFIX = ".safetensors"
FORMAT = "1"

# Attribute of a model that begins with trained weights: their name.
PRETRAINED = "pretrained"
HEADS = "heads."
# Endings of the names of a changed parameter's tensors.
CHANGE, PLANES, SCALE = ".change", ".planes", ".scale"


def start_from_pretrained(model: ElqModel, name: str) -> ElqModel:
    """Let a model begin, when it is initialized, with trained weights.

    name (str): "starter", or the path of a file that `save_changes` wrote.
    """
    model.init = partial(_init, model.init)  # no closure: worker processes get pickled models
    model.attrs[PRETRAINED] = name
    return model


def _init(
    initialize: Callable[..., Any] | None, model: ElqModel, X: Any = None, Y: Any = None
) -> None:
    if is_initialized(model):  # it was loaded, or used, and has the weights
        return
    if initialize is not None:
        initialize(model, X, Y)
    apply_changes(model, resolve_weights(model.attrs[PRETRAINED]))


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


def load_untrained_encoder(source: str | None) -> torch.nn.Module:
    """RETURNS (Module): The transformer that a model with an encoder of that name begins with.
    RAISES (ElqError): If there is no name: a shared transformer has none."""
    from transformers import AutoModel

    if source is None:
        raise ElqError(Errors.ELQ120)
    return AutoModel.from_pretrained(resolve_model_path(source))


def save_changes(models: Sequence[ElqModel], base: torch.nn.Module, path: Path, bits: int) -> None:
    """Write what training changed. Of several trainings it is the mean: that of models which began
    with the same weights is often better than each (Wortsman et al., ICML 2022, "Model soups").

    models (Sequence[Model]): Trained models of one kind, with transformers of their own.
    base (Module): The same transformer before it was trained.
    path (Path): The file to write.
    bits (int): Of each number of a matrix's change, 2 to 8.
    """
    from safetensors.torch import save_file

    options = {json.dumps(model.attrs["head_options"], sort_keys=True) for model in models}
    if len(options) > 1:
        raise ElqError(Errors.ELQ123.format(options=" and ".join(sorted(options))))
    before = base.state_dict()
    tensors: dict[str, torch.Tensor] = {}
    changed = []
    for name, change in _mean([_transformer(model) for model in models], minus=before).items():
        if change.any():
            changed.append(name)
            tensors |= {f"{name}{part}": value for part, value in _coarse(change, bits).items()}
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
            state[name] += _change(tensors, name, state[name]).to(state[name])
    get_heads(model).load_state_dict(heads)


def _mean(
    modules: Sequence[torch.nn.Module], minus: Mapping[str, torch.Tensor] | None = None
) -> dict[str, torch.Tensor]:
    """The mean of each parameter of modules of one shape, float32 on the CPU.

    minus (Mapping): Taken off each before; what was not trained comes out as zeros exactly.
    """
    states = [module.state_dict() for module in modules]
    begun = minus or {name: tensor.new_zeros(()) for name, tensor in states[0].items()}
    return {
        name: sum(s[name].cpu().float() - begun[name].cpu().float() for s in states) / len(states)
        for name in states[0]
    }


def _transformer(model: ElqModel) -> torch.nn.Module:
    transformer = get_transformer(get_encoder(model))
    if transformer is None:
        raise ElqError(Errors.ELQ120)
    return transformer


def _coarse(change: torch.Tensor, bits: int) -> dict[str, torch.Tensor]:
    """A change of a parameter as small tensors, by the ending of their names."""
    import torch

    if change.ndim < 2:
        return {CHANGE: change.half()}
    most = _most(bits)
    scale = change.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / most
    codes = ((change / scale).round() + most).to(torch.uint8).numpy()
    planes = np.stack([np.packbits(codes >> bit & 1) for bit in range(bits)])
    return {PLANES: torch.from_numpy(planes), SCALE: scale}


def _change(tensors: Mapping[str, torch.Tensor], name: str, like: torch.Tensor) -> torch.Tensor:
    """What `_coarse` made small, in the shape of the parameter."""
    import torch

    if f"{name}{CHANGE}" in tensors:
        return tensors[f"{name}{CHANGE}"].float()
    planes = tensors[f"{name}{PLANES}"].numpy()
    codes = np.zeros(like.numel(), dtype=np.uint8)
    for bit, plane in enumerate(planes):
        codes |= np.unpackbits(plane, count=len(codes)) << bit
    numbers = torch.from_numpy(codes).view(like.shape).float() - _most(len(planes))
    return numbers * tensors[f"{name}{SCALE}"]


def _most(bits: int) -> int:
    """The largest of the whole numbers, which are as many below zero as above."""
    return 2 ** (bits - 1) - 1


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
