"""How often names occur in texts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spacy_elq.dumps.name_use import MAX_WORDS, NameUse

WORDS = st.lists(st.sampled_from(["A", "b", "é", "C1"]), min_size=1, max_size=4).map(" ".join)


@given(st.lists(WORDS, unique=True, min_size=1), st.lists(WORDS))
def test_occurrences_are_counted_as_a_search_does(names, texts):
    use = NameUse.of((name, 1) for name in names)
    use.count(texts)
    for name in names:
        n = len(name.split())
        cut = [t.split()[i : i + n] for t in texts for i in range(len(t.split()))]
        seen = cut.count(name.split())
        assert use.probabilities([name]) == [round(1 / max(seen, 1), 4)]


def test_scripts_without_spaces_and_long_names(tmp_path):
    long = " ".join("abcdefghijk"[: MAX_WORDS + 1])
    use = NameUse.of([("上海", 1), ("St. Ives", 1), ("St Ives", 1), (long, 1), ("!", 1)])
    use.count(["在上海上海", "St Ives St. Ives and St-Ives, St Ives"])
    use.save(tmp_path / "names.npy")
    use = NameUse.load(tmp_path / "names.npy")
    found = use.probabilities(["上海", "St. Ives", long, "!", "unknown"])
    assert found == [0.5, 0.5, None, None, None]


def test_no_names():
    use = NameUse.of([])
    use.count(["a text"])
    assert use.probabilities(["a"]) == [None]
    assert use.probabilities([]) == []
