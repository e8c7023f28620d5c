"""What runs the work of a command on many cores or machines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import ElqError, Errors

RAY = "ray"
Engine = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]


def choose_engine(name: str, n_process: int, gpu_id: int) -> Engine:
    """RETURNS (Callable): Applies a callable to items, and yields the results in their order.
    RAISES (ElqError): If there is no such engine."""
    if name not in ("", RAY):
        raise ElqError(Errors.ELQ466.format(name=name, known=RAY))
    if name == RAY:
        from ..batch.ray_engine import map_on_ray

        return partial(map_on_ray, gpus=1 if gpu_id >= 0 else 0)
    from ..batch.processes import map_in_processes

    return partial(map_in_processes, count=n_process)


def local_path(name: str) -> str:
    """RETURNS (str): An absolute path, if there is such a file: workers have other directories."""
    return str(Path(name).absolute()) if Path(name).exists() else name
