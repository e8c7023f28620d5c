"""Texts as wordpieces with character offsets: the coordinates of ELQ's files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..encoders.model_paths import MINILM, resolve_model_path
from ..encoders.transformer_files import load_tokenizer
from ..errors import ElqError, Errors


@dataclass(frozen=True)
class Pieces:
    """A text's wordpieces, special tokens left out.

    ids (list[int]): Length T.
    chars (ndarray): Character offsets into the text, end exclusive, int64 (T, 2).
    """

    ids: list[int]
    chars: np.ndarray

    def span_of(self, start: int, end: int) -> tuple[int, int] | None:
        """RETURNS (Optional[tuple[int, int]]): The wordpieces [first, last) that share a character
        with [start, end); None if there is none."""
        inside = np.flatnonzero((self.chars[:, 1] > start) & (self.chars[:, 0] < end))
        return (int(inside[0]), int(inside[-1]) + 1) if len(inside) else None

    def chars_of(self, first: int, last: int) -> tuple[int, int]:
        """RETURNS (tuple[int, int]): The characters [start, end) of wordpieces [first, last)."""
        return int(self.chars[first, 0]), int(self.chars[last - 1, 1])


class Wordpieces:
    """A tokenizer, loaded when it is first needed."""

    def __init__(self, source: str = MINILM) -> None:
        """
        source (str): "minilm" (which has the vocabulary of the uncased BERT models), a directory
            with a tokenizer, or a hub id.
        """
        self.source = source

    @cached_property
    def _tokenizer(self) -> Any:
        tokenizer = load_tokenizer(resolve_model_path(self.source))
        if not tokenizer.is_fast:
            raise ElqError(Errors.ELQ328.format(tokenizer=self.source))
        return tokenizer

    def encode(self, text: str) -> Pieces:
        """RETURNS (Pieces): All wordpieces of a text, however long it is."""
        encoded = self._tokenizer(
            text,
            add_special_tokens=False,
            truncation=False,
            padding=False,
            return_offsets_mapping=True,
            verbose=False,
        )
        chars = np.array(encoded["offset_mapping"], dtype=np.int64).reshape(-1, 2)
        return Pieces(list(encoded["input_ids"]), chars)

    def decode(self, ids: Sequence[int]) -> str:
        """RETURNS (str): Wordpieces as text, the way ELQ's output shows mentions."""
        return self._tokenizer.decode(list(ids))
