"""The factory `elq`: what `nlp.add_pipe("elq")` makes, and its default config."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from spacy.language import Language
from thinc.api import Config, Model

from ..encoders.entity import EntityEncoder, EntityEncoderSettings
from .component import ElqLinker

DEFAULT_CONFIG = """
[elq]
threshold = -2.1
mention_threshold = -0.6931
threshold_type = "joint"
top_k = 10
num_cand_mentions = 50
max_mention_length = 10
special_tokens = false
word_boundaries = true
mentions = "find"
spans_key = "elq"
span_group_threshold = null
calibration = null
overwrite = true
rank_gold = true
save_entity_encoder = true
kb_path = null
scorer = {"@scorers": "spacy-elq.elq_scorer.v1", "overlapping": false}

[elq.model]
@architectures = "spacy-elq.ELQ.v1"
scorer = "qa_linear"
aggregation = "all_avg"
cosine = true
scale = 20.0
name_features = true
context_window = 64
nil = true
pretrained = "starter"

[elq.model.encoder]
@architectures = "spacy-elq.Transformer.v1"
name = "minilm"
max_length = 48
overlap = 22
truncate = false
max_batch_items = 4096
precision = "fp32"
tokenizer_config = {}
transformer_config = {}

[elq.entity_encoder]
source = "minilm"
template = "names"
pooling = "mean"
normalize = true
alias_vectors = true
max_length = 128

[elq.training]
entity_loss = "full_softmax"
hard_negatives = 10
train_entity_encoder = false
mention_loss_mean = "doc"
mention_weight = 1.0
entity_weight = 1.0
context_weight = 0.0
name_dropout = 0.1
entity_dropout = 0.1
head_lr_factor = 5.0
name_lr_factor = 50.0
freeze = ["embeddings", "pooler"]
precision = "bf16"
exact = false
"""

# Weights in the choice of the best checkpoint; those of 0 are columns of the training log only.
DEFAULT_SCORES: dict[str, float | None] = {
    "elq_weak_f": 0.5,
    "elq_strong_f": 0.5,
    "elq_unseen_weak_f": 0.0,
    "elq_r1": 0.0,
}


@Language.factory(
    "elq",
    assigns=["doc.ents", "doc.spans", "span._.elq", "token.ent_iob", "token.ent_kb_id"],
    default_config=Config().from_str(DEFAULT_CONFIG)["elq"],
    default_score_weights=DEFAULT_SCORES,
)
def make_elq(
    nlp: Language,
    name: str,
    model: Model,
    threshold: float,
    mention_threshold: float,
    threshold_type: str,
    top_k: int,
    num_cand_mentions: int,
    max_mention_length: int,
    special_tokens: bool,
    word_boundaries: bool,
    mentions: str,
    spans_key: str,
    span_group_threshold: float | None,
    calibration: dict[str, Any] | None,
    overwrite: bool,
    rank_gold: bool,
    save_entity_encoder: bool,
    kb_path: str | None,
    entity_encoder: dict[str, Any],
    training: dict[str, Any],
    scorer: Callable | None,
) -> ElqLinker:
    """Construct the component.

    model (Model): The question encoder and its heads, `spacy-elq.ELQ.v1`.
    threshold (float): Links need a joint log-score above it.
    mention_threshold, threshold_type, top_k, num_cand_mentions, max_mention_length,
        special_tokens, word_boundaries: See `decoding.DecodingSettings`.
    mentions (str): "find" them, or only link those that are in "ents" or in the span group of
        that key.
    spans_key (str): Key of the span group for all links, overlapping ones too.
    span_group_threshold (Optional[float]): Joint log-score that links need for the span group, if
        it should hold more than those above the threshold.
    calibration (Optional[dict]): What turns scores into the probability that a link is right, as
        `spacy elq tune` stores it: `calibration.Calibration.to_dict`.
    overwrite (bool): Where a link overlaps an entity that is in `doc.ents` already, the link wins.
    rank_gold (bool): In evaluation, link the gold mentions too, for entity accuracy (R@1, R@10).
    save_entity_encoder (bool): Write the entity encoder to disk with the pipeline; without it,
        entities can be added after loading only if its source is there.
    kb_path (Optional[str]): Directory of the knowledge base, where it is to stay outside of the
        pipeline: saving the pipeline then writes none of it. Without it, the knowledge base is
        saved with the pipeline.
    entity_encoder (dict): `source`, and the fields of `encoders.entity.EntityEncoderSettings`.
    training (dict): The fields of `training.TrainingSettings`.
    scorer (Optional[Callable]): The scoring method.
    """
    return ElqLinker(
        nlp.vocab,
        model,
        name,
        entity_encoder=_make_entity_encoder(**entity_encoder),
        training=training,
        scorer=scorer,
        threshold=threshold,
        mention_threshold=mention_threshold,
        threshold_type=threshold_type,
        top_k=top_k,
        num_cand_mentions=num_cand_mentions,
        max_mention_length=max_mention_length,
        special_tokens=special_tokens,
        word_boundaries=word_boundaries,
        mentions=mentions,
        spans_key=spans_key,
        span_group_threshold=span_group_threshold,
        calibration=calibration,
        overwrite=overwrite,
        rank_gold=rank_gold,
        save_entity_encoder=save_entity_encoder,
        kb_path=kb_path,
    )


def _make_entity_encoder(source: str, **settings: Any) -> EntityEncoder:
    return EntityEncoder(source, EntityEncoderSettings(**settings))
