"""Builders of the registered architectures that a config can name."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from thinc.api import Model

from ..encoders.listener import listener_encoder
from ..encoders.model_paths import MINILM
from ..encoders.question import EncoderSettings, ListenerSettings, transformer_encoder
from ..settings import Number, Settings, takes
from .model import ElqModel, elq_model
from .pretrained import start_from_pretrained


class HeadSettings(Settings):
    """What is learned on top of the question encoder.

    scorer (str): Mention logits from a linear layer, "qa_linear", or a small MLP, "qa_mlp".
    aggregation (str): Wordpiece vectors → mention vector: "all_avg" (mean), "fl_avg" (mean of first
        and last), "all_avg_linear", "fl_linear".
    cosine (bool): Score entities by cosine times a learned scale; False is the published inner
        product. The knowledge base's vectors must be normalised for it.
    scale (float): Initial scale of the cosine.
    name_features (bool): Give a learned bonus to spans that are a name in the knowledge base, and
        to the entities of that name, which always join the retrieved ones. False is the published
        model.
    context_window (int): Add to a mention's direction a learned share of the direction of the text
        around it, up to this many wordpieces on either side; needs `cosine`. 0 is the published
        model.
    nil (bool): Let a mention's entities compete with NIL, which has a learned score; needs
        `cosine`. False is the published model.
    priors (bool): Add learned shares of an entity's popularity, and of how often the mention's name
        refers to it, to its score, and of how often the name is a link to the span's logit, where
        the knowledge base knows them. False is the published model.
    word_shapes (bool): Add learned weights to the mention logits for how words are written:
        Capitalised, ALL CAPS, digits and so on, if the text uses case. False is the published
        model.
    """

    scorer: str = "qa_linear"
    aggregation: str = "all_avg"
    cosine: bool = True
    scale: Number = 20.0
    name_features: bool = True
    context_window: Annotated[int, Field(ge=0)] = 64
    nil: bool = True
    priors: bool = True
    word_shapes: bool = True


@takes(HeadSettings)
def build_elq(encoder: Model, pretrained: str | None = None, **settings: Any) -> ElqModel:
    """`spacy-elq.ELQ.v1`: the question encoder with mention and entity heads.

    encoder (Model): `spacy-elq.Transformer.v1` or `spacy-elq.TransformerListener.v1`.
    pretrained (str | None): Trained weights to start from: "starter" (changes to MiniLM, in this
        package), or the path of a file written by `elq weights`. None starts from the encoder's
        weights and untrained heads.
    **settings: The fields of `HeadSettings`.
    """
    model = elq_model(encoder, HeadSettings(**settings).model_dump())
    return start_from_pretrained(model, pretrained) if pretrained else model


@takes(EncoderSettings)
def build_transformer(
    name: str = MINILM,
    tokenizer_config: dict[str, Any] | None = None,
    transformer_config: dict[str, Any] | None = None,
    **settings: Any,
) -> Model:
    """`spacy-elq.Transformer.v1`: the component's own BERT-like encoder.

    name (str): "minilm" (from the `minilm` extra), a local directory, or a hub id.
    tokenizer_config (dict): Passed to `AutoTokenizer.from_pretrained`.
    transformer_config (dict): Passed to `AutoConfig.from_pretrained`.
    **settings: The fields of `encoders.question.EncoderSettings`.
    """
    from spacy_transformers import TransformerModel
    from spacy_transformers.span_getters import configure_get_doc_spans

    transformer = TransformerModel(
        name,
        configure_get_doc_spans(),
        tokenizer_config={"use_fast": True, **(tokenizer_config or {})},
        transformer_config=dict(transformer_config or {}),
    )
    return transformer_encoder(transformer, EncoderSettings(**settings))


@takes(ListenerSettings)
def build_transformer_listener(upstream: str = "*", **settings: Any) -> Model:
    """`spacy-elq.TransformerListener.v1`: the vectors of a `transformer` component.

    upstream (str): Name of that component, or "*" for any.
    **settings: The fields of `encoders.question.ListenerSettings`.
    """
    from spacy_transformers.layers import TransformerListener

    return listener_encoder(TransformerListener(upstream), ListenerSettings(**settings))
