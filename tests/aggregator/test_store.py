import sqlite3

import pytest
from factories import make_fingerprint, make_identity, make_space

from aggregator.store import Catalogue
from federation.errors import StoreError, UnknownNameError


@pytest.fixture
def identity(tmp_path):
    return make_identity("st-anna", tmp_path)


@pytest.fixture
def catalogue(tmp_path):
    store = Catalogue(tmp_path / "catalogue.sqlite", create=True)
    yield store
    store.close()


def add(catalogue, space, *fingerprints):
    with catalogue.writing() as writer:
        writer.add_space(space)
        return [writer.add_fingerprint(fingerprint) for fingerprint in fingerprints]


def test_what_was_stored_is_read_back_bit_by_bit(catalogue, identity):
    space = make_space()
    fingerprint = make_fingerprint(identity, "t", space)
    assert add(catalogue, space, fingerprint) == [True]
    (entry,) = catalogue.entries(space)
    assert entry.fingerprint.to_bytes() == fingerprint.to_bytes()
    assert catalogue.latest_space() == space


def test_the_same_fingerprint_is_stored_once(catalogue, identity):
    space = make_space()
    fingerprint = make_fingerprint(identity, "t", space)
    assert add(catalogue, space, fingerprint, fingerprint) == [True, False]
    assert len(catalogue.entries(space)) == 1


def test_a_newer_fingerprint_of_a_task_replaces_the_current_one_and_keeps_the_old(catalogue, identity):
    space = make_space()
    old, new = (make_fingerprint(identity, "t", space, seed=seed) for seed in (1, 2))
    add(catalogue, space, old, new)
    assert [entry.current for entry in catalogue.entries(space)] == [False, True]
    add(catalogue, space, old)
    assert [entry.current for entry in catalogue.entries(space)] == [True, False]


def test_a_failed_transaction_leaves_everything_as_it_was(catalogue, identity):
    space = make_space()
    add(catalogue, space, make_fingerprint(identity, "t", space))

    def crash():
        with catalogue.writing() as writer:
            writer.add_fingerprint(make_fingerprint(identity, "u", space))
            raise RuntimeError("crash")

    with pytest.raises(RuntimeError, match="crash"):
        crash()
    assert [entry.fingerprint.key for entry in catalogue.entries(space)] == ["st-anna/t"]


def test_a_full_disk_is_one_clear_error_and_loses_nothing(catalogue, identity, tmp_path):
    space = make_space(1000)
    add(catalogue, space, make_fingerprint(identity, "t", space))

    def add_on_full_disk():
        with catalogue.writing() as writer:
            pages = writer._connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            writer._connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
            writer.add_fingerprint(make_fingerprint(identity, "u", space))

    with pytest.raises(StoreError, match=r"full.*disk space"):
        add_on_full_disk()
    reread = Catalogue(tmp_path / "catalogue.sqlite")
    assert [entry.fingerprint.key for entry in reread.entries(space)] == ["st-anna/t"]


def test_a_missing_catalogue_is_named_with_a_remedy(tmp_path):
    with pytest.raises(StoreError, match=r"no catalogue at .*nowhere.*fedprint demo"):
        Catalogue(tmp_path / "nowhere.sqlite")
    assert not (tmp_path / "nowhere.sqlite").exists()


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 100])
def test_a_file_that_is_no_catalogue_is_refused(tmp_path, content):
    path = tmp_path / "other.sqlite"
    path.write_bytes(content)
    with pytest.raises(StoreError):
        Catalogue(path)
    assert path.read_bytes() == content


def test_another_programs_database_is_refused(tmp_path):
    path = tmp_path / "other.sqlite"
    sqlite3.connect(path).execute("CREATE TABLE t (x)").connection.commit()
    with pytest.raises(StoreError, match="is no catalogue"):
        Catalogue(path)


def test_an_empty_catalogue_says_so(catalogue):
    with pytest.raises(StoreError, match="is empty"):
        catalogue.latest_space()
    with pytest.raises(UnknownNameError, match="no finished run"):
        catalogue.run_summary()


def test_events_and_run_summaries_are_kept_in_order(catalogue):
    space = make_space()
    with catalogue.writing() as writer:
        writer.add_space(space)
        writer.add_event("accepted", "job-1", task="a/t")
        writer.add_event("missing", "job-1", site="b")
        writer.finish_run("job-1", space, {"missing": []})
    assert [(e["kind"], e["job"]) for e in catalogue.events()] == [
        ("accepted", "job-1"),
        ("missing", "job-1"),
    ]
    assert catalogue.run_summary()["job"] == "job-1"
