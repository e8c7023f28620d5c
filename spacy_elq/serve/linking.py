"""Texts of several requests → links, as plain values. Each request has its own settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import groupby
from typing import Any, NamedTuple

from spacy.language import Language
from spacy.tokens import Doc

from ..annotate import all_links
from ..pipeline.lookup import doc_before
from ..types import Link
from .schemas import LinkRequest

# Key of the span group with the mentions that a request gives.
GIVEN = "elq_given"
# Fields of a request that are settings of the component; the floor has another name there.
SETTINGS = ("threshold", "top_k", "mention_kinds")

Place = tuple[int, int]


class Manner(NamedTuple):
    """How to link. Only texts that are linked in the same manner go through the pipeline together.

    settings (tuple): Names and values of settings of the component, those that were asked for.
    types, ids (tuple[str, ...] | None): As in `ElqLinker.restrict`.
    given (bool): Whether the mentions are given.
    floor (bool): Whether to list all that was considered.
    """

    settings: tuple[tuple[str, Any], ...]
    types: tuple[str, ...] | None
    ids: tuple[str, ...] | None
    given: bool
    floor: bool

    @classmethod
    def of(cls, request: LinkRequest) -> Manner:
        """RETURNS (Manner): What a request asks for."""
        asked = {name: getattr(request, name) for name in SETTINGS}
        given, floor = request.mentions is not None, request.floor is not None
        asked |= {"span_group_threshold": request.floor, "mentions": GIVEN if given else None}
        settings = tuple((name, value) for name, value in asked.items() if value is not None)
        types, ids = (None if v is None else tuple(v) for v in (request.types, request.ids))
        return cls(settings, types, ids, given, floor)


class TextJob(NamedTuple):
    """One text of a request."""

    text: str
    manner: Manner
    mentions: tuple[Place, ...] = ()
    explain: bool = False


def jobs_of(request: LinkRequest) -> list[TextJob]:
    """RETURNS (list[TextJob]): The texts of a request."""
    manner = Manner.of(request)
    return [
        TextJob(text, manner, tuple((m.start, m.end) for m in mentions or ()), request.explain)
        for text, mentions in zip(request.all_texts, request.all_mentions, strict=True)
    ]


class TextLinker:
    """Links texts with a pipeline. Only one thread at a time may call it: it changes settings.

    nlp (Language): The pipeline.
    elq (ElqLinker): Its linker.
    """

    def __init__(self, nlp: Language, elq: Any) -> None:
        self.nlp = nlp
        self.elq = elq

    def __call__(self, jobs: Sequence[TextJob]) -> list[dict[str, Any] | Exception]:
        """RETURNS (list[dict | Exception]): For each text its answer, or what went wrong."""
        answers: list[dict[str, Any] | Exception] = [{}] * len(jobs)
        order = sorted(range(len(jobs)), key=lambda i: repr(jobs[i].manner))
        for _, group in groupby(order, key=lambda i: jobs[i].manner):
            members = list(group)
            of_group = self._link_all([jobs[i] for i in members])
            for i, answer in zip(members, of_group, strict=True):
                answers[i] = answer
        return answers

    def _link_all(self, jobs: Sequence[TextJob]) -> Sequence[dict[str, Any] | Exception]:
        try:
            return self._link(jobs)
        except Exception as error:
            if len(jobs) == 1:
                return [error]
        # What is wrong with one text is no reason to refuse the others.
        return [answer for job in jobs for answer in self._link_all([job])]

    def _link(self, jobs: Sequence[TextJob]) -> list[dict[str, Any]]:
        # Strings that occur only in these texts are freed at the end: no document is kept.
        with self._in_manner(jobs[0].manner), self.nlp.memory_zone():
            docs = self.nlp.pipe([self._make_doc(job) for job in jobs], batch_size=len(jobs))
            return [self._answer(doc, job) for doc, job in zip(docs, jobs, strict=True)]

    @contextmanager
    def _in_manner(self, manner: Manner) -> Iterator[None]:
        elq, before = self.elq, self.elq.settings
        restricted = manner.types is not None or manner.ids is not None
        elq.settings = before.changed(**dict(manner.settings))
        try:
            with elq.restrict(manner.types, manner.ids) if restricted else nullcontext():
                yield
        finally:
            elq.settings = before

    def _make_doc(self, job: TextJob) -> Doc:
        doc = self.nlp.make_doc(job.text)
        if job.manner.given:
            spans = [doc.char_span(*place, alignment_mode="expand") for place in job.mentions]
            doc.spans[GIVEN] = [span for span in spans if span is not None]
        return doc

    def _answer(self, doc: Doc, job: TextJob) -> dict[str, Any]:
        found: dict[tuple[str, Place], Link] = {}
        for place, link in all_links(doc.spans.values()):
            found.setdefault((link.id, place), link)
        keys = [(ent.kb_id_, (ent.start_char, ent.end_char)) for ent in doc.ents]
        text = doc.text
        links = [_to_dict(text, key[1], found[key]) for key in keys if key in found]
        answer: dict[str, Any] = {"links": links}
        if job.manner.floor:
            groups = [doc.spans[self.elq.spans_key]]
            answer["considered"] = [_to_dict(text, *each) for each in all_links(groups)]
        if job.explain:
            before = doc_before(self.nlp, self.elq.name, self._make_doc(job))
            answer["explanation"] = self.elq.explain(before, exact=False)
        return answer


def _to_dict(text: str, place: Place, link: Link) -> dict[str, Any]:
    """RETURNS (dict): The fields of a `LinkAnswer`."""
    return {
        "start": link.start,
        "end": link.end,
        "tokens": place,
        "text": text[link.start : link.end],
        "id": link.id,
        "title": link.title,
        "description": link.description,
        "type": link.label,
        "score": link.score,
        "mention_score": link.mention_score,
        "entity_score": link.entity_score,
        "prob": link.prob,
        "candidates": [candidate._asdict() for candidate in link.candidates],
    }
