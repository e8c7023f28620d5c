"""What the mentions of one document tell each other: by made-up texts and scores."""

from dataclasses import replace
from time import process_time
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_elq.linking import document
from spacy_elq.linking.decoding import log_sigmoid, log_softmax
from spacy_elq.linking.document import (
    CONFIDENT,
    MAX_ENTITIES,
    REPEATED,
    SHORTENED,
    add_gains,
    find_gains,
)
from spacy_elq.linking.ranked import RankedMentions

ANGELA, MAX, BULLS, WHO, BAND, MICHAEL, BARBARA = range(7)
# Of an entity that its mention certainly means, and of one that it hardly means.
SURE, UNSURE = 9.0, 0.5


def rank(texts, mentions, nil=0.0):
    """Mentions as ranking leaves them.

    mentions: (document, text of the mention, which of its occurrences, span logit, {row: score}).
    """
    width = max((len(scores) for *_, scores in mentions), default=1)
    rows = np.full((len(mentions), width), -1)
    raw = np.full(rows.shape, -np.inf, dtype=np.float32)
    chars = []
    for i, (doc, surface, n, _, scores) in enumerate(mentions):
        ranked = sorted(scores, key=lambda row: -scores[row])
        rows[i, : len(ranked)] = ranked
        raw[i, : len(ranked)] = [scores[row] for row in ranked]
        start = -1
        for _ in range(n + 1):
            start = texts[doc].index(surface, start + 1)
        chars.append((start, start + len(surface)))
    logit = np.array([mention[3] for mention in mentions], dtype=np.float32)
    all_scores = log_softmax(np.concatenate([raw, np.full((len(raw), 1), nil)], axis=1))
    none = np.full(len(mentions), -1)
    return RankedMentions(
        doc=np.array([mention[0] for mention in mentions], dtype=np.int64),
        first=none,
        last=none,
        chars=np.array(chars, dtype=np.int64).reshape(-1, 2),
        given=none,
        logit=logit,
        mention_score=log_sigmoid(logit),
        rows=rows,
        raw_scores=raw,
        entity_scores=all_scores[:, :-1],
        nil_score=all_scores[:, -1],
    )


def shared(texts, mentions, weight=1.0):
    docs = [SimpleNamespace(text=text) for text in texts]
    ranked = rank(texts, mentions)
    return add_gains(ranked, find_gains(ranked, docs, weight))


def best(texts, mentions):
    return shared(texts, mentions).rows[:, 0].tolist()


LONG_THEN_SHORT = [
    ("Angela Merkel spoke. Merkel smiled.", "Angela Merkel", "Merkel", 1),
    ("Merkel smiled. Then Angela Merkel spoke.", "Angela Merkel", "Merkel", 0),
    ("The Chicago Bulls won. the Bulls did.", "Chicago Bulls", "the Bulls", 0),
    ("The Chicago Bulls won. Bulls' win.", "The Chicago Bulls", "Bulls", 1),
    ("World Health Organization (WHO)", "World Health Organization", "WHO", 0),
    ("Bank of England, B.O.E.", "Bank of England", "B.O.E", 0),
    ("University of California, UC", "University of California", "UC", 0),
    ("MERKEL WINS: Angela Merkel is ahead", "Angela Merkel", "MERKEL", 0),
    ("angela merkel spoke and merkel smiled", "angela merkel", "merkel", 1),
    ("Angela Merkel spoke. Merkel's smile", "Angela Merkel", "Merkel's", 0),
]
UNRELATED = [
    ("United Nations planes flew united", "United Nations", "united", 0),
    ("The World Health Organization: who is it?", "World Health Organization", "who", 0),
    ("The World Health Organization: Who is it?", "World Health Organization", "Who", 0),
    ("Angela Merkel, Angela", "Angela Merkel", "Angela", 1),
    ("University of Texas, Texas", "University of Texas", "Texas", 1),
    ("The House, The", "The House", "The", 1),
    ("Angela Merkel, Merk", "Angela Merkel", "Merk", 1),
    ("Angela Merkel, Merkel Angela", "Angela Merkel", "Merkel Angela", 0),
    ("Angela Dorothea Merkel, Angela Merkel", "Angela Dorothea Merkel", "Angela Merkel", 0),
    ("Angela Merkel (A)", "Angela Merkel", "A", 1),
]


@pytest.mark.parametrize(("text", "long", "short", "n"), LONG_THEN_SHORT)
def test_a_short_form_means_what_the_long_one_means(text, long, short, n):
    mentions = [(0, long, 0, SURE, {ANGELA: SURE}), (0, short, n, 1.0, {MAX: 1.0, ANGELA: 0.0})]
    assert best([text], mentions) == [ANGELA, ANGELA]


@pytest.mark.parametrize(("text", "long", "short", "n"), UNRELATED)
def test_other_words_are_no_short_form(text, long, short, n):
    mentions = [(0, long, 0, SURE, {ANGELA: SURE}), (0, short, n, 1.0, {MAX: 1.0, ANGELA: 0.0})]
    assert find_gains(rank([text], mentions), [SimpleNamespace(text=text)], 1.0) == {}


def test_the_bonus_is_the_confidence_that_the_mention_lacks():
    text = "Angela Merkel spoke. Merkel smiled."
    mentions = [
        (0, "Angela Merkel", 0, 2.0, {ANGELA: 3.0, MAX: 1.0}),
        (0, "Merkel", 1, 1.0, {MAX: 1.0, ANGELA: 0.5}),
    ]
    sure = 1 / (1 + np.exp(-2.0)) * np.exp(3.0) / (np.exp(3.0) + np.exp(1.0) + 1)
    own = 1 / (1 + np.exp(-1.0)) * np.exp(0.5) / (np.exp(1.0) + np.exp(0.5) + 1)
    bonus = 0.7 * SHORTENED * (sure - own)
    found = shared([text], mentions, weight=0.7)
    assert found.rows.tolist() == [[ANGELA, MAX], [ANGELA, MAX]]
    np.testing.assert_allclose(found.raw_scores, [[3.0, 1.0], [0.5 + bonus, 1.0]], rtol=1e-5)
    total = np.exp(0.5 + bonus) + np.exp(1.0) + 1
    wanted = np.log(np.array([np.exp(0.5 + bonus), np.exp(1.0), 1]) / total)
    np.testing.assert_allclose([*found.entity_scores[1], found.nil_score[1]], wanted, rtol=1e-5)
    lifted = 1.0 + document.LIFT * bonus
    np.testing.assert_allclose(found.logit, [2.0, lifted], rtol=1e-5)
    np.testing.assert_allclose(found.mention_score[1], -np.log1p(np.exp(-lifted)), rtol=1e-5)


def test_an_entity_joins_the_candidates_below_the_last():
    text = "Angela Merkel spoke. Merkel smiled."
    mentions = [
        (0, "Angela Merkel", 0, SURE, {ANGELA: SURE}),
        (0, "Merkel", 1, 1.0, {MAX: 1.0, BAND: -4.0}),
    ]
    found = shared([text], mentions)
    sure = np.exp(rank([text], mentions).joint[0])
    assert found.rows.tolist() == [[ANGELA, -1, -1], [MAX, ANGELA, BAND]]
    np.testing.assert_allclose(found.raw_scores[1], [1.0, -4.0 + SHORTENED * sure, -4.0], atol=1e-5)
    everything = [*np.exp(found.entity_scores[1]), np.exp(found.nil_score[1])]
    assert sum(everything) == pytest.approx(1)


def test_what_a_mention_means_in_its_own_context_stays():
    text = "Angela Merkel spoke. Merkel, the village, has a lake."
    mentions = [
        (0, "Angela Merkel", 0, SURE, {ANGELA: SURE}),
        (0, "Merkel", 1, SURE, {MAX: SURE, BAND: 0.0}),
    ]
    assert best([text], mentions) == [ANGELA, MAX]


def test_an_unsure_long_form_tells_nothing():
    text = "Angela Merkel spoke. Merkel smiled."
    mentions = [(0, "Angela Merkel", 0, -3.0, {ANGELA: 3.0}), (0, "Merkel", 1, 1.0, {MAX: 1.0})]
    assert best([text], mentions) == [ANGELA, MAX]


def test_of_two_long_forms_the_context_decides():
    text = "Michael Jordan met Barbara Jordan. Jordan won. Jordan spoke."
    mentions = [
        (0, "Michael Jordan", 0, SURE, {MICHAEL: SURE}),
        (0, "Barbara Jordan", 0, SURE, {BARBARA: SURE}),
        (0, "Jordan", 2, 1.0, {BAND: 1.2, MICHAEL: 0.6, BARBARA: 0.0}),
        (0, "Jordan", 3, 1.0, {BAND: 1.2, MICHAEL: 0.0, BARBARA: 0.6}),
    ]
    assert best([text], mentions) == [MICHAEL, BARBARA, MICHAEL, BARBARA]


def test_a_name_inside_of_a_longer_one_is_told_nothing():
    text = "Angela Merkel and Angela Merkel"
    mentions = [
        (0, "Angela Merkel", 0, SURE, {ANGELA: SURE}),
        (0, "Angela Merkel", 1, SURE, {ANGELA: SURE}),
        (0, "Merkel", 1, 1.0, {MAX: 1.0}),
    ]
    assert best([text], mentions) == [ANGELA, ANGELA, MAX]


def test_spellings_at_one_place_tell_each_other_nothing():
    texts = ["the Bulls won in the Bulls' hall, the hall"]
    mentions = [
        (0, "the Bulls", 0, SURE, {BULLS: SURE}),
        (0, "Bulls", 0, 1.0, {BAND: 1.0}),
        (0, "the hall", 0, 1.0, {WHO: 1.0}),
    ]
    assert best(texts, mentions) == [BULLS, BAND, WHO]


def test_what_occurs_again_means_the_same_unless_its_context_differs():
    texts = ["Merkel spoke. Merkel smiled. Merkel lies on a lake."]
    mentions = [
        (0, "Merkel", 0, SURE, {ANGELA: SURE, MAX: 0.0}),
        (0, "Merkel", 1, 1.0, {MAX: 0.3, ANGELA: 0.2}),
        (0, "Merkel", 2, SURE, {MAX: SURE, ANGELA: 0.0}),
        (0, "Merkel", 2, SURE, {MAX: SURE, ANGELA: 0.0}),
    ]
    assert best(texts, mentions[:2]) == [ANGELA, ANGELA]
    assert best(texts, mentions) == [ANGELA, MAX, MAX, MAX]


def test_two_unsure_mentions_do_not_take_turns():
    texts = ["Merkel and Merkel"]
    mentions = [
        (0, "Merkel", 0, SURE, {ANGELA: 5.4, MAX: 5.0}),
        (0, "Merkel", 1, SURE, {ANGELA: 5.0, MAX: 5.4}),
    ]
    assert best(texts, mentions) == [ANGELA, MAX]


@pytest.mark.parametrize(
    ("texts", "mentions", "weight"),
    [
        ([], [], 1.0),
        (["Merkel"], [(0, "Merkel", 0, SURE, {ANGELA: SURE})], 1.0),
        (["Angela Merkel"], [(0, s, 0, SURE, {1: SURE}) for s in ("Angela Merkel", "Merkel")], 1),
        (["Merkel", "Merkel"], [(i, "Merkel", 0, 1.0, {i: SURE}) for i in range(2)], 1.0),
        (["Merkel, Merkel"], [(0, "Merkel", i, 1.0, {i: 2.0}) for i in range(2)], 0.0),
        (["?! and ?!"], [(0, "?!", i, 1.0, {i: SURE}) for i in range(2)], 1.0),
    ],
)
def test_nothing_changes(texts, mentions, weight):
    ranked = rank(texts, mentions)
    docs = [SimpleNamespace(text=text) for text in texts]
    assert add_gains(ranked, find_gains(ranked, docs, weight)) is ranked


NAMES = ["Ann", "Bo", "Cy", "Ann Bo", "Cy Bo", "Bo Ann Bo", "Ann Cy"]


@st.composite
def documents(draw):
    """Texts that are lists of names, and a mention of each with random scores."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    texts, mentions = [], []
    for doc in range(draw(st.integers(1, 3))):
        names = draw(st.lists(st.sampled_from(NAMES), max_size=7))
        texts.append("; ".join(f"<{name}>" for name in names))
        for i, name in enumerate(names):
            scores = dict(enumerate(rng.normal(1, 2, 4).round(3)))
            del scores[int(rng.integers(4))]
            mentions.append((doc, f"<{name}>", names[:i].count(name), rng.normal(2, 2), scores))
    return texts, mentions


def plainly(mentions):
    """Bonuses by the definition, mention by mention."""

    def confidence(mention, row):
        *_, logit, scores = mention
        total = sum(np.exp([*scores.values(), 0.0]))
        return np.exp(scores.get(row, -np.inf)) / total / (1 + np.exp(-logit))

    def told(others, row):
        sure = [confidence(other, row) for other in others]
        return sum(c for c in sure if c > CONFIDENT) / len(sure) if sure else 0.0

    found = {}
    for i, mention in enumerate(mentions):
        doc, name = mention[0], mention[1][1:-1]
        company = [other for k, other in enumerate(mentions) if other[0] == doc and k != i]
        longer = {other[1] for other in company if other[1].endswith(f" {name}>")}
        for row in range(4):
            own = confidence(mention, row)
            same = [other for other in company if other[1] == mention[1]]
            bonus = REPEATED * (told(same, row) - own)
            for form in longer:
                ending = [other for other in company if other[1] == form]
                bonus = max(bonus, SHORTENED * (told(ending, row) - own))
            if bonus > 1e-6 and (same or longer):
                found[i, row] = bonus
    return found


@given(documents())
def test_bonuses_by_the_definition(case):
    texts, mentions = case
    docs = [SimpleNamespace(text=text) for text in texts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(document, "MAX_ENTITIES", 1000)
        gains = find_gains(rank(texts, mentions), docs, 1.0)
    found = {(i, row): gain.bonus for i, of in gains.items() for row, gain in of.items()}
    wanted = plainly(mentions)
    assert {key for key, bonus in found.items() if bonus > 1e-5} <= wanted.keys()
    for key, bonus in wanted.items():
        assert found.get(key, 0.0) == pytest.approx(bonus, abs=1e-4)


def candidates(mentions):
    """Each mention's candidates and scores, without padding."""
    columns = mentions.rows, mentions.raw_scores, mentions.entity_scores
    return [
        (float(logit), [entry for entry in zip(*ranked, strict=True) if entry[0] >= 0])
        for logit, *ranked in zip(
            mentions.logit, *(column.round(4).tolist() for column in columns), strict=True
        )
    ]


@given(documents(), st.randoms())
def test_a_document_is_linked_alone_as_in_any_batch(case, random):
    texts, mentions = case
    order = random.sample(range(len(texts)), len(texts))
    moved = [(order.index(doc), *rest) for doc, *rest in mentions]
    together = candidates(shared([texts[doc] for doc in order], moved))
    alone = {
        doc: candidates(shared([text], [(0, *m[1:]) for m in mentions if m[0] == doc]))
        for doc, text in enumerate(texts)
    }
    assert together == [alone[mention[0]].pop(0) for mention in mentions]


def book(n):
    """The time that n mentions take, a third of which are of one of very many names."""
    names = [name for i in range(n // 3) for name in (f"John{i} Doe", "Doe", f"Sir Al{i % 9}")]
    text = "; ".join(names)
    mentions = [(0, name, 0, 3.0, {i % 99: 5.0, 99: 1.0}) for i, name in enumerate(names)]
    ranked = rank([text], mentions)
    starts = np.cumsum([0, *(len(name) + 2 for name in names)])[:-1]
    ends = starts + [len(name) for name in names]
    ranked = replace(ranked, chars=np.stack([starts, ends], axis=1))
    begin = process_time()
    gains = find_gains(ranked, [SimpleNamespace(text=text)], 1.0)
    assert max(map(len, gains.values())) <= MAX_ENTITIES
    return process_time() - begin


@pytest.mark.slow
def test_a_book_takes_linear_time():
    book(300)
    assert book(24_000) < 24 * book(3_000)
