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
from pathlib import Path
from typing import Any

from ...errors import ElqError, Errors
from ...files import atomic_file
from .atomic import recover

FORMAT_VERSION = 1
# Fields that the first manifests lacked.
FIRST_RELEASE = {"names_version": 1}
# Version of the keys and hashes in the files of names, which `names.py` computes.
NAMES_VERSION = 2
MANIFEST = "manifest.json"
CATALOGUE = "entities.sqlite"
VECTORS = "vectors.npy"
OWNERS = "owners.npy"
NAME_KEYS = "name_keys.npy"
NAME_ENTRIES = "name_entries.npy"
INDEX = "index.faiss"
QUERIES = "queries.npy"
DELTA = "delta.sqlite"
IMMUTABLE = (CATALOGUE, VECTORS, OWNERS, NAME_KEYS, NAME_ENTRIES, INDEX, QUERIES)
EXACT = "exact"
AUTO = "auto"


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
    source, snapshot (str): Where the entities come from, and their date; "" if unknown.
    created (str): UTC time of the build, ISO 8601.
    digest (str): Checksum of the entities that the files were built from.
    generation (int): Number of compactions.
    files (dict): File name → {"size": bytes, "sha256": hex digest}.
    names_version (int): `NAMES_VERSION` of the release that wrote the names of these files and of
        the changes on top of them. Others make them anew in memory when they open the directory.
    """

    entities: int = 0
    vectors: int = 0
    width: int = 0
    dtype: str = "float32"
    index: str = EXACT
    search: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""
    normalized: bool = False
    source: str = ""
    snapshot: str = ""
    created: str = ""
    digest: str = ""
    generation: int = 0
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION
    names_version: int = NAMES_VERSION

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
            if version != FORMAT_VERSION:
                raise ElqError(
                    Errors.ELQ205.format(path=path, found=version, supported=FORMAT_VERSION)
                )
            # Fields of a later release that keeps the format version are not an error.
            manifest = cls(**{f.name: values[f.name] for f in fields(cls)})
            _check_types(manifest)
        except KeyError as err:
            raise _unreadable(path, f"no {err}") from None
        except (json.JSONDecodeError, TypeError, AttributeError) as err:
            raise _unreadable(path, err) from None
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
        with atomic_file(path / MANIFEST) as work:
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


def _check_types(manifest: Manifest) -> None:
    for item in fields(Manifest):
        value, expected = getattr(manifest, item.name), type(getattr(Manifest(), item.name))
        if not isinstance(value, expected):
            raise TypeError(f"{item.name} is not of type {expected.__name__}")
    for name, info in manifest.files.items():
        if Path(name).name != name or not isinstance(info, dict) or {"size", "sha256"} - {*info}:
            raise TypeError(f"the entry of file {name!r} is broken")


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


def describe_files(path: Path) -> dict[str, dict[str, Any]]:
    """RETURNS (dict): Size and checksum of each immutable file in a directory, for a manifest."""
    present = [path / name for name in IMMUTABLE if (path / name).exists()]
    return {file.name: {"size": file.stat().st_size, "sha256": sha256(file)} for file in present}


def check_replaceable(path: Path) -> None:
    """Raise an ElqError unless `path` is free, an empty directory or a knowledge base."""
    if not path.exists():
        return
    if not path.is_dir() or (any(path.iterdir()) and not (path / MANIFEST).exists()):
        raise ElqError(Errors.ELQ212.format(path=path))
