"""Several processes train as one does on the texts of all."""

import json

import numpy as np
import pytest
from spacy.training.initialize import init_nlp
from spacy.util import load_config

from spacy_elq import ElqError
from spacy_elq.training import processes
from spacy_elq.training.loop import TrainingRun

from .training_runs import losses_of, run_trainings, weights

STEPS = 3
LOSSES = {
    # Both encoders: vectors of other processes' entities are negatives, and get gradients.
    "encoders": {"entity_loss": "in_batch", "train_entity_encoder": True},
    "in_batch": {"entity_loss": "in_batch", "exact": True, "freeze": ["encoder.layer.0"]},
    "negatives": {
        "entity_loss": "hard_negatives",
        "hard_negatives": 2,
        "mention_loss_mean": "span",
    },
}
# No dropout: it is another one in each process. Steps in proportion to gradients.
EXACT = {"name_dropout": 0.0, "entity_dropout": 0.0, "prior_dropout": 0.0}
OPTIMIZER = {
    "@optimizers": "Adam.v1",
    "learn_rate": 1.0,
    "eps": 10.0,
    "grad_clip": 1.0,
    "use_averages": False,
}


def cannot_train_together(make_config, tmp_path):
    """RETURNS (list): Jobs that end with an error in both processes: none waits for ever."""
    same = make_config(name="same.cfg", max_steps=1)
    words = {"@batchers": "spacy.batch_by_words.v1", "size": 9, "tolerance": 0.0}
    uneven = make_config(
        name="uneven.cfg",
        reader={"split": True},
        batcher={**words, "discard_oversize": False},
        accumulate_gradient=3,
        max_steps=5,
    )
    return [
        {"config": str(config), "output": str(tmp_path / config.stem), "processes": 2, "code": 1}
        for config in (same, uneven)
    ]


@pytest.mark.slow
def test_two_processes_step_as_one(make_config, tmp_path):
    """Also where one of them has a text without mentions, or without wordpieces."""
    noting = {"before_update": {"@callbacks": "test.note_step"}}
    limits = {"max_steps": STEPS - 1, "eval_frequency": STEPS, "optimizer": OPTIMIZER, **noting}
    jobs = []
    for name, settings in LOSSES.items():
        for count in (1, 2):
            config = make_config(
                name=f"{name}-{count}.cfg",
                reader={"split": count == 2},
                elq={**EXACT, **settings},
                batcher={"@batchers": "spacy.batch_by_sequence.v1", "size": 2 // count},
                **limits,
            )
            output = str(tmp_path / f"{name}-{count}")
            jobs.append({"config": str(config), "output": output, "processes": count})
    run_trainings(*jobs, *cannot_train_together(make_config, tmp_path))
    for name in LOSSES:
        alone, together = (tmp_path / f"{name}-{count}" for count in (1, 2))
        one, two = losses_of(alone), losses_of(together)
        assert list(one) == list(two) == list(range(STEPS))
        for step in one:
            np.testing.assert_allclose(two[step], one[step], rtol=1e-4, atol=1e-5)
        pairs = zip(weights(together / "model-last"), weights(alone / "model-last"), strict=True)
        for ours, theirs in pairs:
            np.testing.assert_allclose(ours, theirs, atol=2e-5)
        states = [
            json.loads((path / "checkpoint/state.json").read_text()) for path in (alone, together)
        ]
        texts = [state["texts"] for state in states]
        assert texts[0] == texts[1]
        seen = [
            json.loads((path / "model-last/elq/cfg").read_text())["seen_ids"]
            for path in (alone, together)
        ]
        assert set(seen[0]) == set(seen[1])


@pytest.mark.slow
def test_what_processes_must_have_in_common(make_config, tmp_path, monkeypatch):
    nlp = init_nlp(load_config(make_config(), interpolate=False))
    training_run = TrainingRun(nlp, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(processes, "gather", lambda value: [value, True])
        with pytest.raises(ElqError, match=r"ELQ166.*all machines share"):
            training_run.run()
    nlp.add_pipe("tagger")
    monkeypatch.setattr(processes, "count", lambda: 2)
    with pytest.raises(ElqError, match=r"ELQ165.*'tagger'"):
        TrainingRun(nlp, tmp_path)
