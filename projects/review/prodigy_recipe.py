"""A Prodigy recipe that asks which entity each mention is.

    python -m spacy elq convert linked.jsonl tasks.prodigy-choice.jsonl
    prodigy elq.review my_links tasks.prodigy-choice.jsonl -F prodigy_recipe.py
    prodigy db-out my_links > reviewed.prodigy.jsonl

Prodigy, which is not a dependency, is needed only to run it.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any


def tasks(path: Path) -> Iterator[dict[str, Any]]:
    """YIELDS (dict): The tasks of a file that ask about a mention; its entity is chosen already."""
    with path.open(encoding="utf8") as lines:
        for line in lines:
            task = json.loads(line)
            if task.get("options"):
                yield task


def review(dataset: str, source: Path) -> dict[str, Any]:
    """RETURNS (dict): The components of the recipe.

    dataset (str): Where Prodigy saves the answers.
    source (Path): What `elq convert --to prodigy-choice` wrote.
    """
    return {
        "dataset": dataset,
        "stream": tasks(Path(source)),
        "view_id": "choice",
        "config": {"choice_style": "single", "exclude_by": "task"},
    }


with suppress(ImportError):  # imported without Prodigy, to be tested
    import prodigy

    prodigy.recipe(
        "elq.review",
        dataset=("Dataset to save the answers to", "positional", None, str),
        source=("Tasks, as elq convert writes them", "positional", None, Path),
    )(review)
