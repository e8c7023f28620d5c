"""A small knowledge base whose vectors are known, and arithmetic to check it with."""

import hashlib

import numpy as np

from spacy_elq.kb.files.names import fold
from spacy_elq.types import Entity

WIDTH = 8
ENTITIES = [
    Entity(
        "Q90",
        "Paris",
        "capital of France",
        ("City of Light",),
        "city",
        {"wiki": "Paris"},
        popularity=900,
    ),
    Entity("Q167646", "Paris", "son of Priam", ("Alexander",), "person", popularity=2.5),
    Entity(
        "Q8409",
        "Alexander the Great",
        "king of Macedon",
        ("Alexander", "alexander"),
        popularity=120,
    ),
    Entity("Q3", "Straße", extra={"rank": [1, {"deep": None}]}),
    Entity("Q4", "!!!", "band from Sacramento"),
    *(Entity(f"E{i}", f"Thing {i}", aliases=(f"It {i % 3}",)) for i in range(40)),
]
NEW = Entity(
    "N1",
    "Nouméa",
    "capital of New Caledonia",
    ("Port-de-France",),
    "city",
    {},
    {"Port-de-France": 3},
    7,
)
CHANGED = Entity("Q90", "Lutetia", "Roman town", ("City of Light",))


class HashEncoder:
    """One vector for each name, made from nothing but the text."""

    def __init__(self, width=WIDTH, fingerprint="hash-1"):
        self.width = width
        self.fingerprint = fingerprint
        self.normalized = False
        self.encoded = []

    def vector(self, entity, name):
        seed = hashlib.sha256(f"{entity.id} {name} {entity.description}".encode()).digest()
        return np.random.default_rng(list(seed)).standard_normal(self.width).astype("f4")

    def encode(self, entities):
        self.encoded.extend(entity.id for entity in entities)
        pairs = [(i, name) for i, entity in enumerate(entities) for name in entity.names]
        vectors = np.stack([self.vector(entities[i], name) for i, name in pairs])
        return vectors, np.array([i for i, _ in pairs])


def reference_scores(kb_entities, encoder, queries):
    """(M, N): best inner product of each entity, by plain loops in double precision."""
    scores = np.empty((len(queries), len(kb_entities)))
    for column, entity in enumerate(kb_entities):
        vectors = [encoder.vector(entity, name).astype("f8") for name in entity.names]
        scores[:, column] = [max(float(q @ v) for v in vectors) for q in queries.astype("f8")]
    return scores


def ids_named(kb, name):
    return [entity.id for entity in kb.named(name)]


def change(kb, encoder):
    """Add one entity, change one, remove one. RETURNS: the entities that are now in it."""
    kb.add([NEW, CHANGED], *encoder.encode([NEW, CHANGED]))
    kb.remove(["Q8409"])
    return [e for e in ENTITIES if e.id not in ("Q90", "Q8409")] + [NEW, CHANGED]


def check_equal(kb, entities, encoder, queries, k=7):
    """Everything that can be asked of a knowledge base, against plain loops."""
    expected = reference_scores(entities, encoder, queries)
    assert list(kb) == entities
    assert len(kb) == len(entities)
    found = kb.search(queries, k)
    order = np.argsort(-expected, axis=1)[:, :k]
    assert [[e.id for e in kb.records(line)] for line in found.rows] == [
        [entities[i].id for i in line] for line in order
    ]
    top = np.take_along_axis(expected, order, axis=1)
    np.testing.assert_allclose(found.scores, top, rtol=1e-5)
    assert (kb.scores(queries, found.rows) == found.scores).all()
    vectors, owners = kb.vector_matrix()
    assert (np.diff(owners) >= 0).all()
    names = [name for entity in entities for name in entity.names]
    assert len(vectors) == len(names)
    assert [e.id for e in kb.records(np.unique(owners))] == [e.id for e in entities]
    for entity in entities:
        assert kb.entity(entity.id) == entity
        of_entity = np.stack([encoder.vector(entity, name) for name in entity.names])
        np.testing.assert_array_equal(kb.get_vector(entity.id), of_entity[0])
        found_vectors, places = kb.vectors_of(np.array([kb.row(entity.id)]))
        np.testing.assert_array_equal(found_vectors, of_entity)
        assert places.tolist() == [0] * len(of_entity)
    for name in {fold(name) for name in names}:
        having = {e.id for e in entities if name in map(fold, e.names)}
        assert set(ids_named(kb, name)) == having
