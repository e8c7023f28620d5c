import multiprocessing
import pickle
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from spacy_elq.errors import ElqError
from spacy_elq.kb.files.catalogue import RECENT, Catalogue
from spacy_elq.kb.files.database import open_database
from spacy_elq.types import Entity

from .helpers import ENTITIES


@pytest.fixture
def catalogue(tmp_path):
    return Catalogue.build(tmp_path / "entities.sqlite", iter(ENTITIES))


def test_records_come_back_whole_and_in_order(catalogue):
    rows = [4, 0, 3, 0, 44]
    for _ in range(2):  # the second time some come from memory
        assert catalogue.records(rows) == [ENTITIES[row] for row in rows]
    assert catalogue.ids(rows) == [ENTITIES[row].id for row in rows]
    assert catalogue.records([]) == []
    assert list(catalogue) == ENTITIES
    assert list(catalogue.iterate(43)) == ENTITIES[43:]
    assert len(catalogue) == len(ENTITIES)


def test_rows_of_ids(catalogue):
    assert catalogue.rows(["Q3", "nobody", "Q90"]) == [3, None, 0]
    assert catalogue.row("Q8409") == 2
    assert catalogue.row("' OR 1=1 --") is None


@pytest.mark.parametrize("row", [-1, len(ENTITIES)])
def test_unknown_row(catalogue, row):
    with pytest.raises(ElqError, match=r"ELQ220.*rows 0 to 44"):
        catalogue.records([0, row])


def test_duplicate_ids_are_named_with_their_places(tmp_path):
    entities = [Entity("a", "A"), Entity("b", "B"), Entity("c", "C"), Entity("b", "B2")]
    with pytest.raises(ElqError, match=r"ELQ207.*'b'.*entity 2 and as entity 4"):
        Catalogue.build(tmp_path / "entities.sqlite", entities)


def test_memory_is_bounded(tmp_path):
    count = RECENT + 50
    entities = (Entity(str(i), f"T{i}") for i in range(count))
    catalogue = Catalogue.build(tmp_path / "entities.sqlite", entities)
    for start in range(0, count, 1000):
        rows = range(start, min(start + 1000, count))
        assert [entity.id for entity in catalogue.records(rows)] == [str(row) for row in rows]
    assert len(catalogue._recent) <= RECENT


def test_odd_path(tmp_path):
    odd = tmp_path / "what? a # 100% path"
    odd.mkdir()
    assert len(Catalogue.build(odd / "e.sqlite", ENTITIES)) == len(ENTITIES)


def test_nothing_is_written_when_read(catalogue, tmp_path):
    catalogue.path.chmod(0o444)
    assert catalogue.row("Q90") == 0
    assert [file.name for file in tmp_path.iterdir()] == ["entities.sqlite"]


def in_thread(function, *args):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *args).result()


def in_fork(function, *args):
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=lambda: queue.put(function(*args)))
    child.start()
    child.join(20)
    return queue.get()


def problem_of(function, *args):
    with pytest.raises(ElqError) as caught:
        function(*args)
    return str(caught.value)


def test_threads_that_come_when_the_files_are_gone(catalogue):
    catalogue.path.rename(catalogue.path.with_name("elsewhere.sqlite"))
    rows = range(len(ENTITIES))
    with ThreadPoolExecutor(8) as pool:  # all of them with one connection
        found = list(pool.map(lambda _: (list(catalogue), catalogue.ids(rows)), range(40)))
    assert found == [(ENTITIES, [entity.id for entity in ENTITIES])] * 40
    problem = in_fork(problem_of, catalogue.row, "Q90")  # no connection survives a fork
    assert re.search(r"ELQ272.*moved or removed", problem)


@pytest.mark.parametrize("moment", ["before", "while it is opened"])
def test_a_thread_that_comes_when_the_file_is_replaced(catalogue, tmp_path, monkeypatch, moment):
    other = Catalogue.build(tmp_path / "other.sqlite", [Entity("other", "Other")]).path

    def replaced_first(*args, **options):
        if other.exists():
            other.replace(catalogue.path)
        return open_database(*args, **options)

    if moment == "before":
        other.replace(catalogue.path)
    monkeypatch.setattr("spacy_elq.kb.files.catalogue.open_database", replaced_first)
    assert in_thread(catalogue.row, "Q90") == 0
    assert in_thread(catalogue.row, "other") is None
    assert not other.exists()
    assert "ELQ222" in in_fork(problem_of, catalogue.row, "Q90")
    assert catalogue.row("Q90") == 0


def test_shared_by_threads_pickles_and_forks(catalogue):
    assert catalogue.row("Q90") == 0
    assert pickle.loads(pickle.dumps(catalogue)).row("Q3") == 3
    assert in_thread(catalogue.row, "Q3") == 3
    assert in_fork(catalogue.rows, ["Q4", "Q90"]) == [4, 0]
