"""One training step: gold mentions → losses → gradients, and the optimizer step after it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from spacy.tokens import Doc
from thinc.api import Optimizer

from ..encoders.entity import EntityEncoder
from ..encoders.precision import autocast, uses_bf16
from ..encoders.question import SETTINGS, encode_windows, get_tokenizer, get_transformer
from ..encoders.token_types import shape_table
from ..errors import ElqError, Errors
from ..gold import gold_spans, nil_spans
from ..kb.search.flat_index import as_tensor
from ..linking.boundaries import boundary_masks
from ..linking.decoding import DecodingSettings
from ..ml.heads import torch_span_logits
from ..ml.model import ElqModel, ScoredBatch, begin_update, get_encoder, get_heads, mention_queries
from ..ml.name_features import NameMatch, NameMatches, find_name_matches, name_feature_grid
from ..ml.priors import popularity_features
from .losses import (
    EntityMatrix,
    context_loss,
    hard_negatives_loss,
    in_batch_scores,
    mention_loss,
    softmax_loss,
    with_nil,
)
from .optim import TorchStepper, free_shapes, freeze
from .targets import Seen, Targets, find_targets, without_gold_ranks
from .training_settings import FULL_SOFTMAX, HARD_NEGATIVES, IN_BATCH, TrainingSettings
from .unannotated import find_unannotated, is_partial

if TYPE_CHECKING:
    from ..kb.files.manifest import Manifest
    from ..kb.knowledge_base import FaissKB
    from ..kb.live.delta import Delta
    from ..kb.live.view import View
    from ..ml.heads import Heads

# Entities up to which all are scored for every mention of a batch.
MAX_SOFTMAX = 500_000


class EntitySource(Protocol):
    """A source of entities for training; `LinkedKB` is one.

    kb (FaissKB): May be replaced between two batches, as when it is embedded again.
    """

    entity_encoder: EntityEncoder

    @property
    def kb(self) -> FaissKB: ...


@dataclass
class Trainer:
    """The state of a training: the optimizer's state, the entity vectors.

    problems (Counter): Gold mentions that could not be learned from as they are, by kind.
    seen (Seen): What was learned from since the last report.
    n_updates (int): Batches whose gradients were accumulated since the last step.
    """

    model: ElqModel
    entities: EntitySource
    settings: TrainingSettings
    problems: Counter[str] = field(default_factory=Counter)
    seen: Seen = field(default_factory=Seen)
    n_updates: int = 0
    _stepper: TorchStepper | None = None
    _matrix: EntityMatrix | None = None
    _full_popularity: torch.Tensor | None = None
    # What `_matrix` was made of. Not the files: holding them would keep old generations on disk.
    _of: tuple[Manifest | None, Delta] | None = None
    _before: torch.nn.Module | None = None

    def __post_init__(self) -> None:
        encoder = get_encoder(self.model)
        encoder.attrs["train_precision"] = self.settings.precision
        transformer = get_transformer(encoder)
        trained = [] if transformer is None else [transformer]
        if self.settings.train_entity_encoder:
            trained.append(self.entities.entity_encoder.transformer)
        freeze(trained, self.settings.freeze)
        if transformer is not None and encoder.attrs[SETTINGS].word_shapes:
            free_shapes(transformer, self.settings.freeze)
        if transformer is not None and self.settings.context_weight:
            self._before = deepcopy(transformer).eval().requires_grad_(False)

    def accumulate(
        self, docs: Sequence[Doc], references: Sequence[Doc], decoding: DecodingSettings
    ) -> tuple[float, float]:
        """Run one batch forward and backward; gradients accumulate until `step`.

        docs, references (Sequence[Doc]): The same texts without and with gold mentions.
        decoding (DecodingSettings): Which spans there are.
        RETURNS (tuple[float, float]): Mention loss and entity loss.
        """
        batches, backprop = begin_update(self.model, docs)
        if not batches:
            return 0.0, 0.0
        (batch,) = batches
        targets = find_targets(batch.encoded.windows, references, self.view.row, self.problems)
        self._count(references, targets)
        partial = any(map(is_partial, references))
        names = self._names(batch, docs, decoding.max_mention_length + 1, needed=partial)
        hits = self._with_dropout(batch, docs, names)
        scores = self._span_logits(batch, docs, hits, decoding)
        unannotated = find_unannotated(batch.encoded.windows, references, names, scores.shape)
        mention = self._mention_loss(batch, scores, targets, unannotated)
        entity = self._entity_loss(batch, targets, hits)
        loss = self.settings.mention_weight * mention + self.settings.entity_weight * entity
        if self._before is not None:
            loss = loss + self.settings.context_weight * self._context_loss(batch, self._before)
        backprop(loss)
        self.n_updates += 1
        return float(mention.detach()), float(entity.detach())

    @property
    def view(self) -> View:
        """RETURNS (View): The entities as they are now."""
        return self.entities.kb.view

    def report(self) -> None:
        """Log what was learned from since the last report, and what could not be used as it is."""
        self.seen.log(self.problems)
        self.problems.clear()
        self.seen = Seen()

    def step(self, sgd: Optimizer) -> None:
        """Step all parameters, except those of a shared transformer, with the mean of the
        accumulated gradients: losses are means, so a batch in parts (`accumulate_gradient`) steps
        as the whole batch would."""
        if self._stepper is None:
            self._stepper = self._make_stepper()
        self._stepper.step(sgd, self.n_updates)
        self.n_updates = 0
        if self.settings.train_entity_encoder:
            self.entities.entity_encoder.mark_weights_changed()

    @property
    def heads(self) -> Heads:
        return get_heads(self.model)

    def _make_stepper(self) -> TorchStepper:
        modules: dict[str, torch.nn.Module] = {}
        encoder = get_encoder(self.model)
        transformer = get_transformer(encoder)
        if transformer is not None:  # a shared one is stepped by the `transformer` component
            if table := shape_table(transformer):
                modules["word_shapes"] = table
            modules["transformer"] = transformer
        modules |= dict(self.heads.named_children())
        if self.settings.train_entity_encoder:
            modules["entity_encoder"] = self.entities.entity_encoder.transformer
        rates = dict.fromkeys(modules, self.settings.head_lr_factor)
        rates |= {"transformer": 1.0, "entity_encoder": 1.0}
        rates |= dict.fromkeys(("names", "priors", "shapes"), self.settings.name_lr_factor)
        return TorchStepper(modules, rates)

    def _count(self, references: Sequence[Doc], targets: Targets) -> None:
        partial = sum(map(is_partial, references))
        self.seen.partial += partial
        self.seen.complete += len(references) - partial
        self.seen.mentions += sum(len(gold_spans(doc)) + len(nil_spans(doc)) for doc in references)
        self.seen.nil += int((targets.row < 0).sum())

    def _names(
        self, batch: ScoredBatch, docs: Sequence[Doc], max_words: int, *, needed: bool
    ) -> list[NameMatches]:
        """The names in each window, if the model has name features or they are `needed`."""
        windows = batch.encoded.windows
        if self.heads.names is None and not needed:
            return [{} for _ in windows]
        return find_name_matches(self.view, [doc.text for doc in docs], windows, max_words)

    def _with_dropout(
        self, batch: ScoredBatch, docs: Sequence[Doc], names: Sequence[NameMatches]
    ) -> Sequence[NameMatches]:
        """The names in each window, except in the texts that name dropout hits."""
        if self.heads.names is None:
            return names
        hidden = torch.rand(len(docs)) < self.settings.name_dropout
        return [
            {} if hidden[window.doc] else of_window
            for window, of_window in zip(batch.encoded.windows, names, strict=True)
        ]

    def _mention_loss(
        self,
        batch: ScoredBatch,
        scores: torch.Tensor,
        targets: Targets,
        unannotated: np.ndarray | None,
    ) -> torch.Tensor:
        """unannotated (ndarray | None): Spans to leave out, as far as they are not gold."""
        gold = torch.zeros(scores.shape, dtype=torch.bool, device=scores.device)
        width = targets.last - targets.first
        fits = width < scores.shape[2]
        self.problems["wider than max_mention_length"] += int((~fits).sum())
        gold[targets.window[fits], targets.first[fits], width[fits]] = True
        self.problems["not at word boundaries"] += int((gold & (scores == -torch.inf)).sum())
        left_out = self._left_out(scores, gold, unannotated)
        if self.settings.mention_loss_mean == "span":
            return mention_loss(scores, gold, left_out=left_out)
        n_texts = len({window.doc for window in batch.encoded.windows})
        return mention_loss(scores, gold, left_out=left_out, reduction="sum") / n_texts

    def _left_out(
        self, scores: torch.Tensor, gold: torch.Tensor, unannotated: np.ndarray | None
    ) -> torch.Tensor | None:
        if unannotated is None:
            return None
        left_out = torch.from_numpy(unannotated).to(scores.device) & ~gold
        real = scores > -torch.inf
        self.seen.left_out += int((left_out & real).sum())
        self.seen.spans += int((~left_out & real).sum())
        return left_out

    def _span_logits(
        self,
        batch: ScoredBatch,
        docs: Sequence[Doc],
        hits: Sequence[NameMatches],
        decoding: DecodingSettings,
    ) -> torch.Tensor:
        """The same span logits as in inference, as a part of torch's graph.

        RETURNS (Tensor): float32 (B, T, W); -inf where there is no span.
        """
        starts, ends = boundary_masks(
            batch.encoded.windows,
            [doc.text for doc in docs],
            batch.encoded.mask,
            words=decoding.word_boundaries,
            special_tokens=decoding.special_tokens,
        )
        scores = torch_span_logits(
            batch.logits,
            torch.from_numpy(starts).to(batch.logits.device),
            torch.from_numpy(ends).to(batch.logits.device),
            decoding.max_mention_length,
        )
        names = name_feature_grid(hits, scores.shape[2])
        if self.heads.names is None or not len(names.features):
            return scores
        bonus = torch.from_numpy(names.features).to(scores.device) @ self.heads.names.mention
        places = tuple(torch.from_numpy(i).to(scores.device) for i in names.places)
        return scores.index_put(places, bonus, accumulate=True)

    def _entity_loss(
        self, batch: ScoredBatch, targets: Targets, hits: Sequence[NameMatches]
    ) -> torch.Tensor:
        learned = targets.select((targets.row >= 0) | self._learns_nil)
        if not len(learned):
            return batch.logits.sum() * 0
        places = (learned.window, learned.first, learned.last)
        queries = mention_queries(self.heads, batch.encoded, *places)
        if self.settings.train_entity_encoder:
            return self._loss_with_entity_encoder(queries, learned.row)
        names = [hits[w].get((int(i), int(j))) for w, i, j in zip(*places, strict=True)]
        if self.settings.entity_loss == FULL_SOFTMAX:
            scores = self._full_matrix().scores(queries)
            scores = self._with_popularity(scores, self._full_popularity)
            scores = self._with_names(scores, names, None)
            return self._softmax_loss(scores, torch.from_numpy(learned.row).to(scores.device))
        windows = batch.encoded.windows
        texts = np.array([windows[w].doc for w in learned.window.tolist()])
        return self._loss_over_some(queries, learned.row, names, texts)

    @property
    def _learns_nil(self) -> bool:
        """RETURNS (bool): Whether mentions without an entity take part in the entity loss."""
        has_nil = self.heads.entity_scorer.nil_score is not None
        wanted = self.settings.nil_from_unknown and self.settings.entity_loss != IN_BATCH
        return has_nil and wanted and len(self.view) > 0

    def _context_loss(self, batch: ScoredBatch, before: torch.nn.Module) -> torch.Tensor:
        encoded, encoder = batch.encoded, get_encoder(self.model)
        with torch.no_grad():
            as_before = encode_windows(
                before,
                get_tokenizer(encoder).pad_token_id,
                encoded.windows,
                self.settings.precision,
                encoder.attrs[SETTINGS].word_shapes,
            )
        mask = torch.from_numpy(encoded.mask).to(encoded.vectors.device)
        return context_loss(encoded.vectors, as_before.vectors, mask)

    def _loss_with_entity_encoder(self, queries: torch.Tensor, rows: np.ndarray) -> torch.Tensor:
        records = self.view.records(rows.tolist())
        with (
            _training(self.entities.entity_encoder.transformer),
            autocast(self.settings.precision, queries.device.type),
        ):
            entities = self.entities.entity_encoder.forward_entities(records)
        entities = entities.float().to(queries.device)
        ids = torch.from_numpy(rows).to(queries.device)
        scores = in_batch_scores(queries, entities, ids, exact=self.settings.exact)
        return self._softmax_loss(scores, torch.arange(len(scores), device=scores.device))

    def _softmax_loss(self, scores: torch.Tensor, gold: torch.Tensor) -> torch.Tensor:
        nil = self.heads.entity_scorer.nil_score
        if nil is not None:
            scores, gold = with_nil(scores, gold, nil, self._hidden(scores))
        return softmax_loss(scores, gold)

    def _hidden(self, scores: torch.Tensor) -> torch.Tensor:
        """The mentions that entity dropout hits, bool (N,)."""
        return torch.rand(len(scores), device=scores.device) < self.settings.entity_dropout

    def _loss_over_some(
        self,
        queries: torch.Tensor,
        rows: np.ndarray,
        names: Sequence[NameMatch | None],
        texts: np.ndarray,
    ) -> torch.Tensor:
        """The losses that need only some entities' vectors: those of the gold ones, and with hard
        negatives those of each mention's nearest others.

        texts (ndarray): Index of each mention's text, int64 (N,).
        """
        hard = self.settings.entity_loss == HARD_NEGATIVES
        candidates = rows[:, None]
        if hard:
            found = self.view.search(queries.detach().cpu().numpy(), self.settings.hard_negatives)
            negatives = np.where(found.rows == rows[:, None], -1, found.rows)
            if self.settings.exact:
                negatives = without_gold_ranks(negatives, texts)
            candidates = np.concatenate([candidates, negatives], axis=1)
        some = np.unique(candidates[candidates >= 0])
        vectors, owners = self.view.vectors_of(some)
        device = queries.device
        matrix = EntityMatrix(
            torch.from_numpy(vectors).to(device), torch.from_numpy(owners).to(device), len(some)
        )
        scores = self._with_popularity(matrix.scores(queries), self._popularity(some))
        scores = self._with_names(scores, names, some)
        columns = torch.from_numpy(np.searchsorted(some, candidates)).to(device)
        if not hard:
            gold = columns[:, 0]
            if self.settings.exact:  # one column per mention, even for copies of an entity
                scores, gold = scores[:, gold], torch.arange(len(gold), device=device)
            return self._softmax_loss(scores, gold)
        real = torch.from_numpy(candidates >= 0).to(device)
        chosen = scores.gather(1, columns.clamp(max=len(some) - 1))
        gold = torch.zeros_like(real)
        gold[:, 0] = True
        nil = self.heads.entity_scorer.nil_score
        if nil is not None:  # each entity by itself against NIL
            chosen = chosen - nil
            real[:, 0] &= ~self._hidden(scores)
        return hard_negatives_loss(chosen[real], gold[real])

    def _with_names(
        self, scores: torch.Tensor, names: Sequence[NameMatch | None], some: np.ndarray | None
    ) -> torch.Tensor:
        """Add to entity scores the learned bonus of entities that have the mention as a name.

        some (ndarray): Entity row of each column, ascending; None if columns are rows.
        """
        weights = self.heads.name_weights()
        if weights is None or not any(names):
            return scores
        mention = np.concatenate([np.full(len(n.rows), i) for i, n in enumerate(names) if n])
        row = np.concatenate([n.rows for n in names if n])
        features = np.concatenate([n.of_entities for n in names if n])
        if some is not None:
            column = np.searchsorted(some, row).clip(max=len(some) - 1)
            there = some[column] == row
            mention, row, features = mention[there], column[there], features[there]
        worth = torch.from_numpy(features).to(scores.device) @ weights
        cells = (torch.from_numpy(mention), torch.from_numpy(row))
        places = tuple(cell.to(scores.device) for cell in cells)
        return scores.index_put(places, worth, accumulate=True)

    def _popularity(self, rows: np.ndarray) -> torch.Tensor | None:
        """RETURNS (Tensor | None): Features of entities, float32 (E, 2), if there are any."""
        if self.heads.priors is None or self.view.popularity_scale is None:
            return None
        return torch.from_numpy(popularity_features(self.view.popularity(rows)))

    def _with_popularity(self, scores: torch.Tensor, features: torch.Tensor | None) -> torch.Tensor:
        """Add to entity scores, (N, E), what is learned from the entities' popularity."""
        if self.heads.priors is None or features is None:
            return scores
        share = features.to(scores.device) @ self.heads.priors.popularity
        hidden = torch.rand(len(scores), 1, device=scores.device) < self.settings.prior_dropout
        return scores + share * ~hidden

    def _full_matrix(self) -> EntityMatrix:
        """Made at the first batch, and again after live changes."""
        view = self.view
        now = None if view.base is None else view.base.manifest, view.delta
        if self._matrix is None or now != self._of:
            if view.n_rows > MAX_SOFTMAX:
                raise ElqError(Errors.ELQ114.format(entities=view.n_rows, most=MAX_SOFTMAX))
            vectors, owners = view.vector_matrix()
            device = next(self.heads.parameters()).device
            in_bf16 = uses_bf16(self.settings.precision, device.type)
            dtype = torch.bfloat16 if in_bf16 else torch.float32
            self._of = now
            self._matrix = EntityMatrix(
                as_tensor(vectors).to(device, dtype),
                torch.from_numpy(owners.astype(np.int64)).to(device),
                view.n_rows,
            )
            self._full_popularity = self._popularity(np.arange(view.n_rows))
        return self._matrix


@contextmanager
def _training(module: torch.nn.Module) -> Iterator[None]:
    """With dropout, as thinc runs the question encoder in training."""
    module.train()
    try:
        yield
    finally:
        module.eval()
