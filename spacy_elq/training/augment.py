"""Training texts in which other entities replace the gold ones."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.vocab import Vocab

from ..annotate import without_overlaps
from ..gold import (
    AUGMENTED_KEY,
    gold_spans,
    is_complete,
    nil_spans,
    set_gold,
    set_partial,
    unknown_spans,
)
from ..kb.files.names import fold
from ..types import DEFAULT_LABEL, Entity

if TYPE_CHECKING:
    from ..kb.knowledge_base import FaissKB

# Gold entities whose neighbours are kept.
CACHE = 1 << 14
Augmenter = Callable[[Language, Example], Iterator[Example]]


def create_entity_swapper(kb: str | Path, level: float = 0.2, neighbours: int = 50) -> Augmenter:
    """Registered as "spacy-elq.swap_entities.v1": in a share of the texts, replace each gold
    mention by another entity's name.

    The other entity is a near neighbour of the gold one in the knowledge base, so that the text
    still makes some sense. The model learns to link entities that occur in no training text: by
    name and vector, not from memory.

    kb (Path): Knowledge base directory.
    level (float): Share of the texts to change, 0 to 1.
    neighbours (int): Number of nearest entities to draw from.
    """
    swapper: list[_Swapper] = []

    def augment(nlp: Language, example: Example) -> Iterator[Example]:
        if random.random() >= level or not gold_spans(example.reference):
            yield example
            return
        if not swapper:
            swapper.append(_Swapper(Path(kb), nlp.vocab, neighbours))
        yield swapper[0].swap(nlp, example)

    return augment


class _Moves:
    """Where the parts of a text are after mentions in it were replaced."""

    def __init__(self) -> None:
        # Borders of the parts, which are in turn text that stays and a mention.
        self.old, self.new = [0], [0]

    def add(self, old: tuple[int, int], new: tuple[int, int]) -> None:
        """Add a mention, later in the text than those before."""
        self.old += old
        self.new += new

    def moved(self, span: Span) -> tuple[int, int, str]:
        """RETURNS (tuple[int, int, str]): The new place of a span, which gets the whole of a
        mention that it begins or ends in, and no entity."""
        first, last = (bisect_right(self.old, i) - 1 for i in (span.start_char, span.end_char - 1))
        start = self.new[first] + (0 if first % 2 else span.start_char - self.old[first])
        end = self.new[last + 1] if last % 2 else self.new[last] + span.end_char - self.old[last]
        return start, end, ""


def _spans(doc: Doc, places: Iterable[tuple[int, int, str]]) -> list[Span]:
    spans = [
        doc.char_span(start, end, label=DEFAULT_LABEL, kb_id=id_, alignment_mode="expand")
        for start, end, id_ in places
    ]
    return [span for span in spans if span is not None]


class _Swapper:
    def __init__(self, path: Path, vocab: Vocab, neighbours: int) -> None:
        from ..kb.knowledge_base import FaissKB

        self.kb: FaissKB = FaissKB.open(path, vocab)
        self.neighbours = neighbours
        self.nearest = lru_cache(maxsize=CACHE)(self._nearest)

    def swap(self, nlp: Language, example: Example) -> Example:
        text, places = "", []
        end = 0
        moves = _Moves()
        whole = example.reference.text
        mentions = sorted(gold_spans(example.reference), key=lambda span: (span.start, -span.end))
        for i in without_overlaps((span.start, span.end) for span in mentions):
            span = mentions[i]
            text += whole[end : span.start_char]
            name, entity_id = self._other(span)
            places.append((len(text), len(text) + len(name), entity_id))
            moves.add((span.start_char, span.end_char), (len(text), len(text) + len(name)))
            text += name
            end = span.end_char
        reference = nlp.make_doc(text + whole[end:])
        set_gold(reference, _spans(reference, places))
        old = example.reference
        set_partial(
            reference,
            complete=None if is_complete(old) else False,
            unknown=_spans(reference, map(moves.moved, unknown_spans(old))),
            nil=_spans(reference, map(moves.moved, nil_spans(old))),
        )
        reference.user_data[AUGMENTED_KEY] = True
        return Example(nlp.make_doc(reference.text), reference)

    def _other(self, span: Span) -> tuple[str, str]:
        """A name that replaces the mention, and the id of its entity; both unchanged if the entity
        is not in the knowledge base."""
        nearest = self.nearest(span.kb_id_)
        if not nearest:
            return span.text, span.kb_id_
        entity = random.choice(nearest)
        # As often by its title as by one of its aliases.
        names = [entity.title] * max(1, len(entity.names) - 1) + list(entity.names[1:])
        name = random.choice(names)
        return (name.lower() if span.text.islower() else name), entity.id

    def _nearest(self, entity_id: str) -> list[Entity]:
        row = self.kb.row(entity_id)
        if row is None:
            return []
        vector = self.kb.get_vector(entity_id)[None]
        rows = self.kb.search(vector, self.neighbours + 1).rows[0]
        names = {fold(name) for name in self.kb.records([row])[0].names}
        others = self.kb.records([r for r in rows.tolist() if r >= 0 and r != row])
        # A namesake would leave the text unchanged and only give it a wrong label.
        return [other for other in others if names.isdisjoint(map(fold, other.names))]
