"""Linking and embedding as one picklable callable, for engines that map over batches of rows."""

from .embedder import BatchEmbedder
from .linker import BatchLinker

__all__ = ["BatchEmbedder", "BatchLinker"]
