"""What tests of several wings share: texts, entities, a short training run, the command line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from click.testing import Result
from spacy.language import Language
from spacy.training import Example
from typer.testing import CliRunner

from spacy_elq.cli import app
from spacy_elq.corpora.spans_jsonl import docs_from_texts, text_from_dict

WIDTH = 32

ENTITIES: list[dict[str, Any]] = [
    {"id": "Q1", "title": "Paris", "description": "capital of France", "type": "city"},
    {"id": "Q2", "title": "Paris Hilton", "description": "media personality", "aliases": ["Paris"],
     "type": "person"},
    {"id": "Q3", "title": "Georgia", "description": "country in the Caucasus", "type": "country"},
    {"id": "Q4", "title": "Georgia", "description": "state of the USA", "type": "state"},
    {"id": "Q5", "title": "Mercury", "description": "planet nearest to the sun", "rank": 1},
    {"id": "Q6", "title": "mercury", "description": "liquid metal", "aliases": ["quicksilver"]},
]  # fmt: skip

TEXTS: list[dict[str, Any]] = [
    {"text": "what river runs through paris", "spans": [{"start": 24, "end": 29, "id": "Q1"}]},
    {"text": "who did paris marry", "spans": [{"start": 8, "end": 13, "id": "Q2"}]},
    {"text": "is georgia north of armenia", "spans": [{"start": 3, "end": 10, "id": "Q3"}]},
    {"text": "who is governor of georgia", "spans": [{"start": 19, "end": 26, "id": "Q4"}]},
    {"text": "how hot is mercury", "spans": [{"start": 11, "end": 18, "id": "Q5"}]},
    {"text": "is mercury in thermometers", "spans": [{"start": 3, "end": 10, "id": "Q6"}]},
    {"text": "what time is it", "spans": []},
]


def examples(nlp: Language, rows: list[dict[str, Any]] = TEXTS) -> list[Example]:
    """Gold examples in the pipeline's vocabulary."""
    golds = docs_from_texts(nlp, [text_from_dict(row, "test") for row in rows])
    return [Example(nlp.make_doc(gold.text), gold) for gold in golds]


def train(nlp: Language, steps: int = 60, rate: float = 3e-3) -> dict[str, float]:
    """Overfit the texts above. RETURNS (dict): The losses of the last step."""
    from thinc.api import Adam

    optimizer = Adam(rate, grad_clip=1.0, L2=0.0, use_averages=False)
    gold = examples(nlp)
    losses: dict[str, float] = {}
    for _ in range(steps):
        losses = nlp.update(gold, sgd=optimizer, losses={})
    return losses


def write_jsonl(path: Path, records: Iterable[Any]) -> Path:
    """RETURNS (Path): The path, for a call inside another."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf8")
    return path


def run(*args: Any, stdin: str | None = None) -> Result:
    """Run `elq …` in this process."""
    return CliRunner().invoke(app, [str(arg) for arg in args], input=stdin)
