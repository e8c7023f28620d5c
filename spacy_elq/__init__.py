"""spacy-elq: end-to-end entity linking for spaCy.

Importing this package registers `span._.elq` and prepares for forks. It needs neither torch nor
faiss; spaCy finds the component, the architectures and the commands through entry points.
"""

from .about import __version__
from .annotate import install_extension
from .concurrency import prepare_for_forks
from .errors import ElqError
from .types import Candidate, Entity, Link

__all__ = ["Candidate", "ElqError", "Entity", "Link", "__version__"]

# Here, because a process that unpickles a pipe or reads documents constructs no component.
install_extension()
prepare_for_forks()
