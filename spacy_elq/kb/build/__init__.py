"""From entities to the directory of a knowledge base."""

from .builder import EntityEncoder, VectorSource, build_kb
from .index_stage import IndexOptions

__all__ = ["EntityEncoder", "IndexOptions", "VectorSource", "build_kb"]
