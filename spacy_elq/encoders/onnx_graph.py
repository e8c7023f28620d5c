"""A transformer as an ONNX graph, which ONNX Runtime runs on the CPU.

A graph never outlives the weights that it was made of: it holds their hash, and in memory the state
of the module is compared at each call. Graphs are kept by module, beside it and not in it, so that
training, copies and pickles of a transformer know nothing of them.
"""

from __future__ import annotations

import hashlib
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

import numpy as np
from spacy.util import logger

from ..concurrency import LOADING
from ..errors import ElqError, Errors, Warnings
from ..files import atomic_file
from .token_types import shape_table
from .word_shapes import N_SHAPES

if TYPE_CHECKING:
    import torch
    from onnxruntime import InferenceSession
    from transformers import PreTrainedModel

INT8: Final = "int8"
FP32: Final = "fp32"
# Beside the weights, one for each precision.
GRAPH_FILE = "graph-{precision}.onnx"
# Properties of the file: the hash of the weights, and the precision.
WEIGHTS_KEY, PRECISION_KEY = "spacy_elq_weights", "spacy_elq_precision"
# One runs graphs, all make them.
PACKAGES = ("onnxruntime", "onnx", "onnxscript")
# Wordpieces of the texts that a new graph is checked with, and with which torch traces the model.
EXAMPLE_LENGTHS = (9, 4)
# Numbers that share a scale, where products are quantized by blocks.
BLOCK = 128
# ONNX Runtime's `accuracy_level` of such products.
IN_INTEGERS = 4
# Minimum mean cosine between the graph's vectors and torch's.
MIN_COSINE = {FP32: 0.9999, INT8: 0.9}


@dataclass
class OnnxGraph:
    """A graph, and the sessions that run it, by process.

    content (bytes): The ONNX file.
    """

    content: bytes
    _sessions: dict[int, InferenceSession] = field(default_factory=dict)

    def run(self, ids: np.ndarray, mask: np.ndarray, types: np.ndarray | None = None) -> np.ndarray:
        """RETURNS (ndarray): Last-layer vectors, float32 (B, T, h); see `inference.infer`."""
        inputs = {"ids": ids, "mask": mask.astype(np.int64)}
        if len(self.session.get_inputs()) > len(inputs):
            inputs["types"] = np.zeros_like(ids) if types is None else types
        return self.session.run(None, inputs)[0]

    @property
    def session(self) -> InferenceSession:
        """RETURNS (InferenceSession): That of this process. A forked process lacks the threads of
        its parent's session, which stays: closing it would wait for them."""
        process = os.getpid()
        if process not in self._sessions:
            self._sessions[process] = _open_session(self.content)
        return self._sessions[process]


@dataclass
class Graphs:
    """The graphs of one transformer, by precision, and the state of the weights they are made of.

    trained (bool): The weights are being learned, so no graph is made of them.
    """

    parameters: list[torch.nn.Parameter]
    version: int
    trained: bool = False
    by_precision: dict[str, OnnxGraph] = field(default_factory=dict)

    @classmethod
    def of(cls, transformer: torch.nn.Module) -> Graphs:
        parameters = list(transformer.parameters())
        return cls(parameters, _version(parameters))

    @property
    def are_current(self) -> bool:
        return self.version == _version(self.parameters)


GRAPHS: WeakKeyDictionary[torch.nn.Module, Graphs] = WeakKeyDictionary()


def find_graph(transformer: PreTrainedModel, precision: str) -> OnnxGraph | None:
    """The graph of a transformer, made if there is none of its present weights.

    precision (str): "int8"; anything else is "fp32".
    RETURNS (OnnxGraph | None): None if torch has to run: without the extra `onnx`, on a GPU, and
        while the transformer is trained.
    RAISES (ElqError): If the transformer has no graph that computes the same.
    """
    precision = INT8 if precision == INT8 else FP32
    graphs = GRAPHS.get(transformer)
    if graphs is None or not graphs.are_current:
        with LOADING:
            graphs = GRAPHS.get(transformer)  # another thread may just have made them
            if graphs is None or not graphs.are_current:
                graphs = GRAPHS[transformer] = Graphs.of(transformer)
    if graphs.trained or transformer.device.type != "cpu":
        return None
    graph = graphs.by_precision.get(precision)
    if graph is None and _is_installed():
        with LOADING:
            graph = graphs.by_precision.get(precision) or make_graph(transformer, precision)
            graphs.by_precision[precision] = graph
    return graph


def forget_graphs(transformer: torch.nn.Module) -> None:
    """Drop the graphs of a transformer that is trained, and make no others."""
    graphs = GRAPHS.get(transformer)
    if graphs is None or not graphs.trained:
        GRAPHS[transformer] = Graphs([], 0, trained=True)


def write_graphs(transformer: torch.nn.Module, directory: Path) -> None:
    """Write the graphs of the present weights beside them; remove others."""
    graphs = GRAPHS.get(transformer)
    current = graphs.by_precision if graphs is not None and graphs.are_current else {}
    for precision in (FP32, INT8):
        path = directory / GRAPH_FILE.format(precision=precision)
        path.unlink(missing_ok=True)
        if precision in current:
            with atomic_file(path) as work:
                work.write_bytes(current[precision].content)


def read_graphs(transformer: PreTrainedModel, directory: Path) -> None:
    """Read the graphs beside the weights that a transformer was loaded from. A graph of other
    weights is left out, and so are all without the extra `onnx`."""
    files = {p: directory / GRAPH_FILE.format(precision=p) for p in (FP32, INT8)}
    files = {precision: file for precision, file in files.items() if file.is_file()}
    if not files or find_spec("onnxruntime") is None:
        return
    weights, graphs = hash_weights(transformer), Graphs.of(transformer)
    for precision, file in files.items():
        graph = OnnxGraph(file.read_bytes())
        properties = _properties(graph, file)
        if properties.get(WEIGHTS_KEY) == weights and properties.get(PRECISION_KEY) == precision:
            graphs.by_precision[precision] = graph
        else:
            warnings.warn(Warnings.ELQ135.format(path=file), stacklevel=2)
    GRAPHS[transformer] = graphs


def make_graph(transformer: PreTrainedModel, precision: str) -> OnnxGraph:
    """Make a graph and compare its vectors with the transformer's.

    precision (str): "fp32" or "int8".
    RAISES (ElqError): If torch can't export the model, or the vectors differ.
    """
    logger.info("elq: making the ONNX graph of %s in %s", type(transformer).__name__, precision)
    with TemporaryDirectory(prefix="spacy-elq-onnx-") as directory:
        file = Path(directory) / "graph.onnx"
        try:
            _export(transformer, file)
            if precision == INT8:
                file = _quantize(file)
            graph = OnnxGraph(_with_properties(file, hash_weights(transformer), precision))
            cosine = _mean_cosine(transformer, graph)
        except Exception as err:  # exporter and quantization raise many kinds
            reason = " ".join(str(err).split())[:300] or type(err).__name__
            raise ElqError(Errors.ELQ143.format(reason=reason)) from err
    if not cosine >= MIN_COSINE[precision]:
        reason = f"its vectors differ from torch's (mean cosine {cosine:.4f})"
        raise ElqError(Errors.ELQ143.format(reason=reason))
    return graph


def hash_weights(transformer: torch.nn.Module) -> str:
    """RETURNS (str): A hash of all weights and their names."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(transformer.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy())
    return digest.hexdigest()


def _version(parameters: list[torch.nn.Parameter]) -> int:
    """RETURNS (int): A number that grows with each change of a weight in place."""
    return sum(parameter._version for parameter in parameters)


def check_installed() -> None:
    """Raise an ElqError if a package of the extra `onnx` is missing."""
    if missing := _missing_packages():
        raise ElqError(Errors.ELQ144.format(missing=missing))


@cache
def _is_installed() -> bool:
    if missing := _missing_packages():
        warnings.warn(Warnings.ELQ134.format(missing=missing), stacklevel=4)
    return not missing


def _missing_packages() -> str:
    return ", ".join(name for name in PACKAGES if find_spec(name) is None)


def _open_session(content: bytes) -> InferenceSession:
    import torch
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    # Threads that wait for work in a loop would take the processor from torch's.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_mem_pattern = False  # it keeps a plan for each shape, and shapes vary
    options.log_severity_level = 4  # errors are raised
    return InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _properties(graph: OnnxGraph, file: Path) -> dict[str, str]:
    """RETURNS (dict): The properties of a file, which may be damaged."""
    try:
        return graph.session.get_modelmeta().custom_metadata_map
    except Exception as err:  # of ONNX Runtime
        reason = " ".join(str(err).split())[:300]
        raise ElqError(Errors.ELQ131.format(path=file, reason=reason)) from None


def _export(transformer: PreTrainedModel, file: Path) -> None:
    import torch

    class LastLayer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.transformer = transformer

        def forward(
            self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor | None = None
        ) -> torch.Tensor:
            options = {} if types is None else {"token_type_ids": types}
            return self.transformer(input_ids=ids, attention_mask=mask, **options).last_hidden_state

    inputs = {name: torch.from_numpy(value).long() for name, value in _example(transformer).items()}
    shape = {0: "batch", 1: "length"}
    with torch.no_grad(), _without_advice():
        torch.onnx.export(
            LastLayer().eval(),
            tuple(inputs.values()),
            file,
            input_names=list(inputs),
            output_names=["vectors"],
            dynamic_shapes=dict.fromkeys(inputs, shape),
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def _quantize(file: Path) -> Path:
    """Quantize the matrix products of a graph to 8-bit integers. Vectors are quantized at each
    call: those that enter a feed-forward layer's second product by blocks, since a few of their
    numbers are far larger than the others; all others with one scale for the batch.

    RETURNS (Path): The file of the quantized graph.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantized = file.with_name("quantized.onnx")
    with _without_advice():
        _quantize_by_blocks(file, quantized)
        # Weights have a scale for each column.
        quantize_dynamic(quantized, quantized, weight_type=QuantType.QInt8, per_channel=True)
    return quantized


def _quantize_by_blocks(file: Path, quantized: Path) -> None:
    """Write the graph with the products quantized whose matrix has more rows than columns."""
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    model = onnx.load(file)
    shapes = {weights.name: weights.dims for weights in model.graph.initializer}
    narrows = {name for name, shape in shapes.items() if len(shape) == 2 and shape[0] > shape[1]}
    others = [node.name for node in model.graph.node if narrows.isdisjoint(node.input)]
    quantizer = MatMulNBitsQuantizer(
        model,
        bits=8,
        block_size=BLOCK,
        is_symmetric=True,
        accuracy_level=IN_INTEGERS,
        nodes_to_exclude=others,
    )
    quantizer.process()
    quantizer.model.save_model_to_file(str(quantized))


@contextmanager
def _without_advice() -> Iterator[None]:
    """Hide what torch and onnxruntime say about their own code, and about packages and steps that
    these models do not need."""
    root = logging.getLogger()
    noisy = (root, logging.getLogger("torch.onnx"))
    levels = [log.level for log in noisy]
    handler = logging.NullHandler()  # without one, a module that is imported adds its own
    root.addHandler(handler)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for log in noisy:
                log.setLevel(logging.ERROR)
            yield
        finally:
            root.removeHandler(handler)
            for log, level in zip(noisy, levels, strict=True):
                log.setLevel(level)


def _with_properties(file: Path, weights: str, precision: str) -> bytes:
    import onnx

    model = onnx.load(file)
    onnx.helper.set_model_props(model, {WEIGHTS_KEY: weights, PRECISION_KEY: precision})
    return model.SerializeToString()


def _example(transformer: PreTrainedModel) -> dict[str, np.ndarray]:
    """RETURNS (dict): Ids, mask and, if the model reads them, types of two texts of random
    wordpieces."""
    shape = len(EXAMPLE_LENGTHS), max(EXAMPLE_LENGTHS)
    random = np.random.default_rng(0)
    ids = random.integers(0, transformer.config.vocab_size, shape)
    mask = np.arange(shape[1]) < np.array(EXAMPLE_LENGTHS)[:, None]
    if shape_table(transformer) is None:
        return {"ids": ids, "mask": mask}
    return {"ids": ids, "mask": mask, "types": random.integers(0, N_SHAPES, shape)}


def _mean_cosine(transformer: PreTrainedModel, graph: OnnxGraph) -> float:
    import torch

    from .fast_bert import last_layer

    # Other sizes than those that torch traced.
    inputs = {
        name: np.concatenate([value, value])[:, :-1]
        for name, value in _example(transformer).items()
    }
    mask = inputs["mask"]
    with torch.inference_mode():
        expected = last_layer(transformer, **inputs).numpy()[mask]
    found = graph.run(**inputs)[mask]
    lengths = np.linalg.norm(expected, axis=1) * np.linalg.norm(found, axis=1)
    return float(((expected * found).sum(1) / lengths).mean())
