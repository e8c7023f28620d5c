"""The component `elq`: finds the mentions of a text and links them, in one encoder pass."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
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
    merge_into_ents,
    set_kb_ids,
    set_span_group,
    spans_of_writer,
)
from ..encoders.entity import EntityEncoder
from ..encoders.question import (
    OWN_ENCODER,
    SETTINGS,
    Encoder,
    change_encoder,
    check_borders,
    encoder_settings,
)
from ..errors import ElqError, Errors, Warnings
from ..gold import AUGMENTED_KEY, RANKS_KEY, gold_spans
from ..linking.calibration import Calibration
from ..linking.decoding import DecodingSettings
from ..linking.links import make_links
from ..linking.mention_kinds import is_concept, links_names_only
from ..linking.rank import CharSpans, rank_mentions
from ..linking.ranked import RankedMentions
from ..ml.model import can_encode, get_encoder, is_initialized
from ..ml.pretrained import is_pretrained
from ..pace import by_characters
from ..settings import CHANGING, ENTS, FIND
from ..training.training_settings import TrainingSettings
from ..types import Entity, Link
from .linked_kb import LinkedKB
from .linker_settings import LinkerSettings
from .requirements import needed_extras, note_extras
from .serialization import all_settings, pipe_from_bytes, pipe_to_bytes, read_pipe, write_pipe

if TYPE_CHECKING:
    import torch

    from ..kb.knowledge_base import FaissKB
    from ..kb.live.view import View
    from ..kb.loaders import KBLoader
    from ..linking.explanation import Explanation
    from ..training.trainer import Trainer


# Texts whose gold mentions are ranked at once.
SCORE_BATCH = 64
# Characters of a batch of `pipe`, from which on it takes no further document.
BATCH_CHARS = 1 << 14


class ElqLinker(TrainablePipe):
    """Finds and links entities.

    The fields of `LinkerSettings` are attributes: `nlp.get_pipe("elq").threshold = -2.0` holds
    from the next call on, and is saved with the pipeline. A value that is not allowed is refused.

    settings (LinkerSettings): All of them at once.
    linked_kb (LinkedKB): The knowledge base, and where it comes from.
    seen_ids (list[str]): The entities in the training data so far.
    pipeline_meta (dict[str, Any]): `nlp.meta` of the pipeline that it was made for.
    """

    def __init__(
        self,
        vocab: Vocab,
        model: Model,
        name: str = "elq",
        *,
        entity_encoder: EntityEncoder,
        kb_path: str | Path | None = None,
        training: TrainingSettings | None = None,
        scorer: Callable | None = None,
        **settings: Any,
    ) -> None:
        """
        vocab (Vocab): The shared vocabulary.
        model (Model): From `spacy-elq.ELQ.v1`.
        entity_encoder (EntityEncoder): The encoder of the knowledge base's vectors.
        kb_path (str | Path | None): See `factory.make_elq`.
        training (TrainingSettings | None): How to learn.
        scorer (Callable | None): The scoring method.
        **settings: The fields of `LinkerSettings`.
        """
        self.vocab = vocab
        self.model = model
        self.name = name
        self.scorer = scorer
        self.settings = LinkerSettings(**settings)
        check_borders(encoder_settings(get_encoder(model)), self.settings.max_mention_length)
        self.linked_kb = LinkedKB(self, entity_encoder, kb_path)
        self.pipeline_meta: dict[str, Any] = {}
        self._trainer: Trainer | None = None
        self.training = training or TrainingSettings()
        self.configured = all_settings(self)
        self.set_seen(())

    # Settings

    def __getattr__(self, name: str) -> Any:
        if name in LinkerSettings.model_fields:
            return getattr(self.settings, name)
        return self.__getattribute__(name)  # raises again what a property raised

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *LinkerSettings.model_fields]

    def __setattr__(self, name: str, value: Any) -> None:
        if name in LinkerSettings.model_fields:
            with CHANGING:
                changed = self.settings.changed(**{name: value})
                of_encoder = encoder_settings(get_encoder(self.model))
                check_borders(of_encoder, changed.max_mention_length)
                self.settings = changed
        else:
            super().__setattr__(name, value)

    @property
    def cfg(self) -> dict[str, Any]:
        """RETURNS (dict): The settings and `seen_ids`: what spaCy passes to the scorer. A copy,
        which refuses changes: settings are attributes."""
        own = {"kb_path": self.kb_path, "seen_ids": self.seen_ids}
        refused = Errors.ELQ151.format(name=self.name)
        return SimpleFrozenDict(self.settings.model_dump(), **own, error=refused)

    @property
    def training(self) -> TrainingSettings:
        """RETURNS (TrainingSettings): How the component learns."""
        return self._training

    @training.setter
    def training(self, settings: TrainingSettings) -> None:
        self._training = settings
        self._trainer = None

    def set_training(self, **settings: Any) -> None:
        """Change how the component learns, from the next update on; the optimizer's state is
        reset. Saved with the pipeline.

        **settings: Fields of `TrainingSettings`; the others stay as they are.
        """
        with CHANGING:
            self.training = self.training.changed(**settings)

    def set_inference(self, **settings: Any) -> None:
        """Change how texts and entities are encoded, from the next call on. Saved with the
        pipeline. Does nothing to vectors that the knowledge base has.

        **settings: Fields of `encoders.inference.InferenceSettings`.
        """
        inference = self.entity_encoder.inference.changed(**settings)
        change_encoder(self._own_encoder(), **settings)
        self.entity_encoder.inference = inference
        self._note_extras()

    def _note_extras(self) -> None:
        """For `spacy package`; again whenever they may be others."""
        index = self.kb.manifest.index if self.linked_kb.is_set else ""
        extras = needed_extras(all_settings(self), index, self.entity_encoder.source)
        note_extras(self.pipeline_meta, extras)

    @property
    def max_length(self) -> int:
        """RETURNS (int): Maximum number of wordpieces that are read at once, special tokens
        included; can be assigned. Exists only if the component has its own encoder."""
        return self._own_encoder().attrs[SETTINGS].max_length

    @max_length.setter
    def max_length(self, value: int) -> None:
        encoder = self._own_encoder()
        with CHANGING:
            changed = encoder_settings(encoder).changed(max_length=value)
            check_borders(changed, self.max_mention_length)
            change_encoder(encoder, max_length=value)

    def _own_encoder(self) -> Encoder:
        encoder = get_encoder(self.model)
        if encoder.name != OWN_ENCODER:
            raise ElqError(Errors.ELQ132.format(name=self.name))
        return encoder

    # Knowledge base

    @property
    def entity_encoder(self) -> EntityEncoder:
        """RETURNS (EntityEncoder): Embeds entities; can be assigned."""
        return self.linked_kb.entity_encoder

    @entity_encoder.setter
    def entity_encoder(self, encoder: EntityEncoder) -> None:
        self.linked_kb.entity_encoder = encoder
        self._trainer = None  # it has the parameters of the one before

    @property
    def kb_path(self) -> str | None:
        """RETURNS (str | None): The setting `kb_path`, see `factory.make_elq`; can be assigned."""
        return self.linked_kb.path

    @kb_path.setter
    def kb_path(self, path: str | Path | None) -> None:
        self.linked_kb.path = path

    @property
    def kb(self) -> FaissKB:
        """RETURNS (FaissKB): The knowledge base as of the last call or change; `kb.refresh()` takes
        over what other processes changed since.
        RAISES (ElqError): If there is none yet."""
        return self.linked_kb.kb

    def set_kb(self, kb: FaissKB | KBLoader | str | Path) -> None:
        """Link to another knowledge base from the next call on. A training goes on with it, and
        keeps the optimizer's state: the parameters are the same.

        kb (FaissKB | Callable | str | Path): The knowledge base, its directory, or a loader such as
            `spacy-elq.KBFromDirectory.v1` makes. Its vectors must be as wide as the question
            encoder's, of length 1 if entities are scored by cosine, and from the same entity
            encoder as those of the knowledge base it replaces.
        """
        self.linked_kb.set(kb)
        self._note_extras()

    def restrict(
        self, types: Iterable[str] | None = None, ids: Iterable[str] | None = None
    ) -> AbstractContextManager[Any]:
        """Link only to entities that have one of the types or one of the ids; without arguments, to
        all entities again. Not saved with the pipeline.

        In a `with` statement, this holds in that block. Otherwise it holds from the next call on,
        until the end of the block around it or the next `restrict`. Each thread has its own
        restriction, and so has each task of asyncio; a new thread has none.

        types, ids (Iterable[str] | None): Each must exist; an ElqError if all lists are empty.
        RETURNS (ContextManager): For a `with` statement.
        """
        return self.linked_kb.restrict(types, ids)

    def add_entities(self, entities: Iterable[Entity | Mapping[str, Any]]) -> None:
        """Add entities, or replace those whose id is known. If there is no knowledge base yet, a
        new one is made. The next call sees them, and so does every process that opened the same
        directory. They are on disk when this returns, if the directory is writable; otherwise
        `to_disk` writes them.

        entities (Iterable): `Entity` records, or dicts with `id`, `title` and other fields.
        """
        self.linked_kb.add(entities)

    def update_entities(self, entities: Iterable[Entity | Mapping[str, Any]]) -> None:
        """Change existing entities; an ElqError, and nothing changed, if one does not exist.
        Visible and saved as by `add_entities`.

        entities (Iterable): Dicts with `id` and the fields to change; the other fields stay. Or
            `Entity` records, which replace all fields.
        """
        self.linked_kb.update(entities)

    def remove_entities(self, ids: Iterable[str]) -> None:
        """Remove entities by id; an ElqError, and nothing removed, if one does not exist. Visible
        and saved as by `add_entities`."""
        self.linked_kb.remove(ids)

    # Inference

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Link a stream of documents: batch by batch, and long documents some at a time, so that
        the first come out while others are still to be read.

        batch_size (int): Maximum number of documents of a batch.
        YIELDS (Doc): The documents, in order.
        """
        for docs in by_characters(stream, batch_size, BATCH_CHARS):
            yield from super().pipe(docs, batch_size=batch_size)

    def predict(self, docs: Iterable[Doc]) -> list[list[Link]]:
        """Find and link, without changing the documents.

        RETURNS (list[list[Link]]): The links of each document above `span_group_threshold` (or the
            threshold), by wordpieces, overlapping ones too.
        """
        docs, settings = list(docs), self.settings.for_span_group()
        given = None if settings.mentions == FIND else [self._given(doc, settings) for doc in docs]
        kb = self._current_entities()
        mentions = rank_mentions(self.model, kb, docs, settings, given)
        passed = mentions.select(mentions.passes(settings))
        fitted = settings.calibration
        calibration = None if fitted is None else Calibration.from_dict(fitted)
        links = make_links(passed, kb, calibration)
        result: list[list[Link]] = [[] for _ in docs]
        only_names = given is None and links_names_only(settings, kb)
        texts = [doc.text for doc in docs]  # made anew by each access
        for doc, link in zip(passed.doc.tolist(), links, strict=True):
            if link is None:
                continue
            place, entity = (link.start, link.end), (link.title, link.description)
            if not (only_names and is_concept(texts[doc], *place, *entity)):
                result[doc].append(link)
        return result

    def rank_mentions(
        self,
        docs: Sequence[Doc],
        given: Sequence[CharSpans] | None = None,
        settings: DecodingSettings | None = None,
    ) -> RankedMentions:
        """Mentions with ranked candidates, before the joint score removes any.

        given (Sequence[CharSpans]): Mentions of each document; by default they are found.
        settings (DecodingSettings): Instead of the component's.
        """
        kb = self._current_entities()
        return rank_mentions(self.model, kb, docs, settings or self.settings, given)

    def _current_entities(self) -> View:
        """The entities for a whole call: changes meanwhile don't affect it."""
        self._ensure_initialized()
        self.linked_kb.refresh()
        return self.linked_kb.view

    def _ensure_initialized(self) -> None:
        """A pretrained model needs no `nlp.initialize`."""
        if not is_initialized(self.model):
            if not is_pretrained(self.model):
                raise ElqError(Errors.ELQ106.format(name=self.name))
            self.model.initialize()

    def set_annotations(self, docs: Iterable[Doc], scores: Sequence[Sequence[Link]]) -> None:
        """Write links to `doc.ents` and `doc.spans[spans_key]`.

        scores (Sequence[Sequence[Link]]): The return value of `predict`.
        """
        settings = self.settings
        for doc, links in zip(docs, scores, strict=True):
            stale = spans_of_writer(doc, settings.spans_key, self.name)
            linked = align_to_tokens(doc, links)
            above = [(s, link) for s, link in linked if settings.is_above(link)]
            set_span_group(doc, settings.spans_key, linked, self.name)
            if settings.mentions == ENTS:
                set_kb_ids(doc, [span for span, _ in above])
            else:
                merge_into_ents(doc, best_spans(above), stale, overwrite=settings.overwrite)

    def explain(self, doc: Doc | str, *, limit: int = 50, exact: bool = True) -> Explanation:
        """List every span that is considered, its scores and candidates, and the reason why it was
        not linked.

        doc (Doc | str): The document, which is not changed: as this component gets it, or as the
            pipeline returned it. A text is tokenized by the default tokenizer of its language.
        limit (int): Maximum number of spans without candidates, the most likely mentions first.
        exact (bool): Also look up the choice of exact search, if the index is not exact. That
            reads all vectors.
        RETURNS (Explanation): The spans, links first.
        """
        from ..linking.explanation import explain_links

        if isinstance(doc, str):
            doc = get_lang_class(self.vocab.lang or "xx")(vocab=self.vocab).make_doc(doc)
        settings = self.settings
        return explain_links(
            self.model,
            self._current_entities(),
            doc,
            settings,
            given=None if settings.mentions == FIND else self._given(doc, settings),
            taken=self._taken(doc, settings),
            limit=limit,
            exact=exact,
        )

    def _taken(self, doc: Doc, settings: LinkerSettings) -> CharSpans:
        """The entities that links must not overlap."""
        if settings.overwrite or settings.mentions == ENTS:
            return ()
        spans = spans_of_writer(doc, settings.spans_key, self.name)
        own = {(span.start, span.end, span.kb_id) for span in spans}
        others = (ent for ent in doc.ents if (ent.start, ent.end, ent.kb_id) not in own)
        return [(ent.start_char, ent.end_char) for ent in others]

    def _given(self, doc: Doc, settings: LinkerSettings) -> CharSpans:
        key = settings.mentions
        if key != ENTS and key not in doc.spans:
            warnings.warn(Warnings.ELQ130.format(key=key, name=self.name), stacklevel=2)
        spans: Iterable[Span] = doc.ents if key == ENTS else doc.spans.get(key, ())
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
            `spacy-elq.KBFromEntities.v1`. Without it, `kb_path` is opened; or call `set_kb`.
        """
        validate_get_examples(get_examples, "ElqLinker.initialize")
        self.model.initialize()
        self._trainer = None
        self.set_seen(())
        kb = kb_loader or self.kb_path
        if kb is not None:
            self.set_kb(kb)

    def update(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | None = None,
        losses: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Learn from a batch: gradients accumulate on the model until `finish_update`.

        drop (float): Not used: the transformer has its own dropout rates.
        losses (dict): Updated with the sum of mention and entity loss, and with each alone.
        """
        losses = {} if losses is None else losses
        parts = (self.name, f"{self.name}_mention", f"{self.name}_entity")
        for part in parts:
            losses.setdefault(part, 0.0)
        examples = list(examples)
        validate_examples(examples, "ElqLinker.update")
        trainer = self._get_trainer()
        references = [example.reference for example in examples]
        mention, entity = trainer.accumulate(
            [eg.predicted for eg in examples], references, self.settings
        )
        for part, loss in zip(parts, (mention + entity, mention, entity), strict=True):
            losses[part] += loss
        self._remember(references)
        if sgd not in (None, False):
            self.finish_update(sgd)
        return losses

    def finish_update(self, sgd: Optimizer) -> None:
        """Step the parameters with the accumulated gradients, at the optimizer's current rate."""
        trainer = self._get_trainer()
        trainer.step(sgd)
        if trainer.settings.train_entity_encoder:
            self.linked_kb.mark_stale()

    def training_state(self) -> dict[str, torch.Tensor]:
        """RETURNS (dict): What a training needs to go on, besides what `to_disk` saves: the
        optimizer's state. Empty before the first update."""
        return {} if self._trainer is None else self._trainer.state()

    def restore_training(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on with a training, after `from_disk`.

        state (Mapping): From `training_state`.
        """
        self._get_trainer().restore(state)

    def _get_trainer(self) -> Trainer:
        if self._trainer is None:
            from ..training.trainer import Trainer

            self._ensure_initialized()
            self._trainer = Trainer(self.model, self.linked_kb, self.training)
        return self._trainer

    def set_seen(self, ids: Iterable[str]) -> None:
        """Set which entities were trained on."""
        self.seen_ids = list(ids)
        self._seen = set(self.seen_ids)

    def _remember(self, references: Sequence[Doc]) -> None:
        """Record the ids that were trained on, for scores on seen and unseen entities."""
        originals = [doc for doc in references if AUGMENTED_KEY not in doc.user_data]
        ids = {span.kb_id_ for doc in originals for span in gold_spans(doc)}
        # In the order of first occurrence: sorting millions at every step would take seconds.
        self.seen_ids.extend(sorted(ids - self._seen))
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
        candidates; does nothing if `rank_gold` is off or there is nothing to rank with."""
        docs, settings = [example.predicted for example in examples], self.settings
        for doc in docs:
            doc.user_data.pop(RANKS_KEY, None)  # of another component, or of an earlier call
        can_rank = self.linked_kb.is_set and can_encode(self.model, docs)
        if not (settings.rank_gold and can_rank):
            return
        gold = [gold_spans(example.reference) for example in examples]
        for start in range(0, len(examples), SCORE_BATCH):
            some = examples[start : start + SCORE_BATCH]
            spans = gold[start : start + SCORE_BATCH]
            given = [[(span.start_char, span.end_char) for span in of_doc] for of_doc in spans]
            kb = self._current_entities()
            predicted = [example.predicted for example in some]
            mentions = rank_mentions(self.model, kb, predicted, settings, given)
            ranks: list[list[int | None]] = [[None] * len(of_doc) for of_doc in spans]
            for doc, i, rows in zip(
                mentions.doc.tolist(), mentions.given.tolist(), mentions.rows.tolist(), strict=True
            ):
                row = kb.row(spans[doc][i].kb_id_)
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
        self._trainer = None
        read_pipe(self, path, exclude)
        self._note_extras()
        return self

    def to_bytes(self, *, exclude: Iterable[str] = SimpleFrozenList()) -> bytes:
        """Serialize the pipe, with the files of the knowledge base: for small ones. The entity
        encoder is not included; it is loaded from its source.

        exclude (Iterable[str]): Of "vocab", "cfg", "model" and "kb".
        """
        return pipe_to_bytes(self, exclude)

    def from_bytes(
        self, bytes_data: bytes, *, exclude: Iterable[str] = SimpleFrozenList()
    ) -> ElqLinker:
        """Load the pipe from bytes. Keeps this pipe's configured settings and applies only the
        values changed at runtime on the saved pipe. Both must share one config.

        exclude (Iterable[str]): As in `to_bytes`.
        """
        self._trainer = None
        pipe_from_bytes(self, bytes_data, exclude)
        return self
