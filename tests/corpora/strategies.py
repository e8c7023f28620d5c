"""Texts with linked mentions, of any characters that a file can hold."""

from hypothesis import strategies as st

from spacy_elq.corpora.spans_jsonl import LinkedSpan, LinkedText

# More often than chance would: what is two units in UTF-16, what combines, what XML forbids.
characters = st.one_of(
    st.sampled_from("ab \n\r\t\"\\'🚀👩🏽é\u0301\u200d\ufeff\u2028ß中\x00\x0b\x85"),
    st.characters(exclude_categories=["Cs"]),
)
ids = st.sampled_from(
    [
        "Q90",
        "Q1",
        "Zürich (city)",
        "a/b#c?d=1",
        "x y",
        "%20",
        "🚀",
        "http://x.org/a b",
        "http://x.org/%20",
        "http://dbpedia.org/resource/Zürich",
    ]
)


@st.composite
def rows(draw):
    """A row; its spans may overlap, and are in the order of the text, each place once."""
    text = draw(st.text(characters, max_size=30))
    spans = []
    if text:
        start = st.integers(0, len(text) - 1)
        places = draw(st.sets(st.tuples(start, st.integers(1, 9)), max_size=4))
        bounds = {(start, min(start + width, len(text))) for start, width in places}
        for start, end in sorted(bounds, key=lambda place: (place[0], -place[1])):
            spans.append(LinkedSpan(start, end, draw(ids)))
    return LinkedText(text, tuple(spans))
