"""The component `elq`: finds the mentions of a text and links them, in one encoder pass."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spacy.language import Language
from spacy.pipeline import TrainablePipe
from spacy.tokens import Doc, Span
from spacy.training import Example, validate_examples, validate_get_examples
from spacy.util import SimpleFrozenDict, SimpleFrozenList, get_lang_class
from spacy.vocab import Vocab
from thinc.api import Model, Optimizer

from ..annotate import (
    align_to_tokens,
    best_spans,
    install_extension,
    merge_into_ents,
    set_kb_ids,
    set_span_group,
)
from ..corpora.spans_jsonl import check_text
from ..encoders.entity import EntityEncoder
from ..encoders.question import OWN_ENCODER, Encoder, change_encoder, encoder_settings
from ..errors import ElqError, Errors, Warnings
from ..forks import single_thread_after_fork
from ..gold import AUGMENTED_KEY, RANKS_KEY, gold_spans
from ..linking.calibration import Calibration
from ..linking.decoding import JOINT, DecodingSettings
from ..linking.links import make_links
from ..linking.rank import CharSpans, RankedMentions, rank_mentions
from ..ml.model import can_encode, get_encoder, is_initialized
from ..ml.pretrained import is_pretrained
from ..settings import ENTS, FIND, Setting, check_types, plain
from ..types import Link
from .linked_kb import EntitiesOfPipe
from .serialization import all_settings, pipe_from_bytes, pipe_to_bytes, read_pipe, write_pipe

if TYPE_CHECKING:
    from ..kb.knowledge_base import FaissKB
    from ..kb.live.view import View
    from ..linking.explanation import Explanation
    from ..training.trainer import Trainer


# Types of the settings that are not those of decoding.
TYPES = {
    **dict.fromkeys(("mentions", "spans_key"), "str"),
    **dict.fromkeys(("overwrite", "rank_gold", "save_entity_encoder"), "bool"),
    "span_group_threshold": "float | None",
    "kb_path": "str | None",
}
# Texts whose gold mentions are ranked at once.
SCORE_BATCH = 64


class ElqLinker(EntitiesOfPipe, TrainablePipe):
    """Finds and links entities; see `factory.make_elq` for the settings.

    Settings are attributes: `nlp.get_pipe("elq").threshold = -2.0` holds from the next call on,
    and is saved with the pipeline.
    """

    threshold = Setting()
    mention_threshold = Setting()
    threshold_type = Setting()
    top_k = Setting()
    num_cand_mentions = Setting()
    max_mention_length = Setting()
    special_tokens = Setting()
    word_boundaries = Setting()
    mentions = Setting()
    spans_key = Setting()
    span_group_threshold = Setting()
    calibration = Setting()
    overwrite = Setting()
    rank_gold = Setting()
    save_entity_encoder = Setting()
    kb_path = Setting()

    def __init__(
        self,
        vocab: Vocab,
        model: Model,
        name: str = "elq",
        *,
        entity_encoder: EntityEncoder,
        training: Mapping[str, Any] = SimpleFrozenDict(),
        scorer: Callable | None = None,
        **settings: Any,
    ) -> None:
        """
        vocab (Vocab): The shared vocabulary.
        model (Model): From `spacy-elq.ELQ.v1`.
        entity_encoder (EntityEncoder): What the knowledge base's vectors are made with.
        training (Mapping): Fields of `training.TrainingSettings`.
        scorer (Optional[Callable]): The scoring method.
        **settings: The attributes above.
        """
        self.vocab = vocab
        self.model = model
        self.name = name
        self.entity_encoder = entity_encoder
        self.scorer = scorer
        self.cfg: dict[str, Any] = {**self.checked_settings(settings), "seen_ids": []}
        self._training = plain(training)
        self.configured = all_settings(self)
        self._trainer: Trainer | None = None
        self._kb: FaissKB | None = None
        self._kb_is_stale = False
        self._seen: set[str] = set()
        install_extension()
        single_thread_after_fork()

    @staticmethod
    def checked_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
        """RETURNS (dict): The settings as values that JSON can hold.
        RAISES (ElqError): Where one has a value that is not allowed."""
        checked: dict[str, Any] = plain(settings)
        check_types(TYPES, checked)
        _decoding_settings(checked)
        if checked["mentions"] == checked["spans_key"]:
            raise ElqError(Errors.ELQ109.format(key=checked["spans_key"]))
        if checked["calibration"] is not None:
            checked["calibration"] = Calibration.from_dict(checked["calibration"]).to_dict()
        return checked

    @property
    def decoding(self) -> DecodingSettings:
        """RETURNS (DecodingSettings): The settings of decoding, as they are now."""
        return _decoding_settings(self.cfg)

    @property
    def max_length(self) -> int:
        """RETURNS (int): Most wordpieces that are read at once, special tokens included; to be
        changed by assignment. Only where the encoder is the component's own."""
        return int(encoder_settings(self._own_encoder())["max_length"])

    @max_length.setter
    def max_length(self, value: int) -> None:
        change_encoder(self._own_encoder(), {"max_length": value})

    def _own_encoder(self) -> Encoder:
        encoder = get_encoder(self.model)
        if encoder.name != OWN_ENCODER:
            raise ElqError(Errors.ELQ132.format(name=self.name))
        return encoder

    # Inference

    def predict(self, docs: Iterable[Doc]) -> list[list[Link]]:
        """Find and link, without changing the documents.

        RETURNS (list[list[Link]]): The links of each document above `span_group_threshold` (or the
            threshold), by wordpieces, overlapping ones too.
        """
        docs = list(docs)
        given = None if self.mentions == FIND else [self._given(doc) for doc in docs]
        settings = self.decoding
        if self.span_group_threshold is not None and self.threshold_type == JOINT:
            settings = replace(settings, threshold=min(self.span_group_threshold, self.threshold))
        kb = self._current_entities()
        mentions = rank_mentions(self.model, kb, docs, settings, given)
        passed = mentions.select(mentions.passes(settings))
        stored = self.calibration
        calibration = None if stored is None else Calibration.from_dict(stored)
        links = make_links(passed, kb, calibration)
        result: list[list[Link]] = [[] for _ in docs]
        for doc, link in zip(passed.doc.tolist(), links, strict=True):
            if link is not None:
                result[doc].append(link)
        return result

    def rank_mentions(
        self,
        docs: Sequence[Doc],
        given: Sequence[CharSpans] | None = None,
        settings: DecodingSettings | None = None,
    ) -> RankedMentions:
        """Mentions with ranked candidates, before any is cut by the joint score.

        given (Sequence[CharSpans]): Mentions of each document, instead of finding them.
        settings (DecodingSettings): In place of the component's own.
        """
        kb = self._current_entities()
        return rank_mentions(self.model, kb, docs, settings or self.decoding, given)

    def _current_entities(self) -> View:
        """What a call links to from its beginning to its end, whatever is changed meanwhile."""
        self._ensure_initialized()
        self._refresh_kb()
        return self.kb.view

    def _ensure_initialized(self) -> None:
        """A model that comes trained needs no `nlp.initialize`."""
        if not is_initialized(self.model):
            if not is_pretrained(self.model):
                raise ElqError(Errors.ELQ106.format(name=self.name))
            self.model.initialize()

    def set_annotations(self, docs: Iterable[Doc], scores: Sequence[Sequence[Link]]) -> None:
        """Write links to `doc.ents` and `doc.spans[spans_key]`.

        scores (Sequence[Sequence[Link]]): What `predict` returned.
        """
        for doc, links in zip(docs, scores, strict=True):
            stale = list(doc.spans.get(self.spans_key, ()))
            linked = align_to_tokens(doc, links)
            above = [(s, link) for s, link in linked if self._is_above(link)]
            set_span_group(doc, self.spans_key, linked)
            if self.mentions == ENTS:
                set_kb_ids(doc, [span for span, _ in above])
            else:
                merge_into_ents(doc, best_spans(above), stale, overwrite=self.overwrite)

    def explain(self, doc: Doc | str, *, limit: int = 50, exact: bool = True) -> Explanation:
        """Tell every span that is considered, its scores and candidates, and what cut it.

        doc (Doc | str): The document, which is left as it is: as this component gets it, or as
            the pipeline returned it. A text is tokenized as its language is by default.
        limit (int): Spans beside those that got candidates: so many, the most likely mentions.
        exact (bool): Also look up what exact search would choose, if the index is not exact. That
            reads all vectors.
        RETURNS (Explanation): The spans, links first.
        """
        from ..linking.explanation import explain_links

        if isinstance(doc, str):
            doc = get_lang_class(self.vocab.lang or "xx")(vocab=self.vocab).make_doc(doc)
        return explain_links(
            self.model,
            self._current_entities(),
            doc,
            self.decoding,
            given=None if self.mentions == FIND else self._given(doc),
            taken=self._taken(doc),
            limit=limit,
            exact=exact,
        )

    def _taken(self, doc: Doc) -> CharSpans:
        """Where entities are that links give way to."""
        if self.overwrite or self.mentions == ENTS:
            return ()
        own = {(s.start, s.end, s.kb_id) for s in doc.spans.get(self.spans_key, ())}
        others = (ent for ent in doc.ents if (ent.start, ent.end, ent.kb_id) not in own)
        return [(ent.start_char, ent.end_char) for ent in others]

    def _is_above(self, link: Link) -> bool:
        return self.threshold_type != JOINT or link.score > self.threshold

    def _given(self, doc: Doc) -> CharSpans:
        if self.mentions != ENTS and self.mentions not in doc.spans:
            warnings.warn(Warnings.ELQ130.format(key=self.mentions, name=self.name), stacklevel=2)
        spans: Iterable[Span] = (
            doc.ents if self.mentions == ENTS else doc.spans.get(self.mentions, ())
        )
        return [(span.start_char, span.end_char) for span in spans]

    # Training

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        kb_loader: Callable[..., Any] | None = None,
    ) -> None:
        """Load the encoder's weights, make the heads, and load the knowledge base.

        get_examples (Callable): Returns a sample of the training data.
        nlp (Language): The pipeline.
        kb_loader (Optional[Callable]): `spacy-elq.KBFromDirectory.v1` or
            `spacy-elq.KBFromEntities.v1`; without it, the one of `kb_path`, or call `set_kb`.
        """
        validate_get_examples(get_examples, "ElqLinker.initialize")
        self.model.initialize()
        self._trainer = None
        self.set_seen(())
        if kb_loader is None and self.kb_path is not None:
            from ..kb.loaders import kb_from_directory

            kb_loader = kb_from_directory(self.kb_path)
        if kb_loader is not None:
            self.set_kb(kb_loader)

    def update(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | None = None,
        losses: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Learn from a batch: gradients add up on the model until `finish_update`.

        drop (float): Not used: the transformer has its own dropout rates.
        losses (dict): Gets the sum of mention and entity loss, and each by itself.
        """
        losses = {} if losses is None else losses
        parts = (self.name, f"{self.name}_mention", f"{self.name}_entity")
        for part in parts:
            losses.setdefault(part, 0.0)
        examples = list(examples)
        validate_examples(examples, "ElqLinker.update")
        trainer = self._get_trainer()
        references = [example.reference for example in examples]
        mention, entity = trainer.accumulate([eg.predicted for eg in examples], references)
        for part, loss in zip(parts, (mention + entity, mention, entity), strict=True):
            losses[part] += loss
        self._remember(references)
        if sgd not in (None, False):
            self.finish_update(sgd)
        return losses

    def finish_update(self, sgd: Optimizer) -> None:
        """Step the parameters with the gradients added up, with the optimizer's current rate."""
        trainer = self._get_trainer()
        trainer.step(sgd)
        self._kb_is_stale = trainer.settings.train_entity_encoder

    def set_training(self, **settings: Any) -> None:
        """Change how the component learns, from the next update on; the optimizer's state starts
        anew. Saved with the pipeline.

        **settings: Fields of `training.TrainingSettings`; the others stay as they are.
        """
        from ..training.trainer import TrainingSettings

        changed = plain({**self._training, **settings})
        unknown = changed.keys() - {field.name for field in fields(TrainingSettings)}
        if unknown:
            raise ElqError(Errors.ELQ332.format(names=", ".join(sorted(unknown)), of="training"))
        TrainingSettings(**changed)  # refuses wrong values before anything is changed
        self._training = changed
        self._trainer = None

    def _get_trainer(self) -> Trainer:
        if self._trainer is None:
            from ..training.trainer import Trainer, TrainingSettings

            self._ensure_initialized()
            self._trainer = Trainer(
                self.model,
                self.kb,
                self.entity_encoder,
                self.decoding,
                TrainingSettings(**self._training),
            )
        # Settings may have changed since the last batch.
        self._trainer.decoding = self.decoding
        return self._trainer

    def set_seen(self, ids: Iterable[str]) -> None:
        """Say which entities were trained on."""
        self.cfg["seen_ids"] = list(ids)
        self._seen = set(self.cfg["seen_ids"])

    def _remember(self, references: Sequence[Doc]) -> None:
        """Keep the ids that were trained on, for scores on seen and unseen entities."""
        originals = [doc for doc in references if AUGMENTED_KEY not in doc.user_data]
        ids = {span.kb_id_ for doc in originals for span in gold_spans(doc)}
        # In the order of first sight: sorting millions of them at every step would take seconds.
        self.cfg["seen_ids"].extend(sorted(ids - self._seen))
        self._seen |= ids

    def score(self, examples: Iterable[Example], **kwargs: Any) -> dict[str, Any]:
        """Score predictions; with `rank_gold`, also how the entities of gold mentions rank."""
        examples = list(examples)
        if self._trainer is not None:
            self._trainer.report()
        self.note_gold_ranks(examples)
        return super().score(examples, **kwargs)

    def note_gold_ranks(self, examples: Sequence[Example]) -> None:
        """Store, on the predicted documents, the rank of each gold mention's entity among its
        candidates; not if `rank_gold` is off, or there is nothing to rank with."""
        docs = [example.predicted for example in examples]
        if not self.rank_gold or self._kb is None or not can_encode(self.model, docs):
            return
        gold = [gold_spans(example.reference) for example in examples]
        for start in range(0, len(examples), SCORE_BATCH):
            some = examples[start : start + SCORE_BATCH]
            spans = gold[start : start + SCORE_BATCH]
            given = [[(span.start_char, span.end_char) for span in of_doc] for of_doc in spans]
            mentions = self.rank_mentions([example.predicted for example in some], given)
            ranks: list[list[int | None]] = [[None] * len(of_doc) for of_doc in spans]
            for doc, i, rows in zip(
                mentions.doc.tolist(), mentions.given.tolist(), mentions.rows.tolist(), strict=True
            ):
                row = self.kb.row(spans[doc][i].kb_id_)
                ranks[doc][i] = rows.index(row) + 1 if row in rows else None
            for example, of_doc_ranks in zip(some, ranks, strict=True):
                example.predicted.user_data[RANKS_KEY] = of_doc_ranks

    # Serialization

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = SimpleFrozenList()) -> None:
        """Write the pipe to a directory. Files of the knowledge base that have not changed are
        hard-linked where the file system allows; with `kb_path` set, nothing of it is written.

        exclude (Iterable[str]): Of "vocab", "cfg", "model", "kb" and "entity_encoder".
        """
        write_pipe(self, path, exclude)

    def from_disk(
        self, path: str | Path, *, exclude: Iterable[str] = SimpleFrozenList()
    ) -> ElqLinker:
        """Load the pipe from a directory; the knowledge base's files are mapped, not read.

        exclude (Iterable[str]): As in `to_disk`.
        """
        read_pipe(self, path, exclude)
        return self

    def to_bytes(self, *, exclude: Iterable[str] = SimpleFrozenList()) -> bytes:
        """Serialize the pipe, the files of the knowledge base included: for small ones. The entity
        encoder goes by its source alone.

        exclude (Iterable[str]): Of "vocab", "cfg", "model" and "kb".
        """
        return pipe_to_bytes(self, exclude)

    def from_bytes(
        self, bytes_data: bytes, *, exclude: Iterable[str] = SimpleFrozenList()
    ) -> ElqLinker:
        """Load the pipe from bytes. Settings stay those of this pipe's config, but what was set on
        the other one after it was made: configure both alike.

        exclude (Iterable[str]): As in `to_bytes`.
        """
        pipe_from_bytes(self, bytes_data, exclude)
        return self


def _decoding_settings(settings: Mapping[str, Any]) -> DecodingSettings:
    return DecodingSettings(
        **{field.name: settings[field.name] for field in fields(DecodingSettings)}
    )


def find_elq(nlp: Language) -> Any | None:
    """RETURNS (Any | None): The pipeline's entity linker of this package, None if it has none.
    RAISES (ElqError): If it has several."""
    found = {n: pipe for n, pipe in nlp.pipeline if nlp.get_pipe_meta(n).factory == "elq"}
    if len(found) > 1:
        raise ElqError(Errors.ELQ453.format(names=", ".join(found)))
    return next(iter(found.values()), None)


def doc_before(nlp: Language, component: str, text: str) -> Doc:
    """RETURNS (Doc): A text after all components that stand before the named one.
    RAISES (ElqError): If the pipeline can't read it."""
    check_text(text, nlp.max_length)
    doc = nlp.make_doc(text)
    for name, pipe in nlp.pipeline:
        if name == component:
            break
        doc = pipe(doc)
    return doc
