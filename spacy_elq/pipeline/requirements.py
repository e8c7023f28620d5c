"""The extras of this package that a pipeline needs, noted in its `meta.json`.

`spacy package` finds the package itself in the config, but not the extras, and makes what stands in
`meta.json` requirements of the package that it writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from spacy.util import get_minor_version_range

from ..about import __version__
from ..encoders.inference import ONNX
from ..encoders.model_paths import MINILM

PACKAGE = "spacy-elq"
# An extra of this name has what a knowledge base needs whose `index` begins with it.
STORES = ("milvus",)
# Extras that are noted; others are the user's.
NOTED = {"onnx", "minilm", *STORES}


def needed_extras(settings: Mapping[str, Any], index: str, encoder: str) -> set[str]:
    """RETURNS (set[str]): The extras without which a pipeline does not load, is slower, or can't
    add entities.

    settings (Mapping): All settings of the component.
    index (str): `Manifest.index` of its knowledge base.
    encoder (str): The source of the entity encoder.
    """
    backends = {settings.get("encoder.backend"), settings["entity_encoder.backend"]}
    extras = {"onnx"} if ONNX in backends else set()
    if encoder == MINILM and not settings["save_entity_encoder"]:
        extras.add("minilm")
    return extras | {store for store in STORES if index.startswith(f"{store}:")}


def note_extras(meta: dict[str, Any], extras: set[str]) -> None:
    """Note which extras are needed, in place of those noted before. Other requirements stay, and so
    does an address that the user gave this package ("spacy-elq @ git+https://…").

    meta (dict): `nlp.meta`.
    """
    listed = {each: _parse(each) for each in meta.get("requirements", ())}
    own = next((r for r in listed.values() if r and canonicalize_name(r.name) == PACKAGE), None)
    if own is None and not extras:
        return
    others = [each for each, requirement in listed.items() if requirement is not own or own is None]
    own = own or Requirement(PACKAGE)
    own.name, own.extras = PACKAGE, own.extras - NOTED | extras
    if own.url is None:
        own.specifier = SpecifierSet(get_minor_version_range(__version__))
    meta["requirements"] = [str(own), *others]


def _parse(requirement: str) -> Requirement | None:
    try:
        return Requirement(requirement)
    except InvalidRequirement:
        return None
