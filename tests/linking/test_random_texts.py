# ruff: noqa: RUF001, E501
"""Texts made of names, emoji, scripts, marks and odd spaces: no wrong offset, no exception."""

import random
import shutil

import pytest
import regex
import spacy
from spacy.tokens import Doc

from spacy_elq.annotate import LINKS_ATTR
from spacy_elq.encoders.question import get_tokenizer
from spacy_elq.encoders.windows import NO_CHARS, cut_windows
from spacy_elq.ml.model import get_encoder

# 20,000 were tried as well.
TEXTS = 4_000
BATCH = 200
NAMES = [
    "Michael Jordan", "Łódź", "Kellogg's", "東京", "トヨタ自動車", "กรุงเทพ", "ភ្នំពេញ", "ວຽງຈັນ",
    "ရန်ကုန်", "서울", "NHK放送センター", "iPhone 15プロ", "Straße", "दिल", "القاهرة", "תל אביב", "Zürich",
]  # fmt: skip
PARTS = [
    *NAMES, "paris", "georgia", "who is", "Ｔｏｋｙｏ", "𝓣𝓸𝓴𝔂𝓸", "Ⓣⓞⓚ", "🅣🅞", "ﬁnal", "ĳ", "½", "²", "№5", "㍿", "ﷺ",
    "🏀", "❤️", "👩‍👩‍👧", "👍🏽", "🇫🇷", "1️⃣", "™", "®", "©", "€", "→", "′", "’s", "'s", "“", "…", "—", "‐", "#", "@", "_", "/",
    "\u0301", "\u0323", "\u200b", "\u200c", "\u200d", "\u00ad", "\ufe0f", "\u200f", "\u2066", "\ufeff", "\U000e0100", "\u20e3",
    " ", " ", " ", "\u00a0", "\u2009", "\u3000", "\t", "\n", "\r\n", "\u2028", "\x00", "\x1f", "\x85", "ｶﾞ", "\u1109\u1165",
    "น้ำ", "ゟ", "々", "ー", "\u0d4e", "\ue000", "\U0010ffff", "İ", "ı", "ς", "й", "ё", "\ufdd0", "a" * 40,
]  # fmt: skip


def make_text(rng):
    parts = rng.choices(PARTS, k=rng.randint(1, 14))
    parts += [chr(rng.choice([rng.randrange(0xD800), rng.randrange(0xE000, 0x110000)]))]
    rng.shuffle(parts)
    return "".join(parts)


def check_windows(text, windows):
    """Offsets of wordpieces are in the text, in order, and those of whole characters."""
    begins = {match.start() for match in regex.finditer(r"\X", text)} | {len(text)}
    begins |= {place for place, char in enumerate(text) if char.isspace()}
    for window in windows:
        real = window.chars[window.chars[:, 0] != NO_CHARS].tolist()
        assert all(0 <= a < b <= len(text) for a, b in real), text
        assert real == sorted(real), text
        inner = {place for pair in real for place in pair}
        assert text.isascii() or all(p in begins or text[p - 1 : p + 1].isascii() for p in inner), (
            text
        )


def check_links(doc):
    group = doc.spans["elq"]
    for span, link in zip(group, group.attrs[LINKS_ATTR], strict=True):
        assert 0 <= link["start"] < link["end"] <= len(doc.text)
        assert span.start_char <= link["start"] and link["end"] <= span.end_char
        assert doc.text[link["start"] : link["end"]].strip()
    for ent in doc.ents:
        assert ent._.elq is None or ent._.elq.id == ent.kb_id_


@pytest.mark.slow
def test_random_texts(trained_path, tmp_path):
    nlp = spacy.load(shutil.copytree(trained_path, tmp_path / "pipeline"))
    elq = nlp.get_pipe("elq")
    elq.add_entities([{"id": name, "title": name} for name in NAMES])
    elq.threshold = elq.span_group_threshold = -8.0
    tokenizer = get_tokenizer(get_encoder(elq.model))
    rng = random.Random(13)
    blank = [spacy.blank(lang) for lang in ("en", "xx", "zh")]
    linked = 0
    for _ in range(TEXTS // BATCH):
        texts = [make_text(rng) for _ in range(BATCH)]
        for i, windows in enumerate(cut_windows(tokenizer, [text], 64, 24) for text in texts):
            check_windows(texts[i], windows)
        tokens = [rng.choice(blank).make_doc(text) for text in texts]
        docs = [
            Doc(nlp.vocab, [t.text for t in doc], [bool(t.whitespace_) for t in doc])
            for doc in tokens
        ]
        for doc in elq.pipe(docs, batch_size=BATCH):
            check_links(doc)
            linked += len(doc.spans["elq"])
    assert linked > TEXTS // 4
