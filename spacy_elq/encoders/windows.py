"""Texts → wordpiece windows, the units that the question encoder reads.

A text that fits the encoder is one window. A longer text becomes several, so that its end is not
lost. Each character belongs to the *core* of exactly one window, and a mention is taken from the
window whose core contains its first character. A window reads on after its core for as long as a
mention may be, so the mention lies completely in that window. See `cuts` for where cores end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from .cuts import Part, cut, find_places
from .scripts import has_foreign_letters, is_latin, reads_latin_alone
from .sentences import find_breaks
from .tokenize import Encoded, tokenize

if TYPE_CHECKING:
    import torch
    from spacy.tokens import Doc
    from transformers import PreTrainedTokenizerFast

# Key in `doc.user_data`: {"ids", "chars", "start"} of the window that is encoded instead of the
# wordpieces of the text. The caller writes it, to cut texts in another way (as the published
# evaluation does around gold mentions); `doc_windows` and `interop.exact` read it.
WINDOW_KEY = "elq_window"
# Character offset of special tokens, such as [CLS] and [SEP].
NO_CHARS = -1
# Fixed cost of a batch on a CPU, in wordpieces of MiniLM; lower for larger models.
CPU_BATCH_COST = 64
# [CLS] and [SEP]. Minimum number of wordpieces of a window: one between them.
SPECIAL_TOKENS = 2
MIN_LENGTH = SPECIAL_TOKENS + 1
# Share of the letters of a run without spaces that a tokenizer does not know, from which on the
# encoder is taken not to read the run.
UNREAD_SHARE = 0.2
# The core of a text's only window: every character.
WHOLE_TEXT = (0, np.iinfo(np.int32).max)


@dataclass(frozen=True)
class Window:
    """Consecutive wordpieces of one document, with special tokens around them.

    doc (int): Index of the document among those that were cut together.
    ids (Sequence[int] | ndarray): Wordpiece ids, length T.
    chars (ndarray): Character offsets into the text, int32 (T, 2), end exclusive; `NO_CHARS` for
        special tokens.
    core (tuple[int, int]): The range of characters whose mentions are taken from this window.
    unread (ndarray | None): Whether each wordpiece is a part of something that the encoder can't
        read, bool (T,); None if it reads everything.
    shapes (ndarray | None): The shape classes of each wordpiece's word, of the word before and of
        the word after it, uint8 (T, 3), see `word_shapes`; None if the model has no use for them.
    formal (bool): Whether the text begins its sentences with capitals; known with the shapes.
    """

    doc: int
    ids: Sequence[int] | np.ndarray
    chars: np.ndarray
    core: tuple[int, int] = WHOLE_TEXT
    unread: np.ndarray | None = None
    shapes: np.ndarray | None = None
    formal: bool = False

    def __len__(self) -> int:
        return len(self.ids)

    def extent(self) -> tuple[int, int]:
        """RETURNS (tuple[int, int]): The characters that it covers, end exclusive."""
        real = self.chars[self.chars[:, 0] != NO_CHARS]
        return int(real[0, 0]), int(real[-1, 1])


def cut_windows(
    tokenizer: PreTrainedTokenizerFast,
    texts: Sequence[str],
    max_length: int,
    overlap: int,
    *,
    truncate: bool = False,
    docs: Sequence[int] | None = None,
    sentences: Mapping[int, Sequence[int]] | None = None,
) -> list[Window]:
    """Tokenize texts and cut the long ones into windows.

    max_length (int): Maximum number of wordpieces of a window, special tokens included.
    overlap (int): Wordpieces that neighbouring windows share where no sentence ends, half of them
        on either side of the border: at least twice the longest mention, so that each mention lies
        completely in one window.
    truncate (bool): Keep only the first window of each text, as the published ELQ does.
    docs (Sequence[int] | None): `Window.doc` for each text; its position by default.
    sentences (Mapping[int, Sequence[int]]): By position of the text: the first characters of its
        sentences, where they are known.
    RETURNS (list[Window]): In the order of the texts. A text without wordpieces has no window.
    """
    if not texts:
        return []
    sentences = sentences or {}
    windows: list[Window] = []
    unknown = tokenizer.unk_token_id  # slow to get
    for i, encoded in enumerate(tokenize(tokenizer, texts, verbose=False)):
        foreign = has_foreign_letters(texts[i]) and reads_latin_alone(tokenizer)
        doc = i if docs is None else docs[i]
        whole = _whole_text(doc, texts[i], encoded, unknown, foreign=foreign)
        if len(whole) > max_length:
            known = sentences.get(i)
            windows += _parts(whole, texts[i], known, max_length, overlap, truncate=truncate)
        elif (whole.chars != NO_CHARS).any():
            windows.append(whole)
    return windows


def _whole_text(
    doc: int, text: str, encoded: Encoded, unknown: int | None, *, foreign: bool
) -> Window:
    """foreign (bool): Whether the text has letters of scripts that the encoder was not taught.
    RETURNS (Window): All wordpieces of a text."""
    spelling, encoding = encoded
    ids, chars = encoding.ids, np.asarray(encoding.offsets, dtype=np.int32).reshape(-1, 2)
    special = np.asarray(encoding.special_tokens_mask, dtype=bool)
    if spelling.places is not None:
        chars[~special] = spelling.original(chars[~special])
    chars[special] = NO_CHARS
    unread = None
    if foreign or unknown in ids:
        unread = _unread(text, np.array(ids) == unknown, chars, foreign=foreign)
    return Window(doc, ids, chars, unread=unread)


def _parts(
    whole: Window,
    text: str,
    sentences: Sequence[int] | None,
    max_length: int,
    overlap: int,
    *,
    truncate: bool,
) -> Iterator[Window]:
    """Cut a window that is too long. Each part gets the special tokens around it."""
    all_ids = np.asarray(whole.ids, dtype=np.int32)
    real = np.flatnonzero(whole.chars[:, 0] != NO_CHARS)
    first, after_last = int(real[0]), int(real[-1]) + 1
    room = max_length - (len(whole) - len(real))
    chars = whole.chars[real]
    parts: Iterable[Part] = [Part(0, 0, len(real), room)]
    if not truncate:
        parts = cut(find_places(chars, find_breaks(text, sentences)), room, overlap)
    borders = [WHOLE_TEXT[0], *chars[1:, 0].tolist(), WHOLE_TEXT[1]]
    for begin, core, border, end in parts:
        read = range(first + begin, first + end)
        kept = [*range(first), *read, *range(after_last, len(whole))]
        unread = None if whole.unread is None else whole.unread[kept]
        owned = borders[core], borders[border]
        yield Window(whole.doc, all_ids[kept], whole.chars[kept], owned, unread)


def _unread(text: str, unknown: np.ndarray, chars: np.ndarray, *, foreign: bool) -> np.ndarray:
    """Find what an encoder can't read, because its tokenizer does not know the script, or only its
    letters: runs without spaces in which it misses a good part of the letters.

    unknown (ndarray): The wordpieces for what the tokenizer does not know, bool (T,).
    foreign (bool): Whether the encoder reads Latin letters alone.
    """
    begins, ends = chars.T
    if foreign:
        unknown = unknown | [b >= 0 and not is_latin(text[b]) for b in begins.tolist()]
    run = np.cumsum((begins > np.append(NO_CHARS, ends[:-1])) | (begins == NO_CHARS))
    is_letter = np.array([begin >= 0 and text[begin].isalnum() for begin in begins.tolist()])
    share = np.bincount(run, unknown & is_letter) / np.maximum(np.bincount(run, is_letter), 1)
    return (share >= UNREAD_SHARE)[run]


def doc_windows(
    tokenizer: PreTrainedTokenizerFast,
    docs: Sequence[Doc],
    max_length: int,
    overlap: int,
    *,
    truncate: bool,
) -> list[Window]:
    """Cut documents into windows, where their sentences end if they have been found, or read the
    windows in their `user_data`.

    RETURNS (list[Window]): In the order of the documents.
    """
    own = [i for i, doc in enumerate(docs) if WINDOW_KEY not in doc.user_data]
    texts = [docs[i].text for i in own]
    windows = cut_windows(
        tokenizer,
        texts,
        max_length,
        overlap,
        truncate=truncate,
        docs=own,
        sentences={
            place: [sentence.start_char for sentence in docs[i].sents]
            for place, i in enumerate(own)
            if docs[i].has_annotation("SENT_START")
        },
    )
    if len(own) == len(docs):
        return windows
    for i, doc in enumerate(docs):
        if given := doc.user_data.get(WINDOW_KEY):
            windows.append(Window(i, given["ids"], np.array(given["chars"], dtype=np.int32)))
    return sorted(windows, key=lambda window: window.doc)


def assign_cores(windows: Sequence[Window]) -> list[Window]:
    """Divide the characters of each document among its windows, in the middle of every overlap.

    windows (Sequence[Window]): Windows of one document are neighbours, in reading order.
    RETURNS (list[Window]): The same windows with their cores.
    """
    result = list(windows)
    for i, (left, right) in enumerate(pairwise(windows)):
        if left.doc == right.doc:
            border = (int(left.chars.max()) + _first_char(right)) // 2
            result[i] = replace(left, core=(result[i].core[0], border))
            result[i + 1] = replace(right, core=(border, WHOLE_TEXT[1]))
    return result


def _first_char(window: Window) -> int:
    starts = window.chars[:, 0]
    return int(starts[starts != NO_CHARS].min())


def batch_by_length(
    items: Sequence[Sized], max_items: int, batch_cost: int | None = None
) -> Iterator[list[int]]:
    """Group wordpiece sequences of similar length into batches with little padding.

    max_items (int): Maximum number of wordpieces of a padded batch. A longer sequence gets its own
        batch.
    batch_cost (int | None): Fixed cost of a batch, in wordpieces: a batch is split if that saves
        more padding. With None, there are as few batches as possible.
    YIELDS (list[int]): Indices into `items`, longest first.
    """
    order = sorted(range(len(items)), key=lambda i: -len(items[i]))
    groups = [order]
    if batch_cost is not None and len(order) > 1:
        lengths = np.array([len(items[i]) for i in order])
        groups = [order[group] for group in _cheapest_groups(lengths, batch_cost)]
    for group in groups:
        batch: list[int] = []
        for i in group:
            if batch and len(items[batch[0]]) * (len(batch) + 1) > max_items:
                yield batch
                batch = []
            batch.append(i)
        if batch:
            yield batch


def cost_of_batch(device: torch.device) -> int | None:
    """RETURNS (int | None): The fixed cost of a batch, in wordpieces, see `batch_by_length`."""
    return CPU_BATCH_COST if device.type == "cpu" else None


def _cheapest_groups(lengths: np.ndarray, group_cost: int) -> list[slice]:
    """Divide sequences into groups at minimum cost: for each group, its padded size and
    `group_cost`.

    lengths (ndarray): Descending, int (N,).
    RETURNS (list[slice]): The groups, in order.
    """
    # A cheapest division never separates sequences of equal length.
    starts = np.flatnonzero(np.diff(lengths, prepend=-1))
    ends = np.append(starts[1:], len(lengths))
    # Minimum cost of the sequences from each start on, and the last start of their first group.
    minimum = np.zeros(len(starts) + 1, dtype=np.int64)
    last = np.zeros(len(starts), dtype=np.int64)
    for i in reversed(range(len(starts))):
        costs = lengths[starts[i]] * (ends[i:] - starts[i]) + group_cost + minimum[i + 1 :]
        last[i] = i + costs.argmin()
        minimum[i] = costs[last[i] - i]
    groups, i = [], 0
    while i < len(starts):
        groups.append(slice(starts[i], ends[last[i]]))
        i = last[i] + 1
    return groups


def pad(rows: Sequence[Sequence[int] | np.ndarray], pad_id: int) -> tuple[np.ndarray, np.ndarray]:
    """rows (Sequence[Sequence[int] | ndarray]): Wordpiece ids, such as those of windows.
    RETURNS (tuple[ndarray, ndarray]): Ids, int64 (B, T), padded to the longest row, and the mask of
    real wordpieces, bool (B, T)."""
    if len({len(row) for row in rows}) == 1:
        ids = np.array(rows, dtype=np.int64)
        return ids, np.ones(ids.shape, dtype=bool)
    lengths = np.array([len(row) for row in rows])
    mask = np.arange(lengths.max(initial=0)) < lengths[:, None]
    ids = np.full(mask.shape, pad_id, dtype=np.int64)
    ids[mask] = np.concatenate(rows) if rows else []
    return ids, mask


def locate_wordpieces(window: Window, start: int, end: int) -> tuple[int, int] | None:
    """RETURNS (tuple[int, int] | None): First and last wordpiece (inclusive) that share a character
    with [start, end); None if there is none."""
    begins, ends = window.chars[:, 0], window.chars[:, 1]
    inside = np.flatnonzero((begins != NO_CHARS) & (ends > start) & (begins < end))
    return (int(inside[0]), int(inside[-1])) if len(inside) else None
