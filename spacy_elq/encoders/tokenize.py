"""Texts → wordpieces, of characters that are read as those of names are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..concurrency import Mutex
from ..spelling import Spelling, read

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# Held during a tokenizer call, which sets lengths in the tokenizer that other threads may be using.
TOKENIZER_LOCK = Mutex()
# Characters that are tokenized at once: the tokenizer's records take a hundred times their memory.
BLOCK = 1 << 16
# Where a block may end: no word, and no letter with its marks, is on both sides.
BORDER = re.compile(r"[ \n](?=[!-~])")


class Wordpieces(NamedTuple):
    """The part of a tokenizer's record that is used.

    ids (Sequence[int] | ndarray): Ids of wordpieces, (T,).
    offsets (Sequence[tuple[int, int]] | ndarray): Their characters, end exclusive, (T, 2).
    special_tokens_mask (Sequence[int] | ndarray): 1 for those that the tokenizer added, such as
        [CLS], (T,).
    """

    ids: Any
    offsets: Any
    special_tokens_mask: Any


class Encoded(NamedTuple):
    """The wordpieces of a text.

    spelling (Spelling): What the tokenizer got.
    encoding (Wordpieces): Its result, with offsets into the spelling.
    """

    spelling: Spelling
    encoding: Wordpieces


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
    if (
        max(map(len, texts), default=0) <= BLOCK
        or "truncation" in options
        or not _splits_words(tokenizer)
    ):
        return [*map(Encoded, spellings, _call(tokenizer, texts, options))]
    return [Encoded(each, _encode_blocks(tokenizer, each.text, options)) for each in spellings]


def _encode_blocks(
    tokenizer: PreTrainedTokenizerFast, text: str, options: dict[str, Any]
) -> Wordpieces:
    (frame,) = _call(tokenizer, ["a"], options)
    mask = frame.special_tokens_mask
    parts = [_arrays(frame, slice(mask.index(0)))]
    start = 0
    for block in _blocks(text):
        (encoding,) = _call(tokenizer, [block], {**options, "add_special_tokens": False})
        parts.append(_arrays(encoding, slice(None), start))
        start += len(block)
    parts.append(_arrays(frame, slice(len(mask) - mask[::-1].index(0), None)))
    return Wordpieces(*map(np.concatenate, zip(*parts, strict=True)))


def _arrays(encoding: Wordpieces, part: slice, start: int = 0) -> tuple[np.ndarray, ...]:
    offsets = np.array(encoding.offsets[part], dtype=np.int32).reshape(-1, 2) + start
    ids, special = encoding.ids[part], encoding.special_tokens_mask[part]
    return np.array(ids, dtype=np.int32), offsets, np.array(special, dtype=bool)


def _call(
    tokenizer: PreTrainedTokenizerFast, texts: list[str], options: dict[str, Any]
) -> list[Wordpieces]:
    with TOKENIZER_LOCK:
        result = tokenizer(
            texts, return_attention_mask=False, return_token_type_ids=False, **options
        )
    # Lists of offsets built by the tokenizer would cost more time than those of the encodings.
    return result.encodings


def _splits_words(tokenizer: PreTrainedTokenizerFast) -> bool:
    """RETURNS (bool): Whether a tokenizer reads words without regard to others, as BERT's does."""
    return type(tokenizer.backend_tokenizer.pre_tokenizer).__name__ == "BertPreTokenizer"


def _blocks(text: str) -> Iterator[str]:
    """YIELDS (str): Parts of a text, of about `BLOCK` characters each."""
    start = 0
    while start < len(text):
        border = BORDER.search(text, start + BLOCK)
        end = border.end() if border else len(text)
        yield text[start:end]
        start = end


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
