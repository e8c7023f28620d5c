"""Trainings in processes of their own, which may be killed, or which train together.

`python -m tests.training.training_runs JOBS` runs `elq train` for each job, in a fork of this
process, whose imports are done, and notes the losses of each step beside the output.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

STEPS, EVERY = 7, 3
ROOT = Path(__file__).parents[2]


def run_trainings(*jobs):
    """Run jobs in turn: `config`, `output`, the `point` at which to die, number of `processes`."""
    command = [sys.executable, "-m", "tests.training.training_runs", json.dumps(jobs)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def losses_of(output):
    """RETURNS (dict): Step → losses, of the last time that the step was done."""
    lines = output.with_suffix(".losses").read_text().splitlines()
    return {step: losses for step, *losses in map(json.loads, lines)}


def weights(pipeline):
    """RETURNS (list): The parameters of a saved pipeline."""
    import spacy

    from spacy_elq.ml.model import get_encoder, get_heads

    elq = spacy.load(pipeline).get_pipe("elq")
    modules = [get_encoder(elq.model).layers[0].transformer, get_heads(elq.model)]
    modules.append(elq.entity_encoder.transformer)
    return [p.detach().numpy() for module in modules for p in module.parameters()]


def import_all():
    """Import before the forks what each of them would import: most of the time of a run."""
    import spacy
    import torch._dynamo  # noqa: F401
    from transformers import AutoModel, BertModel, BertTokenizerFast  # noqa: F401

    import spacy_elq

    for module in walk_packages(spacy_elq.__path__, "spacy_elq."):
        if module.name.split(".")[1] in ("cli", "corpora", "kb", "linking", "pipeline", "training"):
            import_module(module.name)
    spacy.blank("en").add_pipe("elq")


def main(jobs):
    import_all()
    import torch
    from spacy.util import registry

    from spacy_elq.cli import app
    from spacy_elq.training import checkpoint, trainer

    at = {"step": 0, "point": ""}

    def die(point):
        if point == at["point"]:
            os.kill(os.getpid(), signal.SIGKILL)

    @registry.callbacks("test.note_step")
    def note_step():
        def note(nlp, place):
            at["step"] = place["step"]
            die(f"step {place['step']}")

        return note

    def noting(accumulate, output):
        def noted(*args):
            losses = accumulate(*args)
            with Path(output).with_suffix(".losses").open("a") as file:
                file.write(json.dumps([at["step"], *losses]) + "\n")
            return losses

        return noted

    def dying(function, name):
        def called(path, *args, **options):
            die(f"before {name} {Path(path).name} at {at['step']}")
            result = function(path, *args, **options)
            die(f"after {name} {Path(path).name} at {at['step']}")
            return result

        return called

    def train(job):
        at["point"] = job.get("point", "")
        torch.set_num_threads(1)
        if os.environ.get("RANK", "0") == "0":
            trainer.Trainer.accumulate = noting(trainer.Trainer.accumulate, job["output"])
        checkpoint.write_text = dying(checkpoint.write_text, "write")
        Path.rename = dying(Path.rename, "rename")
        arguments = ["train", job["config"], "--output", job["output"]]
        return app(arguments, standalone_mode=False) or 0

    def forked(job, **environment):
        child = os.fork()
        if not child:
            os.environ.update(environment)
            os._exit(train(job))
        return child

    def run_job(job):
        count = job.get("processes", 1)
        if count == 1:
            children = [forked(job)]
        else:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = str(free.getsockname()[1])
            together = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            children = [forked(job, RANK=str(i), **together) for i in range(count)]
        return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]

    for job in jobs:
        codes = run_job(job)
        expected = -signal.SIGKILL if job.get("point") else job.get("code", 0)
        assert codes == [expected] * len(codes), f"{job}: {codes}"


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
