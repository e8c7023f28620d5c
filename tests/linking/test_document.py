"""What the mentions of one document tell each other: by made-up texts and scores."""

from types import SimpleNamespace

import numpy as np
import pytest

from spacy_elq.linking import document
from spacy_elq.linking.decoding import log_sigmoid, log_softmax
from spacy_elq.linking.document import REPEATED, SHORTENED, find_gains, share_entities
from spacy_elq.linking.ranked import RankedMentions

ANGELA, MAX, BULLS, WHO, BAND, JORDAN, RIVER, NATIONS, AIRLINES = range(9)
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
    return share_entities(rank(texts, mentions), docs, weight)


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
    np.testing.assert_allclose(found.raw_scores[1], [1.0, -4.0 + SHORTENED * sure, -4.0], rtol=1e-5)
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
    text = "Michael Jordan saw the Jordan River. Jordan won. Jordan flows."
    mentions = [
        (0, "Michael Jordan", 0, SURE, {JORDAN: SURE}),
        (0, "Jordan River", 0, SURE, {RIVER: SURE}),
        (0, "Jordan", 2, 1.0, {BAND: 1.2, JORDAN: 0.6, RIVER: 0.0}),
        (0, "Jordan", 3, 1.0, {BAND: 1.2, JORDAN: 0.0, RIVER: 0.6}),
    ]
    assert best([text], mentions) == [JORDAN, RIVER, JORDAN, RIVER]


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
        (0, "Merkel", 1, 1.0, {MAX: UNSURE, ANGELA: UNSURE - 0.9 * REPEATED * 0.5}),
        (0, "Merkel", 2, SURE, {MAX: SURE, ANGELA: 0.0}),
    ]
    gains = find_gains(rank(texts, mentions), [SimpleNamespace(text=texts[0])], 1.0)
    assert {i: set(found) for i, found in gains.items()} == {
        0: {MAX},
        1: {ANGELA, MAX},
        2: {ANGELA},
    }
    assert best(texts, mentions)[::2] == [ANGELA, MAX]


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
    assert share_entities(ranked, docs, weight) is ranked
