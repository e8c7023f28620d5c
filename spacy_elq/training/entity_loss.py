"""The entity loss of a batch: which entities gold mentions are scored against, and how."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from ..encoders.entity import EntityEncoder
from ..encoders.precision import autocast, uses_bf16
from ..errors import ElqError, Errors
from ..kb.search.flat_index import as_tensor
from ..ml.model import ElqModel, ScoredBatch, get_heads, mention_queries
from ..ml.name_features import NameMatch, NameMatches
from ..ml.priors import popularity_features
from . import processes
from .losses import (
    EntityMatrix,
    MeanLoss,
    hard_negatives_loss,
    in_batch_scores,
    softmax_loss,
    with_nil,
)
from .targets import Targets, without_gold_ranks
from .training_settings import FULL_SOFTMAX, HARD_NEGATIVES, IN_BATCH, TrainingSettings

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
class EntityLoss:
    """The entity loss of a training, and the vectors of all entities if it needs them."""

    model: ElqModel
    entities: EntitySource
    settings: TrainingSettings
    _matrix: EntityMatrix | None = None
    _full_popularity: torch.Tensor | None = None
    # What `_matrix` was made of. Not the files: holding them would keep old generations on disk.
    _of: tuple[Manifest | None, Delta] | None = None

    @property
    def view(self) -> View:
        """RETURNS (View): The entities as they are now."""
        return self.entities.kb.view

    @property
    def heads(self) -> Heads:
        return get_heads(self.model)

    def of(self, batch: ScoredBatch, targets: Targets, hits: Sequence[NameMatches]) -> MeanLoss:
        """RETURNS (MeanLoss): That of a batch.

        targets (Targets): Its gold mentions.
        hits (Sequence[NameMatches]): The names in each window.
        """
        learned = targets.select((targets.row >= 0) | self._learns_nil)
        if not len(learned):
            nothing = batch.logits.sum() * 0
            return MeanLoss(
                nothing if processes.count() == 1 else nothing + self.of_no_mentions(), 0
            )
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

    def of_no_mentions(self) -> torch.Tensor:
        """Take part in the search for negatives in the batch without any entities.

        RETURNS (Tensor): 0, which may be part of torch's graph.
        """
        none = np.zeros(0, dtype=np.int64)
        heads = next(self.heads.parameters())
        if self.settings.train_entity_encoder:
            width = self.entities.entity_encoder.width
            rows = torch.zeros(0, width, device=heads.device, requires_grad=True)
            return self._entities_of_batch(rows, none)[0].sum()
        if self.settings.entity_loss == IN_BATCH:
            self._rows_of_batch(none)
        return torch.zeros((), device=heads.device)

    def _loss_with_entity_encoder(self, queries: torch.Tensor, rows: np.ndarray) -> MeanLoss:
        records = self.view.records(rows.tolist())
        with (
            _training(self.entities.entity_encoder.transformer),
            autocast(self.settings.precision, queries.device.type),
        ):
            entities = self.entities.entity_encoder.forward_entities(records)
        own = entities.float().to(queries.device)
        entities, ids, gold = self._entities_of_batch(own, rows)
        scores = in_batch_scores(queries, entities, ids, gold, exact=self.settings.exact)
        return self._softmax_loss(scores, gold)

    def _entities_of_batch(
        self, entities: torch.Tensor, rows: np.ndarray
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """RETURNS (tuple): Vectors and rows of the gold entities of all processes, (M, h) and
        int64 (M,), and which of them are those of this process, int64 (N,)."""
        everywhere, own = self._rows_of_batch(rows)
        ids, gold = (torch.from_numpy(of).to(entities.device) for of in (everywhere, own))
        return processes.gather_rows(entities), ids, gold

    def _rows_of_batch(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """RETURNS (tuple): Rows of the gold entities of all processes, int64 (M,), and which of
        them are those of this process, int64 (N,)."""
        everywhere = processes.gather(rows)
        first = sum(map(len, everywhere[: processes.rank()]))
        return np.concatenate(everywhere), np.arange(first, first + len(rows))

    def _softmax_loss(self, scores: torch.Tensor, gold: torch.Tensor) -> MeanLoss:
        nil = self.heads.entity_scorer.nil_score
        if nil is not None:
            scores, gold = with_nil(scores, gold, nil, self._hidden(scores))
        return MeanLoss(softmax_loss(scores, gold), len(scores))

    def _hidden(self, scores: torch.Tensor) -> torch.Tensor:
        """The mentions that entity dropout hits, bool (N,)."""
        return torch.rand(len(scores), device=scores.device) < self.settings.entity_dropout

    def _loss_over_some(
        self,
        queries: torch.Tensor,
        rows: np.ndarray,
        names: Sequence[NameMatch | None],
        texts: np.ndarray,
    ) -> MeanLoss:
        """The losses that need only some entities' vectors: those of the gold ones, and with hard
        negatives those of each mention's nearest others.

        texts (ndarray): Index of each mention's text, int64 (N,).
        """
        hard = self.settings.entity_loss == HARD_NEGATIVES
        candidates, needed, own = rows[:, None], rows, np.arange(len(rows))
        if not hard:
            needed, own = self._rows_of_batch(rows)
        else:
            found = self.view.search(queries.detach().cpu().numpy(), self.settings.hard_negatives)
            negatives = np.where(found.rows == rows[:, None], -1, found.rows)
            if self.settings.exact:
                negatives = without_gold_ranks(negatives, texts)
            candidates = np.concatenate([candidates, negatives], axis=1)
            needed = candidates
        some = np.unique(needed[needed >= 0])
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
                each = torch.from_numpy(np.searchsorted(some, needed)).to(device)
                scores, gold = scores[:, each], torch.from_numpy(own).to(device)
            return self._softmax_loss(scores, gold)
        real = torch.from_numpy(candidates >= 0).to(device)
        chosen = scores.gather(1, columns.clamp(max=len(some) - 1))
        gold = torch.zeros_like(real)
        gold[:, 0] = True
        nil = self.heads.entity_scorer.nil_score
        if nil is not None:  # each entity by itself against NIL
            chosen = chosen - nil
            real[:, 0] &= ~self._hidden(scores)
        pairs = chosen[real]
        return MeanLoss(hard_negatives_loss(pairs, gold[real]), len(pairs))

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
