"""From entities to the directory of a knowledge base."""

from .builder import build_kb, build_kb_from_vectors

__all__ = ["build_kb", "build_kb_from_vectors"]
