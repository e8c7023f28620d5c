"""Parameter groups, global clipping and the step.

thinc clips each array on its own, decays every parameter and knows no groups. So the torch
parameters are stepped here by torch's AdamW, inside spaCy's contract: gradients accumulate during
`update`, the step happens when spaCy calls `finish_update`, and learning rate, schedule, betas,
weight decay and clipping are those of the config's [training.optimizer].
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from thinc.api import Optimizer
from torch import nn

from ..encoders.token_types import shape_table
from ..errors import ElqError, Errors
from . import processes

logger = logging.getLogger("spacy")

# No weight decay for these and for layer norms, as in BERT's own training.
NOT_DECAYED = ("bias", "log_scale", "nil_cosine")
# Name of the embeddings of word shapes in a transformer.
SHAPES = "embeddings.token_type_embeddings"


class TorchStepper:
    """Steps named parameters with AdamW; holds its state for the whole training."""

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        rates: Mapping[str, float],
    ) -> None:
        """
        modules (Mapping): Name of a part → its torch module. A parameter of several parts belongs
            to the first.
        rates (Mapping): Name of a part → factor on the optimizer's learning rate.
        """
        self._names: dict[nn.Parameter, str] = {}
        groups = []
        for part, module in modules.items():
            spared = set(not_decayed(module))
            named = {p: f"{part}.{name}" for name, p in module.named_parameters()}
            trained = [p for p in named if p.requires_grad and p not in self._names]
            self._names |= {p: named[p] for p in trained}
            for decayed in (True, False):
                chosen = [p for p in trained if decayed != (p in spared)]
                groups.append({"params": chosen, "factor": rates[part], "decayed": decayed})
        self.parameters = list(self._names)
        self._adam = torch.optim.AdamW([group for group in groups if group["params"]])

    def copy_from_first(self) -> None:
        """Let all processes begin with the same parameters."""
        for parameter in self.parameters:
            processes.copy_from_first(parameter)

    def state(self) -> dict[str, torch.Tensor]:
        """RETURNS (dict): Name → moments and number of steps of each parameter that has any."""
        return {
            f"{name}/{key}": tensor
            for parameter, name in self._names.items()
            for key, tensor in self._adam.state.get(parameter, {}).items()
        }

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """state (Mapping): From `state` of a stepper of the same parameters.
        RAISES (ElqError): If they are others."""
        parameters = {name: parameter for parameter, name in self._names.items()}
        for place, tensor in state.items():
            name, key = place.rsplit("/", 1)
            parameter = parameters.get(name)
            if parameter is None or tensor.shape not in (parameter.shape, ()):
                raise ElqError(Errors.ELQ162.format(name=name))
            # AdamW keeps the number of steps on the CPU.
            device = parameter.device if tensor.dim() else "cpu"
            self._adam.state[parameter][key] = tensor.to(device)

    def step(self, sgd: Optimizer, n_updates: int = 1) -> None:
        """Clip the accumulated gradients by their global norm, step, and zero them. If a
        gradient is not finite, the step is skipped and logged: it would spoil all weights.

        sgd (Optimizer): thinc's; its current learning rate and constants are used, its own state
            is not.
        n_updates (int): How many gradients were accumulated; the step uses their mean.
        """
        processes.sum_gradients(self.parameters)
        if n_updates > 1:
            for parameter in self.parameters:
                if parameter.grad is not None:
                    parameter.grad /= n_updates
        if not clip_by_global_norm(self.parameters, sgd.grad_clip):
            logger.warning("elq: gradients are not finite; this step is skipped")
            self._adam.zero_grad(set_to_none=True)
            return
        for group in self._adam.param_groups:
            group["lr"] = sgd.learn_rate * group["factor"]
            group["betas"] = (sgd.b1, sgd.b2)
            group["eps"] = sgd.eps
            group["weight_decay"] = sgd.L2 if group["decayed"] else 0.0
        self._adam.step()
        self._adam.zero_grad(set_to_none=True)


def not_decayed(module: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters without weight decay; layer norms are found by type, not by name."""
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            if isinstance(part, nn.LayerNorm) or name.endswith(NOT_DECAYED):
                yield parameter


def clip_by_global_norm(parameters: Iterable[nn.Parameter], limit: float) -> bool:
    """limit (float): Largest norm of all gradients together; 0 switches clipping off.
    RETURNS (bool): Whether that norm is finite."""
    return bool(nn.utils.clip_grad_norm_(parameters, limit or torch.inf).isfinite())


def freeze(modules: Sequence[nn.Module], names: Iterable[str]) -> None:
    """Switch gradients off for the named parts of transformers, on for the rest.

    modules (Sequence[Module]): The transformers.
    names (Iterable[str]): Modules or parameters, for example "embeddings" or "encoder.layer.0".
    RAISES (ElqError): If no transformer has a part of that name; a missing "pooler" is allowed.
    """
    frozen = list(names)
    found = {"pooler"}
    for module in modules:
        for path, parameter in module.named_parameters():
            by = [name for name in frozen if path == name or path.startswith(f"{name}.")]
            parameter.requires_grad_(not by)
            found.update(by)
    for name in frozen:
        if modules and name not in found:
            parts = sorted({path for module in modules for path, _ in module.named_children()})
            raise ElqError(Errors.ELQ355.format(name=name, parts=", ".join(parts)))


def keep_activations(modules: Sequence[nn.Module], *, keep: bool) -> None:
    """Let transformers keep the output of each part for the backward pass, or only that of each
    layer and compute the rest again: a third more time, a fraction of the memory.

    modules (Sequence[Module]): The transformers.
    RAISES (ElqError): If one can only keep it.
    """
    module: Any  # a model of transformers
    for module in modules:
        if not keep and not getattr(module, "supports_gradient_checkpointing", False):
            raise ElqError(Errors.ELQ167.format(name=type(module).__name__))
        if not keep:
            module.gradient_checkpointing_enable({"use_reentrant": False})
        elif getattr(module, "is_gradient_checkpointing", False):
            module.gradient_checkpointing_disable()


def free_shapes(transformer: nn.Module, names: Sequence[str]) -> None:
    """Let a transformer learn its embeddings of word shapes even if all embeddings are frozen:
    they are new to it. Not if they are frozen by name, or with everything else.

    names (Sequence[str]): See `freeze`.
    """
    table = shape_table(transformer)
    learns = any(parameter.requires_grad for parameter in transformer.parameters())
    if table is not None and learns and not set(names) & {SHAPES, f"{SHAPES}.weight"}:
        table.weight.requires_grad_(True)
