"""Short options: a letter means the same in each command."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import click
import typer

from spacy_elq.cli import app


def commands(command: click.Command) -> Iterator[click.Command]:
    for inner in getattr(command, "commands", {}).values():
        yield from commands(inner)
    yield command


def test_a_letter_stands_for_one_option():
    meanings: defaultdict[str, set[str]] = defaultdict(set)
    for command in commands(typer.main.get_command(app)):
        if command.name == "train":  # the letters of `spacy train`
            continue
        for option in command.params:
            short = [name for name in option.opts if len(name) == 2]
            meanings.update({name: meanings[name] | {max(option.opts, key=len)} for name in short})
    assert {"-o", "-q", "-k"} <= meanings.keys()
    assert not {letter: names for letter, names in meanings.items() if len(names) > 1}
