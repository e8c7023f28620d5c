"""Long work is done in pieces of a bearable size."""

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from spacy_elq.cli._common import count_texts, progress_bar
from spacy_elq.pace import by_characters

TEXTS = st.lists(st.text(max_size=9).map(lambda text: SimpleNamespace(text=text)), max_size=20)


@given(TEXTS, st.integers(1, 6), st.integers(1, 20))
def test_groups_of_texts(texts, most, chars):
    groups = list(by_characters(texts, most, chars))
    assert [text for group in groups for text in group] == texts
    for group in groups:
        assert 0 < len(group) <= most
        assert sum(len(text.text) for text in group[:-1]) < chars
    for group in groups[:-1]:
        assert len(group) == most or sum(len(text.text) for text in group) >= chars


def test_a_group_is_not_waited_for():
    drawn = []
    texts = [SimpleNamespace(text="x" * 8) for _ in range(9)]
    next(by_characters((drawn.append(text) or text for text in texts), 5, 10))
    assert len(drawn) == 2


class Bar:
    """In place of tqdm's."""

    def __init__(self, **options):
        self.options, self.n, self.postfix = options, 0, ""
        Bar.last = self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def update(self, n):
        self.n += n

    def set_postfix_str(self, text, refresh):
        self.postfix = text


def test_progress_counts_characters(monkeypatch):
    monkeypatch.setattr("tqdm.tqdm", Bar)
    with count_texts(done=2, total=9, quiet=False) as count:
        count(["four", "fourteen"])
    assert (Bar.last.n, Bar.last.postfix) == (12, "4/9 texts")
    texts = [SimpleNamespace(text="a" * 7), SimpleNamespace(text="b")]
    assert list(progress_bar("dev", quiet=True)(texts)) == texts
    assert (Bar.last.n, Bar.last.postfix, Bar.last.options["disable"]) == (8, "2 texts", True)
