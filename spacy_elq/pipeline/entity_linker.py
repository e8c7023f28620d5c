"""spaCy's own `entity_linker` loads the FaissKB that it was saved with.

The component lets the knowledge base that `generate_empty_kb` made read what was saved. By default
that is spaCy's InMemoryLookupKB: in a directory of another kind it crashes Python (it reads from a
file that it could not open), and of bytes of another kind it silently reads nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Any

import srsly
from spacy.kb import InMemoryLookupKB
from spacy.pipeline import EntityLinker
from spacy.util import SimpleFrozenList

from ..kb.files.manifest import MANIFEST


def load_faiss_kbs() -> None:
    """Give `entity_linker` a FaissKB to load one into, whatever `generate_empty_kb` says."""
    for name, holds_faiss_kb in (("from_disk", _in_directory), ("from_bytes", _in_bytes)):
        setattr(EntityLinker, name, _wrapped(getattr(EntityLinker, name), holds_faiss_kb))


def _wrapped(load: Callable[..., Any], holds_faiss_kb: Callable[[Any], bool]) -> Callable[..., Any]:
    @wraps(load)
    def load_with_kb(
        linker: Any, data: Any, *, exclude: Iterable[str] = SimpleFrozenList()
    ) -> EntityLinker:
        if "kb" not in exclude and type(linker.kb) is InMemoryLookupKB and holds_faiss_kb(data):
            from ..kb.knowledge_base import FaissKB

            linker.kb = FaissKB(linker.vocab, 0)
        return load(linker, data, exclude=exclude)

    return load_with_kb


def _in_directory(path: str | Path) -> bool:
    return (Path(path) / "kb" / MANIFEST).is_file()


def _in_bytes(data: bytes) -> bool:
    kb = srsly.msgpack_loads(data).get("kb")
    return kb is not None and "manifest" in srsly.msgpack_loads(kb)
