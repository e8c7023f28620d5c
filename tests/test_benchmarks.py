"""benchmarks/gpu.py, on a CPU: nobody would notice before they have a GPU."""

import importlib
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertModel


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    return importlib.import_module("gpu")


@pytest.mark.parametrize(
    ("device", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A10", 125),
        ("NVIDIA L40S", 362),
        ("Another", 0),
        ("cpu", 0),
    ],
)
def test_the_peak_is_looked_up(device, peak, gpu):
    assert gpu.peak_of(device) == peak


def test_operations_are_those_that_torch_counts(gpu, tmp_path):
    size = gpu.SIZES["tiny"]
    gpu.write_encoder(tmp_path, size)
    bert = BertModel.from_pretrained(tmp_path, add_pooling_layer=False, attn_implementation="eager")
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        bert(torch.ones(1, gpu.LENGTH, dtype=torch.long))
    assert counter.get_total_flops() == gpu.operations(size)
    assert gpu.operations(gpu.SIZES["large"]) == pytest.approx(78.9e9, rel=1e-3)


@pytest.mark.slow
def test_it_runs_on_a_cpu(gpu, capsys):
    arguments = ["--device", "cpu", "--size", "tiny", "--peak-tflops", "1"]
    gpu.main(["pretraining", "embedding", *arguments])
    out = capsys.readouterr().out
    assert "texts a second" in out
    assert "share of the peak" in out
    assert out.count("% of the peak") == 2
