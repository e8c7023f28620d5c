import bz2
import gzip
import json
import lzma
import os
import threading
import tracemalloc

import pytest

from spacy_elq.entities.reader import read_entities
from spacy_elq.entities.records import entity_from_dict, entity_to_dict
from spacy_elq.errors import ElqError
from spacy_elq.types import Entity

FULL = {
    "id": "Q90",
    "title": "Paris",
    "description": "capital of France",
    "aliases": ["City of Light"],
    "type": "city",
    "wikipedia": "https://en.wikipedia.org/wiki/Paris",
    "rank": {"views": [1, 2.5, None]},
}


def write(path, *lines):
    path.write_text("\n".join(lines), encoding="utf8")
    return path


def test_fields(tmp_path):
    path = write(tmp_path / "e.jsonl", json.dumps(FULL), "", '{"id": "Q1", "title": "Été"}\r')
    full, least = read_entities(path)
    assert full == Entity(
        "Q90",
        "Paris",
        "capital of France",
        ("City of Light",),
        "city",
        {"wikipedia": FULL["wikipedia"], "rank": FULL["rank"]},
    )
    assert least == Entity("Q1", "Été")
    assert entity_to_dict(full) == FULL
    assert entity_to_dict(least) == {"id": "Q1", "title": "Été"}
    assert entity_from_dict(entity_to_dict(full)) == full


def test_null_is_absent():
    record = {"id": "Q1", "title": "T", "description": None, "aliases": None, "type": None}
    assert entity_from_dict(record) == Entity("Q1", "T")


def test_gzip_and_byte_order_mark(tmp_path):
    line = '{"id": "Q1", "title": "Ü"}\n'
    with gzip.open(tmp_path / "e.jsonl.gz", "wt", encoding="utf8") as file:
        file.write(line)
    (tmp_path / "bom.jsonl").write_text(line, encoding="utf-8-sig")
    for name in ("e.jsonl.gz", "bom.jsonl"):
        assert list(read_entities(tmp_path / name)) == [Entity("Q1", "Ü")]


def test_reads_a_line_at_a_time(tmp_path):
    entities = read_entities(write(tmp_path / "e.jsonl", '{"id": "Q1", "title": "T"}', "broken"))
    assert next(entities).id == "Q1"
    with pytest.raises(ElqError, match="ELQ302"):
        next(entities)


@pytest.mark.parametrize(
    "line, message",
    [
        ('{"id": "Q1", "title": "T"', "ELQ302.*:2: not valid JSON"),
        ('{"id": "\\ud800", "title": "T"}', "ELQ302.*surrogates"),
        ('["Q1", "T"]', "ELQ303"),
        ('{"title": "T"}', "ELQ232.*'id'"),
        ('{"id": "Q1"}', "ELQ232.*'title'"),
        ('{"id": "Q1", "title": null}', "ELQ232.*'title'"),
        ('{"id": 90, "title": "T"}', 'ELQ323.*"id" must be a string, not 90'),
        ('{"id": "Q1", "title": "T", "aliases": "U"}', 'ELQ323.*"aliases".*a list, not'),
        ('{"id": "Q1", "title": "T", "aliases": ["a", 1]}', r'ELQ323.*"aliases\[1\]".*not 1\.'),
        ('{"id": "Q1", "title": "T", "description": []}', 'ELQ323.*"description"'),
        ('{"id": " ", "title": "T"}', "ELQ232.*'id'"),
        ('{"id": "Q1\\u0000", "title": "T"}', "ELQ256.*U.0000"),
        ('{"id": "Q1", "title": ""}', "ELQ232.*'title'"),
    ],
)
def test_errors_name_file_and_line(tmp_path, line, message):
    path = write(tmp_path / "entities.jsonl", '{"id": "Q0", "title": "T"}', line)
    with pytest.raises(ElqError, match=message) as caught:
        list(read_entities(path))
    assert "entities.jsonl:2: " in str(caught.value)


def test_unreadable_files(tmp_path):
    with pytest.raises(ElqError, match=r"ELQ218.*nowhere"):
        list(read_entities(tmp_path / "nowhere.jsonl"))
    (tmp_path / "latin.jsonl").write_bytes('{"id": "Q1", "title": "é"}\n'.encode("latin1"))
    (tmp_path / "no.jsonl.gz").write_bytes(b"plain")
    whole = gzip.compress(b'{"id": "Q1", "title": "T"}\n' * 9)
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[:-6])
    (tmp_path / "damaged.jsonl.gz").write_bytes(whole[:14] + b"\xff" * 9 + whole[23:])
    for name in ("latin.jsonl", "no.jsonl.gz", "cut.jsonl.gz", "damaged.jsonl.gz"):
        with pytest.raises(ElqError, match=rf"ELQ301.*{name}:"):
            list(read_entities(tmp_path / name))
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(ElqError, match=r"ELQ315.*folder\.jsonl"):
        list(read_entities(tmp_path / "folder.jsonl"))


@pytest.mark.parametrize("name", ["e.jsonl", "e.jsonl.gz", "e.csv"])
def test_the_line_that_is_no_utf8_is_named(tmp_path, name):
    """Though it is read in blocks of many lines."""
    lines = ["id,title"] if name == "e.csv" else ['{"id": "Q0", "title": "T"}']
    cell = "Q{},T" if name == "e.csv" else '{{"id": "Q{}", "title": "T"}}'
    lines += [cell.format(number) for number in range(2, 2000)]
    content = "\n".join(lines).encode().replace(b"Q1700", b"Q\xe9")
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    with pytest.raises(ElqError, match=rf"ELQ301.*{name}:1700: "):
        list(read_entities(tmp_path / name))


def test_a_pipe_can_be_read(tmp_path):
    os.mkfifo(tmp_path / "e.jsonl")
    content = b'{"id": "Q1", "title": "T"}\n{"id": "Q2", "title": "\xe9"}\n'
    thread = threading.Thread(target=(tmp_path / "e.jsonl").write_bytes, args=(content,))
    thread.start()
    with pytest.raises(ElqError, match="ELQ301"):  # once: the line can't be looked for
        list(read_entities(tmp_path / "e.jsonl"))
    thread.join(10)


TABLE = [
    ["id", "title", "description", "aliases", "type", "population"],
    ["Q90", "Paris", 'capital, as they say, of "France"', "City of Light|Lutetia", "city", "2e6"],
    ["Q1", "Été", "", "", "", ""],
]
OF_TABLE = [
    Entity(
        "Q90",
        "Paris",
        'capital, as they say, of "France"',
        ("City of Light", "Lutetia"),
        "city",
        {"population": "2e6"},
    ),
    Entity("Q1", "Été"),
]


def write_table(path, rows=TABLE, delimiter=","):
    def cell(text):
        return '"' + text.replace('"', '""') + '"' if delimiter == "," else text

    return write(path, *(delimiter.join(map(cell, row)) for row in rows))


def test_tables(tmp_path):
    assert list(read_entities(write_table(tmp_path / "e.csv"))) == OF_TABLE
    assert list(read_entities(write_table(tmp_path / "e.tsv", delimiter="\t"))) == OF_TABLE
    path = write_table(tmp_path / "e.txt", delimiter="\t")
    assert list(read_entities(path, "tsv")) == OF_TABLE
    with pytest.raises(ElqError, match=r"ELQ312.*--from jsonl, csv"):
        list(read_entities(path))
    with pytest.raises(ElqError, match=r"ELQ311.*'xml'"):
        list(read_entities(path, "xml"))


def test_columns_that_are_nearly_known_are_told(tmp_path):
    with pytest.warns(UserWarning) as told:
        list(read_entities(write(tmp_path / "e.csv", "id,title,alias,Description,size", "a,A,,,")))
    found = [str(each.message) for each in told]
    assert [("'alias'" in m, "'aliases'" in m) for m in found] == [(True, True), (False, False)]
    assert "'Description'" in found[1] and "'description'" in found[1]


def test_columns_beside_those_that_are_known_are_not_told(tmp_path, recwarn):
    list(read_entities(write(tmp_path / "e.csv", "id,title,aliases,alias,tags", "a,A,,,")))
    assert not recwarn


def test_a_cell_may_be_long(tmp_path):
    path = write(tmp_path / "e.csv", "id,title,description", f"a,A,{'d' * 200_000}")
    assert len(next(read_entities(path)).description) == 200_000


@pytest.mark.parametrize("suffix, compress", [("gz", gzip), ("bz2", bz2), ("xz", lzma)])
def test_compressed(tmp_path, suffix, compress):
    for name in ("e.csv", "e.jsonl"):
        plain = tmp_path / name
        lines = [json.dumps(entity_to_dict(entity)) for entity in OF_TABLE]
        write_table(plain) if name == "e.csv" else write(plain, *lines)
        packed = tmp_path / f"{name}.{suffix}"
        packed.write_bytes(compress.compress(plain.read_bytes()))
        assert list(read_entities(packed)) == OF_TABLE
        for broken in (packed.read_bytes()[:-9], b"plain"):
            packed.write_bytes(broken)
            with pytest.raises(ElqError, match=rf"ELQ301.*{packed.name}:"):
                list(read_entities(packed))


@pytest.mark.parametrize(
    "lines, message",
    [
        (["id,name"], "ELQ245.*:1: .*id, name"),
        (["id,title,id"], "ELQ245.*:1: .*once"),
        ([], "ELQ245.*:1: .*nothing"),
        (["id,title", "Q1,T", "Q2"], "ELQ247.*:3: the row has 1 cells.*2 columns"),
        (["id,title", '"Q1\n",T', "Q2,T,U"], "ELQ247.*:4: the row has 3"),
        (["id,title", "Q1,T", "", ",T"], "ELQ232.*:4: 'id' is missing or empty"),
        (["id,title", "Q1,T", 'Q2,"T'], "ELQ301.*:3: "),
    ],
)
def test_errors_of_tables_name_the_line(tmp_path, lines, message):
    with pytest.raises(ElqError, match=message):
        list(read_entities(write(tmp_path / "e.csv", *lines)))


COLUMNS = ["id", "title", "description"]
BARE = ["Q1,Été,season", 'Q2,T,"a, b"']


@pytest.mark.parametrize("header", [[], [" id,title, description "], ["id,title,description,"]])
def test_columns_that_no_line_names(tmp_path, header):
    path = write(tmp_path / "e.csv", *header, *BARE)
    found = list(read_entities(path, columns=COLUMNS))
    assert found == [Entity("Q1", "Été", "season"), Entity("Q2", "T", "a, b")]


def test_the_message_about_columns_says_how_to_name_them(tmp_path):
    path = write(tmp_path / "e.csv", *BARE)
    with pytest.raises(ElqError, match=r"ELQ245.*e\.csv:1: .*--columns id,title,description"):
        list(read_entities(path))


@pytest.mark.parametrize(
    "columns, message",
    [
        (["id", "name", "x"], r"ELQ245.*--columns must.*there is no 'title' in: id, name, x\.$"),
        (["id", "title", "id"], "ELQ245.*--columns must.*'id' is there more than once"),
        (["id", "title"], r"ELQ247.*e\.csv:1: the row has 3 cells.*2 columns"),
    ],
)
def test_wrong_columns(tmp_path, columns, message):
    with pytest.raises(ElqError, match=message):
        list(read_entities(write(tmp_path / "e.csv", *BARE), columns=columns))


@pytest.mark.parametrize("name, format", [("e.jsonl", ""), ("e.csv", "elq")])
def test_columns_of_what_is_no_table(tmp_path, name, format):
    with pytest.raises(ElqError, match=rf"ELQ370.*{name}"):
        list(read_entities(write(tmp_path / name, *BARE), format, COLUMNS))


def test_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import datetime

    from pyarrow import parquet

    table = {
        "id": ["Q90", "Q1", "Q2"],
        "title": ["Paris", "Été", "T"],
        "description": ["capital", None, None],
        "aliases": [
            [{"name": "City of Light", "count": 7}],
            None,
            [{"name": "U", "link_probability": 0.25}, {"name": "V", "count": None}],
        ],
        "rank": [1.5, None, None],
        "since": [datetime.date(987, 7, 3), None, None],
    }
    parquet.write_table(pa.table(table), tmp_path / "e.parquet", row_group_size=2)
    first, *rest = read_entities(tmp_path / "e.parquet")
    assert first.extra == {"rank": 1.5, "since": "0987-07-03"}
    assert (first.aliases, first.counts) == (("City of Light",), {"City of Light": 7})
    linked = Entity("Q2", "T", aliases=("U", "V"), link_probabilities={"U": 0.25})
    assert rest == [Entity("Q1", "Été"), linked]
    plain = {"id": ["Q90", None], "title": ["Paris", "T"], "aliases": ["City of Light|Lutetia", ""]}
    parquet.write_table(pa.table(plain), tmp_path / "e.parquet")
    entities = read_entities(tmp_path / "e.parquet")
    assert next(entities).aliases == ("City of Light", "Lutetia")
    with pytest.raises(ElqError, match=r"ELQ232.*parquet:2: 'id' is missing or empty"):
        next(entities)
    binary = pa.table({"id": [b"Q90", b"Q\xe9"], "title": [b"Paris", b"T"]})
    parquet.write_table(binary, tmp_path / "e.parquet")
    entities = read_entities(tmp_path / "e.parquet")
    assert next(entities) == Entity("Q90", "Paris")
    with pytest.raises(ElqError, match=r"ELQ301.*parquet:2.*utf-8"):
        next(entities)
    (tmp_path / "e.parquet").write_bytes(b"PAR1")
    with pytest.raises(ElqError, match=r"ELQ301.*parquet:1"):
        list(read_entities(tmp_path / "e.parquet"))


def test_popularity_in_a_table(tmp_path):
    lines = ["id,title,popularity", "Q90,Paris,1.5e6", "Q1,T,", "Q2,T,12"]
    path = write(tmp_path / "e.csv", *lines)
    assert [entity.popularity for entity in read_entities(path)] == [1.5e6, None, 12]
    with pytest.raises(ElqError, match=r'ELQ323.*e\.csv:2: "popularity" must be a number'):
        list(read_entities(write(tmp_path / "e.csv", lines[0], "Q90,Paris,high")))


def test_elq_entities(tmp_path):
    line = {"title": "Paris", "text": " capital", "idx": "wiki?curid=1", "kb_idx": "Q90"}
    path = write(tmp_path / "entity.jsonl", json.dumps(line))
    (entity,) = read_entities(path, "elq")
    assert (entity.id, entity.title, entity.description) == ("Q90", "Paris", " capital")
    with pytest.raises(ElqError, match="ELQ232"):
        list(read_entities(path))


def test_counts_of_aliases():
    record = {"id": "Q90", "title": "Paris", "aliases": ["Lutetia", {"name": "Paname", "count": 3}]}
    entity = entity_from_dict(record)
    assert (entity.aliases, entity.counts) == (("Lutetia", "Paname"), {"Paname": 3})
    assert entity_to_dict(entity) == record
    for wrong in ({"name": "P"}, {"name": 1, "count": 1}, {"name": "P", "count": "3"}, [1]):
        with pytest.raises(ElqError, match=r"ELQ323.*count"):
            entity_from_dict({**record, "aliases": [wrong]})


def test_link_probabilities_of_aliases():
    aliases = [
        "Lutetia",
        {"name": "Paname", "count": 3, "link_probability": 0.25},
        {"name": "Paris", "link_probability": 1},
        {"name": "the city", "link_probability": 0.0},
    ]
    record = {"id": "Q90", "title": "Paris", "aliases": aliases}
    entity = entity_from_dict(record)
    assert entity.counts == {"Paname": 3}
    assert entity.link_probabilities == {"Paname": 0.25, "Paris": 1, "the city": 0}
    assert entity_to_dict(entity) == record
    for wrong in (-0.1, 1.5, "0.5", True, None, float("nan")):
        alias = {"name": "P", "count": 1, "link_probability": wrong}
        with pytest.raises(ElqError, match=r"ELQ323.*aliases\[0\].*link_probability"):
            entity_from_dict({**record, "aliases": [alias]})


def test_blank_aliases_are_dropped():
    record = {"id": "Q1", "title": "T", "aliases": ["", "A", " ", {"name": " ", "count": 3}]}
    assert entity_from_dict(record).aliases == ("A",)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path):
    rows = [TABLE[0], *([f"Q{i}", "T", "x" * 500, "a|b", "", ""] for i in range(20_000))]
    path = write_table(tmp_path / "e.csv", rows)
    tracemalloc.start()
    assert sum(1 for _ in read_entities(path)) == 20_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.1 * path.stat().st_size


OBJECTS = [{"id": "Q1", "title": "[É]", "aliases": ["a", "b,]"]}, {"id": "Q2", "title": "T"}]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(OBJECTS),
        json.dumps(OBJECTS, indent=2, ensure_ascii=False),
        "\n [" + ",\n".join(map(json.dumps, OBJECTS)) + "\n]\n\n",
        "[\r\n" + "\r\n,".join(map(json.dumps, OBJECTS)) + "]",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_one_array_of_entities(tmp_path, text, encoding):
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    (tmp_path / "e.json").write_bytes((mark + text).encode(encoding))
    (tmp_path / "e.jsonl.gz").write_bytes(gzip.compress((mark + text).encode(encoding)))
    expected = [entity_from_dict(each) for each in OBJECTS]
    assert list(read_entities(tmp_path / "e.json")) == expected
    assert list(read_entities(tmp_path / "e.jsonl.gz")) == expected


@pytest.mark.parametrize(
    "text, message",
    [
        ('[\n{"id": "Q1", "title": "T"},\n{"id": "Q2" "title"},\n{}]', "ELQ302.*:3: "),
        ('[\n{"id": "Q1", "title": "T"},\n{"title": "T"}\n]', "ELQ232.*:3: "),
        ('[{"id": "Q1", "title": "T"},\n{"id":\n', "ELQ302.*:2: .*no end"),
        ('[{"id": "Q1", "title": "T"}]\n{"id": "Q2", "title": "T"}', "ELQ302.*:2: .*ended"),
        ('[{"id": "Q1", "title": "T"}] x', "ELQ302.*:1: .*ended"),
        ('["Q1"]', "ELQ303.*:1: .*str"),
        ("[" * 100_000, "ELQ302.*:1: "),
    ],
)
def test_errors_of_arrays_name_the_line(tmp_path, text, message):
    with pytest.raises(ElqError, match=message):
        list(read_entities(write(tmp_path / "e.json", text)))


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_line_ends_and_encodings_of_other_systems(tmp_path, end, encoding):
    rows = ["id,title,aliases", 'Q1,"Été, 東京",a|b', "Q2,T,"]
    (tmp_path / "e.csv").write_bytes(end.join([*rows, ""]).encode(encoding))
    expected = [Entity("Q1", "Été, 東京", aliases=("a", "b")), Entity("Q2", "T")]
    assert list(read_entities(tmp_path / "e.csv")) == expected
    lines = [json.dumps(entity_to_dict(each), ensure_ascii=False) for each in expected]
    (tmp_path / "e.jsonl").write_bytes(end.join(lines).encode(encoding))
    assert list(read_entities(tmp_path / "e.jsonl")) == expected


def test_cut_utf_16(tmp_path):
    (tmp_path / "e.jsonl").write_bytes('{"id": "Q1", "title": "T"}\n'.encode("utf-16")[:-1])
    with pytest.raises(ElqError, match=r"ELQ301.*e\.jsonl"):
        list(read_entities(tmp_path / "e.jsonl"))


@pytest.mark.parametrize(
    "aliases", [["a", "b"], ("a", "b"), {"a", "b"}, {"a": 1, "b": 2}.keys(), "generator"]
)
def test_aliases_in_any_collection(aliases):
    def fresh():
        return (each for each in "ab") if aliases == "generator" else aliases

    expected = Entity("Q1", "T", aliases=("a", "b"))
    assert entity_from_dict({"id": "Q1", "title": "T", "aliases": fresh()}) == expected
    if not isinstance(aliases, set):
        assert Entity("Q1", "T", aliases=fresh()) == expected


@pytest.mark.parametrize("aliases", ["ab", b"ab", {"a": 1}, 7])
def test_what_is_no_collection_of_aliases(aliases):
    with pytest.raises(ElqError, match=r"ELQ323.*aliases"):
        entity_from_dict({"id": "Q1", "title": "T", "aliases": aliases})


# Parts


def parts(directory, ids_of):
    directory.mkdir(exist_ok=True)
    for name, ids in ids_of.items():
        text = "".join(f'{{"id": "{id_}", "title": "T"}}\n' for id_ in ids)
        data = gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()
        (directory / name).write_bytes(data)
    return directory


def ids(path, format=""):
    return [entity.id for entity in read_entities(path, format)]


def test_a_directory_is_read_in_the_order_of_its_names(tmp_path):
    files = {"part-10.jsonl": "e", "part-02.jsonl.gz": "cd", "part-01.json": "ab"}
    directory = parts(tmp_path / "entities", {**files, ".part-03.jsonl.tmp": "x", "_SUCCESS": ""})
    (directory / "part-03.csv").write_text("id,title\nQ1,T\n")
    assert ids(directory) == [*"abcd", "Q1", "e"]
    assert ids(f"{directory}/part-0*.js*") == [*"abcd"]
    assert ids(tmp_path / "*" / "part-10.jsonl") == ["e"]


def test_a_file_whose_name_has_a_bracket_is_no_pattern(tmp_path):
    parts(tmp_path, {"e[1].jsonl": "ab", "e1.jsonl": "c"})
    assert ids(tmp_path / "e[1].jsonl") == [*"ab"]


@pytest.mark.parametrize(
    "name, message",
    [
        ("empty", "ELQ315.*empty"),
        ("full/part-9*.jsonl", r"ELQ315.*part-9\*"),
        ("full", r"ELQ312.*README\.md"),
        ("full/*", "ELQ255.*below is a directory"),
        ("above", "ELQ255.*full is a directory"),
    ],
)
def test_what_is_no_part_is_found_before_anything_is_read(tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    full = parts(tmp_path / "full", {"part-0.jsonl": "a"})
    (full / "README.md").touch()
    (tmp_path / "above" / "full").mkdir(parents=True)
    if name == "full/*":
        (full / "below").mkdir()
    with pytest.raises(ElqError, match=message):
        next(read_entities(tmp_path / name))


def test_a_bad_line_of_a_part_is_named(tmp_path):
    directory = parts(tmp_path / "entities", {"a.jsonl": "abc", "b.jsonl": "d"})
    (directory / "c.jsonl").write_text('{"id": "e", "title": "T"}\n{}\n')
    with pytest.raises(ElqError, match=r"ELQ232.*c\.jsonl:2"):
        ids(directory)
