"""One training step: gold mentions → losses → gradients, and the optimizer step after it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from spacy.tokens import Doc
from thinc.api import Optimizer

from ..corpora.streamed import share_of_process
from ..encoders.question import SETTINGS, encode_windows, get_tokenizer, get_transformer
from ..encoders.token_types import shape_table
from ..errors import ElqError, Errors
from ..gold import gold_spans, nil_spans
from ..kb.files.names import word_finder
from ..linking.boundaries import boundary_masks
from ..linking.decoding import DecodingSettings
from ..ml.heads import torch_span_logits
from ..ml.model import ElqModel, ScoredBatch, begin_update, get_encoder, get_heads
from ..ml.name_features import NameMatches, find_name_matches, name_feature_grid
from ..ml.priors import link_features
from ..ml.short_forms import add_short_forms
from . import processes
from .entity_loss import EntityLoss, EntitySource
from .losses import (
    MeanLoss,
    context_loss,
    mention_loss,
)
from .optim import TorchStepper, free_shapes, freeze, keep_activations
from .targets import Seen, Targets, find_targets
from .training_settings import TrainingSettings
from .unannotated import find_unannotated, is_partial

if TYPE_CHECKING:
    from ..kb.live.view import View
    from ..ml.heads import Heads

# Prefix of the transformer's weights when training began, in the state of a training.
BEFORE = "before/"


@dataclass
class Trainer:
    """The state of a training.

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
    _entity_loss: EntityLoss = field(init=False)
    _before: torch.nn.Module | None = None

    def __post_init__(self) -> None:
        if (world := share_of_process()[1]) != processes.count():
            raise ElqError(Errors.ELQ168.format(processes=world))
        self._entity_loss = EntityLoss(self.model, self.entities, self.settings)
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
            self._entity_loss.of(batch, targets, hits),
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
        return [
            MeanLoss(loss, 0)
            for loss in (nothing, nothing + self._entity_loss.of_no_mentions(), nothing)
        ]

    @property
    def view(self) -> View:
        """RETURNS (View): The entities as they are now."""
        return self._entity_loss.view

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
        add_short_forms(found, self.view, texts, windows, words_of)
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
        if self.heads.priors is not None and names.link_probabilities.any():
            known = torch.from_numpy(link_features(names.link_probabilities)).to(scores.device)
            hidden = torch.rand(len(known), device=scores.device) < self.settings.prior_dropout
            bonus = bonus + known @ self.heads.priors.link * ~hidden
        places = tuple(torch.from_numpy(i).to(scores.device) for i in names.places)
        return scores.index_put(places, bonus, accumulate=True)

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
