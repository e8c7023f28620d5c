"""Entities → vectors, one or more for each entity.

There are two templates. "names" (the default) gives an entity one vector for its title and one for
each alias: the normalised mean of the name's vector and that of "title: description", which weighs
less for an alias, as it contains another name. Mentions are compared with names, their context with
descriptions; an entity scores by its best vector. "elq" is the published input (ELQ; BLINK), "[CLS]
title [unused2] description [SEP]", one vector per entity.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import wraps
from itertools import chain, compress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import numpy as np
import srsly
from pydantic import Field

from ..concurrency import loaded_once
from ..errors import ElqError, Errors, raise_if_out_of_memory
from ..files import link_or_copy
from ..settings import Settings
from ..types import Entity
from .fast_bert import last_layer
from .inference import InferenceSettings, infer, inference_cost
from .model_paths import MINILM, resolve_model_path
from .onnx_graph import forget_graphs, read_graphs, write_graphs
from .tokenize import TOKENIZER_LOCK, tokenize
from .transformer_files import MODEL_SUFFIXES, load_config, load_tokenizer, load_transformer
from .windows import MIN_LENGTH, batch_by_length, pad

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

T = TypeVar("T")

SETTINGS_FILE = "entity_encoder.json"
SHARD_SIZE = "500MB"
# Version of what "names" computes; a part of the fingerprint.
NAMES_ARITHMETIC = 3
# Of "title: description" in an alias's vector, beside 1 for the alias. Chosen on development sets.
ALIAS_DESCRIPTION_WEIGHT = np.float32(0.75)
# Entities of a batch; and, on a CPU, the weights that are multiplied for each of them, summed up.
LEAST_AT_ONCE, MOST_AT_ONCE = 32, 2048
WEIGHTS_AT_ONCE = 2_750_000_000
# Separates title and description in the published input.
ELQ_SEPARATOR = "[unused2]"


class EntityEncoderSettings(Settings):
    """How entity text becomes a vector; part of the encoder's fingerprint.

    template (str): "names" or "elq", see above.
    pooling (str): "mean" of the wordpiece vectors, or the "cls" vector.
    normalize (bool): Scale vectors to length 1.
    alias_vectors (bool): With "names": one more vector for each alias.
    max_length (int): Maximum number of wordpieces of a text, special tokens included. The model's
        own limit holds too.
    """

    template: Literal["names", "elq"] = "names"
    pooling: Literal["mean", "cls"] = "mean"
    normalize: bool = True
    alias_vectors: bool = True
    max_length: Annotated[int, Field(ge=MIN_LENGTH)] = 128


def _reading(read: Callable[[EntityEncoder], T]) -> Callable[[EntityEncoder], T]:
    """RETURNS (Callable): The method, which reports files that can't be read as an ElqError."""

    @wraps(read)
    def reported(encoder: EntityEncoder) -> T:
        try:
            return read(encoder)
        except (ElqError, MemoryError):
            raise
        except Exception as err:  # its readers raise anything for a damaged file
            raise_if_out_of_memory(err)
            reason = " ".join(str(err).split())[:200] or type(err).__name__
            raise ElqError(Errors.ELQ149.format(path=encoder.source, reason=reason)) from None

    return reported


class EntityEncoder:
    """A transformer that turns entities into vectors. Its weights are loaded on first use."""

    def __init__(
        self,
        source: str = MINILM,
        settings: EntityEncoderSettings | None = None,
        *,
        inference: InferenceSettings | None = None,
        max_batch_items: int = 4096,
        device: str | None = None,
    ) -> None:
        """
        source (str): "minilm", a directory with a transformers model, or a hub id.
        settings (EntityEncoderSettings): How text becomes vectors.
        inference (InferenceSettings): How they are computed; can be assigned.
        max_batch_items (int): Maximum number of wordpieces of a padded batch.
        device (str): Torch device; thinc's device by default.
        """
        self.source = source
        self.settings = settings or EntityEncoderSettings()
        self.inference = inference or InferenceSettings()
        self.max_batch_items = max_batch_items
        self.device = device
        self._fingerprint: str | None = None
        self._trained = False

    @loaded_once
    def directory(self) -> Path:
        """RETURNS (Path): The local directory of the model's files."""
        resolved = resolve_model_path(self.source)
        if Path(resolved).is_dir():
            return Path(resolved)
        from huggingface_hub import snapshot_download

        patterns = ["*.json", "*.txt", "*.safetensors"]
        return Path(snapshot_download(resolved, allow_patterns=patterns))

    @loaded_once
    @_reading
    def tokenizer(self) -> PreTrainedTokenizerFast:
        return load_tokenizer(str(self.directory))

    @loaded_once
    @_reading
    def transformer(self) -> PreTrainedModel:
        from thinc.api import get_torch_default_device
        from transformers.utils import logging

        verbosity = logging.get_verbosity()
        logging.set_verbosity_error()  # no warning about the missing pooler, which is unused
        try:
            config = load_config(str(self.directory))
            options = {"add_pooling_layer": False, "use_safetensors": True}
            model = load_transformer(str(self.directory), config, **options)
        finally:
            logging.set_verbosity(verbosity)
        read_graphs(model, self.directory)
        return model.to(self.device or get_torch_default_device()).eval()

    @loaded_once
    @_reading
    def width(self) -> int:
        """RETURNS (int): Width of the vectors, read from the model's configuration."""
        return int(srsly.read_json(self.directory / "config.json")["hidden_size"])

    @property
    def normalized(self) -> bool:
        return self.settings.normalize

    @property
    def inference_name(self) -> str:
        """RETURNS (str): How vectors are computed, such as "torch fp32"."""
        return self.inference.name_on(self.transformer.device.type)

    @property
    def fingerprint(self) -> str:
        """RETURNS (str): A hash of the weights, the vocabulary and the settings. Only vectors of
        encoders with the same fingerprint are comparable."""
        if self._fingerprint is None:
            how = {**self.settings.model_dump(), "vocabulary": self.tokenizer.get_vocab()}
            if self.settings.template == "names":
                how["arithmetic"] = NAMES_ARITHMETIC
            digest = hashlib.sha256(srsly.json_dumps(how, sort_keys=True).encode())
            for name, tensor in sorted(self.transformer.state_dict().items()):
                digest.update(name.encode())
                digest.update(tensor.cpu().contiguous().numpy())
            self._fingerprint = digest.hexdigest()[:16]
        return self._fingerprint

    @property
    def entities_at_once(self) -> int:
        """RETURNS (int): Entities whose texts are best encoded, and saved, together: enough to sort
        by length, but on a CPU no more than some seconds' work."""
        if self.transformer.device.type != "cpu":
            return MOST_AT_ONCE
        return max(LEAST_AT_ONCE, min(MOST_AT_ONCE, WEIGHTS_AT_ONCE // self.weights))

    @property
    def weights(self) -> int:
        """RETURNS (int): Number of weights that a wordpiece is multiplied with."""
        return int(self.transformer.num_parameters(exclude_embeddings=True))

    def count_wordpieces(self, entities: Sequence[Entity]) -> int:
        """RETURNS (int): Wordpieces that `encode` reads, without padding."""
        if self.settings.template == "elq":
            return sum(len(self._elq_ids(entity)) for entity in entities)
        names = chain.from_iterable(map(self._names, entities))
        described = (_described(entity) for entity in entities if entity.description)
        return sum(map(len, self._text_ids(list({*names, *described}))))

    @property
    def embeds_names(self) -> bool:
        """RETURNS (bool): Whether each name of an entity has a vector, in which the other aliases
        have no share."""
        return self.settings.template == "names" and self.settings.alias_vectors

    def count_vectors(self, entity: Entity) -> int:
        """RETURNS (int): The number of vectors that `encode` makes for an entity."""
        return len(self._names(entity)) if self.settings.template == "names" else 1

    def mark_weights_changed(self) -> None:
        """Call this after a training step: the fingerprint has changed."""
        self._fingerprint = None
        self._trained = True
        forget_graphs(self.transformer)

    def encode(self, entities: Sequence[Entity]) -> tuple[np.ndarray, np.ndarray]:
        """Encode entities.

        RETURNS (tuple[ndarray, ndarray]): Vectors, float32 (V, width), and the position of each
            vector's entity, int32 (V,), ascending. Every entity has at least one vector.
        """
        if not entities:
            return np.zeros((0, self.width), dtype=np.float32), np.zeros(0, dtype=np.int32)
        if self.settings.template == "elq":
            vectors = self.encode_ids([self._elq_ids(entity) for entity in entities])
            return vectors, np.arange(len(entities), dtype=np.int32)
        return self._encode_names(entities)

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """RETURNS (ndarray): One vector per text, float32 (N, width)."""
        if not texts:
            return np.zeros((0, self.width), dtype=np.float32)
        return self.encode_ids(self._text_ids(texts))

    def encode_ids(self, ids: Sequence[Sequence[int]]) -> np.ndarray:
        """ids (Sequence[Sequence[int]]): Wordpiece ids with their special tokens.
        RETURNS (ndarray): One vector each, float32 (N, width). Equal texts are read once."""
        import torch

        transformer = self.transformer
        distinct: dict[tuple[int, ...], int] = {}
        places = [distinct.setdefault(tuple(text), len(distinct)) for text in ids]
        texts = list(distinct)
        vectors = np.empty((len(texts), self.width), dtype=np.float32)
        cost = inference_cost(transformer, self.inference)
        for batch in batch_by_length(texts, self.max_batch_items, cost):
            padded, mask = self._pad([texts[i] for i in batch])
            with torch.inference_mode():
                output = self._pool(infer(transformer, padded, mask, self.inference), mask)
            vectors[batch] = output.cpu().numpy()
        return vectors[places]

    def forward(self, ids: Sequence[Sequence[int]]) -> torch.Tensor:
        """Encode one padded batch with torch, with gradients if they are enabled.

        RETURNS (Tensor): (B, width), on the encoder's device.
        """
        padded, mask = self._pad(ids)
        return self._pool(last_layer(self.transformer, padded, mask), mask)

    def _pad(self, ids: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
        return pad(ids, int(self.tokenizer.pad_token_id or 0))

    def _pool(self, hidden: torch.Tensor, mask: np.ndarray) -> torch.Tensor:
        """RETURNS (Tensor): One vector for each text, (B, width)."""
        import torch

        if self.settings.pooling == "cls":
            pooled = hidden[:, 0]
        else:
            weights = torch.from_numpy(mask).to(hidden.device, hidden.dtype).unsqueeze(-1)
            pooled = (hidden * weights).sum(1) / weights.sum(1)
        return torch.nn.functional.normalize(pooled, dim=-1) if self.normalized else pooled

    def forward_entities(self, entities: Sequence[Entity]) -> torch.Tensor:
        """Encode the first vector of each entity, with gradients if they are enabled.

        RETURNS (Tensor): (N, width), on the encoder's device.
        """
        if self.settings.template == "elq":
            return self.forward([self._elq_ids(entity) for entity in entities])
        import torch

        titles = [entity.title for entity in entities]
        vectors = self.forward(self._text_ids([*titles, *map(_described, entities)]))
        main = vectors[: len(titles)] + vectors[len(titles) :]
        return torch.nn.functional.normalize(main, dim=-1) if self.normalized else main / 2

    def to_disk(self, path: Path) -> None:
        """Write the model, its tokenizer and the settings. Untrained weights are hard-linked if
        the file system allows it, else copied; symbolic links are followed."""
        directory = self.directory.resolve()
        if path.is_symlink():  # nothing is written where it leads
            path.unlink()
        path.mkdir(parents=True, exist_ok=True)
        if self._trained:
            self._remove_files(path)
            self.tokenizer.save_pretrained(str(path))
            # Each shard is copied in memory before it is written.
            self.transformer.save_pretrained(
                str(path), safe_serialization=True, max_shard_size=SHARD_SIZE
            )
        elif not path.samefile(directory):
            self._remove_files(path)
            for source in self._files(directory):
                link_or_copy(source, path / source.name)
        if "transformer" in self.__dict__:  # else the graphs, if any, were linked
            write_graphs(self.transformer, path)
        (path / SETTINGS_FILE).unlink(missing_ok=True)
        srsly.write_json(path / SETTINGS_FILE, self.settings.model_dump())

    @staticmethod
    def _files(directory: Path) -> list[Path]:
        """The files of a transformers model, without the settings; links too that lead nowhere."""
        files = (file for file in directory.iterdir() if file.suffix in MODEL_SUFFIXES)
        return [file for file in files if not file.is_dir() and file.name != SETTINGS_FILE]

    def _remove_files(self, directory: Path) -> None:
        """Remove the model's files: writing in place would change all linked directories."""
        for file in self._files(directory):
            file.unlink()

    def _encode_names(self, entities: Sequence[Entity]) -> tuple[np.ndarray, np.ndarray]:
        names = [self._names(entity) for entity in entities]
        owners = np.repeat(np.arange(len(entities), dtype=np.int32), list(map(len, names)))
        described = np.array([bool(entity.description) for entity in entities])
        texts = [*chain.from_iterable(names), *map(_described, compress(entities, described))]
        vectors, others = np.split(self.encode_texts(texts), [len(owners)])
        place = np.cumsum(described) - 1  # of each described entity in `others`
        both = described[owners]
        is_title = np.diff(owners, prepend=-1) > 0
        weight = np.where(is_title, np.float32(1), ALIAS_DESCRIPTION_WEIGHT)[both, None]
        vectors[both] = (vectors[both] + weight * others[place[owners[both]]]) / (1 + weight)
        if self.normalized:
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors, owners

    def _names(self, entity: Entity) -> tuple[str, ...]:
        return entity.names if self.settings.alias_vectors else entity.names[:1]

    @property
    def _max_length(self) -> int:
        return min(self.settings.max_length, self.tokenizer.model_max_length)

    def _text_ids(self, texts: Sequence[str]) -> list[list[int]]:
        options = {"truncation": True, "max_length": self._max_length}
        return [each.encoding.ids for each in tokenize(self.tokenizer, texts, **options)]

    def _elq_ids(self, entity: Entity) -> list[int]:
        """Title, separator and description, truncated, between the special tokens."""
        encode = self.tokenizer.encode
        separator = self.tokenizer.convert_tokens_to_ids(ELQ_SEPARATOR)
        with TOKENIZER_LOCK:
            title = encode(entity.title, add_special_tokens=False)
            description = encode(entity.description, add_special_tokens=False)
        body = [*title, separator, *description][: self._max_length - 2]
        return [self.tokenizer.cls_token_id, *body, self.tokenizer.sep_token_id]


def _described(entity: Entity) -> str:
    return f"{entity.title}: {entity.description}" if entity.description else entity.title


def load_entity_encoder(source: str = MINILM, **options: Any) -> EntityEncoder:
    """Open an entity encoder.

    source (str): "minilm", a hub id, or a directory: a transformers model (opened with the default
        settings), or an encoder written by `EntityEncoder.to_disk` (with its settings).
    """
    settings_file = Path(source).expanduser() / SETTINGS_FILE
    if source != MINILM and settings_file.is_file():
        try:
            settings = EntityEncoderSettings(**srsly.read_json(settings_file))
        except (TypeError, ValueError, OSError, RecursionError) as error:
            raise ElqError(Errors.ELQ111.format(path=settings_file, error=error)) from None
        return EntityEncoder(source, settings, **options)
    return EntityEncoder(source, **options)
