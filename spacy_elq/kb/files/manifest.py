"""The directory of a knowledge base: the names of its files, and its manifest.

Every file but the delta is immutable, so copies share them by hard links. The files of generation
0 lie in the directory itself. Each compaction writes those of the next generation into a
subdirectory; the manifest, replaced in one step, says which generation is in use.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from ...errors import ElqError, Errors
from ...files import atomic_file
from .atomic import recover

FORMAT_VERSION = 1
# Fields that the first manifests lacked.
FIRST_RELEASE = {"names_version": 1, "inference": "", "popularity": None, "popularity_field": ""}
# Version of the keys and hashes in the files of names, which `names.py` computes.
NAMES_VERSION = 6
MANIFEST = "manifest.json"
CATALOGUE = "entities.sqlite"
VECTORS = "vectors.npy"
OWNERS = "owners.npy"
NAME_KEYS = "name_keys.npy"
NAME_ENTRIES = "name_entries.npy"
POPULARITY = "popularity.npy"
INDEX = "index.faiss"
QUERIES = "queries.npy"
DELTA = "delta.sqlite"
# Is there once the delta has had a change.
DELTA_MADE = "delta.made"
IMMUTABLE = (CATALOGUE, VECTORS, OWNERS, NAME_KEYS, NAME_ENTRIES, POPULARITY, INDEX, QUERIES)
EXACT = "exact"
AUTO = "auto"
# Rows are kept as int32.
MAX_ROWS = 2**31 - 1
MAX_WIDTH = 1 << 16

Rows = Annotated[int, Field(ge=0, le=MAX_ROWS)]


class FileInfo(TypedDict):
    """Size in bytes and checksum (hex) of a file."""

    size: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class PopularityScale(TypedDict):
    """Mean and standard deviation of the logarithms of the known popularities."""

    mean: Annotated[float, Field(allow_inf_nan=False)]
    std: Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Manifest:
    """The description of a knowledge base, kept in manifest.json.

    entities, vectors (int): Number of entities and vectors in the files, without live changes.
    width (int): Width h of the vectors.
    dtype (str): Type of the stored vectors, "float32" or "float16".
    index (str): "exact", the FAISS factory string of index.faiss, or the address of the vector
        store that has the vectors, such as "milvus:…".
    search (dict): `faiss_index.SearchSettings` as a dict; empty if the index is exact, or searched
        with the settings in its file. With Milvus, the "collection".
    fingerprint (str): Fingerprint of the entity encoder that made the vectors; "" if unknown.
    normalized (bool): Whether the vectors have length 1.
    inference (str): How the vectors were computed, such as "torch fp32" or "onnx int8"; "" if
        unknown. All are comparable.
    source, snapshot (str): Where the entities come from, and their date; "" if unknown.
    created (str): UTC time of the build, ISO 8601.
    digest (str): Checksum of the entities that the files were built from.
    generation (int): Number of compactions.
    files (dict): File name → its size and checksum.
    names_version (int): `NAMES_VERSION` of the release that wrote the names of these files and of
        the changes on top of them. Others make them anew in memory when they open the directory.
    popularity (PopularityScale | None): Of the entities in the files; None if it is not known of
        any.
    popularity_field (str): Another field of records that is read as their popularity; "" for none.
    """

    entities: Rows = 0
    vectors: Rows = 0
    width: Annotated[int, Field(ge=0, le=MAX_WIDTH)] = 0
    dtype: Annotated[str, Field(pattern="^float(32|16)$")] = "float32"
    index: str = EXACT
    search: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""
    normalized: bool = False
    inference: str = ""
    source: str = ""
    snapshot: str = ""
    created: str = ""
    digest: str = ""
    generation: Rows = 0
    files: dict[str, FileInfo] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION
    names_version: int = NAMES_VERSION
    popularity: PopularityScale | None = None
    popularity_field: str = ""

    def to_json(self) -> str:
        """RETURNS (str): The text of manifest.json."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, path: Path) -> Manifest:
        """Read the text of manifest.json.

        path (Path): Directory that error messages name.
        """
        try:
            values = {**FIRST_RELEASE, **json.loads(text)}
            version = values["format_version"]
            if version == FORMAT_VERSION:
                for item in fields(cls):  # their defaults are not for files
                    values[item.name]
                # Fields of a later release that keeps the format version are not an error.
                manifest = _validator().validate_json(json.dumps(values), strict=True)
        except KeyError as err:
            raise _unreadable(path, f"no {err}") from None
        except ValidationError as err:
            raise _unreadable(path, first_problem(err)) from None
        except (ValueError, TypeError, AttributeError, RecursionError) as err:
            raise _unreadable(path, err) from None
        if version != FORMAT_VERSION:
            raise ElqError(Errors.ELQ205.format(path=path, found=version, supported=FORMAT_VERSION))
        _check_names(manifest, path)
        return manifest

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read the manifest of a directory, and check the presence and size of its files."""
        path = Path(path)
        recover(path)
        if not path.is_dir():
            raise ElqError(Errors.ELQ200.format(path=path, problem="that is not a directory"))
        if not (path / MANIFEST).is_file():
            raise ElqError(Errors.ELQ200.format(path=path, problem=f"it has no {MANIFEST}"))
        try:
            text = (path / MANIFEST).read_text(encoding="utf8")
        except UnicodeDecodeError as err:
            raise _unreadable(path, err) from None
        manifest = cls.from_json(text, path)
        manifest.check_sizes(path)
        return manifest

    def write(self, path: Path) -> None:
        """Write manifest.json into a directory, replacing an old one in one step."""
        with atomic_file(path / MANIFEST, follow=False) as work:
            work.write_text(self.to_json(), encoding="utf8")

    def home(self, path: Path) -> Path:
        """RETURNS (Path): The directory of the files and the delta, within the directory `path`."""
        return path / generation_name(self.generation) if self.generation else path

    @property
    def identity(self) -> str:
        """RETURNS (str): A hash that identifies these files. The delta carries it, because its
        changes only apply to them."""
        parts = (self.digest, self.fingerprint, self.created, self.entities, self.vectors)
        return hashlib.sha256(repr((*parts, self.width, self.generation)).encode()).hexdigest()

    def check_sizes(self, path: Path) -> None:
        """Raise an ElqError for the first file that is missing or has the wrong size."""
        home = self.home(path)
        if self.generation and home.is_symlink():  # the files' links are read, nothing is written
            raise ElqError(Errors.ELQ281.format(path=home))
        for name, info in self.files.items():
            if not (home / name).is_file():
                raise _damaged(home, f"the file {name} is missing")
            size = (home / name).stat().st_size
            if size != info["size"]:
                raise _damaged(home, f"{name} has {size} bytes instead of {info['size']}")

    def verify(self, path: Path) -> None:
        """Read every file and raise an ElqError for the first with the wrong checksum."""
        self.check_sizes(path)
        for name, info in self.files.items():
            if sha256(self.home(path) / name) != info["sha256"]:
                raise _damaged(path, f"the checksum of {name} is wrong")


def _damaged(path: Path, problem: str) -> ElqError:
    return ElqError(Errors.ELQ223.format(path=path, problem=problem))


def _unreadable(path: Path, reason: object) -> ElqError:
    return _damaged(path, f"its manifest can't be read ({reason})")


@cache
def _validator() -> TypeAdapter[Manifest]:
    return TypeAdapter(Manifest)


def first_problem(err: ValidationError) -> str:
    """RETURNS (str): What pydantic says about the first wrong value, on one line."""
    found = err.errors()[0]
    return f"{'.'.join(map(str, found['loc']))}: {found['msg']}"


def _check_names(manifest: Manifest, path: Path) -> None:
    """Raise an ElqError unless the manifest lists the files of a knowledge base, all that it needs
    and no other."""
    unknown = manifest.files.keys() - set(IMMUTABLE)
    if unknown:
        raise _unreadable(path, f"the file {min(unknown)!r} is not one of a knowledge base")
    missing = _needed(manifest) - manifest.files.keys()
    if missing:
        raise _unreadable(path, f"it does not list the file {min(missing)}")


def _needed(manifest: Manifest) -> set[str]:
    if not manifest.entities and not manifest.vectors:
        return set()
    needed = {CATALOGUE, OWNERS, NAME_KEYS, NAME_ENTRIES}
    if manifest.popularity is not None:
        needed.add(POPULARITY)
    if ":" in manifest.index:  # the address of a vector store
        return needed
    return needed | ({VECTORS} if manifest.index == EXACT else {VECTORS, INDEX})


def generation_name(generation: int) -> str:
    """RETURNS (str): Name of the subdirectory of a generation after the first."""
    return f"generation-{generation}"


def now() -> str:
    """RETURNS (str): The present UTC time, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def sha256(path: Path) -> str:
    """RETURNS (str): SHA-256 of a file, hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def describe_files(path: Path) -> dict[str, FileInfo]:
    """RETURNS (dict): Size and checksum of each immutable file in a directory, for a manifest."""
    present = [path / name for name in IMMUTABLE if (path / name).exists()]
    return {file.name: {"size": file.stat().st_size, "sha256": sha256(file)} for file in present}


def check_replaceable(path: Path) -> None:
    """Raise an ElqError unless `path` is free, an empty directory or a knowledge base."""
    if not path.exists():
        return
    if not path.is_dir() or (any(path.iterdir()) and not (path / MANIFEST).exists()):
        raise ElqError(Errors.ELQ212.format(path=path))
