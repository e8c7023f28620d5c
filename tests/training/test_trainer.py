"""Training: what moves, what does not, and that each loss learns."""

import shutil

import numpy as np
import pytest
import torch
from spacy.training import Example
from spacy.util import minibatch
from thinc.api import Adam

from spacy_elq import ElqError
from spacy_elq.encoders.entity import EntityEncoder
from spacy_elq.gold import gold_spans, is_complete, nil_spans, unknown_spans
from spacy_elq.kb.files.manifest import VECTORS
from spacy_elq.kb.files.names import fold
from spacy_elq.kb.knowledge_base import FaissKB
from spacy_elq.ml.model import get_encoder, get_heads
from spacy_elq.training.optim import TorchStepper, clip_by_global_norm, freeze, keep_activations
from spacy_elq.training.training_settings import TrainingSettings

from ..helpers import TEXTS, examples, train

LOSSES = ["full_softmax", "hard_negatives", "in_batch"]


def weights(elq):
    transformer = get_encoder(elq.model).layers[0].transformer
    modules = {"transformer": transformer, "heads": get_heads(elq.model)}
    return {
        f"{part}.{name}": parameter.detach().numpy().copy()
        for part, module in modules.items()
        for name, parameter in module.named_parameters()
    }


def moved(before, after):
    return {name for name in before if not np.array_equal(before[name], after[name])}


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_each_loss_learns_the_texts_by_heart(make_nlp, loss):
    nlp = make_nlp(training={"entity_loss": loss})
    first = train(nlp, steps=1)
    last = train(nlp, steps=80)
    assert last["elq"] < 0.2 * first["elq"]
    scores = nlp.evaluate(examples(nlp))
    assert scores["elq_strong_f"] > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_mentions_whose_entities_are_taken_out_are_learned_as_mentions_of_none(make_nlp, loss):
    nlp = make_nlp(training={"entity_loss": loss, "entity_dropout": 1.0})
    train(nlp, steps=80)
    elq = nlp.get_pipe("elq")
    docs = [eg.predicted for eg in examples(nlp)]
    mentions = elq.rank_mentions(docs)
    sure = mentions.mention_score > -0.5
    assert sure.any()
    # What is missing to 1 is the probability of none.
    assert np.exp(mentions.entity_scores[sure]).sum(axis=1).max() < 0.3
    assert not any(doc.ents for doc in nlp.pipe(docs))


@pytest.mark.slow
def test_gradients_add_up_until_finish_update(make_nlp):
    nlp = make_nlp()
    elq = nlp.get_pipe("elq")
    before = weights(elq)
    elq.update(examples(nlp))
    assert moved(before, weights(elq)) == set()
    elq.finish_update(Adam(1e-3))
    assert moved(before, weights(elq))


@pytest.mark.slow
@pytest.mark.parametrize("grad_clip", [0.0, 0.5])
def test_parts_of_a_batch_step_as_the_whole(make_nlp, grad_clip):
    """`accumulate_gradient` of spaCy splits a batch and steps once."""

    def step(size):
        nlp = make_nlp()
        elq = nlp.get_pipe("elq")
        # Adam makes all gradients alike, but for those far below epsilon.
        optimizer = Adam(1.0, eps=100.0, grad_clip=grad_clip, L2=0.0)
        for size_now in (size, 6):
            for part in minibatch(examples(nlp)[:6], size_now):
                elq.update(part)
            elq.finish_update(optimizer)
        return weights(elq)

    whole, parts = step(6), step(2)
    for name, values in whole.items():
        np.testing.assert_allclose(parts[name], values, atol=1e-5)


@pytest.mark.slow
def test_frozen_parameters_stay(make_nlp):
    nlp = make_nlp(training={"freeze": ["embeddings", "encoder.layer.0"]})
    elq = nlp.get_pipe("elq")
    before = weights(elq)
    train(nlp, steps=2)
    changed = moved(before, weights(elq))
    frozen = ("transformer.embeddings", "transformer.encoder.layer.0")
    # Word shapes are no part of the encoder that is frozen.
    assert {n for n in changed if n.startswith(frozen)} == {
        "transformer.embeddings.token_type_embeddings.weight"
    }
    assert any(n.startswith("transformer.encoder.layer.1") for n in changed)


class Layers(torch.nn.Module):
    """Stands for a transformer of twelve layers."""

    def __init__(self):
        super().__init__()
        self.embeddings = torch.nn.Embedding(2, 2)
        self.layer = torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(12))


def test_a_name_freezes_that_part_and_no_other_that_begins_alike():
    module = Layers()
    freeze([module], ["layer.1", "layer.3.bias"])
    still = {name for name, p in module.named_parameters() if not p.requires_grad}
    assert still == {"layer.1.weight", "layer.1.bias", "layer.3.bias"}
    freeze([module], [])
    assert all(p.requires_grad for p in module.parameters())


def test_a_name_of_no_part_is_refused():
    with pytest.raises(ElqError, match=r"ELQ355.*'embedings'.*: embeddings, layer\."):
        freeze([Layers()], ["embeddings", "embedings"])
    freeze([Layers()], ["pooler"])  # many have none
    freeze([torch.nn.Linear(2, 2), Layers()], ["layer.0", "bias"])  # one of them has it
    freeze([], ["embeddings"])


@pytest.mark.slow
def test_what_is_frozen_is_frozen_in_an_entity_encoder_that_learns(make_nlp):
    settings = {"entity_loss": "in_batch", "train_entity_encoder": True, "freeze": ["embeddings"]}
    nlp = make_nlp(training=settings)
    module = nlp.get_pipe("elq").entity_encoder.transformer
    before = {name: p.detach().numpy().copy() for name, p in module.named_parameters()}
    train(nlp, steps=2)
    after = {name: p.detach().numpy() for name, p in module.named_parameters()}
    unmoved = before.keys() - moved(before, after)
    assert unmoved == {name for name in before if name.startswith("embeddings.")}


@pytest.mark.slow
def test_an_entity_encoder_has_dropout_while_it_learns_alone(make_nlp):
    nlp = make_nlp(training={"entity_loss": "in_batch", "train_entity_encoder": True})
    elq = nlp.get_pipe("elq")
    modes = []
    module = elq.entity_encoder.transformer
    module.embeddings.register_forward_hook(lambda part, *_: modes.append(part.training))
    train(nlp, steps=1)
    nlp("who did paris marry")  # embeds the entities again
    assert modes[0] is True
    assert not any(modes[1:])
    assert len(modes) > 1


@pytest.mark.slow
def test_gradient_checkpointing_changes_no_gradient(make_nlp):
    gradients = []
    for on in (False, True):
        settings = {"entity_loss": "in_batch", "train_entity_encoder": True}
        nlp = make_nlp(training={**settings, "gradient_checkpointing": on})
        elq = nlp.get_pipe("elq")
        elq.update(examples(nlp))
        modules = [get_encoder(elq.model).layers[0].transformer, elq.entity_encoder.transformer]
        assert [module.is_gradient_checkpointing for module in modules] == [on, on]
        learned = [p.grad for module in modules for p in module.parameters() if p.grad is not None]
        gradients.append(torch.cat([gradient.flatten() for gradient in learned]))
    torch.testing.assert_close(*gradients)
    elq.set_training(gradient_checkpointing=False)
    elq.update(examples(nlp))
    assert not modules[0].is_gradient_checkpointing


def test_a_transformer_without_gradient_checkpointing():
    with pytest.raises(ElqError, match=r"ELQ167.*Layers"):
        keep_activations([Layers()], keep=False)
    keep_activations([Layers()], keep=True)


@pytest.mark.slow
def test_processes_of_torchrun_that_do_not_train_together(make_nlp, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    nlp = make_nlp()
    with pytest.raises(ElqError, match=r"ELQ168.*2 processes"):
        nlp.get_pipe("elq").update(examples(nlp))


def test_clipping_is_by_the_global_norm():
    """With plain SGD-like steps impossible under Adam, look at the gradients themselves."""
    parameters = [torch.nn.Parameter(torch.zeros(3)), torch.nn.Parameter(torch.zeros(4))]
    for i, parameter in enumerate(parameters):
        parameter.grad = torch.full_like(parameter, float(i + 1))
    norm = np.sqrt(3 * 1 + 4 * 4)
    clip_by_global_norm(parameters, 1.0)
    together = torch.cat([p.grad for p in parameters])
    assert float(together.norm()) == pytest.approx(1.0, abs=1e-5)
    assert float(together[-1]) == pytest.approx(2 / norm, abs=1e-5)


def test_steps_are_those_of_adamw_with_the_constants_of_the_config():
    """Three steps of two parts, in plain float64 arithmetic."""
    rate, b1, b2, eps, decay = 0.1, 0.7, 0.8, 0.5, 0.25
    modules = {"slow": torch.nn.Linear(2, 1), "fast": torch.nn.Linear(2, 1)}
    factors = {"slow": 1.0, "fast": 3.0}
    stepper = TorchStepper(modules, factors)
    sgd = Adam(rate, beta1=b1, beta2=b2, eps=eps, L2=decay, grad_clip=0.0)
    values = {
        (part, name): parameter.detach().double().numpy().copy()
        for part, module in modules.items()
        for name, parameter in module.named_parameters()
    }
    mean, square = dict.fromkeys(values, 0.0), dict.fromkeys(values, 0.0)
    for step, gradient in enumerate((0.5, -2.0, 1.0), start=1):
        for part, name in values:
            parameter = modules[part].get_parameter(name)
            parameter.grad = torch.full_like(parameter, gradient)
        stepper.step(sgd)
        for key, value in values.items():
            lr = rate * factors[key[0]]
            mean[key] = b1 * mean[key] + (1 - b1) * gradient
            square[key] = b2 * square[key] + (1 - b2) * gradient**2
            root = np.sqrt(square[key] / (1 - b2**step))
            kept = 1 - lr * decay if key[1] == "weight" else 1.0
            values[key] = value * kept - lr * mean[key] / (1 - b1**step) / (root + eps)
    for (part, name), value in values.items():
        np.testing.assert_allclose(
            modules[part].get_parameter(name).detach().numpy(), value, rtol=1e-5
        )


def test_layer_norms_are_not_decayed_whatever_their_names():
    """DistilBERT's end in `_layer_norm`."""
    block = torch.nn.ModuleDict(
        {"sa_layer_norm": torch.nn.LayerNorm(2), "lin": torch.nn.Linear(2, 2)}
    )
    stepper = TorchStepper({"block": block}, {"block": 1.0})
    for parameter in block.parameters():
        parameter.grad = torch.zeros_like(parameter)
    weight = block["lin"].weight.detach().clone()
    stepper.step(Adam(0.1, L2=0.5))
    assert block["sa_layer_norm"].weight.tolist() == [1.0, 1.0]
    np.testing.assert_allclose(block["lin"].weight.detach(), weight * 0.95, rtol=1e-6)


def test_gradients_that_are_not_finite_change_nothing(caplog):
    layer = torch.nn.Linear(2, 1)
    before = layer.weight.detach().clone()
    stepper = TorchStepper({"layer": layer}, {"layer": 1.0})
    for grad_clip in (0.0, 1.0):
        layer.weight.grad = torch.tensor([[float("inf"), 1.0]])
        layer.bias.grad = torch.ones(1)
        stepper.step(Adam(0.1, grad_clip=grad_clip, L2=0.0))
        assert torch.equal(layer.weight, before)
        assert "not finite" in caplog.text
        caplog.clear()
    layer.weight.grad = torch.ones(1, 2)
    stepper.step(Adam(0.1, L2=0.0))
    assert not torch.equal(layer.weight, before)


@pytest.mark.slow
def test_the_schedule_of_the_config_sets_the_rate(make_nlp):
    nlp = make_nlp()
    elq = nlp.get_pipe("elq")
    before = weights(elq)
    elq.update(examples(nlp))
    elq.finish_update(Adam(0.0))
    assert moved(before, weights(elq)) == set()


@pytest.mark.slow
def test_bf16_training_stays_close(make_nlp):
    losses = [train(make_nlp(training={"precision": p}), steps=5) for p in ("fp32", "bf16")]
    assert losses[1]["elq"] == pytest.approx(losses[0]["elq"], rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("trained", [True, False])
def test_copies_of_an_entity_are_negatives_in_exact_batches_alone(make_nlp, trained):
    """Of two mentions of one entity: nothing to learn, or which of the two alike is meant."""

    def entity_loss(exact):
        settings = {"entity_loss": "in_batch", "train_entity_encoder": trained, "exact": exact}
        nlp = make_nlp(training=settings, model={"nil": False})
        return nlp.update(examples(nlp, [TEXTS[0]] * 2), sgd=Adam(0.0))["elq_entity"]

    assert entity_loss(False) == pytest.approx(0.0, abs=1e-6)
    assert entity_loss(True) == pytest.approx(np.log(2), rel=1e-3)


@pytest.mark.slow
def test_training_the_entity_encoder_embeds_the_kb_again(make_nlp):
    nlp = make_nlp(training={"entity_loss": "in_batch", "train_entity_encoder": True})
    elq = nlp.get_pipe("elq")
    vectors, fingerprint = elq.kb.vector_matrix()[0].copy(), elq.kb.fingerprint
    train(nlp, steps=80)
    nlp("who did paris marry")
    assert not np.allclose(elq.kb.vector_matrix()[0], vectors)
    assert elq.kb.fingerprint == elq.entity_encoder.fingerprint != fingerprint
    assert nlp.evaluate(examples(nlp))["elq_weak_f"] > 0.9


@pytest.mark.slow
def test_a_kb_that_was_emptied_takes_entities_of_the_trained_encoder(make_nlp):
    nlp = make_nlp(training={"entity_loss": "in_batch", "train_entity_encoder": True})
    elq = nlp.get_pipe("elq")
    train(nlp, steps=1)
    elq.remove_entities([entity.id for entity in elq.kb])
    train(nlp, steps=1)
    assert nlp("who did paris marry").ents == ()
    elq.add_entities([{"id": "Q1", "title": "Paris"}])
    assert elq.kb.fingerprint == elq.entity_encoder.fingerprint
    assert [entity.id for entity in elq.kb] == ["Q1"]


def test_the_entity_encoder_needs_in_batch_negatives(make_nlp):
    with pytest.raises(ElqError, match="ELQ113"):
        make_nlp(training={"train_entity_encoder": True})


@pytest.mark.slow
def test_unknown_entities_are_counted_and_their_mentions_learned(make_nlp, caplog):
    nlp = make_nlp()
    rows = [
        {"text": row["text"], "spans": [{**s, "id": "X9"} for s in row["spans"]]} for row in TEXTS
    ]
    nlp.update(examples(nlp, rows), sgd=Adam(1e-3))
    trainer = nlp.get_pipe("elq")._get_trainer()
    assert trainer.problems["unknown entity"] == 6
    with caplog.at_level("WARNING", logger="spacy"):
        nlp.evaluate(examples(nlp))
    assert "6 of 6 gold mentions: unknown entity" in caplog.text


@pytest.mark.slow
def test_entities_may_change_between_two_steps(make_nlp):
    nlp = make_nlp()
    elq = nlp.get_pipe("elq")
    train(nlp, steps=1)
    elq.add_entities([{"id": "Q7", "title": "Mercury", "description": "messenger of the gods"}])
    elq.remove_entities(["Q1"])
    assert np.isfinite(train(nlp, steps=1)["elq"])


@pytest.mark.slow
def test_a_training_does_not_hold_old_files(make_nlp, kb_path, tmp_path):
    nlp = make_nlp(training={"entity_loss": "full_softmax"})
    elq = nlp.get_pipe("elq")
    shutil.copytree(kb_path, tmp_path / "kb")
    elq.set_kb(tmp_path / "kb")
    train(nlp, steps=1)
    elq.remove_entities(["Q1"])
    other = FaissKB.open(tmp_path / "kb", nlp.vocab)
    other.compact(progress=False)
    elq.kb.refresh()
    other.tidy()
    assert not (tmp_path / "kb" / VECTORS).exists()
    assert np.isfinite(train(nlp, steps=1)["elq"])


@pytest.mark.slow
def test_what_resets_the_optimizer(make_nlp, kb_path, tiny_bert):
    elq = make_nlp().get_pipe("elq")
    trainer = elq._get_trainer()
    elq.set_kb(FaissKB.open(kb_path, elq.vocab, in_place=False))
    assert elq._get_trainer() is trainer
    elq.entity_encoder = EntityEncoder(str(tiny_bert))
    assert elq._get_trainer() is not trainer


@pytest.mark.slow
def test_entities_swapped_in_are_not_seen(make_nlp, kb_path):
    from spacy_elq.training.augment import create_entity_swapper

    nlp = make_nlp()
    swap = create_entity_swapper(kb_path, level=1.0, neighbours=5)
    swapped = [new for example in examples(nlp) for new in swap(nlp, example)]
    gold = [(gold_spans(eg.reference), gold_spans(new.reference)) for eg, new in
            zip(examples(nlp), swapped, strict=True)]  # fmt: skip
    kb = nlp.get_pipe("elq").kb
    for old, new in gold:
        for before, after in zip(old, new, strict=True):
            names = [name.lower() for name in kb.entity(after.kb_id_).names]
            assert after.kb_id_ != before.kb_id_
            assert after.text in names
    nlp.update(swapped)
    assert nlp.get_pipe("elq").cfg["seen_ids"] == []
    nlp.update(examples(nlp)[:1])
    assert nlp.get_pipe("elq").cfg["seen_ids"] == ["Q1"]


@pytest.mark.slow
def test_what_is_not_annotated_moves_with_the_text(make_nlp, kb_path):
    from spacy_elq.training.augment import create_entity_swapper

    nlp = make_nlp()
    swap = create_entity_swapper(kb_path, level=1.0, neighbours=5)
    text = "did paris meet Ali or Eve in georgia now"

    def place(part):
        start = text.index(part)
        return {"start": start, "end": start + len(part)}

    row = {
        "text": text,
        "spans": [{**place("georgia"), "id": "Q3"}, {**place("paris"), "id": "Q1"}],
        "complete": False,
        "unknown": [place("did"), place("Ali"), place("georgia now")],
        "nil": [place("Eve")],
    }
    (new,) = swap(nlp, examples(nlp, [row])[0])
    reference = new.reference
    assert reference.text != text
    last = gold_spans(reference)[1].text
    assert [span.text for span in unknown_spans(reference)] == ["did", "Ali", f"{last} now"]
    assert [span.text for span in nil_spans(reference)] == ["Eve"]
    assert not is_complete(reference)


@pytest.mark.slow
def test_an_entity_is_not_swapped_with_a_namesake(make_nlp, kb_path):
    """With the other Georgia the text would stay, and say something wrong."""
    from spacy_elq.training.augment import create_entity_swapper

    nlp = make_nlp()
    kb = nlp.get_pipe("elq").kb
    swap = create_entity_swapper(kb_path, level=1.0, neighbours=5)
    for example in examples(nlp) * 20:
        (new,) = swap(nlp, example)
        pairs = zip(gold_spans(example.reference), gold_spans(new.reference), strict=True)
        for pair in pairs:
            old, other = ({fold(name) for name in kb.entity(span.kb_id_).names} for span in pair)
            assert old.isdisjoint(other)


@pytest.fixture
def loss_calls(monkeypatch):
    """(logits, gold) of each mention loss, whose sum over a batch is said to be 6."""
    calls = []

    def loss(logits, gold, *, left_out, reduction):
        calls.append((logits.detach(), gold))
        return logits[logits > -torch.inf].sum() * 0 + 6.0

    monkeypatch.setattr("spacy_elq.training.trainer.mention_loss", loss)
    return calls


@pytest.mark.slow
def test_a_text_counts_once_however_many_windows_it_has(make_nlp, loss_calls):
    nlp = make_nlp()
    rows = [{"text": "zq " * 60 + "paris"}, TEXTS[0], TEXTS[1]]
    losses = nlp.update(examples(nlp, rows), sgd=Adam(0.0))
    ((logits, _),) = loss_calls
    assert len(logits) > len(rows)
    assert losses["elq_mention"] == 6.0 / 3


@pytest.mark.slow
def test_the_widest_mentions_are_learned_and_wider_ones_counted(make_nlp, loss_calls):
    nlp = make_nlp()
    elq = nlp.get_pipe("elq")
    elq.max_mention_length = 3
    # The vocabulary has none of these words, only their letters.
    rows = [
        {"text": f"is {word}", "spans": [{"start": 3, "end": 3 + len(word), "id": "Q1"}]}
        for word in ("zqj", "zqjx", "zqjxw")
    ]
    nlp.update(examples(nlp, rows), sgd=Adam(0.0))
    ((_, gold),) = loss_calls
    assert gold.nonzero()[:, [0, 2]].tolist() == [[0, 2], [1, 3]]
    assert elq._get_trainer().problems["wider than max_mention_length"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("mean", ["doc", "span"])
def test_empty_texts_can_be_trained_on(make_nlp, mean):
    nlp = make_nlp(training={"mention_loss_mean": mean})
    empty = [Example(nlp.make_doc(text), nlp.make_doc(text)) for text in ("", " ")]
    marks = [Example(nlp.make_doc("?!..."), nlp.make_doc("?!..."))]
    assert nlp.update(marks, sgd=Adam(1e-3))["elq"] == 0.0
    assert nlp.update(empty, sgd=Adam(1e-3))["elq"] == 0.0
    losses = nlp.update([*empty, *examples(nlp)], sgd=Adam(1e-3))
    assert np.isfinite(losses["elq"])


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"entity_dropout": 7}, "ELQ122.*at most 1"),
        ({"name_dropout": -3}, "ELQ112"),
        ({"hard_negatives": -1}, "ELQ112"),
        ({"hard_negatives": 1.5}, "ELQ122.*a whole number"),
        ({"mention_weight": float("nan")}, "ELQ122.*a number"),
        ({"head_lr_factor": -1.0}, "ELQ112"),
        ({"train_entity_encoder": "no"}, "ELQ122.*true or false"),
    ],
)
def test_settings_that_can_teach_nothing_are_refused(wrong, code):
    (name,) = wrong
    with pytest.raises(ElqError, match=code) as caught:
        TrainingSettings(**wrong)
    assert f"'{name}'" in str(caught.value)
