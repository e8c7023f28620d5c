"""Texts to link, from files of all kinds."""

import gzip
import io
import tracemalloc

import pytest

from spacy_elq import ElqError, files
from spacy_elq.corpora.input_texts import read_stdin, read_texts
from spacy_elq.corpora.spans_jsonl import LinkedText


def read(tmp_path, name, content):
    path = tmp_path / name
    data = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return list(read_texts(path))


JSONL = '{"id": 7, "text": "a"}\n\n{"text": "b", "spans": [{"start": 0, "end": 1, "id": "Q"}]}\n'
ROWS = [
    LinkedText("a", (), {"id": 7}),
    LinkedText("b", (), {"gold": [{"start": 0, "end": 1, "id": "Q"}]}),
]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_jsonl_keeps_fields_and_calls_its_spans_gold(tmp_path, name):
    assert read(tmp_path, name, JSONL) == ROWS


def test_lines_of_text_stay_lines(tmp_path):
    rows = read(tmp_path, "a.txt", b'\xef\xbb\xbfone\r\n\n{"x"}  \nlast')
    assert [row.text for row in rows] == ["one", "", '{"x"}  ', "last"]


def test_one_array_of_texts(tmp_path):
    content = "[\n" + ",\n".join(line for line in JSONL.splitlines() if line) + "\n]\n"
    assert read(tmp_path, "a.json", content) == ROWS
    assert list(read_stdin(io.BytesIO(content.encode()))) == ROWS
    one_line = content.replace("\n", "")
    assert list(read_stdin(io.BytesIO(one_line.encode()))) == ROWS
    assert [row.text for row in read_stdin(io.BytesIO(b"[1] a\n]"))] == ["[1] a", "]"]


def test_texts_of_other_systems(tmp_path):
    for content in ("é\r\rb", "é\r\n\r\nb\r\n", "é\n\nb"):
        assert [row.text for row in read(tmp_path, "a.txt", content)] == ["é", "", "b"]
        rows = read(tmp_path, "a.txt", content.encode("utf-16"))
        assert [row.text for row in rows] == ["é", "", "b"]


def test_tables(tmp_path):
    content = 'id,text\n1,"two\nlines, ""q"""\n2,b\n'
    assert read(tmp_path, "a.csv", content) == [
        LinkedText('two\nlines, "q"', (), {"id": "1"}),
        LinkedText("b", (), {"id": "2"}),
    ]


def test_line_breaks_in_a_cell_are_kept(tmp_path):
    content = 'id,text\r\n1,"two\r\nlines, then Paris"\r\n2,b\r\n'
    assert [row.text for row in read(tmp_path, "a.csv", content)] == [
        "two\r\nlines, then Paris", "b",
    ]  # fmt: skip


def test_quotes_are_characters_like_others_between_tabs(tmp_path):
    content = 'id\ttext\n1\t"Abraham Lincoln was tall\n2\twho "founded" it\n3\t"a"\n'
    assert [row.text for row in read(tmp_path, "a.tsv", content)] == [
        '"Abraham Lincoln was tall', 'who "founded" it', '"a"',
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_a_cell_may_be_as_long_as_a_text(tmp_path, name):
    assert read(tmp_path, name, "text\n" + "a" * 200_000 + "\n") == [LinkedText("a" * 200_000)]


def test_standard_input_is_told_by_its_first_line():
    assert list(read_stdin(io.BytesIO(JSONL.encode()))) == ROWS
    assert [row.text for row in read_stdin(io.BytesIO(b"one\n\n{two"))] == ["one", "", "{two"]
    assert list(read_stdin(io.BytesIO(b""))) == []


def test_standard_input_is_answered_line_by_line():
    class Endless(io.RawIOBase):
        lines = iter([b"first\n"])

        def readline(self, size=-1):
            return next(self.lines)  # another one would be read ahead

    assert next(read_stdin(Endless())).text == "first"


@pytest.mark.parametrize("rows", ["a,1,,\n,2,,\n", "a,1\n,2\n", "a,1, ,\n,2,\n"])
def test_empty_columns_at_the_end_are_left_out(tmp_path, rows):
    """Excel writes them, and leaves them out of later rows."""
    texts = read(tmp_path, "a.csv", f"text,id,,\n{rows}")
    assert [(each.text, each.fields) for each in texts] == [("a", {"id": "1"}), ("", {"id": "2"})]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pdf", "x", "ELQ420"),
        ("a.txt.gz", "x", "ELQ420"),
        ("a.txt", b"ok\n\xff\n", "ELQ301.*a.txt:2"),
        ("a.csv", "id,question\n1,a\n", "ELQ245.*text"),
        ("a.csv", "", "ELQ245.*text"),
        ("a.csv", "id,question,,\n1,a,,\n", "ELQ245.*there is no 'text' in: id, question"),
        ("a.csv", "text,id,text\n1,a,b\n", "ELQ245.*a.csv.*'text' is there more than once"),
        ("a.csv", "text,,,id\n1,a,b,c\n", "ELQ245.*columns 2 and 3 have no name"),
        ("a.csv", "text,,\na,,b\n", "ELQ247.*a.csv:2: the row has 3 cells.*1 columns"),
        ("a.csv", "id,text\n1,a,b\n", "ELQ247.*a.csv:2"),
        ("a.csv", "id,text\n1\n", "ELQ247.*a.csv:2"),
        ("a.csv", 'text\n"a" b\n', "ELQ301.*a.csv:2"),
        ("a.csv", 'text\n"never closed\n', "ELQ301.*a.csv:[23]"),
        ("a.csv", 'text,"x" y\na,b\n', "ELQ301.*a.csv:1"),
        ("a.jsonl", '{"text": "a"}\n{"question": "a"}\n', "ELQ304.*a.jsonl:2"),
        ("a.jsonl", "text\n", "ELQ302.*a.jsonl:1"),
    ],
)
def test_what_is_refused(tmp_path, name, content, message):
    with pytest.raises(ElqError, match=message):
        read(tmp_path, name, content)


BAD = [
    b'{"text": "a\\ud800b"}', b'{"text": 5}', b'{"text": "cut', b"[" * 50_000, b'"a"', b"null",
    b'{"text": null}', b"{}", b'{"text": "\xff"}', b'{"text": "x", "topic_id": 3}', b"x" * 2000,
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "-"])
def test_a_bad_line_is_reported_and_left_out(tmp_path, monkeypatch, bad, name):
    monkeypatch.setattr(files, "MAX_LINE", 60_000 if bad[:1] == b"[" else 1000)
    content = b'{"text": "one"}\n' + bad + b'\n{"text": "two"}\n'
    path, errors = tmp_path / name, []
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    if name == "-":
        texts = read_stdin(io.BytesIO(content), errors.append)
    else:
        texts = read_texts(path, errors.append)
    assert [text.text for text in texts] == ["one", "two"]
    (error,) = errors
    assert ":2" in str(error) and "ELQ3" in str(error)
    with pytest.raises(ElqError, match="ELQ3"):
        list(read_stdin(io.BytesIO(content)))


class Zeros(io.RawIOBase):
    """A line of a thousand million characters, made as they are read, and a short one."""

    def __init__(self):
        self.left, self.largest = 10**9, 0

    def readline(self, size=-1):
        self.largest = max(self.largest, size)
        self.left -= size
        if self.left > 0:
            return b"0" * size
        if self.left > -size:
            return b"0\n"
        return b"last\n" if self.left > -2 * size else b""


def test_a_line_has_a_limit_and_takes_no_more_memory():
    errors, stream = [], Zeros()
    tracemalloc.start()
    assert [text.text for text in read_stdin(stream, errors.append)] == ["last"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "ELQ314" in str(errors[0]) and len(errors) == 1
    assert stream.largest <= files.MAX_LINE + 1
    assert peak < 4 * files.MAX_LINE
