"""`elq train`: a run that is killed goes on with the same steps."""

import json

import numpy as np
import pytest
from spacy.training.initialize import init_nlp
from spacy.util import load_config
from thinc.api import Config

from spacy_elq import ElqError
from spacy_elq.training.checkpoint import CHECKPOINT, OPTIMIZER, STATE
from spacy_elq.training.loop import TrainingRun, prepared_output

from ..helpers import run
from .training_runs import STEPS, losses_of, run_trainings, weights

POINTS = [
    "before write state.json at 3",  # while the second checkpoint is written
    "after rename model-last at 3",  # between the two renames that replace a directory
    "step 5",
    "after rename checkpoint at 6",
    "",
]


@pytest.mark.slow
def test_a_killed_run_takes_the_same_steps(make_config, tmp_path):
    """With texts that are streamed, or in memory."""
    noting = {"before_update": {"@callbacks": "test.note_step"}}
    jobs = []
    for kind, points in (("streamed", POINTS), ("kept", ["step 5", ""])):
        config = str(make_config(kind == "streamed", name=f"{kind}.cfg", **noting))
        jobs.append({"config": config, "output": str(tmp_path / f"{kind}-whole")})
        output = str(tmp_path / f"{kind}-killed")
        jobs += [{"config": config, "output": output, "point": point} for point in points]
    run_trainings(*jobs)
    for kind in ("streamed", "kept"):
        outputs = [tmp_path / f"{kind}-{how}" for how in ("whole", "killed")]
        whole, killed = map(losses_of, outputs)
        assert list(whole) == sorted(killed) == list(range(STEPS + 1))
        assert whole == killed
        for name in ("model-last", "model-best"):
            before, after = (weights(output / name) for output in outputs)
            assert all(map(np.array_equal, before, after))
        states = [json.loads((output / CHECKPOINT / STATE).read_text()) for output in outputs]
        for state in states:
            del state["seconds"]
        assert states[0] == states[1]


def train_here(config, output, **overrides):
    """In this process. RETURNS (TrainingRun): After the end."""
    training = {f"training.{name}": value for name, value in overrides.items()}
    with prepared_output(output, overwrite=False):
        nlp = init_nlp(load_config(config, overrides=training, interpolate=False))
        training_run = TrainingRun(nlp, output)
        training_run.run()
    return training_run


@pytest.mark.slow
def test_a_training_goes_on_where_its_limit_was(make_config, tmp_path):
    """Not at a step that was evaluated; with accumulated gradients."""
    config = make_config(accumulate_gradient=2)
    whole = train_here(config, tmp_path / "whole", max_steps=6)
    for limit in (4, 6):
        parts = train_here(config, tmp_path / "parts", max_steps=limit)
    assert [step for _, step in parts.progress.results] == [0, 3, 6]
    assert parts.progress.results == whole.progress.results
    before, after = (weights(tmp_path / name / "model-last") for name in ("whole", "parts"))
    assert all(map(np.array_equal, before, after))
    # Its config is the one that it was run with.
    assert (
        Config().from_disk(tmp_path / "parts/model-last/config.cfg")["training"]["max_steps"] == 6
    )
    # Nothing is left to do.
    again = train_here(config, tmp_path / "parts", max_steps=6)
    assert again.progress.step == 7
    assert all(map(np.array_equal, after, weights(tmp_path / "parts" / "model-last")))


@pytest.mark.slow
def test_patience_ends_a_training(make_config, tmp_path):
    still = {"training.optimizer.learn_rate.initial_rate": 0.0}
    config = make_config(patience=4, max_steps=0)
    nlp = init_nlp(load_config(config, overrides=still, interpolate=False))
    with prepared_output(tmp_path / "out", overwrite=False):
        training_run = TrainingRun(nlp, tmp_path / "out")
        training_run.run()
    # The first of equal scores is the best.
    assert training_run.progress.step == 5


@pytest.mark.slow
def test_what_cannot_be_gone_on_with(make_config, tmp_path, tiny_bert):
    config, out = make_config(max_steps=1), tmp_path / "out"
    train_here(config, out)
    frozen = make_config(elq={"freeze": ["embeddings"]}, max_steps=2)
    with pytest.raises(ElqError, match=r"ELQ162.*embeddings"):
        train_here(frozen, out)
    optimizer = out / CHECKPOINT / OPTIMIZER
    optimizer.write_bytes(optimizer.read_bytes()[:-100])
    config = make_config(max_steps=2)
    result = run("train", config, "--output", out)
    assert result.exit_code == 1
    assert "ELQ160" in result.output
    result = run("train", config, "--output", out, "--overwrite", "--training.max_steps", 1)
    assert result.exit_code == 0, result.output
    with prepared_output(out, overwrite=False):
        result = run("train", config, "--output", out, "--overwrite")
    assert result.exit_code == 1 and "ELQ159" in result.output
    (out / CHECKPOINT / STATE).unlink()
    with pytest.raises(ElqError, match="ELQ161"):
        train_here(config, out)
