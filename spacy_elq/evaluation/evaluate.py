"""Measure a pipeline on sets of gold texts, with the alias dictionary for comparison."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

from spacy.kb import KnowledgeBase
from spacy.language import Language
from spacy.scorer import Scorer
from spacy.tokens import Doc
from spacy.training import Example

from ..gold import countable, gold_spans, triples
from ..pace import by_characters
from ..pipeline.lookup import find_elq, knows
from .baseline import AliasDictionary
from .benchmark import LinkedDoc, count_benchmark, read_linked
from .scorer import score_links

LINKER = "linker"
ALIAS_DICTIONARY = "alias dictionary"
# Texts and characters whose gold entities are ranked at once.
RANKED_TEXTS, RANKED_CHARS = 64, 1 << 14
# Characters that make a pipeline warm.
WARM_CHARS = 1 << 12
Watch = Callable[[Iterator[Doc]], Iterable[Doc]]


@dataclass(frozen=True)
class Result:
    """The scores of one system on one set, or on a part of it.

    part (str): Name of the part; empty for the whole set.
    texts (int | None): Number of texts, None if unknown.
    scores (Mapping[str, Any]): `elq_*` and `bench_*`; for whole sets also `ents_*` (mentions with
        exact bounds) and `nel_*` (their entities), as spaCy counts them.
    speed, chars_per_second (float | None): Texts and characters per second, for whole sets only.
    """

    data: str
    system: str
    part: str
    texts: int | None
    scores: Mapping[str, Any]
    speed: float | None = None
    chars_per_second: float | None = None


def evaluate_set(
    nlp: Language,
    data: str,
    references: Sequence[Doc],
    *,
    baseline: AliasDictionary | None = None,
    parts: Mapping[str, Collection[str]] | None = None,
    batch_size: int = 64,
    watch: Watch = iter,
    watch_ranks: Watch = iter,
) -> list[Result]:
    """Measure a pipeline on one set.

    nlp (Language): The pipeline.
    data (str): The set's name.
    references (Sequence[Doc]): Gold documents.
    baseline (AliasDictionary | None): Measured too, if given.
    parts (Mapping[str, Collection[str]] | None): Further parts to report, by their texts. The parts
        "unseen" (a gold entity did not occur in training) and "ambiguous" (a gold mention is the
        name of several entities) are reported if the pipeline knows them.
    batch_size (int): Texts per batch.
    watch (Callable): Wraps the stream of linked documents, for example in a progress bar.
    watch_ranks (Callable): The same for the documents whose gold entities were ranked.
    RETURNS (list[Result]): The linker's results, then the alias dictionary's: whole set first.
    """
    seen = seen_ids(nlp)
    members = _members(nlp, references, seen, parts or {})
    is_known = knows(find_elq(nlp)) or (lambda _: True)

    def measure(system: str, docs: Sequence[Doc], seconds: float) -> list[Result]:
        linked = [read_linked(p, r, is_known) for p, r in zip(docs, references, strict=True)]
        keep_countable(docs, references)
        examples = [Example(p, r) for p, r in zip(docs, references, strict=True)]
        if system == LINKER:
            rank_gold(nlp, examples, watch_ranks)
        whole = _whole(data, system, examples, linked, seen, seconds)
        return [whole, *_parts(data, system, examples, linked, members)]

    results = measure(LINKER, *_run(nlp, references, batch_size, watch))
    if baseline is not None:
        results += measure(
            ALIAS_DICTIONARY, *_annotate(baseline, [nlp.make_doc(doc.text) for doc in references])
        )
    return results


def seen_ids(nlp: Language) -> frozenset[str] | None:
    """RETURNS (frozenset[str] | None): The entities that the linker saw in training, None if
    it was not trained."""
    ids = getattr(find_elq(nlp), "cfg", {}).get("seen_ids")
    return frozenset(ids) if ids else None


def rank_gold(nlp: Language, examples: Sequence[Example], watch: Watch = iter) -> None:
    """Let the linker, if there is one, store the ranks of gold entities on the predicted
    documents. This is not part of linking, so timed runs leave it out.

    watch (Callable): Wraps the stream of documents.
    """
    elq = find_elq(nlp)
    if elq is not None:
        deque(watch(_with_ranks(elq, examples)), maxlen=0)


def _with_ranks(elq: Any, examples: Sequence[Example]) -> Iterator[Doc]:
    for some in by_characters(examples, RANKED_TEXTS, RANKED_CHARS):
        elq.note_gold_ranks(some)
        yield from (example.predicted for example in some)


def keep_countable(predicted: Iterable[Doc], references: Iterable[Doc]) -> None:
    """Drop the linked entities that a set does not count; see `gold.countable`.

    predicted (Iterable[Doc]): Documents whose entities are changed.
    references (Iterable[Doc]): Gold documents of the same texts.
    """
    for doc, reference in zip(predicted, references, strict=True):
        kept = list(compress(doc.ents, countable(triples(doc.ents), reference)))
        if len(kept) < len(doc.ents):
            doc.set_ents(kept)


def is_unseen(references: Iterable[Doc], seen: Collection[str]) -> list[bool]:
    """RETURNS (list[bool]): Whether each document has a gold entity outside of `seen`."""
    known = {id_.lower() for id_ in seen}  # as the scores compare ids
    return [any(span.kb_id_.lower() not in known for span in gold_spans(doc)) for doc in references]


def is_ambiguous(references: Iterable[Doc], kb: KnowledgeBase) -> list[bool]:
    """RETURNS (list[bool]): Whether each document has a gold mention that is the name of several
    entities of the knowledge base."""
    return [
        any(len(named) > 1 for named in kb.get_candidates_batch(gold_spans(doc)))
        for doc in references
    ]


def _members(
    nlp: Language,
    references: Sequence[Doc],
    seen: frozenset[str] | None,
    parts: Mapping[str, Collection[str]],
) -> dict[str, list[bool]]:
    """Part name → which documents belong to it; unknown parts are left out."""
    members: dict[str, list[bool]] = {}
    if seen is not None:
        members["unseen"] = is_unseen(references, seen)
    kb = getattr(find_elq(nlp), "kb", None)
    if kb is not None:
        members["ambiguous"] = is_ambiguous(references, kb)
    for name, texts in parts.items():
        members[name] = [doc.text in texts for doc in references]
    return members


def _run(
    nlp: Language, references: Sequence[Doc], batch_size: int, watch: Watch
) -> tuple[list[Doc], float]:
    """The pipeline's documents, and the seconds that they took once it was warm."""
    first = next(by_characters(references, batch_size, WARM_CHARS), [])
    deque(nlp.pipe((doc.text for doc in first), batch_size=batch_size), maxlen=0)
    start = time.perf_counter()
    docs = list(watch(nlp.pipe((doc.text for doc in references), batch_size=batch_size)))
    return docs, time.perf_counter() - start


def _annotate(baseline: AliasDictionary, docs: Sequence[Doc]) -> tuple[list[Doc], float]:
    start = time.perf_counter()
    annotated = [baseline.annotate(doc) for doc in docs]
    return annotated, time.perf_counter() - start


def _whole(
    data: str,
    system: str,
    examples: Sequence[Example],
    linked: Sequence[LinkedDoc],
    seen: frozenset[str] | None,
    seconds: float,
) -> Result:
    scores = {
        **score_links(examples, seen_ids=seen),
        **count_benchmark(linked),
        **Scorer.score_spans(examples, "ents", labeled=False),
        **Scorer.score_links(examples, negative_labels=["NIL"]),
    }
    n_chars = sum(len(doc.text) for doc in linked)
    return Result(
        data, system, "", len(examples), scores, len(examples) / seconds, n_chars / seconds
    )


def _parts(
    data: str,
    system: str,
    examples: Sequence[Example],
    linked: Sequence[LinkedDoc],
    members: Mapping[str, Sequence[bool]],
) -> Iterator[Result]:
    for part, flags in members.items():
        chosen = list(compress(examples, flags))
        scores = {**score_links(chosen), **count_benchmark(compress(linked, flags))}
        yield Result(data, system, part, len(chosen), scores)


def mean_results(results: Iterable[Result]) -> list[Result]:
    """Average over sets.

    results (Iterable[Result]): Those of all sets.
    RETURNS (list[Result]): For each system that has a result for each whole set, the means of its
        shares, not of its counts; nothing for a single set.
    """
    of_system: dict[str, dict[str, Result]] = {}
    for result in results:
        if not result.part:
            of_system.setdefault(result.system, {})[result.data] = result
    n_sets = len({data for found in of_system.values() for data in found})
    return [
        _mean(system, list(found.values()))
        for system, found in of_system.items()
        if len(found) == n_sets > 1
    ]


def _mean(system: str, results: Sequence[Result]) -> Result:
    keys = [key for key in results[0].scores if all(_is_share(r.scores.get(key)) for r in results)]
    scores = {key: sum(r.scores[key] for r in results) / len(results) for key in keys}
    texts = None if any(r.texts is None for r in results) else sum(r.texts or 0 for r in results)
    return Result("mean", system, "", texts, scores)


def _is_share(score: Any) -> bool:
    return isinstance(score, float)
