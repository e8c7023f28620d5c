"""What the commands of `elq kb` have in common."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..encoders.entity import EntityEncoder
    from ..kb.knowledge_base import FaissKB

KBPath = Annotated[Path, typer.Argument(metavar="KB", help="Directory of the knowledge base")]
Entities = Annotated[
    Path,
    typer.Argument(
        metavar="ENTITIES",
        help="Entity file: JSONL, CSV, TSV, Parquet, OBO, OWL or SKOS; .gz, .bz2, .xz; or a "
        "directory or a pattern of its parts",
    ),
]
From = Annotated[
    str,
    typer.Option(
        "--from",
        "-f",
        help="Format of ENTITIES: jsonl, csv, tsv, parquet; obo (.obo), rdf (OWL, SKOS: .owl, "
        ".ttl, .rdf, .nt), rrf (UMLS's MRCONSO.RRF); scispacy (its concepts), elq (ELQ's "
        "entity.jsonl); otherwise the file's name decides",
    ),
]
Encoder = Annotated[
    str, typer.Option("--encoder", "-e", help='Entity encoder: "minilm", or a model directory')
]


def open_kb(path: Path) -> FaissKB:
    from spacy.vocab import Vocab

    from ..kb.knowledge_base import FaissKB

    return FaissKB.open(path, Vocab())


def load_encoder(name: str) -> EntityEncoder:
    from ..encoders.entity import load_entity_encoder

    return load_entity_encoder(name)
