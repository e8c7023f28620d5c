"""From entities to the directory of a knowledge base."""

from .builder import build_kb
from .index_stage import IndexOptions
from .vector_source import EncodesEntities, VectorSource

__all__ = ["EncodesEntities", "IndexOptions", "VectorSource", "build_kb"]
