"""Links and explanations on a terminal or in a pipe: marked texts and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from ._table import COLORS, format_table, stdout_console

if TYPE_CHECKING:
    from ..linking.explanation import ExplainedCandidate, ExplainedSpan, Explanation
    from ..types import Link


@dataclass(frozen=True)
class Display:
    """Formats links and explanations as text.

    console (Console): Decides about width and colors; without colors, mentions are in brackets.
    """

    console: Console = field(default_factory=stdout_console)

    def paint(self, text: str, style: str) -> str:
        """RETURNS (str): A text in a style of rich, if the console has styles."""
        return self._render(Text(text, style))

    def mark_links(self, text: str, links: Sequence[Link]) -> str:
        """RETURNS (str): A text in which its links, which do not overlap, are marked."""
        colors = self.console.color_system is not None and not self.console.no_color
        marked, end = Text(), 0
        for i, link in enumerate(links):
            mention = text[link.start : link.end]
            marked.append(text[end : link.start])
            if colors:
                marked.append(mention, f"bold {COLORS[i % len(COLORS)]}")
            else:
                marked.append(f"[{mention}]")
            end = link.end
        return self._render(marked.append(text[end:]))

    def tabulate_links(self, text: str, links: Sequence[Link]) -> str:
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
        return self._table(("mention", "id", "title", "score", "description"), rows, "lllrl")

    def tabulate_candidates(self, text: str, link: Link) -> str:
        """RETURNS (str): A table of the candidates of one link."""
        rows = [(c.id, c.title, _number(c.score)) for c in link.candidates]
        heading = self.paint(text[link.start : link.end], "bold")
        return f"{heading}\n{self._table(('id', 'title', 'log P'), rows, 'llr')}"

    def format_explanation(self, explained: Explanation, limit: int, n_candidates: int) -> str:
        """Format spans with their scores, then the candidates of the links and the best candidate
        of the other spans. Spans that cannot be mentions (special tokens, parts of words) are left
        out.

        limit (int): Number of spans shown beside the links.
        n_candidates (int): Candidates shown for each link; with 0, the table of spans stands alone.
        """
        from ..linking.explanation import INVALID, NOT_A_WORD

        text = explained.text
        linked = [span for span in explained.spans if not span.cut]
        hidden = ("", INVALID, NOT_A_WORD)
        others = [span for span in explained.spans if span.cut not in hidden]
        shown = [*linked, *others[:limit]]
        header = ("span", "mention", "entity", "none", "joint", "best candidate", "names", "cut")
        parts = [
            f"threshold {explained.threshold:g}, index {explained.index}",
            self._table(header, [_span_row(text, span) for span in shown], "lrrrrlll"),
        ]
        if len(explained.spans) > len(shown):
            parts.append(f"… and {len(explained.spans) - len(shown)} more spans")
        if n_candidates:
            parts += [self._span_candidates(text, span, n_candidates) for span in linked]
            parts.append(
                self._best_candidates([span for span in others[:limit] if span.candidates])
            )
        return "\n".join(part for part in parts if part)

    def _span_candidates(self, text: str, span: ExplainedSpan, count: int) -> str:
        rows = [
            (
                *(c.id, c.title, _number(c.score), _number(c.raw_score), c.name or "-"),
                *(_number(c.name_share), _number(c.popularity_share)),
                *(_document_share(text, c), c.description),
            )
            for c in span.candidates[:count]
        ]
        header = (
            *("id", "title", "log P", "score", "name"),
            *("of name", "of popularity", "of document", "description"),
        )
        return f"{self.paint(span.text, 'bold')}\n{self._table(header, rows, 'llrrlrrll')}"

    def _best_candidates(self, spans: Sequence[ExplainedSpan]) -> str:
        best = [(span.text, span.candidates[0]) for span in spans]
        rows = [(text, c.id, c.title, _number(c.score), c.description) for text, c in best]
        header = ("best of what was cut", "id", "title", "log P", "description")
        return self._table(header, rows, "lllrl")

    def _table(self, header: Sequence[str], rows: Sequence[Sequence[str]], aligns: str) -> str:
        lines = [[" ".join(cell.split()) for cell in row] for row in rows]
        return format_table(header, lines, aligns, self.console) if rows else ""

    def _render(self, text: Text) -> str:
        with self.console.capture() as captured:
            self.console.print(text, soft_wrap=True, end="")
        return captured.get()


def _span_row(text: str, span: ExplainedSpan) -> tuple[str, ...]:
    best = span.candidates[0] if span.candidates else None
    cut = span.cut or "linked"
    if span.by is not None:
        cut = f"{cut}: {text[slice(*span.by)]}"
    if span.exact_id is not None:
        cut += f"; exact search: {span.exact_id}"
    names = list(span.names)
    if span.link_share:
        names.append(f"link {span.link_share:+.2f}")
    return (
        span.text,
        _number(span.mention_score),
        _number(span.entity_score),
        _number(span.nil_score),
        _number(span.score),
        f"{best.id} {best.title}" if best else "-",
        ",".join(names) or "-",
        cut,
    )


def _document_share(text: str, candidate: ExplainedCandidate) -> str:
    """RETURNS (str): What another mention adds to a candidate's score, and which one."""
    share = _number(candidate.document_share)
    return f"{share} {text[slice(*candidate.source)]}" if candidate.source else share


def _number(value: float) -> str:
    return f"{value:.2f}"
