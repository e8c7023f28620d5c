"""The alias dictionary: a baseline that links by names alone.

It takes the longest match of a text's folded words with the names of the entities. A name means the
entity that it was linked to most often in the training texts; a name that was not linked there
means the first entity that has it as its title, or else as an alias.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from spacy.tokens import Doc

from ..annotate import align_to_tokens, best_spans, set_span_group
from ..gold import gold_spans, triples
from ..kb.files.names import fold, words
from ..types import DEFAULT_LABEL, Entity, Link


class AliasDictionary:
    """Links every mention of a known name, without looking at the context.

    entities (Iterable[Entity]): The knowledge base; an earlier entity wins if nothing else
        decides.
    training_docs (Iterable[Doc]): Reference documents whose gold mentions are counted.
    min_link_probability (float): Names are left alone if a smaller share of their occurrences in
        the training texts is linked; 0 links every match. Names that do not occur there are always
        linked.
    spans_key (str): The span group that `annotate` writes.
    """

    def __init__(
        self,
        entities: Iterable[Entity],
        training_docs: Iterable[Doc] = (),
        *,
        min_link_probability: float = 0.0,
        spans_key: str = "elq",
    ) -> None:
        self.min_link_probability = min_link_probability
        self.spans_key = spans_key
        self._titles: dict[str, str] = {}
        self._senses = _first_senses(entities, self._titles)
        self._longest = 0
        self._link_probability: dict[str, float] = {}
        self._learn(list(training_docs))

    def link(self, text: str) -> list[tuple[int, int, str]]:
        """Link one text.

        text (str): The text.
        RETURNS (list[tuple[int, int, str]]): Start and end in characters, and entity id, of each
            match in order, none overlapping.
        """
        return [
            (start, end, self._senses[name])
            for name, start, end in self._matches(text)
            if self.link_probability(name) >= self.min_link_probability
        ]

    def link_probability(self, name: str) -> float:
        """RETURNS (float): The share of a folded name's occurrences in the training texts that
        are linked; 1 if it does not occur there."""
        return self._link_probability.get(name, 1.0)

    def annotate(self, doc: Doc) -> Doc:
        """Write the links to the same places as the component: `doc.ents` and a span group.

        doc (Doc): The document, changed in place.
        RETURNS (Doc): The same document.
        """
        linked = align_to_tokens(doc, [self._make_link(*link) for link in self.link(doc.text)])
        set_span_group(doc, self.spans_key, linked)
        doc.set_ents(best_spans(linked))
        return doc

    def _make_link(self, start: int, end: int, entity_id: str) -> Link:
        title = self._titles[entity_id]
        # Scores of 0: the dictionary is certain of everything.
        return Link(start, end, entity_id, title, "", DEFAULT_LABEL, 0.0, 0.0, 0.0)

    def _matches(self, text: str) -> Iterator[tuple[str, int, int]]:
        """Folded name, start and end of the longest match at each position, left to right."""
        tokens = words(text)
        first = 0
        while first < len(tokens):
            for last in range(min(first + self._longest, len(tokens)), first, -1):
                name = " ".join(word.folded for word in tokens[first:last])
                if name in self._senses:
                    yield name, tokens[first].start, tokens[last - 1].end
                    first = last
                    break
            else:
                first += 1

    def _learn(self, docs: Sequence[Doc]) -> None:
        """Count, in the training texts, which entity each name means and how often it is linked."""
        golds = [
            [
                (fold(doc.text[start:end]), entity)
                for entity, start, end in triples(gold_spans(doc))
                if entity in self._titles
            ]
            for doc in docs
        ]
        senses = _most_frequent(Counter(pair for pairs in golds for pair in pairs))
        self._senses.update(senses)
        self._longest = max((name.count(" ") + 1 for name in self._senses), default=0)
        occurrences: Counter[str] = Counter()
        linked: Counter[str] = Counter()
        for doc, pairs in zip(docs, golds, strict=True):
            names = Counter(name for name, _, _ in self._matches(doc.text))
            occurrences.update(names)
            linked.update(names & Counter(name for name, _ in pairs))
        self._link_probability = {name: linked[name] / count for name, count in occurrences.items()}


def _first_senses(entities: Iterable[Entity], titles: dict[str, str]) -> dict[str, str]:
    """Folded name → id, titles before aliases; fills `titles` with id → title."""
    by_title: dict[str, str] = {}
    by_alias: dict[str, str] = {}
    for entity in entities:
        titles[entity.id] = entity.title
        by_title.setdefault(fold(entity.title), entity.id)
        for alias in entity.aliases:
            by_alias.setdefault(fold(alias), entity.id)
    return {**by_alias, **by_title}


def _most_frequent(linked: Mapping[tuple[str, str], int]) -> dict[str, str]:
    """Folded name → the id it is linked to most often; the first counted wins a tie."""
    best: dict[str, tuple[int, str]] = {}
    for (name, entity), count in linked.items():
        if count > best.get(name, (0, ""))[0]:
            best[name] = (count, entity)
    return {name: entity for name, (_, entity) in best.items()}
