"""Measure a pipeline on sets of gold texts, with the alias dictionary for comparison."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spacy.kb import KnowledgeBase
from spacy.language import Language
from spacy.scorer import Scorer
from spacy.tokens import Doc
from spacy.training import Example

from ..gold import gold_spans, is_countable
from ..pipeline.lookup import find_elq
from .baseline import AliasDictionary
from .scorer import score_links

LINKER = "linker"
ALIAS_DICTIONARY = "alias dictionary"


@dataclass(frozen=True)
class Result:
    """The scores of one system on one set, or on a part of it.

    part (str): Name of the part; empty for the whole set.
    texts (int | None): Number of texts, None if unknown.
    scores (Mapping[str, Any]): `elq_*`; for whole sets also `ents_*` (mentions with exact bounds)
        and `nel_*` (their entities), as spaCy counts them.
    speed (float | None): Texts per second, for whole sets only.
    """

    data: str
    system: str
    part: str
    texts: int | None
    scores: Mapping[str, Any]
    speed: float | None = None


def evaluate_set(
    nlp: Language,
    data: str,
    references: Sequence[Doc],
    *,
    baseline: AliasDictionary | None = None,
    parts: Mapping[str, Collection[str]] | None = None,
    batch_size: int = 64,
    watch: Callable[[Iterator[Doc]], Iterable[Doc]] = iter,
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
    RETURNS (list[Result]): The linker's results, then the alias dictionary's: whole set first.
    """
    seen = seen_ids(nlp)
    members = _members(nlp, references, seen, parts or {})
    predicted, speed = _run(nlp, [doc.text for doc in references], batch_size, watch)
    keep_countable(predicted, references)
    examples = [Example(p, r) for p, r in zip(predicted, references, strict=True)]
    rank_gold(nlp, examples)
    results = _results(data, LINKER, examples, members, seen, speed)
    if baseline is not None:
        docs, speed = _annotate(baseline, [nlp.make_doc(doc.text) for doc in references])
        keep_countable(docs, references)
        examples = [Example(p, r) for p, r in zip(docs, references, strict=True)]
        results += _results(data, ALIAS_DICTIONARY, examples, members, seen, speed)
    return results


def seen_ids(nlp: Language) -> frozenset[str] | None:
    """RETURNS (frozenset[str] | None): The entities that the linker saw in training, None if
    it was not trained."""
    ids = getattr(find_elq(nlp), "cfg", {}).get("seen_ids")
    return frozenset(ids) if ids else None


def rank_gold(nlp: Language, examples: Sequence[Example]) -> None:
    """Let the linker, if there is one, store the ranks of gold entities on the predicted
    documents. This is not part of linking, so timed runs leave it out."""
    elq = find_elq(nlp)
    if elq is not None:
        elq.note_gold_ranks(examples)


def keep_countable(predicted: Iterable[Doc], references: Iterable[Doc]) -> None:
    """Drop the linked entities that a set does not count; see `gold.is_countable`.

    predicted (Iterable[Doc]): Documents whose entities are changed.
    references (Iterable[Doc]): Gold documents of the same texts.
    """
    for doc, reference in zip(predicted, references, strict=True):
        kept = [ent for ent in doc.ents if is_countable(ent, reference)]
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
    nlp: Language,
    texts: Sequence[str],
    batch_size: int,
    watch: Callable[[Iterator[Doc]], Iterable[Doc]],
) -> tuple[list[Doc], float]:
    """The pipeline's documents, and texts per second once it is warm."""
    for _ in nlp.pipe(texts[:batch_size], batch_size=batch_size):
        pass
    start = time.perf_counter()
    docs = list(watch(nlp.pipe(texts, batch_size=batch_size)))
    return docs, len(texts) / (time.perf_counter() - start)


def _annotate(baseline: AliasDictionary, docs: Sequence[Doc]) -> tuple[list[Doc], float]:
    start = time.perf_counter()
    annotated = [baseline.annotate(doc) for doc in docs]
    return annotated, len(docs) / (time.perf_counter() - start)


def _results(
    data: str,
    system: str,
    examples: Sequence[Example],
    members: Mapping[str, Sequence[bool]],
    seen: frozenset[str] | None,
    speed: float,
) -> list[Result]:
    scores = {
        **score_links(examples, seen_ids=seen),
        **Scorer.score_spans(examples, "ents", labeled=False),
        **Scorer.score_links(examples, negative_labels=["NIL"]),
    }
    results = [Result(data, system, "", len(examples), scores, speed)]
    for part, flags in members.items():
        chosen = [example for example, flag in zip(examples, flags, strict=True) if flag]
        results.append(Result(data, system, part, len(chosen), score_links(chosen)))
    return results


@dataclass(frozen=True)
class Column:
    """One measure of a table: its header, its key in the scores, its number format."""

    header: str
    key: str
    form: str = ".3f"

    def show(self, scores: Mapping[str, Any]) -> str:
        """RETURNS (str): The measure as text, "-" if it is unknown."""
        return format(scores[self.key], self.form) if self.key in scores else "-"


COLUMNS = (
    Column("weak P", "elq_weak_p"),
    Column("R", "elq_weak_r"),
    Column("F", "elq_weak_f"),
    Column("strong P", "elq_strong_p"),
    Column("R", "elq_strong_r"),
    Column("F", "elq_strong_f"),
    Column("mention R", "elq_mention_r"),
    Column("R@1", "elq_r1"),
    Column("R@10", "elq_r10"),
    Column("topic R", "elq_topic_r"),
    Column("links/text", "elq_links_per_text", ".2f"),
)
