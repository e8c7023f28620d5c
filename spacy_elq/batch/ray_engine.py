"""Work on a Ray cluster: one task for each item, repeated when its machine fails."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from ..errors import ElqError, Errors, error_line

Item = TypeVar("Item")
Result = TypeVar("Result")
# How often a task whose worker was killed is started again.
RETRIES = 3
# Tasks ahead of the one that is waited for, for each core: the others go on meanwhile.
AHEAD = 3


def map_on_ray(
    work: Callable[[Item], Result], items: Iterable[Item], *, gpus: float = 0
) -> Iterator[Result]:
    """Apply a picklable callable to items on the workers of a Ray cluster: that of the environment
    variable RAY_ADDRESS, or else this machine. A worker keeps what the callable has loaded.

    gpus (float): GPUs, or the share of one, that a task needs.
    YIELDS (Result): The results, in the order of the items.
    RAISES (ElqError): If Ray is not installed, or the workers keep dying; and what `work` raises.
    """
    ray = _ray()
    if not ray.is_initialized():
        ray.init(log_to_driver=False, logging_level="ERROR")
    task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(work_on)
    shared, waiting = ray.put(work), deque[Any]()
    most = AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
    for item in items:
        waiting.append(task.remote(shared, item))
        if len(waiting) >= most:
            yield _result(ray, waiting.popleft())
    while waiting:
        yield _result(ray, waiting.popleft())


def work_on(work: Callable[[Item], Result], item: Item) -> Result:
    """Call `work`; the name that Ray shows for a task."""
    return work(item)


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise ElqError(Errors.ELQ463) from None
    return ray


def _result(ray: Any, waiting: Any) -> Any:
    try:
        return ray.get(waiting)
    except ray.exceptions.RayTaskError as err:
        raise err.cause from None
    except ray.exceptions.RayError as err:
        raise ElqError(Errors.ELQ464.format(most=RETRIES, reason=error_line(err)[:200])) from None
