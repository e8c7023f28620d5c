"""Texts → wordpieces, of characters that are read as those of names are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..concurrency import Mutex
from ..spelling import Spelling, read

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# Held during a tokenizer call, which sets lengths in the tokenizer that other threads may be using.
TOKENIZER_LOCK = Mutex()


class Encoded(NamedTuple):
    """The wordpieces of a text.

    spelling (Spelling): What the tokenizer got.
    encoding (Any): Its result, with offsets into the spelling.
    """

    spelling: Spelling
    encoding: Any


def tokenize(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], **options: Any
) -> list[Encoded]:
    """Tokenize texts.

    options (Any): Of the tokenizer's call.
    RETURNS (list[Encoded]): In the order of the texts.
    """
    spellings = [read(text) for text in texts]
    if not all(map(str.isascii, texts)) and _drops_accents(tokenizer):
        spellings = [spelling.plain() for spelling in spellings]
    encoded = _encode(tokenizer, spellings, options)
    ranges = _unknown_ranges(tokenizer.unk_token_id, encoded)
    spaced = [spelling.spaced(ranges.get(i, ())) for i, spelling in enumerate(spellings)]
    return encoded if spaced == spellings else _encode(tokenizer, spaced, options)


def _encode(
    tokenizer: PreTrainedTokenizerFast, spellings: Sequence[Spelling], options: dict[str, Any]
) -> list[Encoded]:
    texts = [spelling.text for spelling in spellings]
    with TOKENIZER_LOCK:
        result = tokenizer(
            texts, return_attention_mask=False, return_token_type_ids=False, **options
        )
    # Lists of offsets built by the tokenizer would cost more time than those of the encodings.
    return [*map(Encoded, spellings, result.encodings)]


def _drops_accents(tokenizer: PreTrainedTokenizerFast) -> bool:
    """RETURNS (bool): Whether a tokenizer reads "é" as "e". It does not know then that "ł" is an l
    with a stroke, or that "æ" is spelled "ae"."""
    normalizer = tokenizer.backend_tokenizer.normalizer
    return normalizer is not None and normalizer.normalize_str("\u00e9") == "e"


def _unknown_ranges(
    unknown: int | None, encoded: Sequence[Encoded]
) -> dict[int, list[tuple[int, int]]]:
    """The words that the tokenizer does not know. In scripts without spaces, a name is a part of
    what it takes for a word: there each character becomes a wordpiece."""
    return {
        i: [
            place
            for id_, place in zip(encoding.ids, encoding.offsets, strict=True)
            if id_ == unknown
        ]
        for i, (spelling, encoding) in enumerate(encoded)
        if not spelling.text.isascii() and unknown in encoding.ids
    }
