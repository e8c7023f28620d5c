"""The scripts that an encoder reads, by its vocabulary."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# Share of the wordpieces with letters that are Latin in the vocabulary of an encoder of Latin
# scripts. It also has the letters of others, one by one, but was taught no words of them.
LATIN_SHARE = 0.9


@lru_cache(maxsize=16)
def reads_latin_alone(tokenizer: PreTrainedTokenizerFast) -> bool:
    """RETURNS (bool): Whether an encoder was taught words in Latin letters alone."""
    latin = [is_latin(letters[0]) for letters in map(_letters, tokenizer.get_vocab()) if letters]
    return sum(latin) >= LATIN_SHARE * len(latin)


@lru_cache(maxsize=1 << 16)
def is_latin(letter: str) -> bool:
    return letter.isascii() or unicodedata.name(letter, "").startswith("LATIN ")


def has_foreign_letters(text: str) -> bool:
    """RETURNS (bool): Whether a text has letters that are not Latin."""
    return not text.isascii() and any(c.isalpha() and not is_latin(c) for c in text)


def _letters(wordpiece: str) -> str:
    return "".join(filter(str.isalpha, wordpiece))
