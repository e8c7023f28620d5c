"""Try a kind of FAISS index in a process of its own: some descriptions end the process."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

from ...errors import ElqError, Errors
from ..search.faiss_index import last_line

# Descriptions that FAISS can build for vectors of any width: these need no trial.
KNOWN = re.compile(
    r"(RR[1-9]\d{0,3},)?(IVF[1-9]\d{0,5},)?(Flat|SQ[468]|SQfp16|RaBitQ)|HNSW([4-9]|[1-9]\d)(,Flat)?"
)
SECONDS = 60
SCRIPT = Path(__file__).with_name("index_trial.py")


@cache
def check_factory_string(spec: str, width: int) -> None:
    """Raise an ElqError for the description of an index that FAISS can't build.

    spec (str): A FAISS factory string.
    width (int): Width of the vectors.
    """
    if KNOWN.fullmatch(spec):
        return
    reason = _try(spec, width)
    if reason:
        raise ElqError(Errors.ELQ215.format(spec=spec, reason=reason))


def _try(spec: str, width: int) -> str:
    """RETURNS (str): Why no index of this kind can be built; "" if it can."""
    command = [sys.executable, "-P", str(SCRIPT), str(width), spec]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"FAISS did not build a small one in {SECONDS} seconds"
    except (OSError, ValueError) as err:  # a null character, or a string too long for a command
        return str(err)
    if done.returncode == 0:
        return ""
    said = done.stdout.decode(errors="replace").strip()
    return last_line(said) if done.returncode == 1 and said else "FAISS crashes on it"
