"""How names are written: "US" is not "us", where the text has case."""

import math

import numpy as np
import pytest
from spacy.vocab import Vocab

from spacy_elq.encoders.windows import cut_windows
from spacy_elq.kb.files.names import (
    CAPITALISED,
    CAPITALS,
    CASELESS,
    INITIAL,
    LOWER,
    MIXED,
    case_of,
)
from spacy_elq.kb.knowledge_base import FaissKB
from spacy_elq.ml.name_features import ENTITY_FEATURES, LOG_SHARE, RECASED, find_name_matches
from spacy_elq.types import Entity

ENTITIES = [
    Entity("USA", "United States", aliases=("US", "U.S.")),
    Entity("us", "us"),
    Entity("Us", "Us"),
    Entity("WHO", "World Health Organization", aliases=("WHO",)),
    Entity("The Who", "The Who"),
    Entity("It", "It"),
    Entity("apple", "apple"),
    Entity("Apple", "Apple"),
    Entity("iPhone", "iPhone"),
    Entity("NGO", "NGO"),
    Entity("X", "X"),
    Entity("2012", "2012"),
]


def knowledge_base(entities):
    kb = FaissKB(Vocab(), 1)
    kb.add(entities, np.ones((len(entities), 1), "f4"))
    return kb


@pytest.fixture(scope="module")
def tokenizer(tiny_bert):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(tiny_bert))


@pytest.fixture(scope="module")
def find(tokenizer):
    kb = knowledge_base(ENTITIES)
    ids = [entity.id for entity in kb]

    def find(text, surface):
        """The three features of a mention, and the ids of entities that are written so."""
        windows = cut_windows(tokenizer, [text], 64, 16)
        (hits,) = find_name_matches(kb, [text], windows)
        chars = windows[0].chars
        (hit,) = (h for (a, b), h in hits.items() if text[chars[a, 0] : chars[b, 1]] == surface)
        recased = hit.of_entities[:, RECASED].tolist()
        alike = {ids[row] for row, other in zip(hit.rows, recased, strict=True) if not other}
        return tuple(hit.features[6:].astype(int).tolist()), alike

    return find


NAMES = [
    ("", CASELESS), ("2012", CASELESS), ("北京", CASELESS), ("us", LOWER), ("x", LOWER),
    ("Us", CAPITALISED), ("New york", CAPITALISED), ("BBC One", CAPITALISED), ("McX", CAPITALISED),
    ("US", CAPITALS), ("U.S.", CAPITALS), ("PCs", CAPITALS), ("NATO's", CAPITALS), ("ÉÀ", CAPITALS),
    ("X", INITIAL), ("U2", INITIAL), ("iPhone", MIXED), ("van Gogh", MIXED), ("As", CAPITALISED),
]  # fmt: skip


@pytest.mark.parametrize("name, case", NAMES)
def test_how_a_name_is_written(name, case):
    assert case_of(name) == case


SAME, LOWERED, RECASED_, NOTHING = (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0)
MENTIONS = [
    ("He left the US for Rome.", "US", SAME, {"USA"}),
    ("He left the U.S. for Rome.", "U.S.", SAME, {"USA"}),
    ("He left Rome with us at noon.", "us", SAME, {"us"}),
    ("He saw Us in Rome.", "Us", SAME, {"Us"}),
    ("In Rome the WHO warns.", "WHO", SAME, {"WHO"}),
    ("In Rome the Who sing.", "Who", SAME, {"The Who"}),
    ("a man who left Rome", "who", LOWERED, set()),
    ("He saw it in Rome.", "it", LOWERED, set()),
    ("an iphone from Rome", "iphone", LOWERED, set()),
    ("an IPHONE from Rome", "IPHONE", RECASED_, set()),
    ("He eats an apple in Rome.", "apple", SAME, {"apple"}),
    ("He works at Apple in Rome.", "Apple", SAME, {"Apple"}),
    ("He left Rome. Apple pie", "Apple", SAME, {"Apple", "apple"}),
    ("Apple pie from Rome", "Apple", SAME, {"Apple", "apple"}),
    ("It is from Rome", "It", SAME, {"It"}),
    ("two NGOs from Rome", "NGOs", SAME, {"NGO"}),
    ("he saw X in Rome", "X", SAME, {"X"}),
    ("in 2012 in Rome", "2012", NOTHING, {"2012"}),
    # Without case, nothing differs from anything.
    ("who sings in us", "us", NOTHING, {"USA", "us", "Us"}),
    ("Who sings? I saw it in the us", "us", NOTHING, {"USA", "us", "Us"}),
    ("WHO SINGS IN US", "US", NOTHING, {"USA", "us", "Us"}),
]


@pytest.mark.parametrize("text, surface, features, alike", MENTIONS)
def test_case_tells_names_apart(find, text, surface, features, alike):
    assert find(text, surface) == (features, alike)


COUNTS = [
    {"Jordan": 120, "the Hashemite Kingdom": 3},
    {"Jordan": 7, "Mike": 1},
    {"Jordan": 0},
    {},
]


def test_uses_of_a_name_are_shared_among_its_entities(tokenizer):
    entities = [
        Entity(
            f"E{i}", "Jordan" if i % 2 else f"Other {i}", aliases=(*counts, "Jordan"), counts=counts
        )
        for i, counts in enumerate(COUNTS)
    ]
    entities += [Entity("U", "Unknown", aliases=("Nobody",)), Entity("V", "Nobody")]
    text = "jordan and mike and nobody"
    windows = cut_windows(tokenizer, [text], 64, 16)
    (hits,) = find_name_matches(knowledge_base(entities), [text], windows)
    found = {
        text[windows[0].chars[a, 0] : windows[0].chars[b, 1]]: hit for (a, b), hit in hits.items()
    }
    total = 120 + 7 + 4
    expected = [math.log(n / total) for n in (121, 8, 1, 1)]
    np.testing.assert_allclose(found["jordan"].of_entities[:, LOG_SHARE], expected, atol=2e-3)
    assert found["mike"].of_entities[:, LOG_SHARE].tolist() == [0]  # nobody else has it
    assert found["nobody"].of_entities[:, LOG_SHARE].tolist() == [0, 0]  # none has a count
    assert found["jordan"].of_entities.shape[1] == len(ENTITY_FEATURES) + 1
