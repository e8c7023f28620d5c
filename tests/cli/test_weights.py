"""`elq weights`: the changes that training made, as a file to start from."""

import shutil

from safetensors import safe_open
from spacy.util import load_config
from typer.testing import CliRunner

from spacy_elq.cli import app


def test_the_encoder_may_be_a_variable_of_the_config(trained_path, tiny_bert, tmp_path):
    pipeline, out = tmp_path / "pipeline", tmp_path / "out.safetensors"
    shutil.copytree(trained_path, pipeline)
    config = load_config(pipeline / "config.cfg", interpolate=False)
    assert config["components"]["elq"]["model"]["encoder"]["name"] == str(tiny_bert)
    config["paths"]["encoder"] = str(tiny_bert)
    config["components"]["elq"]["model"]["encoder"]["name"] = "${paths.encoder}"
    config.to_disk(pipeline / "config.cfg", interpolate=False)
    result = CliRunner().invoke(app, ["weights", str(out), str(pipeline)])
    assert result.exit_code == 0, result.output
    assert f"changes to {tiny_bert}" in result.stderr
    with safe_open(out, "np") as file:
        assert any(name.startswith("heads.") for name in file.keys())  # noqa: SIM118
