"""Several processes that train one model, each on a share of every batch.

Each has the whole model. Losses are sums over all processes divided by counts over all processes,
and gradients are summed, so a step is that of one process on the texts of all. torch's
DistributedDataParallel is not used: it wraps a module's forward pass, and here several modules, and
the search in the knowledge base, make one loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
from torch import distributed, nn

from ..errors import ElqError, Errors

T = TypeVar("T")
# How long a process waits for the others, as while the first one evaluates and saves.
PATIENCE = timedelta(hours=2)


def count() -> int:
    """RETURNS (int): How many processes train together; 1 without any others."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """RETURNS (int): The number of this one, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


@contextmanager
def joined(*, gpu: bool) -> Iterator[None]:
    """Train with the other processes that `torchrun` has started."""
    distributed.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def from_first(make: Callable[[], T]) -> T:
    """RETURNS (T): What `make` returns in the first process, in all of them."""
    if count() == 1:
        return make()
    made = [make() if rank() == 0 else None]
    distributed.broadcast_object_list(made, src=0)
    return cast(T, made[0])


def gather(value: T) -> list[T]:
    """RETURNS (list): The values of all processes, in order."""
    if count() == 1:
        return [value]
    values: list[Any] = [None] * count()
    distributed.all_gather_object(values, value)
    return values


def total(values: Sequence[float]) -> list[float]:
    """RETURNS (list[float]): Sums over all processes."""
    if count() == 1:
        return list(values)
    sums = torch.tensor(values, dtype=torch.float64)
    distributed.all_reduce(sums)
    return sums.tolist()


def meet(updates: bool) -> None:
    """Wait for the other processes, so that none waits for what another never does.

    updates (bool): Whether a part of a batch begins; otherwise, the step after the parts.
    RAISES (ElqError): In all processes, if they are at different places.
    """
    if count() > 1 and total([updates])[0] != updates * count():
        raise ElqError(Errors.ELQ163)


def gather_rows(rows: torch.Tensor) -> torch.Tensor:
    """Collect the rows of all processes, each of which may have another number of them, or none.
    Gradients of the collected rows reach the process that the rows came from.

    rows (Tensor): (N, …).
    RETURNS (Tensor): (M, …), in the order of the processes.
    """
    return rows if count() == 1 else _GatherRows.apply(rows, gather(len(rows)))


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, rows: torch.Tensor, sizes: list[int]) -> torch.Tensor:
        context.sizes = sizes
        padded = rows.new_zeros((max(*sizes, 1), *rows.shape[1:]))
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in sizes]
        distributed.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        gradient = gradient.contiguous()
        if len(gradient):
            distributed.all_reduce(gradient)
        return gradient.split(context.sizes)[rank()], None


def sum_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Add up the gradients of all processes. A parameter that has none in any process keeps none:
    the optimizer leaves it alone."""
    if count() == 1 or not parameters:
        return
    device = parameters[0].device
    flags = torch.tensor([p.grad is not None for p in parameters], dtype=torch.int8, device=device)
    distributed.all_reduce(flags, distributed.ReduceOp.MAX)
    learned = [p for p, has in zip(parameters, flags.tolist(), strict=True) if has]
    for parameter in learned:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    for work in [distributed.all_reduce(p.grad, async_op=True) for p in learned]:
        work.wait()


def copy_from_first(parameter: nn.Parameter) -> None:
    """Overwrite a parameter by that of the first process."""
    if count() > 1:
        distributed.broadcast(parameter.data, src=0)
