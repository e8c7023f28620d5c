"""Which spans the mention loss leaves out, against a loop over all spans of all windows."""

import numpy as np
import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from thinc.api import Adam
from transformers import AutoTokenizer

from spacy_elq.corpora.spans_jsonl import docs_from_texts, text_from_dict
from spacy_elq.encoders.windows import cut_windows
from spacy_elq.ml.name_features import MENTION_FEATURES, NameMatch
from spacy_elq.training.unannotated import find_unannotated

from ..helpers import TEXTS, examples

W = 3


@pytest.fixture(scope="module")
def nlp():
    return spacy.blank("en")


@pytest.fixture(scope="module")
def tokenizer(tiny_bert):
    return AutoTokenizer.from_pretrained(tiny_bert)


def references(nlp, rows):
    return list(docs_from_texts(nlp, [text_from_dict(row, "") for row in rows]))


def left_out(tokenizer, docs, names=None, max_length=16):
    windows = cut_windows(tokenizer, [doc.text for doc in docs], max_length, 6)
    longest = max(map(len, windows))
    names = [names or {} for _ in windows]
    return windows, find_unannotated(windows, docs, names, (len(windows), longest, W))


def surfaces(windows, docs, cells):
    """The texts of the spans that are left out, without special tokens and padding."""
    found = set()
    for b, first, width in zip(*cells.nonzero(), strict=True):
        chars = windows[b].chars[first : first + width + 1]
        if len(chars) == width + 1 and chars.min() >= 0:
            found.add(docs[windows[b].doc].text[chars[0, 0] : chars[-1, 1]])
    return found


def place(text, part):
    start = text.index(part)
    return {"start": start, "end": start + len(part)}


def test_capitals_and_names_may_be_mentions_unless_they_touch_a_gold_one(nlp, tokenizer):
    """All texts are of known words and letters, so that the wordpieces are letters."""
    row = {"text": "is A of b at C", "complete": False}
    row["spans"] = [{**place(row["text"], "C"), "id": "Q1"}]
    docs = references(nlp, [row])
    row = np.zeros(1, dtype=np.int64)
    match = NameMatch(row, row, np.zeros(len(MENTION_FEATURES)), np.ones((1, 1)))
    windows, cells = left_out(tokenizer, docs)
    at_b = [i for i, (start, _) in enumerate(windows[0].chars.tolist()) if start == 8]
    assert surfaces(windows, docs, cells) >= {"A"}
    assert all("A" in surface for surface in surfaces(windows, docs, cells))
    windows, cells = left_out(tokenizer, docs, {(at_b[0], at_b[0]): match})
    assert "b" in surfaces(windows, docs, cells)
    assert not any("C" in surface for surface in surfaces(windows, docs, cells))


def test_digits_and_letters_without_case_may_be_mentions(nlp, tokenizer):
    docs = references(nlp, [{"text": "at 7 é 東", "complete": False}])
    windows, cells = left_out(tokenizer, docs)
    found = surfaces(windows, docs, cells)
    assert {"7", "東"} <= found
    assert not {"at", "é"} & found


def test_unknown_spans_are_left_out_of_complete_texts_too(nlp, tokenizer):
    row = {"text": "is a of b at c", "unknown": [place("is a of b at c", "b")]}
    docs = references(nlp, [row])
    windows, cells = left_out(tokenizer, docs)
    assert "b" in surfaces(windows, docs, cells)
    assert all("b" in surface for surface in surfaces(windows, docs, cells))


@pytest.mark.parametrize("field", ["optional", "alt", "other", "unmapped"])
def test_mentions_that_may_be_linked_or_not_are_left_out(nlp, tokenizer, field):
    text = "is a of b at c"
    row = {"text": text, field: [place(text, "b")]}
    row["spans"] = [{**place(text, "c"), "id": "Q1"}]
    docs = references(nlp, [row])
    windows, cells = left_out(tokenizer, docs)
    assert "b" in surfaces(windows, docs, cells)
    assert all("b" in surface for surface in surfaces(windows, docs, cells))


def test_nothing_is_left_out_of_texts_that_are_annotated_in_full(nlp, tokenizer):
    docs = references(nlp, [{"text": "At A"}, {"text": "At B", "complete": True}])
    assert left_out(tokenizer, docs)[1] is None


@st.composite
def rows(draw):
    text = draw(st.text("aB 7.é東", min_size=1, max_size=40))
    fields = {}
    for name in ("spans", "unknown", "nil"):
        starts = draw(st.lists(st.integers(0, len(text) - 1), max_size=2))
        fields[name] = [
            {"start": start, "end": min(start + draw(st.integers(1, 4)), len(text)), "id": "Q1"}
            for start in starts
        ]
    if draw(st.booleans()):
        fields["complete"] = draw(st.booleans())
    return {"text": text, **fields}


def expected(windows, docs, shape):
    """Character by character."""
    result = np.zeros(shape, dtype=bool)
    for b, window in enumerate(windows):
        doc, pieces = docs[window.doc], window.chars.tolist()
        groups = [doc.spans.get(key, ()) for key in ("elq_gold", "elq_nil", "elq_unknown")]
        gold, nil, unknown = (
            {i for span in group for i in range(span.start_char, span.end_char)} for group in groups
        )
        attrs = doc.spans["elq_unknown"].attrs if "elq_unknown" in doc.spans else {}
        for first in range(shape[1]):
            for width in range(shape[2]):
                covered = {
                    i
                    for start, end in pieces[first : first + width + 1]
                    for i in (range(start, end) if start >= 0 else ())
                }
                of_name = any(
                    c.isupper() or c.isdigit() or c == "東"
                    for c in map(doc.text.__getitem__, covered)
                )
                may_be = attrs.get("complete") is False and of_name
                untouched = not covered & (gold | nil)
                result[b, first, width] = bool(covered & unknown) or (may_be and untouched)
    return result


@given(st.lists(rows(), min_size=1, max_size=3))
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_each_span_is_left_out_or_not_by_its_characters(nlp, tokenizer, some):
    docs = references(nlp, some)
    windows = cut_windows(tokenizer, [doc.text for doc in docs], 16, 6)
    if not windows:
        return
    shape = (len(windows), max(map(len, windows)), W)
    found = find_unannotated(windows, docs, [{} for _ in windows], shape)
    np.testing.assert_array_equal(
        np.zeros(shape, dtype=bool) if found is None else found, expected(windows, docs, shape)
    )


# In training


def updated(make_nlp, rows, **training):
    nlp = make_nlp(training=training)
    elq = nlp.get_pipe("elq")
    return elq._get_trainer(), elq.update(examples(nlp, rows))


@pytest.mark.slow
@pytest.mark.parametrize("mean", ["doc", "span"])
def test_a_text_annotated_in_part_leaves_other_texts_as_they_are(make_nlp, mean):
    part = {"text": "how hot is Mercury", "complete": False}
    mixed, losses = updated(make_nlp, [TEXTS[0], part], mention_loss_mean=mean)
    assert (mixed.seen.complete, mixed.seen.partial) == (1, 1)
    assert mixed.seen.left_out > 0
    alone, whole = updated(make_nlp, [TEXTS[0]], mention_loss_mean=mean)
    assert (alone.seen.complete, alone.seen.partial, alone.seen.left_out) == (1, 0, 0)
    rest, other = updated(make_nlp, [part], mention_loss_mean=mean)
    weights = [1, 1] if mean == "doc" else [mixed.seen.spans - rest.seen.spans, rest.seen.spans]
    both = [whole["elq_mention"], other["elq_mention"]]
    assert losses["elq_mention"] == pytest.approx(np.average(both, weights=weights), rel=1e-4)


@pytest.mark.slow
def test_names_count_before_name_dropout_and_without_name_features(make_nlp):
    row = {"text": "how hot is mercury", "complete": False}
    counts = {updated(make_nlp, [row], name_dropout=share)[0].seen.left_out for share in (0.0, 1.0)}
    nlp = make_nlp(model={"name_features": False})
    nlp.update(examples(nlp, [row]), sgd=Adam(0.0))
    counts.add(nlp.get_pipe("elq")._get_trainer().seen.left_out)
    assert len(counts) == 1
    assert counts.pop() > 0


@pytest.mark.slow
def test_a_gold_mention_within_an_unknown_span_is_learned(make_nlp):
    row = {**TEXTS[4], "unknown": [{"start": 0, "end": len(TEXTS[4]["text"])}]}
    trainer, losses = updated(make_nlp, [row])
    assert trainer.seen.spans == 1
    assert losses["elq_mention"] > 0


@pytest.mark.slow
def test_the_log_says_what_was_left_out(make_nlp, caplog):
    rows = [{"text": "how hot is Mercury", "complete": False}, *TEXTS[:2]]
    trainer, _ = updated(make_nlp, rows)
    left, learned = trainer.seen.left_out, trainer.seen.spans
    with caplog.at_level("INFO", logger="spacy"):
        trainer.report()
        trainer.report()
    (record,) = caplog.records
    assert record.getMessage() == (
        f"elq: 2 texts are annotated in full, 1 in part: {left} spans left out, {learned} learned"
    )


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["full_softmax", "hard_negatives"])
def test_mentions_of_no_entity_teach_nil(make_nlp, loss):
    text = "how hot is mercury"
    bounds = {"start": 11, "end": 18}
    rows = {
        "nil": {"text": text, "nil": [bounds]},
        "lacking": {"text": text, "spans": [{**bounds, "id": "X9"}]},
        "hidden": {"text": text, "spans": [{**bounds, "id": "Q5"}]},
    }
    losses = {}
    for kind, row in rows.items():
        dropout = float(kind == "hidden")
        trainer, losses[kind] = updated(
            make_nlp, [row], entity_loss=loss, entity_dropout=dropout, mention_loss_mean="span"
        )
        assert trainer.seen.nil == (kind != "hidden")
        nil = trainer.heads.entity_scorer.nil_cosine
        assert float(nil.grad.abs()) > 0
    assert losses["nil"] == losses["lacking"]
    assert losses["nil"]["elq_mention"] == pytest.approx(losses["hidden"]["elq_mention"])
    # With its entity among the wrong ones, NIL is a little less likely.
    assert losses["nil"]["elq_entity"] > losses["hidden"]["elq_entity"]
    _, off = updated(make_nlp, [rows["nil"]], entity_loss=loss, nil_from_unknown=False)
    assert off["elq_entity"] == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["full_softmax", "hard_negatives", "in_batch"])
def test_nil_is_not_learned_from_an_empty_knowledge_base(make_nlp, loss):
    nlp = make_nlp(training={"entity_loss": loss})
    elq = nlp.get_pipe("elq")
    elq.remove_entities([entity.id for entity in elq.kb])
    losses = nlp.update(examples(nlp), sgd=Adam(0.0))
    assert losses["elq_entity"] == 0.0
