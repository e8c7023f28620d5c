"""Link the parts of a corpus. Each is written as a whole or not at all, in any process, so that an
engine may repeat it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..bulk.bad_lines import leave_out_long
from ..bulk.link import link_stream
from ..bulk.resume import check_settings, skip_linked
from ..corpora.input_texts import read_texts
from ..corpora.spans_jsonl import LinkedText, jsonl_line
from ..entities.paths import part_files
from ..errors import ElqError, Errors
from ..files import atomic_file, without_compression, write_json
from .linker import PIPELINE_LOCK, loaded_linker

# Holds the settings of a run, in its output directory.
RUN = "run.json"


@dataclass(frozen=True)
class LinkedPart:
    """What became of a part.

    texts (int): Texts that are linked.
    was_there (bool): Whether an earlier run had linked them.
    left_out (tuple[str, ...]): What was wrong with each line that was left out.
    """

    path: Path
    texts: int
    was_there: bool = False
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class PartLinker:
    """Links a file of texts into another file; picklable.

    pipeline, gpu_id: As for `BatchLinker`.
    settings (Mapping): Of the linker.
    batch_size (int): Texts per batch.
    """

    pipeline: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int = 256
    gpu_id: int = -1

    def __call__(self, paths: tuple[Path, Path]) -> LinkedPart:
        """Link a part, unless that is done.

        paths (tuple[Path, Path]): Where it is read, and where it is written, as spans JSONL.
        RAISES (ElqError): If the output was made from other texts.
        """
        source, target = paths
        bad: list[ElqError] = []
        with PIPELINE_LOCK:
            nlp = loaded_linker(self.pipeline, self.gpu_id, tuple(self.settings.items()))
            texts = leave_out_long(read_texts(source, bad.append), nlp.max_length, bad.append)
            was_there = target.exists()
            if was_there:
                count = _count_linked(target, texts)
            else:
                count = _write(target, link_stream(nlp, texts, self.batch_size))
        return LinkedPart(target, count, was_there, tuple(map(str, bad)))


def _write(target: Path, chunks: Iterator[list[LinkedText]]) -> int:
    count = 0
    with atomic_file(target) as partial, partial.open("wb") as file:
        for chunk in chunks:
            file.writelines(map(jsonl_line, chunk))
            count += len(chunk)
    return count


def _count_linked(target: Path, texts: Iterator[LinkedText]) -> int:
    with target.open("rb") as file:
        count = skip_linked(target, file, texts)
    if next(texts, None) is not None:
        raise ElqError(Errors.ELQ427.format(where=f"{target}:{count + 1}"))
    return count


def plan_parts(
    source: Path, out: Path, made_with: Mapping[str, Any], *, overwrite: bool
) -> list[tuple[Path, Path]]:
    """Pair each part of an input with its output, and note the settings of the run.

    source (Path): A file, a directory of files, or a pattern.
    out (Path): The directory of the output.
    made_with (Mapping[str, Any]): The settings that determine the output; JSON values.
    overwrite (bool): Start over.
    RETURNS (list[tuple[Path, Path]]): The input and the output of each part, in order.
    RAISES (ElqError): If there are no parts, two would have the same output, or the directory has
        the output of other settings.
    """
    by_target: dict[Path, Path] = {}
    for path in map(Path.absolute, part_files(source, "file of texts")):
        target = out.absolute() / _output_name(path)
        if (other := by_target.setdefault(target, path)) != path:
            raise ElqError(Errors.ELQ462.format(one=other, other=path, path=target))
    made_with = json.loads(json.dumps(made_with))  # as it will be read back
    if overwrite:
        for target in by_target:
            target.unlink(missing_ok=True)
    elif any(target.exists() for target in by_target):
        check_settings(out, out / RUN, made_with)
    write_json(out / RUN, made_with)
    return [(path, target) for target, path in by_target.items()]


def _output_name(path: Path) -> str:
    return f"{without_compression(path).stem}.jsonl"
