"""A padded batch of wordpieces → last-layer vectors when nothing is learned: with torch, or with
ONNX Runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, Self

import numpy as np
from pydantic import model_validator

from ..errors import ElqError, Errors
from ..settings import Settings
from .fast_bert import computes_padding, last_layer
from .onnx_graph import FP32, INT8, find_graph
from .precision import autocast, uses_bf16
from .windows import cost_of_batch

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

TORCH: Final = "torch"
ONNX: Final = "onnx"
# Fixed cost of a batch whose padding is not computed, in wordpieces of padding.
UNPADDED_BATCH_COST = 256
# What a backend cannot compute in.
IMPOSSIBLE = ((TORCH, INT8), (ONNX, "bf16"))


class InferenceSettings(Settings):
    """How an encoder computes when it does not learn.

    backend (str): "torch", or "onnx": ONNX Runtime, on the CPU (extra `onnx`). It runs a graph that
        is made of the weights at first use, in some seconds, and saved with the pipeline. Without
        the extra, or on a GPU, torch runs instead.
    precision (str): Of matrix products: "fp32"; "bf16", with torch only; "int8", with ONNX Runtime
        only: weights and vectors are quantized to whole numbers. "auto" is "bf16" with torch if
        the processor multiplies bfloat16 in hardware, else "fp32".
    """

    backend: Literal["torch", "onnx"] = TORCH
    precision: Literal["auto", "fp32", "bf16", "int8"] = "auto"

    @model_validator(mode="after")
    def _backend_can(self) -> Self:
        if (self.backend, self.precision) in IMPOSSIBLE:
            raise ElqError(Errors.ELQ142.format(backend=self.backend, precision=self.precision))
        return self

    def name_on(self, device_type: str) -> str:
        """RETURNS (str): Backend and precision as they are on a type of device."""
        if self.backend == ONNX and device_type == "cpu":
            return f"{ONNX} {INT8 if self.precision == INT8 else FP32}"
        return f"{TORCH} {'bf16' if uses_bf16(self.precision, device_type) else FP32}"


def inference_cost(transformer: PreTrainedModel, settings: InferenceSettings) -> int | None:
    """RETURNS (int | None): The fixed cost of a batch in `infer`, see `windows.batch_by_length`."""
    if settings.backend == TORCH and not computes_padding(transformer):
        return UNPADDED_BATCH_COST
    return cost_of_batch(transformer.device)


def infer(
    transformer: PreTrainedModel,
    ids: np.ndarray,
    mask: np.ndarray,
    settings: InferenceSettings,
    types: np.ndarray | None = None,
) -> torch.Tensor:
    """Run a transformer that is in evaluation mode.

    ids (ndarray): Wordpiece ids, int64 (B, T).
    mask (ndarray): True for wordpieces, False for padding, bool (B, T).
    types (ndarray | None): Token types, int64 (B, T); None for zeros.
    RETURNS (Tensor): (B, T, h), float32, on the transformer's device.
    """
    import torch

    if settings.backend == ONNX and (graph := find_graph(transformer, settings.precision)):
        return torch.from_numpy(graph.run(ids, mask, types))
    with torch.inference_mode(), autocast(settings.precision, transformer.device.type):
        return last_layer(transformer, ids, mask, types).float()
