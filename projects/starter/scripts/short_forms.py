"""Set what a mention that is the last word of a name adds to the scores of its entities.

python scripts/short_forms.py WEIGHTS [--short-form 3.0] [--shared -0.8]

Training would learn these two weights, but the documents name people by the last name alone only
after their whole name. The defaults were chosen on the development sets of docs/documents.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from spacy_elq.ml.name_features import ENTITY_FEATURES

WEIGHTS = "heads.names.entity"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--short-form", type=float, default=3.0)
    parser.add_argument("--shared", type=float, default=-0.8)
    args = parser.parse_args()
    with safe_open(args.weights, "pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    found = tensors[WEIGHTS]
    weights = torch.zeros(len(ENTITY_FEATURES), dtype=found.dtype)
    weights[: len(found)] = found
    for name in ("short_form", "shared"):
        weights[ENTITY_FEATURES.index(name)] = getattr(args, name)
    save_file({**tensors, WEIGHTS: weights}, args.weights, metadata)


if __name__ == "__main__":
    main()
