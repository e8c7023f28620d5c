"""`elq link` on a terminal: questions are linked as they are typed."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..corpora.spans_jsonl import check_text
from ..errors import ElqError, Errors
from ._common import error_line
from ._display import Display

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spacy.language import Language
    from spacy.tokens import Doc

    from ..types import Link

PROMPT = "> "
HISTORY_LENGTH = 1000
SPANS_EXPLAINED = 12
HELP = """\
TEXT               link a text
/threshold NUMBER  joint log-score that a link must exceed
/top-k NUMBER      entities retrieved for a mention
/mention-kinds X   names, or all: concepts and roles too
/candidates        candidates of the last links
/explain [TEXT]    spans considered and what cut them; default: the last text
/help              this
/quit              leave, as Ctrl-D does"""


class Conversation:
    """Answers to lines: a text gets its links, a /command its effect.

    nlp (Language): The pipeline.
    elq (ElqLinker): Its linker.
    display (Display): Formats answers.
    say (Callable[[str], None]): Prints an answer.
    """

    def __init__(
        self, nlp: Language, elq: Any, display: Display, say: Callable[[str], None]
    ) -> None:
        self.nlp = nlp
        self.elq = elq
        self.display = display
        self.say = say
        self.text = ""
        self.commands: dict[str, Callable[[str], None]] = {
            "/threshold": self.threshold,
            "/top-k": self.top_k,
            "/mention-kinds": self.mention_kinds,
            "/candidates": self.candidates,
            "/explain": self.explain,
            "/help": lambda _: self.say(HELP),
        }

    def answer(self, line: str) -> bool:
        """RETURNS (bool): Whether the conversation continues."""
        line = line.strip()
        name, _, argument = line.partition(" ")
        if name in ("/quit", "/exit"):
            return False
        try:
            check_text(line, self.nlp.max_length)
            if line.startswith("/"):
                self.commands.get(name, self.unknown)(argument.strip())
            elif line:
                self.text = line
                self.link()
        except (ElqError, OSError) as err:
            self.say(self.display.paint(error_line(err), "red"))
        return True

    def link(self) -> None:
        """Show the links of the last text."""
        links = self._links()
        self.say(self.display.mark_links(self.text, links))
        self.say(self.display.tabulate_links(self.text, links) or "No links.")

    def threshold(self, argument: str) -> None:
        value = _number(argument, float)
        if value is not None:
            self.elq.threshold = value
            self._again()
        self.say(f"threshold {self.elq.threshold:g}")

    def top_k(self, argument: str) -> None:
        value = _number(argument, int)
        if value is not None:
            self.elq.top_k = value
            self._again()
        self.say(f"top-k {self.elq.top_k}")

    def mention_kinds(self, argument: str) -> None:
        if argument:
            self.elq.mention_kinds = argument
            self._again()
        self.say(f"mention-kinds {self.elq.mention_kinds}")

    def candidates(self, argument: str) -> None:
        links = self._links() if self.text else []
        for link in links:
            self.say(self.display.tabulate_candidates(self.text, link))
        if not links:
            self.say("No links.")

    def explain(self, argument: str) -> None:
        from ..pipeline.lookup import doc_before

        self.text = argument or self.text
        if not self.text:
            self.say("There is no text yet.")
            return
        explained = self.elq.explain(doc_before(self.nlp, self.elq.name, self.text))
        self.say(self.display.format_explanation(explained, SPANS_EXPLAINED, 0))

    def unknown(self, argument: str) -> None:
        self.say(f"No such command.\n{HELP}")

    def _again(self) -> None:
        if self.text:
            self.link()

    def _links(self) -> list[Link]:
        doc: Doc = self.nlp(self.text)
        return [ent._.elq for ent in doc.ents if ent.kb_id_ and ent._.elq is not None]


def converse(nlp: Language, elq: Any) -> None:
    """Answer typed lines until Ctrl-D or /quit."""
    conversation = Conversation(nlp, elq, Display(), print)
    print(f"{len(elq.kb)} entities. Type a text; /help lists the commands.")
    with _history():
        while _turn(conversation):
            pass


def _turn(conversation: Conversation) -> bool:
    """Read and answer one line. Ctrl-C drops the line, or stops the answer."""
    try:
        return conversation.answer(input(PROMPT))
    except EOFError:
        print()
        return False
    except KeyboardInterrupt:
        print()
        return True


def _number(argument: str, kind: Callable[[str], Any]) -> Any:
    """RETURNS (Any): The number, None without an argument.
    RAISES (ElqError): If it is not such a number."""
    try:
        return kind(argument) if argument else None
    except ValueError:
        raise ElqError(Errors.ELQ431.format(value=argument)) from None


@contextmanager
def _history() -> Iterator[None]:
    """Line editing with the history of earlier conversations, if Python has readline."""
    try:
        import readline
    except ImportError:  # Windows
        yield
        return
    path = _state_dir() / "history"
    with suppress(OSError):
        readline.read_history_file(path)
    readline.set_history_length(HISTORY_LENGTH)
    try:
        yield
    finally:
        with suppress(OSError):  # a read-only home directory is not a reason to fail
            path.parent.mkdir(parents=True, exist_ok=True)
            readline.write_history_file(path)


def _state_dir() -> Path:
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "spacy-elq"
