"""The numbers that an encoder's matrix products are computed in; weights stay float32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, Literal

from spacy.util import logger

# With "auto", bfloat16 is never emulated: that is several times slower than float32.
Precision = Literal["auto", "fp32", "bf16"]


def uses_bf16(precision: str, device_type: str) -> bool:
    """RETURNS (bool): Whether matrix products are computed in bfloat16.

    precision (str): A `Precision`.
    device_type (str): The type of a torch device, such as "cpu" or "cuda".
    """
    return precision == "bf16" or (precision == "auto" and _has_bf16(device_type))


def autocast(precision: str, device_type: str) -> AbstractContextManager[Any]:
    """RETURNS (ContextManager): Computes matrix products in the precision."""
    if not uses_bf16(precision, device_type):
        return nullcontext()
    import torch

    return torch.autocast(device_type, dtype=torch.bfloat16)


@cache
def _has_bf16(device_type: str) -> bool:
    found = _multiplies_bf16(device_type)
    logger.info(
        "elq: precision 'auto' is %s on this %s", "bf16" if found else "fp32", device_type.upper()
    )
    return found


def _multiplies_bf16(device_type: str) -> bool:
    """RETURNS (bool): Whether the hardware does: AMX or AVX512-BF16 of a CPU, compute capability
    8.0 of a GPU."""
    import torch

    if device_type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device_type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):  # of torch before 2.12
        return False
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("amx_bf16", "avx512_bf16"))
