"""`elq kb build`"""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ElqError, Errors
from ._common import (
    MANY,
    ColumnsOption,
    GpuOption,
    QuietOption,
    argument_text,
    column_names,
    echo_note,
    handle_errors,
    inference_settings,
    load_pipeline,
    use_gpu,
)
from ._kb import Encoder, Entities, From, KBPath, load_encoder, open_kb

if TYPE_CHECKING:
    from ..encoders.entity import EntityEncoder
    from ..kb.build.index_stage import QuerySource
    from ..kb.build.vector_source import VectorSource
    from ..kb.refresh import OldVectors


@handle_errors(
    "The vectors so far, except those of the last seconds, are kept beside the output; run the "
    "same command again to resume."
)
def build_command(
    entities: Entities,
    path: KBPath,
    encoder: Encoder = "minilm",
    index: Annotated[
        str,
        typer.Option(
            "--index",
            help='"auto", "exact", a FAISS factory string, or the address of a vector store, '
            'such as "milvus:URI#NAME" for a Milvus server or a Milvus Lite file',
        ),
    ] = "auto",
    max_ram: Annotated[
        str, typer.Option("--max-ram", help='Maximum memory of the index that "auto" chooses')
    ] = "2GB",
    min_recall: Annotated[
        float, typer.Option("--min-recall", help="Share of the exact 10 best that it should find")
    ] = 0.99,
    queries: Annotated[
        Path | None,
        typer.Option(
            "--queries",
            help="Queries to tune the index with: spans JSONL, lines of text, or vectors (.npy)",
        ),
    ] = None,
    pipeline: Annotated[
        str | None,
        typer.Option("--pipeline", help="Pipeline that turns --queries into mention vectors"),
    ] = None,
    dtype: Annotated[
        str, typer.Option("--dtype", help='Stored vectors: "auto", "float32" or "float16"')
    ] = "auto",
    backend: Annotated[str, typer.Option("--backend", help="What embeds: torch or onnx")] = "torch",
    precision: Annotated[
        str, typer.Option("--precision", help="auto, fp32, bf16 (torch) or int8 (onnx)")
    ] = "auto",
    device: Annotated[
        int,
        typer.Option(
            "--device",
            min=-1,
            max=MANY,
            help="GPU for k-means, if FAISS supports it; -1 for the CPU",
        ),
    ] = -1,
    popularity_field: Annotated[
        str,
        typer.Option(
            "--popularity-field",
            help='Field of ENTITIES that is their popularity, such as "pagerank", if it is not '
            '"popularity"; also for entities that are added later',
        ),
    ] = "",
    snapshot: Annotated[
        str, typer.Option("--snapshot", help="Date of the entities; stored for information")
    ] = "",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", "-O", help="Replace an existing knowledge base")
    ] = False,
    reuse: Annotated[
        Path | None,
        typer.Option(
            "--reuse",
            metavar="OLD_KB",
            help="An older knowledge base: entities that have the same id, names and description "
            "keep their vectors",
        ),
    ] = None,
    part: Annotated[
        str,
        typer.Option(
            "--part",
            help="Only embed, and only this part of the entities, such as 3/16, on any machine; "
            "see --merge",
        ),
    ] = "",
    merge: Annotated[
        bool,
        typer.Option("--merge", help="Take the vectors from all parts, which lie beside KB"),
    ] = False,
    engine: Annotated[
        str, typer.Option("--engine", help="ray: embed on a Ray cluster (RAY_ADDRESS), or here")
    ] = "",
    from_: From = "",
    columns: ColumnsOption = "",
    gpu_id: GpuOption = -1,
    quiet: QuietOption = False,
) -> None:
    """Build a knowledge base: records, names, vectors and index. Resumes an interrupted build of
    the same entities.

    A query is compared with every vector if there are 50,000 or fewer. For more, an index is
    chosen, built, and tuned until it finds what exact search finds. The tuning depends on the
    queries: give mentions like those that will be linked."""
    from ..entities.reader import read_entities
    from ..kb.build.builder import build_kb
    from ..kb.build.choose_index import parse_size
    from ..kb.build.index_stage import IndexOptions
    from ..kb.build.parts import build_part, merged_parts
    from ._table import format_table

    if part and merge:
        raise ElqError(Errors.ELQ460)
    if merge and reuse:
        raise ElqError(Errors.ELQ461)
    if engine and (part or merge or reuse):
        raise ElqError(Errors.ELQ467)
    use_gpu(gpu_id)
    model = load_encoder(encoder)
    model.inference = inference_settings(backend, precision)
    rows = read_entities(entities, from_, column_names(columns))
    field = argument_text(popularity_field)
    old = None if reuse is None else _old_vectors(reuse, model)
    vectors = old.source(dtype) if old else _vectors(model, encoder, engine, gpu_id)
    rows = old.counted(rows) if old else rows
    if part:
        made = build_part(
            rows, path, vectors, part, dtype=dtype, popularity_field=field, progress=not quiet
        )
        echo_note(f"{made.directory(path)}: {made.vectors} vectors", quiet=quiet)
        return
    options = IndexOptions(
        max_ram=parse_size(max_ram),
        min_recall=min_recall,
        queries=None if queries is None else _query_source(queries, model, pipeline),
        device=device,
    )
    manifest = build_kb(
        rows,
        path,
        merged_parts(path) if merge else vectors,
        index=index,
        options=options,
        dtype=dtype,
        progress=not quiet,
        source=entities.name,
        snapshot=snapshot,
        popularity_field=field,
        overwrite=overwrite,
    )
    echo_note(f"{path}: {manifest.entities} entities, {manifest.vectors} vectors", quiet=quiet)
    if old:
        counts = [(name, f"{count:,}") for name, count in asdict(old.counts).items()]
        echo_note(format_table(("entities", ""), counts, "lr"), quiet=quiet)


def _old_vectors(path: Path, encoder: EntityEncoder) -> OldVectors:
    from ..kb.refresh import OldVectors

    kb = open_kb(path)
    return OldVectors(kb.view, kb.manifest, encoder)


def _vectors(model: EntityEncoder, name: str, engine: str, gpu_id: int) -> VectorSource:
    """RETURNS (VectorSource): The vectors of an encoder, computed here or by an engine."""
    from ..kb.build.vector_source import VectorSource

    source = VectorSource.from_encoder(model)
    if not engine:
        return source
    from ..batch.embedder import BatchEmbedder
    from ._engines import choose_engine, local_path

    embedder = BatchEmbedder(local_path(name), inference=model.inference, gpu_id=gpu_id)
    return replace(
        source, parallel=partial(choose_engine(engine, 1, gpu_id), embedder.encode_batch)
    )


def _query_source(path: Path, encoder: EntityEncoder, pipeline: str | None) -> QuerySource:
    """Check the file now; read and embed its mentions only when the index is built."""
    from ..files import check_file
    from ._queries import read_queries

    check_file(path, "queries file")
    if path.suffix == ".npy":
        queries = read_queries(path, encoder)
        return lambda: queries
    return lambda: read_queries(path, encoder, load_pipeline(pipeline) if pipeline else None)
