"""A pipeline in two ways of inference: how much faster it is, and what it links otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from ..encoders.inference import TORCH, InferenceSettings
from ..ml.model import get_encoder

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

    from ..types import Link

# What others are compared with.
REFERENCE = InferenceSettings(backend=TORCH, precision="fp32")
BATCH_SIZE = 64
# Each way is timed in turns with the other.
ROUNDS = 3
# Texts that are linked one by one, in each round.
SINGLE = 50


@dataclass
class Measured:
    """One way of inference.

    links (list[dict]): The links of each text, by start, end and entity.
    vectors (list[ndarray]): The wordpiece vectors of each text's windows, float32 (P, h).
    single (list[float]): Seconds of texts that were linked one by one.
    batches (list[float]): Seconds of all texts, in each round.
    """

    links: list[dict[tuple[int, int, str], Link]] = field(default_factory=list)
    vectors: list[np.ndarray] = field(default_factory=list)
    single: list[float] = field(default_factory=list)
    batches: list[float] = field(default_factory=list)

    @property
    def single_ms(self) -> float:
        """RETURNS (float): Median of the milliseconds of a text linked alone."""
        return 1000 * median(self.single)

    @property
    def texts_per_second(self) -> float:
        """RETURNS (float): Of `nlp.pipe`, in the fastest round."""
        return len(self.links) / min(self.batches)

    @property
    def n_links(self) -> int:
        return sum(map(len, self.links))


@dataclass(frozen=True)
class Difference:
    """What changes from one way of inference to another.

    same (int): Links that both make: same characters, same entity.
    score (float): Mean absolute difference of these links' joint log-scores.
    max_score (float): The largest.
    cosine (float): Mean cosine between the wordpiece vectors.
    min_cosine (float): The smallest.
    """

    same: int
    score: float
    max_score: float
    cosine: float
    min_cosine: float


def compare_inference(
    nlp: Language, elq: Any, texts: Sequence[str], settings: InferenceSettings
) -> tuple[Measured, Measured, Difference]:
    """Link texts with torch in float32 and in another way, in turns.

    nlp (Language): The pipeline. Its `elq` has the other way afterwards.
    texts (Sequence[str]): At least one.
    RETURNS (tuple[Measured, Measured, Difference]): Those of float32, those of the other way, and
        what differs.
    """
    ways = {REFERENCE: Measured(), settings: Measured()}
    for way, measured in ways.items():
        _use(elq, way)
        docs = list(nlp.pipe(texts, batch_size=BATCH_SIZE))  # makes a graph, warms up
        measured.links = [_links(doc) for doc in docs]
        measured.vectors = _wordpiece_vectors(elq, docs)
    for _ in range(ROUNDS):
        for way, measured in ways.items():
            _use(elq, way)
            _time(nlp, texts, measured)
    before, after = ways[REFERENCE], ways[settings]
    return before, after, _difference(before, after)


def _use(elq: Any, way: InferenceSettings) -> None:
    elq.set_inference(**way.model_dump())


def _time(nlp: Language, texts: Sequence[str], measured: Measured) -> None:
    for text in islice(texts, SINGLE):
        start = perf_counter()
        nlp(text)
        measured.single.append(perf_counter() - start)
    start = perf_counter()
    for _ in nlp.pipe(texts, batch_size=BATCH_SIZE):
        pass
    measured.batches.append(perf_counter() - start)


def _links(doc: Doc) -> dict[tuple[int, int, str], Link]:
    return {(e.start_char, e.end_char, e.kb_id_): e._.elq for e in doc.ents if e._.elq is not None}


def _wordpiece_vectors(elq: Any, docs: Sequence[Doc]) -> list[np.ndarray]:
    """RETURNS (list[ndarray]): Those of each document, whatever the batches."""
    vectors: list[np.ndarray] = []
    encoder = get_encoder(elq.model)
    for doc in docs:
        batches = encoder.predict([doc])
        rows = [batch.vectors.cpu().numpy()[batch.mask] for batch in batches]
        vectors += [np.concatenate(rows)] if rows else []
    return vectors


def _difference(before: Measured, after: Measured) -> Difference:
    scores = [
        abs(one[key].score - other[key].score)
        for one, other in zip(before.links, after.links, strict=True)
        for key in one.keys() & other.keys()
    ]
    cosines = np.concatenate(
        [_cosines(*pair) for pair in zip(before.vectors, after.vectors, strict=True)]
    )
    return Difference(
        same=len(scores),
        score=float(np.mean(scores)) if scores else 0.0,
        max_score=max(scores, default=0.0),
        cosine=float(cosines.mean()),
        min_cosine=float(cosines.min()),
    )


def _cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return (one * other).sum(1) / lengths
