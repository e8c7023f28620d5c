"""Parameter groups, global clipping and the step.

thinc clips each array on its own, decays every parameter and knows no groups. So the torch
parameters are stepped here by torch's AdamW, inside spaCy's contract: gradients accumulate during
`update`, the step happens when spaCy calls `finish_update`, and learning rate, schedule, betas,
weight decay and clipping are those of the config's [training.optimizer].
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

import torch
from thinc.api import Optimizer
from torch import nn

logger = logging.getLogger("spacy")

# No weight decay for these, as in BERT's own training.
NOT_DECAYED = ("bias", "LayerNorm.weight", "log_scale", "nil_cosine")


class TorchStepper:
    """Steps named parameters with AdamW; its state lives as long as the training."""

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        rates: Mapping[str, float],
    ) -> None:
        """
        modules (Mapping): Name of a part → its torch module.
        rates (Mapping): Name of a part → factor on the optimizer's learning rate.
        """
        self.parameters: list[nn.Parameter] = []
        groups = []
        for part, module in modules.items():
            named = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
            self.parameters += [p for _, p in named]
            for decayed in (True, False):
                chosen = [p for n, p in named if decayed != n.endswith(NOT_DECAYED)]
                groups.append({"params": chosen, "factor": rates[part], "decayed": decayed})
        self._adam = torch.optim.AdamW([group for group in groups if group["params"]])

    def step(self, sgd: Optimizer) -> None:
        """Clip the accumulated gradients by their global norm, step, and zero them. Gradients that
        are not finite would spoil all weights: there is no step then, and the log says so.

        sgd (Optimizer): thinc's; its current learning rate and constants are used, its own state
            is not.
        """
        if not clip_by_global_norm(self.parameters, sgd.grad_clip):
            logger.warning("elq: gradients are not finite; this step is left out")
            self._adam.zero_grad(set_to_none=True)
            return
        for group in self._adam.param_groups:
            group["lr"] = sgd.learn_rate * group["factor"]
            group["betas"] = (sgd.b1, sgd.b2)
            group["eps"] = sgd.eps
            group["weight_decay"] = sgd.L2 if group["decayed"] else 0.0
        self._adam.step()
        self._adam.zero_grad(set_to_none=True)


def clip_by_global_norm(parameters: Iterable[nn.Parameter], limit: float) -> bool:
    """limit (float): Largest norm of all gradients together; 0 switches clipping off.
    RETURNS (bool): Whether that norm is finite."""
    return bool(nn.utils.clip_grad_norm_(parameters, limit or torch.inf).isfinite())


def freeze(module: nn.Module, names: Iterable[str]) -> None:
    """Switch gradients off for parameters whose name starts with one of `names`, on for the rest.

    names (Iterable[str]): For example "embeddings" or "encoder.layer.0".
    """
    prefixes = tuple(names)
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(not (prefixes and name.startswith(prefixes)))
