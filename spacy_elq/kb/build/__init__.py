"""From entities to the directory of a knowledge base."""

from .builder import EncodesEntities, VectorSource, build_kb
from .index_stage import IndexOptions

__all__ = ["EncodesEntities", "IndexOptions", "VectorSource", "build_kb"]
