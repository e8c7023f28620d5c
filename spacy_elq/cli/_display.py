"""Links and explanations for a terminal: marked texts and tables, with colours or without."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from wasabi import color, row
from wasabi.util import supports_ansi

if TYPE_CHECKING:
    from ..linking.explanation import ExplainedSpan, Explanation
    from ..types import Link

# A mention has the same colour in the text and in the table.
COLOURS = ("green", "cyan", "yellow", "pink", "blue")
WIDTH = 100
SPACING = 2


@dataclass(frozen=True)
class Display:
    """How things are shown.

    colours (bool): Use colours; mentions are in brackets without.
    width (int): Columns of the terminal.
    """

    colours: bool = False
    width: int = WIDTH

    @classmethod
    def of_terminal(cls) -> Display:
        """RETURNS (Display): What suits stdout: colours on a terminal, unless NO_COLOR is set."""
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        colours = sys.stdout.isatty() and not plain and supports_ansi()
        sized = sys.stdout.isatty() or "COLUMNS" in os.environ
        columns = shutil.get_terminal_size((WIDTH, 24)).columns
        return cls(colours, max(60, columns) if sized else WIDTH)

    def paint(self, text: str, colour: str = "", *, bold: bool = False) -> str:
        """RETURNS (str): The text in a colour of wasabi's, or as it is."""
        return color(text, fg=colour or None, bold=bold) if self.colours else text

    def marked(self, text: str, links: Sequence[Link]) -> str:
        """RETURNS (str): A text with its links, which do not overlap, marked."""
        parts, at = [], 0
        for i, link in enumerate(links):
            mention = text[link.start : link.end]
            if self.colours:
                mention = self.paint(mention, COLOURS[i % len(COLOURS)], bold=True)
            else:
                mention = f"[{mention}]"
            parts += [text[at : link.start], mention]
            at = link.end
        return "".join((*parts, text[at:]))

    def links(self, text: str, links: Sequence[Link]) -> str:
        """RETURNS (str): A table of links: mention, id, title, score and description."""
        rows = [
            (
                text[link.start : link.end],
                link.id,
                link.title,
                _number(link.score),
                link.description,
            )
            for link in links
        ]
        return self._table(
            rows, ("mention", "id", "title", "score", "description"), (20, 12, 24, 6), "lllrl"
        )

    def candidates(self, text: str, link: Link) -> str:
        """RETURNS (str): A table of the candidates of one link."""
        rows = [(c.id, c.title, _number(c.score)) for c in link.candidates]
        heading = self.paint(text[link.start : link.end], bold=True)
        return f"{heading}\n{self._table(rows, ('id', 'title', 'log P'), (12, 50), 'llr')}"

    def explanation(self, explained: Explanation, limit: int, candidates: int) -> str:
        """Spans and their scores, then the candidates of the links, and the best one of the others.
        Spans that no mention can have, of special tokens or parts of words, are left out.

        limit (int): Spans shown beside the links.
        candidates (int): Candidates shown of each link; with 0, no candidates are shown below.
        """
        from ..linking.explanation import INVALID, NOT_A_WORD

        text = explained.text
        linked = [span for span in explained.spans if not span.cut]
        hidden = ("", INVALID, NOT_A_WORD)
        others = [span for span in explained.spans if span.cut not in hidden]
        shown = [*linked, *others[:limit]]
        rows = [self._span_row(text, span) for span in shown]
        header = ("span", "mention", "entity", "none", "joint", "best candidate", "names", "cut")
        spare = max(0, self.width - WIDTH)
        widths = (16 + spare // 3, 7, 6, 5, 6, 18 + spare // 3, 10 + spare // 10)
        parts = [
            f"threshold {explained.threshold:g}, index {explained.index}",
            self._table(rows, header, widths, "lrrrrlll"),
        ]
        if len(explained.spans) > len(shown):
            parts.append(f"… and {len(explained.spans) - len(shown)} more spans")
        if candidates:
            parts += [self._span_candidates(span, candidates) for span in linked]
            parts.append(
                self._best_candidates([span for span in others[:limit] if span.candidates])
            )
        return "\n".join(part for part in parts if part)

    def _span_row(self, text: str, span: ExplainedSpan) -> tuple[str, ...]:
        best = span.candidates[0] if span.candidates else None
        cut = span.cut or "linked"
        if span.by is not None:
            cut = f"{cut}: {text[slice(*span.by)]}"
        if span.exact_id is not None:
            cut += f"; exact search: {span.exact_id}"
        return (
            span.text,
            _number(span.mention_score),
            _number(span.entity_score),
            _number(span.nil_score),
            _number(span.score),
            f"{best.id} {best.title}" if best else "-",
            ",".join(span.names) or "-",
            cut,
        )

    def _span_candidates(self, span: ExplainedSpan, most: int) -> str:
        rows = [
            (c.id, c.title, _number(c.score), _number(c.raw_score), c.name or "-", c.description)
            for c in span.candidates[:most]
        ]
        header = ("id", "title", "log P", "score", "name", "description")
        heading = self.paint(span.text, bold=True)
        return f"{heading}\n{self._table(rows, header, (12, 24, 6, 6, 5), 'llrrll')}"

    def _best_candidates(self, spans: Sequence[ExplainedSpan]) -> str:
        best = [(span.text, span.candidates[0]) for span in spans]
        rows = [(text, c.id, c.title, _number(c.score), c.description) for text, c in best]
        header = ("best of what was cut", "id", "title", "log P", "description")
        return self._table(rows, header, (24 + max(0, self.width - WIDTH) // 3, 12, 24, 6), "lllrl")

    def _table(
        self, rows: Sequence[Sequence[str]], header: Sequence[str], most: Sequence[int], aligns: str
    ) -> str:
        """most (Sequence[int]): Widest that each column may be; the last has what is left."""
        if not rows:
            return ""
        columns = list(zip(header, *rows, strict=True))
        widths = [
            min(limit, max(map(len, column))) for limit, column in zip(most, columns, strict=False)
        ]
        if len(widths) < len(header):
            left = self.width - sum(widths) - SPACING * len(widths)
            widths.append(max(8, left))
        letters = cast("list[Literal['l', 'r']]", list(aligns))
        lines = [row(header, widths=widths, spacing=SPACING, aligns=letters)]
        for i, cells in enumerate(rows):
            short = [_short(cell, width) for cell, width in zip(cells, widths, strict=True)]
            shades = [COLOURS[i % len(COLOURS)], *[None] * (len(header) - 1)]
            colours = shades if self.colours else None
            lines.append(
                row(short, widths=widths, spacing=SPACING, aligns=letters, fg_colors=colours)
            )
        return "\n".join(line.rstrip() for line in lines)


def _number(value: float) -> str:
    return f"{value:.2f}"


def _short(text: str, width: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"
