"""What a catalogue will cost: rates measured on a sample, times what there is of it."""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..dumps.compressed import DumpFile
from ..dumps.parts import ENTITIES, MANIFEST
from ..dumps.wikipedia import WikipediaOptions, convert_wikipedia
from ..encoders.entity import EntityEncoder
from ..entities.paths import format_of
from ..entities.reader import READERS, read_entities
from ..errors import ElqError, Errors
from ..kb.build.builder import build_kb
from ..kb.build.choose_index import EXACT_UP_TO, index_plans
from ..kb.build.vector_source import OwnedVectors, VectorSource, batches
from ..kb.files.manifest import EXACT, OWNERS, VECTORS
from ..types import Entity

# Of a dump, bytes of XML that are parsed; of entities, how many are embedded, and for how long.
PARSED, EMBEDDED, SECONDS = 8 << 20, 1024, 30.0
PAGE_END, DUMP_END = b"</page>", b"\n</mediawiki>\n"
# Measured at 1 and 6 million vectors (docs/scale.md): seconds to train, fill and tune an index, for
# each number in the vectors; bytes of memory for each vector while names and index are made.
INDEX_SECONDS, BUILD_BYTES = 1e-7, 200
# Files of a knowledge base that are reckoned otherwise, or do not grow.
FIXED = (VECTORS, OWNERS, "manifest.json")
# Multiplications and additions of a weight for a wordpiece.
OPERATIONS = 2


@dataclass(frozen=True)
class DumpRates:
    """What parsing the begin of a dump gave.

    read (int): Bytes of XML that were parsed.
    whole (int): Bytes of XML of the whole dump, about.
    seconds (float): CPU time.
    written (int): Bytes of entities and texts.
    """

    read: int
    whole: int
    seconds: float
    written: int


@dataclass(frozen=True)
class EntityRates:
    """What entities are, and what embedding some of them gave.

    entities, vectors (int): Of all that were read.
    embedded (int): Entities that were embedded.
    seconds, cpu (float): For these, as the clock and the processor count.
    wordpieces (int): Of these.
    weights (int): Of the encoder, without its embeddings.
    width (int): Of the vectors.
    building, record_bytes (float): For an entity: seconds for all but its vectors, and bytes.
    memory (int): Bytes of this process at its peak.
    """

    entities: int
    vectors: int
    embedded: int
    seconds: float
    cpu: float
    wordpieces: int
    weights: int
    width: int
    building: float
    record_bytes: float
    memory: int


@dataclass(frozen=True)
class Row:
    """A line of a plan: what, how much, and how that was reckoned."""

    what: str
    amount: str
    arithmetic: str


def is_dump(path: Path) -> bool:
    """RETURNS (bool): Whether a file is a dump rather than entities."""
    return path.is_file() and format_of(path) not in READERS


def entities_of(path: Path) -> Path:
    """RETURNS (Path): The entities of the output of a dump, or what is none."""
    return path / ENTITIES if (path / MANIFEST).is_file() else path


def measure_dump(dump: Path, out: Path) -> DumpRates:
    """Parse the begin of a dump into a directory.

    RAISES (ElqError): If no page ends there.
    """
    sample = out.with_suffix(".xml")
    read, whole = _cut(dump, sample)
    began = _cpu_seconds()
    convert_wikipedia(sample, out, WikipediaOptions())
    seconds = _cpu_seconds() - began
    return DumpRates(read, whole, seconds, _size(out))


def _cut(dump: Path, sample: Path) -> tuple[int, int]:
    """RETURNS (tuple): Bytes of the sample, and of the whole dump, decompressed."""
    with DumpFile(dump) as file:
        data = file.stream.read(PARSED)
        if len(data) < PARSED:
            sample.write_bytes(data)
            return len(data), len(data)
        whole = len(data) * file.size // max(1, file.position)
    end = data.rfind(PAGE_END) + len(PAGE_END)
    if end < len(PAGE_END):
        raise ElqError(Errors.ELQ470.format(path=dump, size=PARSED))
    sample.write_bytes(data[:end] + DUMP_END)
    return end, whole


def measure_entities(path: Path, encoder: EntityEncoder) -> EntityRates:
    """Read entities, and embed and store some of them.

    path (Path): A file, a directory or a pattern; all of it is read.
    """
    sample, entities, vectors = _sample(read_entities(path), encoder)
    if not sample:
        raise ElqError(Errors.ELQ214)
    encoder.encode(sample[:8])  # loads the model
    began, cpu, embedded = time.perf_counter(), _cpu_seconds(), 0
    for batch, _ in batches(sample, encoder.entities_at_once):
        encoder.encode(batch)
        embedded += len(batch)
        if time.perf_counter() - began > SECONDS:
            break
    seconds, cpu = time.perf_counter() - began, _cpu_seconds() - cpu
    building, record_bytes = _build(sample, encoder)
    return EntityRates(
        entities,
        vectors,
        embedded,
        seconds,
        cpu,
        encoder.count_wordpieces(sample[:embedded]),
        encoder.weights,
        encoder.width,
        building,
        record_bytes,
        _peak_memory(),
    )


def _sample(entities: Iterable[Entity], encoder: EntityEncoder) -> tuple[list[Entity], int, int]:
    """RETURNS (tuple): Some entities from everywhere; the number of all, and of their vectors."""
    rng, kept = random.Random(0), list[Entity]()
    count = vectors = 0
    for entity in entities:
        count, vectors = count + 1, vectors + encoder.count_vectors(entity)
        if len(kept) < EMBEDDED:
            kept.append(entity)
        elif (place := rng.randrange(count)) < EMBEDDED:
            kept[place] = entity
    rng.shuffle(kept)
    return kept, count, vectors


def _build(entities: Sequence[Entity], encoder: EntityEncoder) -> tuple[float, float]:
    """RETURNS (tuple): Seconds and bytes for an entity, its vectors left aside."""

    def none(some: Sequence[Entity], first: int) -> OwnedVectors:
        owners = np.repeat(np.arange(len(some)), [encoder.count_vectors(each) for each in some])
        return np.zeros((len(owners), encoder.width), np.float32), owners

    source = replace(VectorSource.from_encoder(encoder), batch=none)
    with tempfile.TemporaryDirectory() as name:
        began = time.perf_counter()
        build_kb(entities, Path(name) / "kb", source, index=EXACT, progress=False)
        seconds = time.perf_counter() - began
        files = [file for file in Path(name, "kb").iterdir() if file.name not in FIXED]
        return seconds / len(entities), sum(file.stat().st_size for file in files) / len(entities)


def make_plan(
    rates: EntityRates,
    dump: DumpRates | None = None,
    *,
    entities: int = 0,
    dump_bytes: int = 0,
    max_ram: int = 2 << 30,
    tflops: float = 0.0,
) -> list[Row]:
    """Multiply rates by amounts.

    entities, dump_bytes (int): Of the whole, if the sample does not say; 0 if it does.
    max_ram (int): As in `IndexOptions`.
    tflops (float): What a GPU does in practice, 10^12 operations a second; 0 for no such line.
    RETURNS (list[Row]): What is needed, with the arithmetic.
    """
    rows, parts = [], 0
    if dump is not None:
        whole = dump_bytes or dump.whole
        share = whole / dump.read
        entities = entities or round(rates.entities * share)
        parts = round(dump.written * share)
        rows += _dump_rows(dump, whole, parts)
    count = entities or rates.entities
    vectors = round(count * rates.vectors / rates.entities)
    rows += _embedding_rows(rates, count, tflops)
    return rows + _storage_rows(rates, count, vectors, parts, max_ram)


def _dump_rows(dump: DumpRates, whole: int, parts: int) -> list[Row]:
    rate = dump.read / dump.seconds
    return [
        Row("parsing, CPU", hours(whole / rate), f"{size(whole)} of XML / {size(rate)}/s a core"),
        Row("entities and texts", size(parts), f"{dump.written / dump.read:.1%} of the XML"),
    ]


def _embedding_rows(rates: EntityRates, count: int, tflops: float) -> list[Row]:
    each, pieces = rates.seconds / rates.embedded, rates.wordpieces / rates.embedded
    speed = f"{count:,} entities / {1 / each:,.0f} a second"
    rows = [
        Row("embedding, here", hours(count * each), speed),
        Row("embedding, CPU", hours(count * rates.cpu / rates.embedded), "the same, all cores"),
    ]
    if tflops:
        work = OPERATIONS * rates.weights * pieces * count
        how = f"2 x {rates.weights:,} weights x {pieces:.0f} wordpieces / {tflops:g} TFLOPS"
        rows.append(Row("embedding, GPU", hours(work / (tflops * 1e12)), how))
    return rows


def _storage_rows(
    rates: EntityRates, count: int, vectors: int, parts: int, max_ram: int
) -> list[Row]:
    item = 4 if count <= EXACT_UP_TO else 2
    index = index_plans(vectors, rates.width, item, max_ram)[0]
    matrix, owners = vectors * rates.width * item, vectors * 4
    records = round(count * rates.record_bytes)
    seconds = count * rates.building + (vectors * rates.width * INDEX_SECONDS if index.size else 0)
    total = parts + records + matrix + owners + index.size
    memory = rates.memory + index.size + (vectors * BUILD_BYTES if index.size else 0)
    return [
        Row("records, names, index", hours(seconds), f"{rates.building * 1e6:.0f} us an entity"),
        Row("vectors", size(matrix), f"{vectors:,} x {rates.width} x {item} bytes"),
        Row("records and names", size(records), f"{rates.record_bytes:.0f} bytes an entity"),
        Row("index", size(index.size), f"{index.spec}: {index.reason}"),
        Row("disk", size(total), "the sum"),
        Row("memory of the build", size(memory), f"{size(rates.memory)} now, the index, names"),
    ]


def size(count: float) -> str:
    """RETURNS (str): Bytes, as people write them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def hours(seconds: float) -> str:
    """RETURNS (str): A time, in the unit that suits it."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def _size(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())


def _cpu_seconds() -> float:
    """RETURNS (float): CPU time of this process and of those that it has waited for."""
    return sum(os.times()[:4])


def _peak_memory() -> int:
    """RETURNS (int): Bytes, 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
