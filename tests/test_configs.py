"""Every config of configs/: it is valid, and a pipeline learns with it."""

import json
from contextlib import suppress
from pathlib import Path

import pytest
import spacy
from spacy.cli._util import app
from spacy.cli.debug_config import debug_config
from spacy.cli.debug_data import debug_data
from spacy.cli.init_config import fill_config
from spacy.cli.train import train
from spacy.util import load_config, load_model_from_config
from thinc.api import Config
from typer.testing import CliRunner

from spacy_elq import ElqError
from spacy_elq.annotate import LINKS_ATTR
from spacy_elq.corpora.docbin import write_docbin
from spacy_elq.corpora.spans_jsonl import docs_from_texts, text_from_dict
from spacy_elq.encoders.entity import EntityEncoder, EntityEncoderSettings, load_entity_encoder
from spacy_elq.encoders.question import encoder_settings
from spacy_elq.entities.reader import read_entities
from spacy_elq.entities.records import entity_from_dict
from spacy_elq.kb.build import build_kb
from spacy_elq.ml.model import get_encoder
from spacy_elq.training.callbacks import configure_sourced_component
from spacy_elq.types import Entity

from .helpers import ENTITIES, TEXTS, write_jsonl

CONFIGS = Path(__file__).parents[1] / "configs"
OURS = ["minilm", "documents", "bert-base", "bert-large"]
PRETRAIN = ["pretrain", "pretrain-frozen"]
PUBLISHED = ["elq-scratch", "elq-frozen", "elq-finetune"]
ELQ_ENCODER = EntityEncoderSettings(
    template="elq", pooling="cls", normalize=False, alias_vectors=False
)


def test_each_config_is_tested():
    tested = [*OURS, *PRETRAIN, *PUBLISHED, "elq-attach"]
    assert sorted(path.stem for path in CONFIGS.glob("*.cfg")) == sorted(tested)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """The texts as `.spacy`, as spans JSONL and as ELQ's jsonl."""
    directory = tmp_path_factory.mktemp("corpus")
    nlp = spacy.blank("en")
    write_docbin(
        docs_from_texts(nlp, [text_from_dict(t, "") for t in TEXTS]), directory / "a.spacy"
    )
    (directory / "spans.jsonl").write_text("\n".join(map(json.dumps, TEXTS)))
    (directory / "texts").mkdir()
    for part in range(2):
        write_jsonl(directory / "texts" / f"part-{part:05}.jsonl", TEXTS[part::2])
    rows = [
        {
            "id": i,
            "text": row["text"],
            "mentions": [[s["start"], s["end"]] for s in row["spans"]],
            "wikidata_id": [s["id"] for s in row["spans"]],
        }
        for i, row in enumerate(TEXTS)
    ]
    (directory / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return directory


@pytest.fixture(scope="module")
def elq_kb_path(tmp_path_factory, tiny_bert, entities_path):
    out = tmp_path_factory.mktemp("elq-kb") / "kb"
    encoder = EntityEncoder(str(tiny_bert), ELQ_ENCODER)
    build_kb(read_entities(entities_path), out, encoder, progress=False)
    return out


def write_config(name, path, tiny_bert, paths):
    """A config with its paths filled in, whose encoders are the tiny one."""
    config = Config().from_disk(CONFIGS / f"{name}.cfg", interpolate=False)
    config["paths"] |= {key: str(value) for key, value in paths.items()}
    elq = config["components"]["elq"]
    if name == "documents":
        elq["model"]["pretrained"] = None
    if name == "minilm":
        elq["entity_encoder"] = {"source": str(tiny_bert)}
        elq["model"]["pretrained"] = None
        elq["model"]["encoder"] |= {"name": str(tiny_bert), "max_length": 64, "overlap": 24}
    config.to_disk(path)
    return path


def overrides(name, corpus, steps=2):
    file = "a.spacy" if name in OURS else "a.jsonl"
    if name in ("documents", *PRETRAIN):
        file = "spans.jsonl"
    values = {f"paths.{part}": str(corpus / file) for part in ("train", "dev")}
    if name in PRETRAIN:
        values |= {"paths.train": str(corpus / "texts"), "paths.curve": str(corpus / "curve.jsonl")}
        return {**values, "variables.steps": steps, "variables.eval_frequency": steps}
    return {**values, "training.max_steps": steps, "training.eval_frequency": steps}


@pytest.fixture
def run(corpus, tiny_bert, entities_path, kb_path, elq_kb_path, tmp_path):
    """Trains with a config for two steps."""
    paths = {
        "minilm": {"kb": kb_path},
        "documents": {"kb": kb_path, "encoder": tiny_bert},
        "bert-base": {"kb": kb_path, "encoder": tiny_bert},
        "bert-large": {"kb": kb_path, "encoder": tiny_bert},
        "elq-scratch": {"kb": entities_path, "encoder": tiny_bert},
        "elq-frozen": {"kb": elq_kb_path, "encoder": tiny_bert, "entity_encoder": tiny_bert},
        "elq-finetune": {},
        "pretrain": {"kb": entities_path, "encoder": tiny_bert},
        "pretrain-frozen": {"kb": kb_path},
    }

    def run(name, output="out", **more):
        config = write_config(name, tmp_path / "config.cfg", tiny_bert, {**paths[name], **more})
        chosen = overrides(name, corpus)
        fill_config(tmp_path / "filled.cfg", config)
        debug_config(tmp_path / "filled.cfg", overrides=chosen)
        train(config, tmp_path / output, overrides=chosen)
        return tmp_path / output / "model-last"

    return run


def weights(nlp):
    transformer = get_encoder(nlp.get_pipe("elq").model).layers[0].transformer
    return {name: value.clone() for name, value in transformer.state_dict().items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*OURS, "pretrain", "elq-scratch", "elq-frozen"])
def test_config_is_valid_and_trains(run, name):
    nlp = spacy.load(run(name))
    elq = nlp.get_pipe("elq")
    assert set(elq.cfg["seen_ids"]) <= {"Q1", "Q2", "Q3", "Q4", "Q5", "Q6"} and elq.cfg["seen_ids"]
    assert elq.kb.entity_vector_length == 32
    # Checkpoints of the configs for large knowledge bases hold none of it.
    embedded = name in ("minilm", "pretrain", "elq-scratch")
    assert (elq.kb_path is None, (nlp.path / "elq" / "kb").exists()) == (embedded, embedded)
    list(nlp.pipe(["is georgia north of armenia", ""]))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*OURS, "pretrain", *PUBLISHED])
def test_spacy_makes_the_optimizer_that_the_config_describes(run, name, corpus, tmp_path, capsys):
    """Of the config, and of the pipeline that was trained with it."""
    more = {"pipeline": run("elq-frozen", "first")} if name == "elq-finetune" else {}
    trained = run(name, **more)
    block = Config().from_disk(CONFIGS / f"{name}.cfg").interpolate()["training"]["optimizer"]
    steps = 2300 if name in PUBLISHED else 2
    filled, chosen = tmp_path / "filled.cfg", overrides(name, corpus)
    with suppress(SystemExit):  # it calls for more texts
        debug_data(filled, config_overrides=chosen, silent=False)
    assert "Pipeline can be initialized with data" in capsys.readouterr().out
    for nlp in (spacy.load(trained), load_model_from_config(load_config(filled, chosen))):
        for optimizer in (nlp.create_optimizer(), nlp.resume_training(), nlp.initialize()):
            assert (optimizer.learn_rate, optimizer.L2) == (0.0, block["L2"])  # it warms up
        rate = nlp.config.interpolate()["training"]["optimizer"]["learn_rate"]
        assert rate["total_steps"] == steps


@pytest.mark.slow
def test_published_settings(run):
    nlp = spacy.load(run("elq-frozen"))
    elq = nlp.get_pipe("elq")
    assert not elq.word_boundaries and elq.special_tokens
    assert elq.model.attrs["head_options"]["cosine"] is False
    assert elq.model.attrs["head_options"]["name_features"] is False
    assert elq.max_length == 20
    assert encoder_settings(get_encoder(elq.model)).truncate
    assert elq.entity_encoder.settings == ELQ_ENCODER


@pytest.mark.slow
def test_training_goes_on_from_a_pipeline(run, tmp_path):
    """Weights, heads and KB come along; settings are what the config says; weights then move."""
    first = run("elq-frozen")
    before = spacy.load(first)
    nlp = spacy.load(run("elq-finetune", "more", pipeline=first))
    elq, old = nlp.get_pipe("elq"), before.get_pipe("elq")
    assert len(elq.kb) == len(old.kb)
    assert set(old.cfg["seen_ids"]) <= set(elq.cfg["seen_ids"])
    moved = {name for name, value in weights(nlp).items() if not value.equal(weights(before)[name])}
    assert moved
    assert not any(name.startswith("embeddings") for name in moved)
    largest = max(float((weights(nlp)[n] - weights(before)[n]).abs().max()) for n in moved)
    assert largest < 1e-4  # two steps of a warm-up, not other weights


@pytest.mark.slow
def test_pretraining_goes_on_with_frozen_entities(run, tmp_path):
    both = run("pretrain", "both")
    encoder = load_entity_encoder(str(both / "elq" / "entity_encoder"))
    build_kb(map(entity_from_dict, ENTITIES), tmp_path / "kb", encoder, progress=False)
    nlp = spacy.load(run("pretrain-frozen", pipeline=both, kb=tmp_path / "kb"))
    elq, before = nlp.get_pipe("elq"), spacy.load(both).get_pipe("elq")
    assert elq.kb_path == str(tmp_path / "kb")
    assert elq.entity_encoder.fingerprint == before.entity_encoder.fingerprint == elq.kb.fingerprint
    assert elq.training.entity_loss == "hard_negatives"
    assert set(before.seen_ids) <= set(elq.seen_ids)
    moved = [
        name
        for name, value in weights(nlp).items()
        if not value.equal(weights(spacy.load(both))[name])
    ]
    assert moved


@pytest.mark.slow
def test_a_resumed_training_starts_where_the_last_one_ended(run, corpus, tiny_bert, tmp_path):
    """With a learning rate of zero nothing may change, predictions included."""
    first = run("elq-frozen")
    config = write_config("elq-finetune", tmp_path / "same.cfg", tiny_bert, {"pipeline": first})
    still = {"training.optimizer.learn_rate.initial_rate": 0.0}
    train(config, tmp_path / "same", overrides={**overrides("elq-finetune", corpus), **still})
    before, after = spacy.load(first), spacy.load(tmp_path / "same" / "model-last")
    assert all(value.equal(weights(before)[name]) for name, value in weights(after).items())
    for nlp in (before, after):
        nlp.get_pipe("elq").span_group_threshold = -100.0
    links = [
        [nlp(t["text"]).spans["elq"].attrs[LINKS_ATTR] for t in TEXTS] for nlp in (before, after)
    ]
    assert links[0] == links[1]


@pytest.mark.slow
def test_another_knowledge_base_is_attached(run, tiny_bert, tmp_path):
    """As after training the entity encoder: embed entities with it, and link to them."""
    trained = run("elq-scratch")
    encoder = load_entity_encoder(str(trained / "elq" / "entity_encoder"))
    more = [*map(entity_from_dict, ENTITIES), Entity("Q7", "Armenia")]
    build_kb(more, tmp_path / "kb", encoder, progress=False)
    paths = {"paths.pipeline": str(trained), "paths.kb": str(tmp_path / "kb")}
    arguments = [f"--{name}={path}" for name, path in paths.items()]
    config = str(CONFIGS / "elq-attach.cfg")
    result = CliRunner().invoke(app, ["assemble", config, str(tmp_path / "all"), *arguments])
    assert result.exit_code == 0, result.output
    before, after = spacy.load(trained), spacy.load(tmp_path / "all")
    assert len(before.get_pipe("elq").kb) == 6
    assert after.get_pipe("elq").kb.row("Q7") == 6
    assert after.get_pipe("elq").cfg["seen_ids"] == before.get_pipe("elq").cfg["seen_ids"]
    assert all(value.equal(weights(before)[name]) for name, value in weights(after).items())


@pytest.mark.slow
def test_adapter_changes_settings_training_and_kb(make_nlp, kb_path):
    nlp = make_nlp()
    elq = nlp.get_pipe("elq")
    configure_sourced_component(
        settings={"threshold": -1.25, "top_k": 3},
        training={"entity_loss": "in_batch"},
        kb=kb_path,
    )(nlp)
    assert (elq.threshold, elq.top_k) == (-1.25, 3)
    settings = elq._get_trainer().settings
    assert (settings.entity_loss, settings.precision) == ("in_batch", "fp32")  # others are kept
    assert elq.kb.path == kb_path
    assert elq.kb_path is None
    configure_sourced_component(settings={"kb_path": str(kb_path)})(nlp)
    assert (elq.kb.path, elq.kb_path) == (kb_path, str(kb_path))


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes, code",
    [
        ({"settings": {"thresold": 1}}, "ELQ332.*thresold"),
        ({"training": {"rate": 1}}, "ELQ332.*rate"),
        ({"training": {"entity_loss": "none"}}, "ELQ110"),
    ],
)
def test_adapter_refuses_unknown_settings(make_nlp, changes, code):
    with pytest.raises(ElqError, match=code):
        configure_sourced_component(**changes)(make_nlp())
