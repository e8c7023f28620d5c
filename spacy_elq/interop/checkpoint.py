"""Published ELQ files → a pipeline that links as the published code does."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ElqError, Errors, Warnings
from ..kb.build.builder import build_kb
from ..kb.build.vector_source import VectorSource
from ..kb.files.manifest import EXACT, Manifest
from ..linking.decoding import JOINT
from ..pipeline.directories import PIPELINE, check_target, make_working_directory, publish
from ..types import Entity
from .checkpoint_encoders import (
    ENTITY_SETTINGS,
    Architecture,
    set_question_encoder,
    tokenizer_options,
    write_entity_encoder,
)
from .checkpoint_weights import CheckpointWeights
from .indexes import check_faiss_file
from .params import CheckpointParams
from .tensors import MatrixFile
from .titles import read_catalogue

if TYPE_CHECKING:
    from spacy.language import Language

    from ..encoders.entity import EntityEncoder

# Vectors copied at once.
BATCH_SIZE = 8192
PIPE = "elq"
# Directory of the entity encoder while it is being imported.
ENTITY_ENCODER = "entity_encoder"
# Entities whose given vectors are compared with those of the entity encoder, and the tolerance as
# a share of the largest number.
SAMPLES, TOLERANCE = 8, 1e-2
# The published threshold for the Wikipedia model on questions.
THRESHOLD, MENTION_THRESHOLD = -2.9, -0.6931


@dataclass(frozen=True)
class CheckpointFiles:
    """The files of a published checkpoint.

    weights (Path): State dict, `elq_*.bin`.
    params (Path): Settings, `elq_*_params.txt`.
    entities (Path): `entity.jsonl`, or `id2title.json`.
    vectors (Path): Entity vectors, `*.t7`; without them the entities are embedded.
    index (Path): FAISS index of the vectors; without it search is exact.
    encoder (str): Directory or hub id of tokenizer and configuration; if empty, `bert_model` of the
        settings.
    """

    weights: Path
    params: Path
    entities: Path
    vectors: Path | None = None
    index: Path | None = None
    encoder: str = ""


@dataclass(frozen=True)
class LinkingOptions:
    """How the imported pipeline links; each option can be changed later.

    max_context_length (int): Wordpieces of a text that are read; if 0, the value in the settings.
    """

    threshold: float = THRESHOLD
    threshold_type: str = JOINT
    mention_threshold: float = MENTION_THRESHOLD
    max_context_length: int = 0


def import_checkpoint(
    files: CheckpointFiles,
    out: str | Path,
    options: LinkingOptions | None = None,
    *,
    progress: bool = True,
    overwrite: bool = False,
) -> Manifest:
    """Make a pipeline from published files. It decodes exactly as the published code does.

    Entities are converted in a directory beside `out` whose name ends in ".importing"; an
    interrupted import of the same files resumes from it.

    out (str | Path): The pipeline's directory.
    progress (bool): Whether to show progress on stderr.
    overwrite (bool): Whether a pipeline at `out` may be replaced.
    RETURNS (Manifest): Describes the knowledge base. `spacy.load(out)` loads the pipeline.
    RAISES (ElqError): If a file is wrong, damaged, or does not fit the others.
    """
    out = Path(out).absolute()
    check_target(out, overwrite)
    options = options or LinkingOptions()
    params = CheckpointParams.read(files.params)
    weights = CheckpointWeights.read(files.weights)
    architecture = Architecture.read(files.encoder or params.bert_model, params)
    nlp = _make_pipeline(architecture, params, options)  # checks the settings before hours of work
    work = make_working_directory(import_directory(out))
    has_encoder = _build_kb(work, files, weights, architecture, params, show=progress)
    _fill(nlp, weights, architecture, work, has_encoder=has_encoder)
    del weights  # saving needs the memory
    nlp.to_disk(work / PIPELINE)
    publish(work, out)
    return Manifest.read(out / PIPE / "kb")


def import_directory(out: Path) -> Path:
    """RETURNS (Path): The directory that holds the unfinished import into `out`."""
    return out.with_name(f"{out.name}.importing")


def exact_config(
    name: str, params: CheckpointParams, options: LinkingOptions | None = None
) -> dict[str, Any]:
    """The component's config that reproduces the published arithmetic.

    name (str): Directory or hub id of tokenizer and configuration.
    RETURNS (dict): The config for `nlp.add_pipe`.
    """
    options = options or LinkingOptions()
    return {
        "threshold": options.threshold,
        "threshold_type": options.threshold_type,
        "mention_threshold": options.mention_threshold,
        "max_mention_length": params.max_mention_length,
        "special_tokens": True,
        "word_boundaries": False,
        "mention_kinds": "all",
        "document_weight": 0.0,
        "model": {
            "scorer": params.mention_scoring_method,
            "aggregation": params.mention_aggregation_type,
            "cosine": False,
            "name_features": False,
            "context_window": 0,
            "nil": False,
            "priors": False,
            "word_shapes": False,
            "pretrained": None,
            "encoder": {
                "name": name,
                "max_length": options.max_context_length or params.max_context_length,
                "truncate": True,
                "word_shapes": False,
                "tokenizer_config": tokenizer_options(params),
            },
        },
        "entity_encoder": {
            "source": name,
            **ENTITY_SETTINGS,
            "max_length": params.max_cand_length,
        },
        "training": {
            "entity_loss": "hard_negatives",
            "mention_loss_mean": "span",
            "name_dropout": 0.0,
            "entity_dropout": 0.0,
            "head_lr_factor": 1.0,
            "freeze": [],
            "precision": "fp32",
            "exact": True,
        },
    }


def _make_pipeline(
    architecture: Architecture, params: CheckpointParams, options: LinkingOptions
) -> Language:
    import spacy

    nlp = spacy.blank("en")
    nlp.add_pipe("elq", name=PIPE, config=exact_config(architecture.name, params, options))
    return nlp


def _fill(
    nlp: Language,
    weights: CheckpointWeights,
    architecture: Architecture,
    work: Path,
    *,
    has_encoder: bool,
) -> None:
    """Put weights, entity encoder and knowledge base into the pipeline."""
    from spacy.util import fix_random_seed

    from ..encoders.entity import load_entity_encoder
    from ..kb.knowledge_base import FaissKB
    from ..ml.model import get_encoder, get_heads, make_heads

    elq: Any = nlp.get_pipe(PIPE)
    set_question_encoder(get_encoder(elq.model), weights, architecture)
    fix_random_seed(0)
    make_heads(elq.model, architecture.config.hidden_size)
    if not weights.load_heads(get_heads(elq.model)):
        elq.mentions = "ents"
        warnings.warn(Warnings.ELQ519.format(path=weights.path), stacklevel=3)
    elq.save_entity_encoder = has_encoder
    if has_encoder:
        elq.entity_encoder = load_entity_encoder(str(work / ENTITY_ENCODER))
    elq.set_kb(FaissKB.open(work / "kb", nlp.vocab))


def _build_kb(
    work: Path,
    files: CheckpointFiles,
    weights: CheckpointWeights,
    architecture: Architecture,
    params: CheckpointParams,
    *,
    show: bool,
) -> bool:
    """Build the knowledge base.

    RETURNS (bool): Whether the checkpoint has the encoder that made its vectors.
    """
    if files.vectors is None:
        if files.index is not None:
            raise ElqError(Errors.ELQ516)
        if not weights.entity:
            raise ElqError(Errors.ELQ515.format(path=weights.path))
    matrix = _open_vectors(files, architecture)
    index = check_faiss_file(files.index, matrix) if files.index and matrix else EXACT
    encoder = _entity_encoder(work, files, weights, architecture, params, matrix)
    common: dict[str, Any] = {
        "progress": show,
        "source": files.entities.name,
        "overwrite": True,
    }
    entities = read_catalogue(files.entities)
    if matrix is None:
        if encoder is not None:
            build_kb(entities, work / "kb", encoder, **common)
        return True
    identity = _identity(matrix)
    fingerprint = encoder.fingerprint if encoder else identity
    build_kb(
        _counted(entities, files, matrix),
        work / "kb",
        VectorSource.from_matrix(matrix, fingerprint, identity=identity),
        index=index,
        index_file=None if index == EXACT else files.index,
        batch_size=BATCH_SIZE,
        **common,
    )
    return encoder is not None


def _open_vectors(files: CheckpointFiles, architecture: Architecture) -> MatrixFile | None:
    if files.vectors is None:
        return None
    matrix, width = MatrixFile.open(files.vectors), architecture.config.hidden_size
    if matrix.shape[1] != width:
        problem = f"their width is {matrix.shape[1]}, that of the encoder is {width}"
        raise ElqError(Errors.ELQ517.format(path=files.vectors, problem=problem))
    return matrix


def _counted(
    entities: Iterator[Entity], files: CheckpointFiles, matrix: MatrixFile
) -> Iterator[Entity]:
    """Pass entities through, and raise an ElqError if there are not as many as vectors."""
    count = 0
    for count, entity in enumerate(entities, 1):  # noqa: B007
        yield entity
    if count != len(matrix):
        problem = f"there are {len(matrix)} of them for the {count} entities in {files.entities}"
        raise ElqError(Errors.ELQ517.format(path=files.vectors, problem=problem))


def _entity_encoder(
    work: Path,
    files: CheckpointFiles,
    weights: CheckpointWeights,
    architecture: Architecture,
    params: CheckpointParams,
    matrix: MatrixFile | None,
) -> EntityEncoder | None:
    """The checkpoint's entity encoder; None if it is missing or did not make the given vectors."""
    if not weights.entity:
        warnings.warn(Warnings.ELQ550.format(path=weights.path), stacklevel=4)
        return None
    path = work / ENTITY_ENCODER
    encoder = write_entity_encoder(path, weights, architecture, params.max_cand_length)
    weights.entity.clear()  # they are on disk now and are mapped from there
    if matrix is not None:
        difference = _difference(encoder, files, matrix)
        if difference > TOLERANCE:
            names = {"path": weights.path, "vectors": files.vectors, "difference": difference}
            warnings.warn(Warnings.ELQ551.format(**names), stacklevel=4)
            return None
    return encoder


def _difference(encoder: EntityEncoder, files: CheckpointFiles, matrix: MatrixFile) -> float:
    """How far the encoder's vectors of the first entities are from the given vectors."""
    sample = [entity for _, entity in zip(range(SAMPLES), read_catalogue(files.entities))]  # noqa: B905
    given = matrix[: len(sample)].astype(np.float32)
    made, _ = encoder.encode(sample[: len(given)])
    return float(np.abs(made - given).max(initial=0) / max(np.abs(given).max(initial=0), 1e-9))


def _identity(matrix: MatrixFile) -> str:
    """A name for a matrix, derived from its shape and its first and last rows."""
    digest = hashlib.sha256(repr(matrix.shape).encode())
    for block in (matrix[:1024], matrix[len(matrix) - 1024 :]):
        digest.update(block.tobytes())
    return f"imported-{digest.hexdigest()[:16]}"
