"""`elq plan`: what a catalogue will cost, before anything starts."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from ._common import MANY, GpuOption, QuietOption, echo_note, handle_errors, use_gpu
from ._table import format_table

EXAMPLE = "Example: python -m spacy elq plan enwiki-sample.xml.bz2 --xml-bytes 95GB"


@handle_errors()
def plan_command(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="Dump of a Wikipedia; or entities: a file, a directory, a pattern, or what elq "
            "wikipedia made",
        ),
    ],
    encoder: Annotated[
        str, typer.Option("--encoder", "-e", help='Entity encoder: "minilm", or a model directory')
    ] = "minilm",
    entities: Annotated[
        int, typer.Option("--entities", min=0, help="Number of entities, if DATA is a sample")
    ] = 0,
    xml_bytes: Annotated[
        str, typer.Option("--xml-bytes", help="Size of the XML, if DATA is a sample: 95GB")
    ] = "",
    max_ram: Annotated[str, typer.Option("--max-ram", help="Maximum memory of the index")] = "2GB",
    tflops: Annotated[
        float,
        typer.Option(
            "--gpu-tflops",
            min=0,
            max=MANY,
            help="What a GPU does in practice: some 40% of its peak",
        ),
    ] = 0.0,
    gpu_id: GpuOption = -1,
    quiet: QuietOption = False,
) -> None:
    """Predict time, disk and memory of parsing a dump, embedding its entities and building a
    knowledge base. Rates are measured here, in about a minute, on the begin of a dump and on some
    of the entities."""
    from ..batch.plan import entities_of, is_dump, make_plan, measure_dump, measure_entities
    from ..encoders.entity import load_entity_encoder
    from ..kb.build.choose_index import parse_size

    use_gpu(gpu_id)
    ram, whole = parse_size(max_ram), parse_size(xml_bytes) if xml_bytes else 0
    model = load_entity_encoder(encoder)
    with tempfile.TemporaryDirectory() as name:
        dump = None
        if is_dump(data):
            echo_note("Parsing the begin of the dump …", quiet=quiet)
            dump, data = measure_dump(data, Path(name) / "out"), Path(name) / "out"
        echo_note("Embedding some entities …", quiet=quiet)
        rates = measure_entities(entities_of(data), model)
    rows = make_plan(rates, dump, entities=entities, dump_bytes=whole, max_ram=ram, tflops=tflops)
    lines = [(row.what, row.amount, row.arithmetic) for row in rows]
    typer.echo(format_table(("", "predicted", "from"), lines, "lrl"))
