"""The tensors of a published checkpoint, grouped by module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ElqError, Errors
from .tensors import read_state_dict

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ..ml.heads import Heads

State = dict[str, "torch.Tensor"]
# Prefix in a checkpoint → field of `CheckpointWeights`.
PARTS = {
    "context_encoder.bert_model.": "question",
    "cand_encoder.bert_model.": "entity",
    "classification_heads.mention_scores.bound_classifier.": "scorer",
    "classification_heads.get_context_embeds.mention_agg_linear.": "aggregation",
}
# Prefix that data-parallel training adds to every name.
WRAPPER = "module."
# Layer norm weights in checkpoints converted from TensorFlow.
OLD_SUFFIXES = {".gamma": ".weight", ".beta": ".bias"}
# Buffers that older releases of transformers saved, and weights that do not affect links.
NOT_NEEDED = ("embeddings.position_ids", "context_encoder.additional_linear.")
OPTIONAL = "pooler."


@dataclass
class CheckpointWeights:
    """The parts of a checkpoint; missing parts are empty.

    question, entity (dict): The two encoders, named as in `transformers.BertModel`.
    scorer, aggregation (dict): The heads, named as in `heads.MentionScorer.layers` and in
        `heads.MentionPooling.linear`.
    """

    path: Path
    question: State = field(default_factory=dict)
    entity: State = field(default_factory=dict)
    scorer: State = field(default_factory=dict)
    aggregation: State = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> CheckpointWeights:
        """Read a checkpoint file.

        RAISES (ElqError): If it can't be read, has unknown names, or has no question encoder.
        """
        weights = cls(path)
        unknown = []
        for name, tensor in read_state_dict(path).items():
            bare = name.removeprefix(WRAPPER)
            prefix = next(filter(bare.startswith, PARTS), None)
            if prefix is not None and not bare.endswith(NOT_NEEDED[0]):
                part: State = getattr(weights, PARTS[prefix])
                part[_modern(bare.removeprefix(prefix))] = tensor
            elif prefix is None and not bare.startswith(NOT_NEEDED[1]):
                unknown.append(name)
        if unknown:
            names = ", ".join(unknown[:5]) + (", …" if len(unknown) > 5 else "")
            raise ElqError(Errors.ELQ511.format(path=path, count=len(unknown), names=names))
        if not weights.question:
            raise ElqError(Errors.ELQ512.format(path=path))
        return weights

    def load_heads(self, heads: Heads) -> bool:
        """Load the weights of the heads.

        RETURNS (bool): Whether the checkpoint has a mention scorer; if not, the scorer of `heads`
            keeps its weights.
        """
        self._load(heads.pooling.linear, self.aggregation, "mention_aggregation_type")
        if self.scorer:
            self._load(heads.mention_scorer.layers, self.scorer, "mention_scoring_method")
        return bool(self.scorer)

    def _load(self, module: nn.Module, state: State, maker: str) -> None:
        self.check(state, module.state_dict(), maker)
        module.load_state_dict(state)

    def check(self, state: State, needed: State, maker: str) -> None:
        """Raise an ElqError if weights are missing, unexpected, or of the wrong shape.

        needed (dict): Tensors with the expected names and shapes.
        maker (str): Names the setting that decides about them, in messages.
        """
        wanted = {name: tuple(tensor.shape) for name, tensor in needed.items()}
        found = {name: tuple(tensor.shape) for name, tensor in state.items()}
        for name in sorted(wanted.keys() | found.keys()):
            optional = name.startswith(OPTIONAL) or name.endswith(NOT_NEEDED[0])
            if wanted.get(name) != found.get(name) and not (optional and name not in found):
                raise ElqError(
                    Errors.ELQ513.format(
                        path=self.path,
                        name=name,
                        found=_shape(found, name),
                        expected=_shape(wanted, name),
                        maker=maker,
                    )
                )


def _shape(shapes: Mapping[str, tuple[int, ...]], name: str) -> str:
    return " x ".join(map(str, shapes[name])) if name in shapes else "missing"


def _modern(name: str) -> str:
    for old, new in OLD_SUFFIXES.items():
        if name.endswith(old):
            return name.removesuffix(old) + new
    return name
