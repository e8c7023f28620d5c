"""A JSON lines file that a run appends to, and from which an interrupted run resumes.

Beside it, `FILE.run.json` holds the settings of the run. Resuming with other settings or other
texts raises an error instead of mixing the two.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

from ..corpora.spans_jsonl import LinkedText, text_to_dict
from ..errors import ElqError, Errors
from ..files import OPENERS, parse_object, write_json
from ..kb.files.locks import exclusive_lock

# Bytes read at once.
BLOCK = 1 << 20


@contextmanager
def only_writer(path: Path) -> Iterator[None]:
    """Keep other runs out of an output, in a `with` statement around `open_output`.

    RAISES (ElqError): If another process, or thread, is writing to it.
    """
    if _is_stream(path):
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(Path(f"{path}.lock"), busy=Errors.ELQ437.format(path=path)):
        yield


def open_output(
    path: Path, made_with: Mapping[str, Any], texts: Iterator[LinkedText], *, overwrite: bool
) -> tuple[IO[bytes], int]:
    """Open a new output, or one that an earlier run with the same settings began.

    path (Path): The output.
    made_with (Mapping[str, Any]): The settings that determine the lines; JSON values.
    texts (Iterator[LinkedText]): The input; the texts that the output has already are skipped.
    overwrite (bool): Start over.
    RETURNS (tuple[IO[bytes], int]): The output, to be appended to, and how many lines it has.
    RAISES (ElqError): If the output was made with other settings, or from other texts.
    """
    run = Path(f"{path}.run.json")
    made_with = json.loads(json.dumps(made_with))  # as it will be read back
    if path.suffix in OPENERS:
        raise ElqError(Errors.ELQ428.format(path=path))
    if _is_stream(path):
        return path.open("wb"), 0
    if overwrite:
        path.unlink(missing_ok=True)
    if not path.exists() or not path.stat().st_size:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(run, made_with)
        return path.open("wb"), 0
    check_settings(path, run, made_with)
    output = path.open("r+b")
    try:
        output.truncate(_end_of_lines(output))
        output.seek(0)
        return output, skip_linked(path, output, texts)
    except BaseException:
        output.close()
        raise


def _is_stream(path: Path) -> bool:
    """RETURNS (bool): Whether an output is a device or a pipe: there is nothing to resume."""
    return path.exists() and not path.is_file()


def hash_directory(directory: Path) -> str:
    """Hash the files of a saved pipeline or knowledge base. The large files of a knowledge base
    count by the checksums in its manifest.

    directory (Path): A pipeline or a knowledge base.
    RETURNS (str): 128 bits as hexadecimal digits.
    """
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    known = {each for path in files if path.name == "manifest.json" for each in _listed(path)}
    total = blake2b(digest_size=16)
    for path in files:
        if path not in known:
            total.update(f"{path.relative_to(directory).as_posix()}\n".encode())
            total.update(_hash(path))
    return total.hexdigest()


def _listed(manifest: Path) -> list[Path]:
    """The files whose checksums are in a knowledge base's manifest."""
    try:
        files = json.loads(manifest.read_text(encoding="utf8"))["files"]
        return [manifest.parent / name for name in files]
    except (ValueError, KeyError, TypeError):
        return []


def _hash(path: Path) -> bytes:
    total = blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            total.update(block)
    return total.digest()


def check_settings(path: Path, run: Path, made_with: Mapping[str, Any]) -> None:
    """Raise an ElqError unless an output was made with these settings.

    run (Path): The file that has those of the earlier run.
    """
    if not run.exists():
        raise ElqError(Errors.ELQ425.format(path=path, run=run.name))
    try:
        before = dict(json.loads(run.read_text(encoding="utf8")))
    except (ValueError, TypeError) as err:
        raise ElqError(Errors.ELQ430.format(path=run, reason=err)) from None
    differences = [
        f"{name} was {json.dumps(before.get(name))}, is {json.dumps(made_with.get(name))}"
        for name in sorted(before.keys() | made_with.keys())
        if before.get(name) != made_with.get(name)
    ]
    if differences:
        raise ElqError(Errors.ELQ426.format(path=path, differences="; ".join(differences)))


def _end_of_lines(output: IO[bytes]) -> int:
    """RETURNS (int): Where the last whole line ends; a line torn by an interrupt comes after."""
    end = output.seek(0, 2)
    while end:
        start = max(0, end - BLOCK)
        output.seek(start)
        at = output.read(end - start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        end = start
    return 0


def skip_linked(path: Path, output: IO[bytes], texts: Iterator[LinkedText]) -> int:
    """Compare the lines of an output with the input, up to the end of the output.

    RETURNS (int): The number of lines.
    RAISES (ElqError): If one was not made from the text in its place.
    """
    done = 0
    while line := output.readline():
        done += 1
        where = f"{path}:{done}"
        record = parse_object(line.decode("utf8", errors="replace"), where)
        linked = next(texts, None)
        if linked is None or _unlinked(record) != _unlinked(text_to_dict(linked)):
            raise ElqError(Errors.ELQ427.format(where=where))
    return done


def _unlinked(record: Mapping[str, Any]) -> str:
    """The part of a line that comes from the input, as a string because NaN != NaN."""
    kept = {name: value for name, value in record.items() if name != "spans"}
    return json.dumps(kept, sort_keys=True)
