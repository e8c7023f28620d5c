"""One training step: gold mentions → losses → gradients, and the optimizer step after it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from spacy.tokens import Doc
from thinc.api import Optimizer

from ..corpora.streamed import share_of_process
from ..encoders.entity import EntityEncoder
from ..encoders.precision import autocast, uses_bf16
from ..encoders.question import SETTINGS, encode_windows, get_tokenizer, get_transformer
from ..encoders.token_types import shape_table
from ..errors import ElqError, Errors
from ..gold import gold_spans, nil_spans
from ..kb.files.names import word_finder
from ..kb.search.flat_index import as_tensor
from ..linking.boundaries import boundary_masks
from ..linking.decoding import DecodingSettings
from ..ml.heads import torch_span_logits
from ..ml.last_words import add_last_words
from ..ml.model import ElqModel, ScoredBatch, begin_update, get_encoder, get_heads, mention_queries
from ..ml.name_features import NameMatch, NameMatches, find_name_matches, name_feature_grid
from ..ml.priors import popularity_features
from . import processes
from .losses import (
    EntityMatrix,
    MeanLoss,
    context_loss,
    hard_negatives_loss,
    in_batch_scores,
    mention_loss,
    softmax_loss,
    with_nil,
)
from .optim import TorchStepper, free_shapes, freeze, keep_activations
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
# Prefix of the transformer's weights when training began, in the state of a training.
BEFORE = "before/"


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
        if (world := share_of_process()[1]) != processes.count():
            raise ElqError(Errors.ELQ168.format(processes=world))
        encoder = get_encoder(self.model)
        encoder.attrs["train_precision"] = self.settings.precision
        transformer = get_transformer(encoder)
        trained = [] if transformer is None else [transformer]
        if self.settings.train_entity_encoder:
            trained.append(self.entities.entity_encoder.transformer)
        freeze(trained, self.settings.freeze)
        keep_activations(trained, keep=not self.settings.gradient_checkpointing)
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
        self._check_others(docs)
        batches, backprop = begin_update(self.model, docs)
        losses = [self._losses(batch, docs, references, decoding) for batch in batches]
        if not losses and processes.count() == 1:
            return 0.0, 0.0
        loss, mention, entity = self._over_processes(losses[0] if losses else self._no_texts())
        if loss.requires_grad:
            backprop(loss)
        self.n_updates += 1
        return mention, entity

    def _losses(
        self,
        batch: ScoredBatch,
        docs: Sequence[Doc],
        references: Sequence[Doc],
        decoding: DecodingSettings,
    ) -> list[MeanLoss]:
        """RETURNS (list[MeanLoss]): Mention loss, entity loss and context loss."""
        targets = find_targets(batch.encoded.windows, references, self.view.row, self.problems)
        self._count(references, targets)
        partial = any(map(is_partial, references))
        names = self._names(batch, docs, decoding.max_mention_length + 1, needed=partial)
        hits = self._with_dropout(batch, docs, names)
        scores = self._span_logits(batch, docs, hits, decoding)
        unannotated = find_unannotated(batch.encoded.windows, references, names, scores.shape)
        return [
            self._mention_loss(batch, scores, targets, unannotated),
            self._entity_loss(batch, targets, hits),
            self._context_loss(batch),
        ]

    def _over_processes(self, losses: Sequence[MeanLoss]) -> tuple[torch.Tensor, float, float]:
        """RETURNS (tuple): This process's share of the loss of all texts, for the backward pass;
        mention loss and entity loss of all texts."""
        settings = self.settings
        means = [loss.mean for loss in losses]
        if processes.count() > 1:
            counts = processes.total([loss.count for loss in losses])
            shares = [loss.count / max(n, 1) for loss, n in zip(losses, counts, strict=True)]
            means = [mean * share for mean, share in zip(means, shares, strict=True)]
        mention, entity, context = means
        loss = settings.mention_weight * mention + settings.entity_weight * entity
        if self._before is not None:
            loss = loss + settings.context_weight * context
        of_all = processes.total([float(mention.detach()), float(entity.detach())])
        return loss, of_all[0], of_all[1]

    def _check_others(self, docs: Sequence[Doc]) -> None:
        """Raise an ElqError in all processes if they train on the same texts."""
        processes.meet(True)
        if self._stepper is None and processes.count() > 1:
            texts = processes.gather([doc.text for doc in docs])
            if all(of_process == texts[0] for of_process in texts):
                raise ElqError(Errors.ELQ164)
            self.stepper.copy_from_first()

    def _no_texts(self) -> list[MeanLoss]:
        """The losses of a process whose texts have no wordpieces, while others have some."""
        nothing = torch.zeros((), device=next(self.heads.parameters()).device)
        return [MeanLoss(loss, 0) for loss in (nothing, nothing + self._no_mentions(), nothing)]

    def _no_mentions(self) -> torch.Tensor:
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
        processes.meet(False)
        self.stepper.step(sgd, self.n_updates)
        self.n_updates = 0
        if self.settings.train_entity_encoder:
            self.entities.entity_encoder.mark_weights_changed()

    def state(self) -> dict[str, torch.Tensor]:
        """RETURNS (dict): What a training needs to go on, besides weights and settings."""
        before = {} if self._before is None else self._before.state_dict()
        return self.stepper.state() | {f"{BEFORE}{name}": value for name, value in before.items()}

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """state (Mapping): From `state`.
        RAISES (ElqError): If other parameters were trained."""
        before = {k.removeprefix(BEFORE): v for k, v in state.items() if k.startswith(BEFORE)}
        self.stepper.restore({k: v for k, v in state.items() if not k.startswith(BEFORE)})
        if self._before is not None and before:
            self._before.load_state_dict(before)

    @property
    def heads(self) -> Heads:
        return get_heads(self.model)

    @property
    def stepper(self) -> TorchStepper:
        if self._stepper is None:
            self._stepper = self._make_stepper()
        return self._stepper

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
        texts = [doc.text for doc in docs]
        words_of = word_finder(texts)
        found = find_name_matches(self.view, texts, windows, max_words, words_of)
        add_last_words(found, self.view, texts, windows, words_of)
        return found

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
    ) -> MeanLoss:
        """unannotated (ndarray | None): Spans to leave out, as far as they are not gold."""
        gold = torch.zeros(scores.shape, dtype=torch.bool, device=scores.device)
        width = targets.last - targets.first
        fits = width < scores.shape[2]
        self.problems["wider than max_mention_length"] += int((~fits).sum())
        gold[targets.window[fits], targets.first[fits], width[fits]] = True
        self.problems["not at word boundaries"] += int((gold & (scores == -torch.inf)).sum())
        left_out = self._left_out(scores, gold, unannotated)
        if self.settings.mention_loss_mean == "span":
            real = scores > -torch.inf
            n_spans = int((real if left_out is None else real & ~left_out).sum())
            return MeanLoss(mention_loss(scores, gold, left_out=left_out), n_spans)
        n_texts = len({window.doc for window in batch.encoded.windows})
        loss = mention_loss(scores, gold, left_out=left_out, reduction="sum")
        return MeanLoss(loss / n_texts, n_texts)

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
    ) -> MeanLoss:
        learned = targets.select((targets.row >= 0) | self._learns_nil)
        if not len(learned):
            nothing = batch.logits.sum() * 0
            return MeanLoss(nothing if processes.count() == 1 else nothing + self._no_mentions(), 0)
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

    def _context_loss(self, batch: ScoredBatch) -> MeanLoss:
        if self._before is None:
            return MeanLoss(batch.logits.new_zeros(()), 0)
        encoded, encoder = batch.encoded, get_encoder(self.model)
        with torch.no_grad():
            as_before = encode_windows(
                self._before,
                get_tokenizer(encoder).pad_token_id,
                encoded.windows,
                self.settings.precision,
                encoder.attrs[SETTINGS].word_shapes,
            )
        mask = torch.from_numpy(encoded.mask).to(encoded.vectors.device)
        loss = context_loss(encoded.vectors, as_before.vectors, mask)
        return MeanLoss(loss, len(encoded.windows))

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
