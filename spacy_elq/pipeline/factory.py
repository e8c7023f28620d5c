"""The factory `elq`: what `nlp.add_pipe("elq")` makes, and its default config."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from spacy.language import Language
from thinc.api import Model

from ..encoders.entity import EntityEncoder, EntityEncoderSettings
from ..encoders.inference import InferenceSettings
from ..encoders.model_paths import MINILM
from ..encoders.question import EncoderSettings
from ..ml.architectures import HeadSettings
from ..settings import takes
from ..training.training_settings import TrainingSettings
from .component import ElqLinker
from .entity_linker import load_faiss_kbs
from .linker_settings import LinkerSettings

MODEL: dict[str, Any] = {
    "@architectures": "spacy-elq.ELQ.v1",
    **HeadSettings().model_dump(),
    "pretrained": "starter",
    "encoder": {
        "@architectures": "spacy-elq.Transformer.v1",
        "name": MINILM,
        **EncoderSettings().model_dump(),
        "tokenizer_config": {},
        "transformer_config": {},
    },
}

# The defaults of settings stand in their classes.
DEFAULT_CONFIG: dict[str, Any] = {
    **LinkerSettings().model_dump(),
    "kb_path": None,
    "scorer": {"@scorers": "spacy-elq.elq_scorer.v1", "overlapping": False},
    "model": MODEL,
    "entity_encoder": {
        "source": MINILM,
        **EntityEncoderSettings().model_dump(),
        **InferenceSettings().model_dump(),
    },
    "training": TrainingSettings().model_dump(),
}

# Weights in the choice of the best checkpoint; those of 0 are only columns of the training log.
DEFAULT_SCORES: dict[str, float | None] = {
    "elq_weak_f": 0.5,
    "elq_strong_f": 0.5,
    "elq_unseen_weak_f": 0.0,
    "elq_r1": 0.0,
}


@Language.factory(
    "elq",
    assigns=["doc.ents", "doc.spans", "span._.elq", "token.ent_iob", "token.ent_kb_id"],
    default_config=DEFAULT_CONFIG,
    default_score_weights=DEFAULT_SCORES,
)
@takes(LinkerSettings)
def make_elq(
    nlp: Language,
    name: str,
    model: Model,
    kb_path: str | None,
    entity_encoder: dict[str, Any],
    training: dict[str, Any],
    scorer: Callable | None,
    **settings: Any,
) -> ElqLinker:
    """Construct the component.

    model (Model): The question encoder and its heads, `spacy-elq.ELQ.v1`.
    kb_path (str | None): Directory of a knowledge base that stays outside the pipeline: saving the
        pipeline then writes none of it. Without it, the knowledge base is saved with the pipeline.
    entity_encoder (dict): `source`, and the fields of `encoders.entity.EntityEncoderSettings` and
        of `encoders.inference.InferenceSettings`.
    training (dict): The fields of `training_settings.TrainingSettings`.
    scorer (Callable | None): The scoring method.
    **settings: The fields of `linker_settings.LinkerSettings`.
    """
    elq = ElqLinker(
        nlp.vocab,
        model,
        name,
        entity_encoder=_make_entity_encoder(**entity_encoder),
        kb_path=kb_path,
        training=TrainingSettings(**training),
        scorer=scorer,
        **settings,
    )
    elq.pipeline_meta = nlp.meta
    return elq


def _make_entity_encoder(source: str, **settings: Any) -> EntityEncoder:
    inference = {k: settings.pop(k) for k in InferenceSettings.model_fields if k in settings}
    return EntityEncoder(
        source, EntityEncoderSettings(**settings), inference=InferenceSettings(**inference)
    )


# spaCy imports this module, an entry point, before it makes any component.
load_faiss_kbs()
