"""How likely a name is to mean each of the entities that have it."""

from __future__ import annotations

from collections.abc import Sequence

from ..types import Entity
from .names import fold


def priors(name: str, entities: Sequence[Entity]) -> list[float]:
    """Prior probabilities from the counts that entities came with; a name without any counts once.

    name (str): The name, in any spelling that folds to the same.
    entities (Sequence[Entity]): All that have it.
    RETURNS (list[float]): One for each; their sum is 1.
    """
    folded = fold(name)
    counted = [
        [count for own, count in entity.counts.items() if fold(own) == folded]
        for entity in entities
    ]
    counts = [sum(known) if known else 1 for known in counted]
    total = sum(counts)
    return [count / total if total else 1 / len(entities) for count in counts]
