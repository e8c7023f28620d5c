"""spacy-elq: end-to-end entity linking for spaCy.

Importing this package loads neither torch nor faiss; spaCy finds the component, the architectures
and the commands through entry points.
"""

from .about import __version__
from .errors import ElqError
from .types import Candidate, Entity, Link

__all__ = ["Candidate", "ElqError", "Entity", "Link", "__version__"]
