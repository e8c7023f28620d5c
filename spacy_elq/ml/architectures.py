"""Names that a config may use → the builders behind them, nothing else."""

from __future__ import annotations

from typing import Any

from thinc.api import Model

from ..encoders.listener import listener_encoder
from ..encoders.model_paths import MINILM
from ..encoders.question import transformer_encoder
from .model import ElqModel, elq_model
from .pretrained import start_from_pretrained


def build_elq(
    encoder: Model,
    scorer: str = "qa_linear",
    aggregation: str = "all_avg",
    cosine: bool = True,
    scale: float = 20.0,
    name_features: bool = True,
    context_window: int = 64,
    nil: bool = True,
    pretrained: str | None = None,
) -> ElqModel:
    """`spacy-elq.ELQ.v1`: the question encoder with mention and entity heads.

    encoder (Model): `spacy-elq.Transformer.v1` or `spacy-elq.TransformerListener.v1`.
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
    nil (bool): Let a mention's entities compete with there being none in the knowledge base, with a
        learned score; needs `cosine`. False is the published model.
    pretrained (Optional[str]): Begin with trained weights: "starter", which come with the package
        and are changes to MiniLM, or the path of a file that `elq weights` wrote. None begins with
        the encoder's own weights and untrained heads.
    """
    options = {"cosine": cosine, "scale": scale, "name_features": name_features}
    options |= {"context_window": context_window, "nil": nil}
    model = elq_model(encoder, {"scorer": scorer, "aggregation": aggregation, **options})
    return start_from_pretrained(model, pretrained) if pretrained else model


def build_transformer(
    name: str = MINILM,
    max_length: int = 48,
    overlap: int = 22,
    truncate: bool = False,
    max_batch_items: int = 4096,
    precision: str = "fp32",
    tokenizer_config: dict[str, Any] | None = None,
    transformer_config: dict[str, Any] | None = None,
) -> Model:
    """`spacy-elq.Transformer.v1`: the component's own BERT-like encoder.

    name (str): "minilm" (from the `minilm` extra), a local directory, or a hub id.
    max_length (int): Most wordpieces read at once, special tokens included. Longer documents are
        read in overlapping windows: about as long as the texts of training should be, because what
        is learned from short ones does not hold at places that they do not have.
    overlap (int): Wordpieces that neighbouring windows share, twice the longest mention at least.
    truncate (bool): Read only the first window, as the published ELQ does.
    max_batch_items (int): Most wordpieces of a padded batch.
    precision (str): "fp32", or "bf16" for matrix products in bfloat16, in inference; training has
        its own setting.
    tokenizer_config (dict): Passed to `AutoTokenizer.from_pretrained`.
    transformer_config (dict): Passed to `AutoConfig.from_pretrained`.
    """
    from spacy_transformers import TransformerModel
    from spacy_transformers.span_getters import configure_get_doc_spans

    transformer = TransformerModel(
        name,
        configure_get_doc_spans(),
        tokenizer_config={"use_fast": True, **(tokenizer_config or {})},
        transformer_config=dict(transformer_config or {}),
    )
    return transformer_encoder(
        transformer,
        max_length=max_length,
        overlap=overlap,
        truncate=truncate,
        max_batch_items=max_batch_items,
        precision=precision,
    )


def build_transformer_listener(upstream: str = "*", max_batch_items: int = 4096) -> Model:
    """`spacy-elq.TransformerListener.v1`: the vectors of a `transformer` component.

    upstream (str): Name of that component, or "*" for any.
    max_batch_items (int): Most wordpieces of a padded batch.
    """
    from spacy_transformers.layers import TransformerListener

    return listener_encoder(TransformerListener(upstream), max_batch_items=max_batch_items)
