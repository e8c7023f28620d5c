"""The files of a transformers model, read as data: nothing that they name is run, fetched or read.

`transformers` asks at the terminal whether to run a model's own code, unless it is told. Here it is
always told not to, and a model with its own code is refused: without it, its vectors are wrong.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..concurrency import LOADING
from ..errors import ElqError, Errors
from .tokenize import TOKENIZER_LOCK

if TYPE_CHECKING:
    from spacy_transformers.data_classes import HFObjects
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
# Weights, graphs, configuration and vocabulary; no pickles and no code.
MODEL_SUFFIXES = (".safetensors", ".onnx", ".json", ".txt", ".model")
# The files in which transformers looks for code and for names of other files.
DESCRIPTIONS = (CONFIG, "tokenizer_config.json", "adapter_config.json")
# Says which file each weight is in.
SHARDS = f"{WEIGHTS}.index.json"
# Settings that make transformers run code.
CODE = ("auto_map", "trust_remote_code", "code_revision", "custom_pipelines")
# Settings that name an implementation in transformers, or, with a slash, compiled code on the hub.
ATTENTION = ("attn_implementation", "_attn_implementation", "_attn_implementation_internal")
# The end of settings that name files, and the one that old models have and nobody reads.
FILE, UNREAD_FILE = "_file", "special_tokens_map_file"


def load_tokenizer(source: str, **options: Any) -> PreTrainedTokenizerFast:
    """RETURNS (PreTrainedTokenizerFast): The tokenizer of a model.

    source (str): A directory or hub id.
    **options: Arguments of `AutoTokenizer.from_pretrained`.
    RAISES (ElqError): If the model or the options name code, or there are no character offsets.
    """
    from transformers import AutoTokenizer

    check_files(source)
    refuse_code(options, "tokenizer_config")
    tokenizer = AutoTokenizer.from_pretrained(source, **{**options, "trust_remote_code": False})
    if not tokenizer.is_fast:
        raise ElqError(Errors.ELQ104.format(tokenizer=type(tokenizer).__name__, source=source))
    return tokenizer


def load_config(source: str, **options: Any) -> PretrainedConfig:
    """RETURNS (PretrainedConfig): The configuration of a model, see `load_tokenizer`."""
    from transformers import AutoConfig

    check_files(source)
    refuse_code(options, "transformer_config")
    config = AutoConfig.from_pretrained(source, **{**options, "trust_remote_code": False})
    refuse_code(config.to_dict(), source)  # a hub id has no files here before
    return config


def load_transformer(source: str, config: PretrainedConfig, **options: Any) -> PreTrainedModel:
    """RETURNS (PreTrainedModel): A model with its weights, on the CPU.

    config (PretrainedConfig): From `load_config`.
    **options: Arguments of the `from_pretrained` of transformers.
    """
    from transformers import AutoModel

    with LOADING:
        return AutoModel.from_pretrained(source, config=config, trust_remote_code=False, **options)


def open_pretrained(
    source: str, tokenizer_config: dict[str, Any], transformer_config: dict[str, Any]
) -> HFObjects:
    """RETURNS (HFObjects): Tokenizer and transformer of a model, see `load_tokenizer`."""
    from spacy_transformers.data_classes import HFObjects

    tokenizer = load_tokenizer(source, **tokenizer_config)
    config = load_config(source, **{**transformer_config, "return_dict": True})
    _check_vocabulary(tokenizer, config, source)
    return HFObjects(tokenizer, load_transformer(source, config), vocabulary(tokenizer))


def write_transformer(parts: HFObjects, directory: Path) -> None:
    """Write tokenizer and transformer into an empty directory that transformers can open."""
    from safetensors.torch import save_model

    tokenizer, transformer = parts.tokenizer, parts.transformer
    save_model(transformer, str(directory / WEIGHTS), {"format": "pt"})
    transformer.config.to_json_file(directory / CONFIG, use_diff=False)
    if parts.vocab_file_contents is not None:  # the file itself may be gone
        name = tokenizer.vocab_files_names["vocab_file"]
        (directory / name).write_bytes(parts.vocab_file_contents)
    with TOKENIZER_LOCK:
        tokenizer.save_pretrained(str(directory))


def open_untrained(directory: Path) -> HFObjects:
    """RETURNS (HFObjects): The tokenizer that `write_transformer` wrote, and a transformer whose
    weights are not loaded yet."""
    from spacy_transformers.data_classes import HFObjects
    from transformers import AutoModel

    tokenizer = load_tokenizer(str(directory), use_fast=True)
    config = load_config(str(directory))
    _check_vocabulary(tokenizer, config, directory)
    with LOADING:
        transformer = AutoModel.from_config(config, trust_remote_code=False)
    return HFObjects(tokenizer, transformer, vocabulary(tokenizer))


def vocabulary(tokenizer: PreTrainedTokenizerFast) -> bytes | None:
    """RETURNS (bytes | None): The content of the tokenizer's vocabulary file, if it has one."""
    file = getattr(tokenizer, "vocab_file", None)
    return Path(file).read_bytes() if file and Path(file).is_file() else None


def _check_vocabulary(
    tokenizer: PreTrainedTokenizerFast, config: PretrainedConfig, source: str | Path
) -> None:
    """Raise an ElqError if the transformer has no embeddings for some of the wordpieces."""
    known = config.vocab_size
    if tokenizer.vocab_size > known:
        raise ElqError(Errors.ELQ152.format(path=source, pieces=tokenizer.vocab_size, known=known))


def check_files(source: str | Path) -> None:
    """Raise an ElqError if the files of a model name code or other files; a hub id has none here.

    source (str | Path): A directory or hub id.
    """
    directory = Path(source)
    for name in DESCRIPTIONS:
        refuse_code(_read_json(directory / name), directory / name)
    shards = _read_json(directory / SHARDS)
    for name in shards.get("weight_map", {}).values():
        if not is_plain(name):
            raise _names_code(directory / SHARDS, "weight_map", name)


def refuse_code(settings: Any, where: str | Path) -> None:
    """Raise an ElqError if settings name code or files, at any depth.

    where (str | Path): Names them in the message.
    """
    for name, value in _items(settings):
        is_code = name in CODE or (name in ATTENTION and "/" in str(value))
        is_file = str(name).endswith(FILE) and name != UNREAD_FILE
        if value and (is_code or is_file):
            raise _names_code(where, name, value)


def _names_code(where: str | Path, name: str, value: Any) -> ElqError:
    return ElqError(Errors.ELQ140.format(where=where, name=name, value=str(value)[:80]))


def is_plain(name: object) -> bool:
    """RETURNS (bool): Whether a name is that of a file in the same directory."""
    return isinstance(name, str) and name == Path(name).name and not {*name} & {*"/\\:\0"}


def _items(settings: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(settings, Mapping):
        yield from settings.items()
        settings = list(settings.values())
    if isinstance(settings, list):
        for value in settings:
            yield from _items(value)


def _read_json(path: Path) -> dict[str, Any]:
    """RETURNS (dict): An object in a file, empty if there is no file.
    RAISES (ElqError): If it holds something else."""
    try:
        content = json.loads(path.read_bytes()) if path.exists() else {}
    except (OSError, ValueError, RecursionError) as err:
        raise ElqError(Errors.ELQ111.format(path=path, error=err)) from None
    if not isinstance(content, dict):
        raise ElqError(Errors.ELQ111.format(path=path, error="it is not a JSON object"))
    return content
