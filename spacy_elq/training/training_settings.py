"""How the component learns; importable without torch."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from ..encoders.precision import Precision
from ..errors import ElqError, Errors
from ..settings import Count, Settings

IN_BATCH: Final = "in_batch"
HARD_NEGATIVES: Final = "hard_negatives"
FULL_SOFTMAX: Final = "full_softmax"

Factor = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class TrainingSettings(Settings):
    """How the component learns.

    entity_loss (str): "full_softmax" over the whole knowledge base (small ones), "hard_negatives":
        the gold entity against its nearest neighbours, or "in_batch": against the gold entities
        of the batch.
    hard_negatives (int): Neighbours per mention, for "hard_negatives".
    train_entity_encoder (bool): Train it too; needs "in_batch".
    mention_loss_mean (str): "doc": sum the mention loss over the spans of a text and take the mean
        over texts. "span": the mean over all spans of the batch, as published.
    mention_weight, entity_weight (float): Factors on the two losses.
    context_weight (float): Factor on a loss that keeps the mean vector of each text where it was
        when training began; that vector tells namesakes apart in texts unlike the training texts.
        Needs a transformer that belongs to the component, and takes a third more time.
    name_dropout (float): Share of texts whose name features are hidden, so that the model does not
        rely on names alone.
    entity_dropout (float): Share of mentions whose gold entity is treated as missing from the
        knowledge base. From these a model with `nil` learns to link nothing.
    nil_from_unknown (bool): A model with `nil` also learns it from mentions of no entity and of
        entities that the knowledge base lacks. Not with "in_batch".
    prior_dropout (float): Share of mentions for which popularity is hidden, and of names whose link
        probability is, so that the model also serves knowledge bases without them.
    head_lr_factor (float): Factor on the learning rate for the heads, and for the encoder's
        embeddings of word shapes.
    name_lr_factor (float): The same for the few weights of name features, priors and word shapes.
    freeze (list[str]): Modules or parameters that are not trained: of the question encoder, and of
        the entity encoder if that is trained. "embeddings" leaves out those of word shapes, which
        are "embeddings.token_type_embeddings".
    precision (str): Of the transformer's matrix products: "bf16" or "fp32"; "auto" as in
        `InferenceSettings`.
    gradient_checkpointing (bool): Compute the layers of the transformers again in the backward
        pass instead of keeping what they computed: less memory, a third more time.
    exact (bool): Choose negatives as the published code does: "in_batch" counts another mention's
        copy of the same entity as a negative; "hard_negatives" drops the n-th neighbour of all
        mentions of a text if it is the gold entity of one.
    """

    entity_loss: Literal["full_softmax", "hard_negatives", "in_batch"] = FULL_SOFTMAX
    hard_negatives: Count = 10
    train_entity_encoder: bool = False
    mention_loss_mean: Literal["doc", "span"] = "doc"
    mention_weight: Factor = 1.0
    entity_weight: Factor = 1.0
    context_weight: Factor = 0.0
    name_dropout: Share = 0.1
    entity_dropout: Share = 0.1
    nil_from_unknown: bool = True
    prior_dropout: Share = 0.1
    head_lr_factor: Factor = 5.0
    name_lr_factor: Factor = 50.0
    freeze: list[str] = Field(default=["embeddings", "pooler"])
    precision: Precision = "auto"
    gradient_checkpointing: bool = False
    exact: bool = False

    @model_validator(mode="after")
    def _vectors_stay(self) -> Self:
        if self.train_entity_encoder and self.entity_loss != IN_BATCH:
            raise ElqError(Errors.ELQ113)
        return self
