"""Trained weights small enough for a package: changes to an encoder that is installed separately.

A weight file (safetensors, read without unpickling) holds the heads, and the change of each
parameter of the question encoder that training changed. Changes of matrices are stored as integers
of a few bits and a scale for each row: changes are small compared to the weights, so that a coarse
approximation is enough. The metadata identify the encoder, since the changes fit no other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..concurrency import LOADING
from ..encoders.model_paths import resolve_model_path
from ..encoders.question import get_transformer
from ..encoders.token_types import add_shapes, shape_table
from ..encoders.transformer_files import load_config, load_transformer
from ..encoders.word_shapes import N_SHAPES
from ..errors import ElqError, Errors, raise_if_out_of_memory
from ..files import atomic_file
from .model import ElqModel, get_encoder, get_heads, initialize, is_initialized

if TYPE_CHECKING:
    import torch

# Directory of the weight files in this package.
SHIPPED = Path(__file__).parents[1] / "weights"
SUFFIX = ".safetensors"
FORMAT = "1"

# Attribute of a model that starts from trained weights: the name of the weights.
PRETRAINED = "pretrained"
HEADS = "heads."
# Suffixes of the tensors of a changed parameter.
CHANGE, PLANES, SCALE = ".change", ".planes", ".scale"


def start_from_pretrained(model: ElqModel, name: str) -> ElqModel:
    """Make a model load trained weights when it is initialized.

    name (str): "starter", or the path of a file written by `save_changes`.
    """
    model.init = _init
    model.attrs[PRETRAINED] = name
    return model


def _init(model: ElqModel, X: Any = None, Y: Any = None) -> None:
    with LOADING:
        if not is_initialized(model):  # by loading, or by use in another thread
            weights = resolve_weights(model.attrs[PRETRAINED])
            initialize(model, lambda model: _apply(model, weights))


def _apply(model: ElqModel, path: Path) -> None:
    try:
        apply_changes(model, path)
    except ElqError:
        raise
    except (LookupError, RuntimeError, TypeError, ValueError) as err:  # a crafted or damaged file
        raise_if_out_of_memory(err)
        reason = " ".join(str(err).split())[:200]
        raise ElqError(Errors.ELQ121.format(path=path, reason=reason)) from None


def is_pretrained(model: ElqModel) -> bool:
    """RETURNS (bool): Whether initialization loads trained weights."""
    return PRETRAINED in model.attrs


def resolve_weights(name: str) -> Path:
    """name (str): The name of weights in this package, or a path.
    RAISES (ElqError): If there is no such file."""
    for path in (SHIPPED / f"{name}{SUFFIX}", Path(name).expanduser()):
        if path.is_file():
            return path
    shipped = ", ".join(sorted(path.stem for path in SHIPPED.glob(f"*{SUFFIX}")))
    raise ElqError(Errors.ELQ117.format(name=name, shipped=shipped))


def load_untrained_encoder(source: str | None) -> torch.nn.Module:
    """source (str | None): Name of the encoder; None for a listener, which has no transformer.
    RETURNS (Module): The encoder's transformer before training.
    RAISES (ElqError): If there is no name."""
    if source is None:
        raise ElqError(Errors.ELQ120)
    resolved = resolve_model_path(source)
    return load_transformer(resolved, load_config(resolved))


def save_changes(models: Sequence[ElqModel], base: torch.nn.Module, path: Path, bits: int) -> None:
    """Write the changes that training made, or the mean of the changes of several models.

    The mean of models that were trained from the same weights is often better than each of them
    (Wortsman et al., ICML 2022, "Model soups").

    models (Sequence[Model]): Trained models with the same configuration and own transformers.
    base (Module): Their transformer before training.
    path (Path): The file to write.
    bits (int): Bits for each number in the change of a matrix, 2 to 8.
    """
    from safetensors.torch import save_file

    options = {json.dumps(model.attrs["head_options"], sort_keys=True) for model in models}
    if len(options) > 1:
        raise ElqError(Errors.ELQ123.format(options=" and ".join(sorted(options))))
    if shape_table(_transformer(models[0])) is not None:
        add_shapes(base)
    before = base.state_dict()
    tensors: dict[str, torch.Tensor] = {}
    changed = []
    for name, change in _mean([_transformer(model) for model in models], minus=before).items():
        if change.any():
            changed.append(name)
            tensors |= {f"{name}{part}": value for part, value in _quantize(change, bits).items()}
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
    """Add the changes to the transformer of an initialized model, and load the heads.

    RAISES (ElqError): If the changes belong to another encoder, or the heads are configured
        differently.
    """
    import torch

    tensors, metadata = _read(path)
    heads = {n.removeprefix(HEADS): t for n, t in tensors.items() if n.startswith(HEADS)}
    names = {n.rpartition(".")[0] for n in tensors if not n.startswith(HEADS)}
    transformer = get_transformer(get_encoder(model))
    state = {} if transformer is None else transformer.state_dict()
    if not names <= state.keys() or _digest({n: state[n] for n in names}) != metadata["base"]:
        raise ElqError(Errors.ELQ118.format(path=path))
    options = model.attrs["head_options"]
    # Options that came later: what they add has no effect until it is trained.
    if {**options, **json.loads(metadata["heads"])} != options:
        raise ElqError(Errors.ELQ119.format(path=path, options=metadata["heads"]))
    with torch.no_grad():
        for name in names:
            state[name] += _dequantize(tensors, name, state[name]).to(state[name])
    get_heads(model).load_state_dict(heads)


def _mean(
    modules: Sequence[torch.nn.Module], minus: Mapping[str, torch.Tensor] | None = None
) -> dict[str, torch.Tensor]:
    """The mean of each parameter over modules of the same shape, float32 on the CPU.

    minus (Mapping[str, Tensor] | None): Subtracted from each parameter first, so that untrained
        parameters become exactly zero.
    """
    states = [module.state_dict() for module in modules]
    base = minus or {name: tensor.new_zeros(()) for name, tensor in states[0].items()}
    return {
        name: sum(s[name].cpu().float() - base[name].cpu().float() for s in states) / len(states)
        for name in states[0]
    }


def _transformer(model: ElqModel) -> torch.nn.Module:
    transformer = get_transformer(get_encoder(model))
    if transformer is None:
        raise ElqError(Errors.ELQ120)
    return transformer


def _quantize(change: torch.Tensor, bits: int) -> dict[str, torch.Tensor]:
    """RETURNS (dict[str, Tensor]): The change of a parameter, quantized; suffix → tensor."""
    import torch

    if change.ndim < 2:
        return {CHANGE: change.half()}
    if len(change) <= N_SHAPES:  # the embeddings of word shapes: small, and far from zero
        return {CHANGE: change}
    maximum = _max_code(bits)
    scale = change.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / maximum
    codes = ((change / scale).round() + maximum).to(torch.uint8).numpy()
    planes = np.stack([np.packbits(codes >> bit & 1) for bit in range(bits)])
    return {PLANES: torch.from_numpy(planes), SCALE: scale}


def _dequantize(tensors: Mapping[str, torch.Tensor], name: str, like: torch.Tensor) -> torch.Tensor:
    """Restore the change that `_quantize` made small, in the parameter's shape."""
    import torch

    if f"{name}{CHANGE}" in tensors:
        return tensors[f"{name}{CHANGE}"].float()
    planes = tensors[f"{name}{PLANES}"].numpy()
    codes = np.zeros(like.numel(), dtype=np.uint8)
    for bit, plane in enumerate(planes):
        codes |= np.unpackbits(plane, count=len(codes)) << bit
    numbers = torch.from_numpy(codes).view(like.shape).float() - _max_code(len(planes))
    return numbers * tensors[f"{name}{SCALE}"]


def _max_code(bits: int) -> int:
    """The largest integer, of a range that is symmetric around zero."""
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
        raise ElqError(Errors.ELQ121.format(path=path, reason="its format is unknown"))
    return tensors, metadata


def _digest(weights: Mapping[str, torch.Tensor]) -> str:
    """RETURNS (str): A hash of the names and values of parameters."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().float().contiguous().numpy().data)
    return digest.hexdigest()
