"""Files of annotation tools: what they hold, what comes back, what is wrong with damaged ones."""

import json

import pytest
import spacy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spacy_elq import ElqError
from spacy_elq.corpora.convert import FORMATS, Context
from spacy_elq.corpora.spans_jsonl import LinkedSpan, LinkedText, text_from_dict, text_to_dict

from .strategies import rows

NLP = spacy.blank("en")
# They keep whole rows.
LOSSLESS = ["label-studio", "prodigy", "prodigy-choice", "doccano", "web-annotation"]
ROW = {
    "text": "🚀 Paris is not in Paris, Texas. 👩🏽 Bob is.",
    "spans": [
        {
            "start": 2, "end": 7, "id": "Q90", "label": "city", "score": -0.5, "title": "Paris",
            "candidates": [
                {"id": "Q90", "title": "Paris", "score": -0.1},
                {"id": "Q830149", "title": "Paris, Texas", "score": -2.5},
            ],
        },
        {"start": 18, "end": 30, "id": "Q830149", "label": "city"},
        {"start": 18, "end": 23, "id": "Q90", "label": "city"},
    ],
    "nil": [{"start": 35, "end": 38, "label": "person"}],
    "id": "web-1",
    "options": [1],
    "meta": {"label": "x"},
}  # fmt: skip


def through(name, path, linked):
    """The texts, written and read again."""
    context = Context(NLP)
    FORMATS[name].write(iter(linked), path, context)
    return list(FORMATS[name].read(path, context)), context.stats


def row():
    return text_from_dict(ROW, "row")


def read(name, path, content=None):
    if content is not None:
        path.write_text(content, encoding="utf8")
    context = Context(NLP)
    return list(FORMATS[name].read(path, context)), context.stats


def spans_of(linked):
    return [(s.start, s.end, s.id) for s in linked.spans]


def places(linked, name):
    return [(each["start"], each["end"]) for each in linked.fields.get(name) or ()]


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr("spacy_elq.files.sync", lambda path: None)


@st.composite
def whole_rows(draw):
    """Rows with other fields, also such that the tools use, and with mentions of no entity."""
    linked = draw(rows())
    values = st.sampled_from([{}, {"label": "city"}, {"score": -0.5, "title": "é\n🚀"}])
    spans = [LinkedSpan(s.start, s.end, s.id, draw(values)) for s in linked.spans]
    nil = draw(st.booleans()) and spans and [spans.pop()]
    fields = draw(st.dictionaries(
        st.sampled_from(["id", "label", "options", "meta", "elq", "_x", "uri", "choices"]),
        st.sampled_from(["web-1", ["a"], {"x": 1}, 7]), max_size=3,
    ))  # fmt: skip
    if nil:
        fields["nil"] = [{"start": s.start, "end": s.end, **s.fields} for s in nil]
    return LinkedText(linked.text, tuple(spans), fields)


@pytest.mark.parametrize("name", LOSSLESS)
def test_a_row_comes_back_whole(name, tmp_path):
    (back,), stats = through(name, tmp_path / "a", [row()])
    expected = {**ROW, "complete": False} if name == "prodigy-choice" else ROW
    assert text_to_dict(back) == expected
    assert (stats.displaced, stats.rejected) == (0, 0)


@pytest.mark.parametrize("name", LOSSLESS)
@given(linked=st.lists(whole_rows(), max_size=3))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_come_back_whole(name, tmp_path, linked):
    back, stats = through(name, tmp_path / "a", linked)
    expected = [text_to_dict(each) for each in linked]
    if name == "prodigy-choice":
        for each, original in zip(back, linked, strict=True):
            assert each.fields.pop("complete", None) is (
                False if original.spans or "nil" in original.fields else None
            )
    assert [text_to_dict(each) for each in back] == expected
    assert stats.displaced == 0


NAMES = st.text("ab é/.%中🚀", min_size=1, max_size=9)


@given(linked=rows(), name=NAMES, nil=st.booleans())
@settings(max_examples=25)
def test_brat_keeps_places_and_entities(tmp_path_factory, linked, name, nil):
    spans = list(linked.spans)
    without = [spans.pop()] if nil and spans else []
    places_ = [{"start": each.start, "end": each.end} for each in without]
    original = LinkedText(linked.text, tuple(spans), {"id": name, "nil": places_})
    directory = tmp_path_factory.mktemp("brat") / "out"
    (back,), stats = through("brat", directory, [original])
    # A mention does not begin or end at a line break, and one of line breaks alone stays.
    trimmed = [_trimmed(linked.text, span) for span in spans]
    assert (back.text, back.fields["id"]) == (linked.text, name)
    assert spans_of(back) == trimmed
    assert [each["start"] for each in back.fields.get("nil", ())] == [
        _trimmed(linked.text, each)[0] for each in without
    ]
    assert stats.displaced == 0


def _trimmed(text, span):
    surface = text[span.start : span.end]
    if not surface.strip("\r\n"):
        return span.start, span.end, span.id
    start = span.start + len(surface) - len(surface.lstrip("\r\n"))
    return start, span.end - len(surface) + len(surface.rstrip("\r\n")), span.id


def test_brat_as_files(tmp_path):
    fields = {"label": "a city", "title": "New York City", "note": "x\ty"}
    linked = LinkedText(
        "is New\nYork 🚀\tbig?",
        (LinkedSpan(3, 11, "Q 60%", fields),),
        {"id": "a.b", "nil": [{"start": 12, "end": 13}]},
    )
    (back,), _ = through("brat", tmp_path / "out", [linked])
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "a%2Eb.ann", "a%2Eb.txt", "annotation.conf",
    ]  # fmt: skip
    assert (tmp_path / "out" / "a%2Eb.ann").read_text(encoding="utf8").splitlines() == [
        "T1\ta_city 3 6;7 11\tNew York",
        "N1\tReference T1 elq:Q%2060%25\tNew York City",
        "#1\tAnnotatorNotes T1\tx y",
        "T2\tENTITY 12 13\t🚀",
        "A2\tNIL T2",
    ]
    fields = {"label": "a_city", "title": "New York City", "note": "x y"}
    assert back.spans == (LinkedSpan(3, 11, "Q 60%", fields),)
    assert places(back, "nil") == [(12, 13)]
    again, _ = read("brat", tmp_path / "out" / "a%2Eb.ann")
    assert again == [back]


def test_brats_own_files(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "doc.txt").write_text("Barack Obama met Bob in Rome.")
    (tmp_path / "sub" / "doc.ann").write_text(
        "T1\tPerson 0 12\tBarack Obama\nN1\tReference T1 Wikipedia:534366\tBarack Obama\n"
        "T2\tPerson 17 20\tBob\nR1\tMet Arg1:T1 Arg2:T2\t\n*\tEquiv T1 T2\nE1\tx:T1\n"
        "T3\tPlace 24 27\tRome\n"
    )
    (tmp_path / "bare.txt").write_text("nothing")
    (bare, doc), stats = read("brat", tmp_path)
    assert (bare.text, bare.spans, bare.fields) == ("nothing", (), {"id": "bare"})
    assert doc.spans == (LinkedSpan(0, 12, "534366", {"label": "Person", "title": "Barack Obama"}),)
    assert places(doc, "unknown") == [(17, 20), (24, 27)]
    assert stats.displaced == 1


@pytest.mark.parametrize(
    "lines, message",
    [
        ("T1\tCity 0 99\tParis\n", r"ELQ307.*a\.ann:1: \[0, 99\)"),
        ("T1\tCity 3 3\t\n", r"ELQ307.*a\.ann:1"),
        ("T1\tCity 0\tParis\n", r"ELQ376.*a\.ann:1"),
        ("T1\tCity 0 5\tParis\nN1\tReference T2 elq:Q90\tParis\n", r"ELQ377.*a\.ann:2.* T2"),
        ("T1\tCity 0 5\tParis\nN1\tT1 Q90\n", r"ELQ376.*a\.ann:2"),
        ("A1\tNIL T7\n", r"ELQ377.*a\.ann:1.* T7"),
        (None, r"ELQ374.*a\.ann annotates .*a\.txt"),
    ],
)
def test_damaged_brat_files(tmp_path, lines, message):
    (tmp_path / "a.ann").write_text(lines or "")
    if lines is not None:
        (tmp_path / "a.txt").write_text("Paris")
    with pytest.raises(ElqError, match=message):
        read("brat", tmp_path)


def test_brat_replaces_nothing(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(ElqError, match="ELQ375"):
        through("brat", tmp_path / "out", [row()])
    with pytest.raises(ElqError, match=r"ELQ378.*'web-1'"):
        through("brat", tmp_path / "new", [row(), row()])
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


words = st.lists(st.sampled_from(["Paris", "🚀", "é", "is", "New", "U.S.", "中", "B", "O"]),
                 min_size=1, max_size=8)  # fmt: skip


@given(tokens=words, data=st.data())
@settings(max_examples=25)
def test_conll_keeps_tokens_mentions_and_entities(tmp_path_factory, tokens, data):
    """In texts whose tokens have spaces between, offsets too."""
    text = "\n".join([" ".join(tokens), " ".join(tokens[:3])])
    bounds = [(token.idx, token.idx + len(token)) for token in NLP(text) if not token.is_space]
    chosen = data.draw(st.lists(st.sampled_from(bounds), unique=True, max_size=4))
    kinds = data.draw(st.lists(st.booleans(), min_size=4, max_size=4))
    spans = [LinkedSpan(*place, "Q 1") for place, kind in zip(sorted(chosen), kinds, strict=False)
             if kind]  # fmt: skip
    nil = [{"start": start, "end": end} for (start, end), kind in
           zip(sorted(chosen), kinds, strict=False) if not kind]  # fmt: skip
    linked = LinkedText(text, tuple(spans), {"id": "a (b)", **({"nil": nil} if nil else {})})
    path = tmp_path_factory.mktemp("conll") / "a.conll"
    (back,), _ = through("conll", path, [linked])
    if " ".join(token.text for token in NLP(text)).replace(" \n ", "\n") == text:
        assert text_to_dict(back) == text_to_dict(linked)
    surfaces = [linked.text[s.start : s.end] for s in spans]
    assert [back.text[s.start : s.end] for s in back.spans] == surfaces
    assert back.fields["id"] == "a (b)"


def test_conll_as_columns(tmp_path):
    linked = LinkedText(
        "New York is big.\n\nBob 🚀",
        (LinkedSpan(0, 8, "Q60", {"url": "http://x.org/Q60"}), LinkedSpan(4, 8, "Q42462")),
        {"nil": [{"start": 18, "end": 21}]},
    )
    (back,), stats = through("conll", tmp_path / "a.conll", [linked])
    assert (tmp_path / "a.conll").read_text(encoding="utf8").split("\n") == [
        "-DOCSTART- (0)",
        "New\tB\tNew York\tQ60\thttp://x.org/Q60",
        "York\tI\tNew York\tQ60\thttp://x.org/Q60",
        "is", "big", ".", "",
        "Bob\tB\tBob\t--NME--", "🚀", "", "",
    ]  # fmt: skip
    assert back.text == "New York is big .\nBob 🚀"
    assert back.spans == (LinkedSpan(0, 8, "Q60", {"url": "http://x.org/Q60"}),)
    assert places(back, "nil") == [(18, 21)]
    assert stats.overlapping == 1


def test_aidas_columns(tmp_path):
    (eu, second), _ = read(
        "conll", tmp_path / "a.tsv",
        "-DOCSTART- (1 EU)\nEU\tB\tEU\t--NME--\nrejects\nGerman\tB\tGerman\tGermany\t"
        "http://en.wikipedia.org/wiki/Germany\t11867\t/m/0345h\ncall\n.\n\nPeter\tB\tPeter B\tP\n"
        "B\tI\tPeter B\tP\n\n-DOCSTART- (2 Rare)\n",
    )  # fmt: skip
    assert eu.text == "EU rejects German call .\nPeter B"
    assert spans_of(eu) == [(11, 17, "Germany"), (25, 32, "P")]
    assert places(eu, "nil") == [(0, 2)]
    assert (second.text, second.fields) == ("", {"id": "2 Rare"})


@pytest.mark.parametrize("line", ["EU\tB", "EU\tB\tEU", "EU\tI\tEU\tQ1", "EU\tX\tEU\tQ1"])
def test_damaged_columns(tmp_path, line):
    with pytest.raises(ElqError, match=r"ELQ379.*a\.conll:2"):
        read("conll", tmp_path / "a.conll", f"-DOCSTART- (1)\n{line}\n")


def test_label_studio_gets_candidates_as_choices(tmp_path):
    through("label-studio", tmp_path / "a", [row()])
    (task,) = json.loads((tmp_path / "a").read_text(encoding="utf8"))
    assert task["data"]["choices"] == [
        {"value": "Paris (Q90)", "alias": "Q90"},
        {"value": "Paris, Texas (Q830149)", "alias": "Q830149"},
        {"value": "NIL", "alias": "NIL"},
    ]
    label, entity, *_ = task["predictions"][0]["result"]
    assert label["value"] == {"start": 3, "end": 8, "text": "Paris", "labels": ["city"]}
    assert (entity["id"], entity["value"]["choices"]) == (label["id"], ["Q90"])


def region(id_, start, end, text, labels=(), **value):
    """Results of a region, as Label Studio exports them."""
    place = {"start": start, "end": end, "text": text}
    for kind, names in {"labels": list(labels), **value}.items():
        yield {"id": id_, "from_name": kind, "to_name": "text", "type": kind,
               "value": {**place, "text" if kind == "textarea" else kind: names}}  # fmt: skip


def test_what_label_studio_exports(tmp_path):
    results = [
        *region("a", 3, 8, "Paris", ["city"], choices=["Paris (Q90)"]),
        *region("b", 12, 15, "Bob", ["person"], choices=["NIL"]),
        *region("c", 16, 20, "Rome", ["city"], choices=["Q1"], textarea=["Q220"]),
        *region("d", 21, 24, "Ann", ["person"]),
        {"type": "relation", "from_id": "a", "to_id": "b"},
        {"id": "w", "type": "choices", "value": {"choices": ["good"]}},
    ]
    data = {
        "text": "🚀 Paris or Bob Rome Ann",
        "choices": [{"value": "Paris (Q90)", "alias": "Q90"}],
    }
    old = [{"result": []}, {"result": results}, {"result": [], "was_cancelled": True}]
    tasks = [
        {"id": 1, "data": data, "annotations": old, "predictions": [{"result": []}]},
        {"id": 2, "data": data, "annotations": [{"result": [], "was_cancelled": True}]},
        {"id": 3, "data": data, "annotations": [], "predictions": []},
    ]
    (back,), stats = read("label-studio", tmp_path / "a.json", json.dumps(tasks))
    assert back.spans == (
        LinkedSpan(2, 7, "Q90", {"label": "city"}), LinkedSpan(15, 19, "Q220", {"label": "city"}),
    )  # fmt: skip
    assert (places(back, "nil"), places(back, "unknown")) == ([(11, 14)], [(20, 23)])
    assert (stats.rejected, stats.displaced) == (2, 0)


def test_offsets_in_characters_are_noticed(tmp_path):
    """By the copy of the text; older exports count so."""
    results = [*region("a", 2, 7, "Paris", choices=["Q90"])]
    task = {"data": {"text": "🚀 Paris."}, "annotations": [{"result": results}]}
    (back,), stats = read("label-studio", tmp_path / "a.json", json.dumps([task]))
    assert (spans_of(back), stats.displaced) == ([(2, 7, "Q90")], 0)
    (back,), stats = read(
        "label-studio", tmp_path / "a.json", json.dumps([task]).replace('"Paris"', '"Rome"')
    )
    assert stats.displaced == 1


@pytest.mark.parametrize(
    "task, message",
    [
        ({}, 'ELQ323.*a:1: "data"'),
        ({"data": {}, "predictions": [{}]}, "ELQ304.*a:1"),
        ({"data": {"text": "ab"}, "annotations": {}}, 'ELQ323.*"annotations"'),
        ({"data": {"text": "ab"}, "annotations": [{"result": "x"}]}, 'ELQ323.*"result"'),
        ({"data": {"text": "ab"}, "annotations": [{"result": [*region("r", 0, 9, "ab")]}]},
         r"ELQ307.*a:1"),
        ({"data": {"text": "🚀"}, "annotations": [{"result": [*region("r", 1, 2, "x")]}]},
         r'ELQ371.*a:1, region "r"'),
        ({"data": {"text": "ab"}, "annotations": [{"result": [*region("r", "/div", 1, "x")]}]},
         "ELQ306.*a:1"),
    ],
)  # fmt: skip
def test_damaged_tasks(tmp_path, task, message):
    with pytest.raises(ElqError, match=message):
        read("label-studio", tmp_path / "a", json.dumps([task]))


EMERSON = {
    "text": "Interestingly, Emerson won.", "_input_hash": 1, "_task_hash": 2,
    "spans": [{"start": 15, "end": 22, "text": "Emerson", "rank": 0, "label": "ORG", "score": 1,
               "source": "en_core_web_lg", "input_hash": 1}],
    "meta": {"score": 1},
    "options": [{"id": "Q48226", "html": "<a>"}, {"id": "Q312545", "html": "<b>"},
                {"id": "NIL_otherLink", "text": "x"}, {"id": "NIL_ambiguous", "text": "y"}],
    "_session_id": None, "_view_id": "choice", "accept": ["Q312545"], "answer": "accept",
}  # fmt: skip


@pytest.mark.parametrize(
    "change, spans, nil, unknown",
    [
        ({}, [(15, 22, "Q312545")], 0, 0),
        ({"accept": ["NIL_otherLink"]}, [], 1, 0),
        ({"accept": ["NIL_ambiguous"]}, [], 0, 1),
        ({"accept": []}, [], 0, 1),
        ({"answer": "reject"}, [], 0, 1),
        ({"answer": "ignore", "accept": []}, [], 0, 1),
    ],
)
def test_tasks_of_spacys_tutorial(tmp_path, change, spans, nil, unknown):
    (back,), _ = read("prodigy", tmp_path / "a.jsonl", json.dumps({**EMERSON, **change}))
    assert spans_of(back) == spans
    assert (len(places(back, "nil")), len(places(back, "unknown"))) == (nil, unknown)
    assert (back.fields["meta"], back.fields["complete"]) == ({"score": 1}, False)
    assert not {"_view_id", "options", "accept", "answer"} & set(back.fields)


def test_tasks_of_one_text_become_one(tmp_path):
    other = {**EMERSON, "spans": [{"start": 0, "end": 13, "label": "X"}], "accept": ["Q48226"]}
    lines = [EMERSON, {**EMERSON, "text": "So Emerson, as I said."}, other]
    content = "\n".join(map(json.dumps, lines))
    (first, second), stats = read("prodigy", tmp_path / "a.jsonl", content)
    assert spans_of(first) == [(15, 22, "Q312545"), (0, 13, "Q48226")]
    assert (spans_of(second), stats.displaced) == ([(15, 22, "Q312545")], 1)


def test_spans_with_entities(tmp_path):
    span = {"start": 0, "end": 3, "token_start": 0, "token_end": 0, "label": "P", "kb_id": "Q1"}
    unlinked = {"start": 4, "end": 7, "label": "P"}
    task = {"text": "Bob Ann", "tokens": [{"text": "Bob"}], "spans": [span, unlinked]}
    lines = [task, {**task, "answer": "reject"}, {**task, "answer": "accept", "spans": []}]
    (first, second), stats = read(
        "prodigy", tmp_path / "a.jsonl", "\n".join(map(json.dumps, lines))
    )
    assert text_to_dict(first) == {
        "text": "Bob Ann",
        "spans": [{"start": 0, "end": 3, "id": "Q1", "label": "P"}],
        "unknown": [{"start": 4, "end": 7, "label": "P"}],
    }
    assert (second.spans, stats.rejected) == ((), 1)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"accept": ["Q7"]}, "ELQ373.*a:1: 'Q7'"),
        ({"accept": "Q48226"}, 'ELQ323.*"accept"'),
        ({"spans": []}, "ELQ372.*a:1.*0 spans"),
        ({"spans": EMERSON["spans"] * 2}, "ELQ372.*a:1.*2 spans"),
        ({"spans": [{"start": 0, "end": 99}]}, r"ELQ307.*a:1"),
        ({"spans": [{"start": 0}]}, r"ELQ306.*a:1"),
        ({"text": None}, "ELQ304.*a:1"),
    ],
)
def test_damaged_prodigy_tasks(tmp_path, change, message):
    with pytest.raises(ElqError, match=message):
        read("prodigy", tmp_path / "a", json.dumps({**EMERSON, **change}))


def test_options_are_candidates_and_the_link_is_chosen(tmp_path):
    through("prodigy-choice", tmp_path / "a", [row(), LinkedText("nothing")])
    first, *_, last = map(json.loads, (tmp_path / "a").read_text(encoding="utf8").splitlines())
    assert [option["id"] for option in first["options"]] == ["Q90", "Q830149", "NIL"]
    assert (first["accept"], first["spans"][0]["text"]) == (["Q90"], "Paris")
    assert "kb_id" not in first["spans"][0]
    assert last == {"text": "nothing", "spans": []}


def test_doccano_counts_utf_16(tmp_path):
    through("doccano", tmp_path / "a", [row()])
    record = json.loads((tmp_path / "a").read_text(encoding="utf8"))
    assert record["label"] == [[3, 8, "Q90"], [19, 31, "Q830149"], [19, 24, "Q90"], [38, 41, "NIL"]]


def test_what_doccano_exports(tmp_path):
    plain = {"id": 7, "text": "🚀 Bob", "label": [[3, 6, "Q1"]], "Comments": []}
    with_relations = {
        "id": 8, "text": "🚀 Bob", "relations": [],
        "entities": [{"id": 1, "label": "NIL", "start_offset": 3, "end_offset": 6}],
    }  # fmt: skip
    lines = "\n".join(map(json.dumps, [plain, with_relations]))
    (first, second), _ = read("doccano", tmp_path / "a.jsonl", lines)
    assert (spans_of(first), first.fields["id"]) == ([(2, 5, "Q1")], 7)
    assert (spans_of(second), places(second, "nil")) == ([], [(2, 5)])


@pytest.mark.parametrize(
    "record, message",
    [
        ({"label": [[0, 1]]}, 'ELQ323.*a:1, label 0: "label"'),
        ({"label": [[0, 9, "Q1"]]}, r"ELQ307.*a:1"),
        ({"label": [[1, 2, "Q1"]]}, r"ELQ371.*a:1, label 0: \[1, 2\)"),
        ({"label": [[0, 2, "Q1"], [None, 2, "Q1"]]}, r"ELQ306.*a:1"),
        ({"label": "Q1"}, 'ELQ323.*a:1: "label"'),
        ({"text": 1}, "ELQ304.*a:1"),
        ({"elq": {"spans": [1]}}, 'ELQ323.*a:1: "elq"'),
    ],
)
def test_damaged_doccano_records(tmp_path, record, message):
    with pytest.raises(ElqError, match=message):
        read("doccano", tmp_path / "a", json.dumps({"text": "🚀", **record}))


def annotation(start, end, exact, body):
    selector = [{"type": "TextPositionSelector", "start": start, "end": end},
                {"type": "TextQuoteSelector", "exact": exact}]  # fmt: skip
    return {"type": "Annotation", "body": body, "target": {"source": "x", "selector": selector}}


def page(*items, text="🚀 Paris, Bob"):
    return json.dumps([{"type": "AnnotationPage", "items": items,
                        "source": {"id": "http://x.org/1", "value": text}}])  # fmt: skip


def test_web_annotations_of_others(tmp_path):
    entity = "http://www.wikidata.org/entity/Q90"
    content = page(
        annotation(2, 7, "Paris", entity),
        annotation(3, 8, "Paris", [{"purpose": "linking", "id": entity}]),
        annotation(9, 12, "Bob", {"type": "TextualBody", "purpose": "identifying", "value": "NIL"}),
        annotation(9, 12, "Rob", {"type": "TextualBody", "purpose": "tagging", "value": "person"}),
    )
    (back,), stats = read("web-annotation", tmp_path / "a.jsonld", content)
    # The second counts UTF-16 units, as its copy of the text shows.
    assert spans_of(back) == [(2, 7, "Q90"), (2, 7, "Q90")]
    assert (places(back, "nil"), places(back, "unknown")) == ([(9, 12)], [(9, 12)])
    assert (back.fields["uri"], stats.displaced) == ("http://x.org/1", 1)


@pytest.mark.parametrize(
    "content, message",
    [
        ('[{"items": []}]', "ELQ380.*a:1"),
        (page({"target": {"source": "x"}}), "ELQ381.*a:1, item 0"),
        (page(annotation(0, 99, "x", "http://x.org/y")), r"ELQ307.*a:1"),
        (page(annotation(None, 1, "x", "http://x.org/y")), r"ELQ306.*a:1"),
        (page(1), 'ELQ323.*a:1: "items"'),
    ],
)
def test_damaged_web_annotations(tmp_path, content, message):
    with pytest.raises(ElqError, match=message):
        read("web-annotation", tmp_path / "a", content)
