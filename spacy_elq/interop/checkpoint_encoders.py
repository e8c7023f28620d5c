"""The encoders of a checkpoint: architecture and tokenizer by name, weights from the file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..encoders.entity import EntityEncoder, EntityEncoderSettings, load_entity_encoder
from ..encoders.model_paths import resolve_model_path
from ..encoders.question import set_transformer
from ..encoders.transformer_files import load_config, load_tokenizer, vocabulary
from ..errors import ElqError, Errors
from .checkpoint_weights import CheckpointWeights, State
from .params import CheckpointParams

if TYPE_CHECKING:
    from thinc.api import Model
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast


@dataclass(frozen=True)
class Architecture:
    """Configuration and tokenizer, shared by the question encoder and the entity encoder.

    name (str): Hub id or directory.
    """

    name: str
    config: PretrainedConfig
    tokenizer: PreTrainedTokenizerFast

    @classmethod
    def read(cls, name: str, params: CheckpointParams) -> Architecture:
        """Read tokenizer and configuration, but no weights.

        name (str): "minilm", a directory, or a hub id.
        """
        source = resolve_model_path(name)
        try:
            config = load_config(source)
            tokenizer = load_tokenizer(source, **tokenizer_options(params))
        except ElqError:
            raise
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ElqError(Errors.ELQ514.format(name=name, reason=reason)) from None
        return cls(name, config, tokenizer)

    def transformer(self, weights: CheckpointWeights, state: State) -> PreTrainedModel:
        """RETURNS (PreTrainedModel): A model with the weights of one of the encoders."""
        import torch
        from transformers import MODEL_MAPPING, AutoModel

        with torch.device("meta"):
            shapes = AutoModel.from_config(self.config, trust_remote_code=False).state_dict()
        weights.check(state, shapes, f"the configuration of {self.name}")
        # Uses the tensors as they are, mapped from the checkpoint, without a copy.
        return MODEL_MAPPING[type(self.config)].from_pretrained(
            None, config=self.config, state_dict=dict(state), torch_dtype=torch.float32
        )


def tokenizer_options(params: CheckpointParams) -> dict[str, Any]:
    """RETURNS (dict): Arguments of `AutoTokenizer.from_pretrained`."""
    return {"use_fast": True, "do_lower_case": params.lowercase}


def write_entity_encoder(
    path: Path, weights: CheckpointWeights, architecture: Architecture, max_length: int
) -> EntityEncoder:
    """Write the checkpoint's entity encoder into a directory.

    max_length (int): Maximum wordpieces of an entity's text, special tokens included.
    RETURNS (EntityEncoder): The encoder, opened from the directory.
    """
    settings = EntityEncoderSettings(**ENTITY_SETTINGS, max_length=max_length)
    encoder = EntityEncoder(architecture.name, settings)
    encoder.tokenizer = architecture.tokenizer
    encoder.transformer = architecture.transformer(weights, weights.entity)
    encoder.mark_weights_changed()  # they are not those of the named model
    encoder.to_disk(path)
    return load_entity_encoder(str(path))  # reads the weights on first use


# The published input and output of the entity encoder.
ENTITY_SETTINGS: dict[str, Any] = {
    "template": "elq",
    "pooling": "cls",
    "normalize": False,
    "alias_vectors": False,
}


def set_question_encoder(
    encoder: Model, weights: CheckpointWeights, architecture: Architecture
) -> None:
    """Give the component's own encoder the checkpoint's weights instead of initializing it.

    encoder (Model): Built by `spacy-elq.Transformer.v1`.
    """
    from spacy_transformers.data_classes import HFObjects

    bert = architecture.transformer(weights, weights.question)
    tokenizer = architecture.tokenizer
    set_transformer(encoder, HFObjects(tokenizer, bert, vocabulary(tokenizer)))
