"""A catalogue keeps the same promises in a file and on a server."""

import sqlite3
import threading

import pytest
from factories import make_fingerprint, make_identity, make_space

from aggregator import database, schema
from aggregator.catalogue_place import CataloguePlace
from aggregator.store import Border, Catalogue
from federation.errors import StoreError, UnknownNameError


@pytest.fixture
def identity(tmp_path):
    return make_identity("st-anna", tmp_path)


def add(catalogue, space, *fingerprints):
    with catalogue.writing() as writer:
        writer.add_space(space)
        return [writer.add_fingerprint(fingerprint) for fingerprint in fingerprints]


class CatalogueContract:
    """What holds for every kind of catalogue; a subclass says where one is made."""

    @pytest.fixture
    def place(self, tmp_path):
        raise NotImplementedError

    @pytest.fixture
    def catalogue(self, place):
        store = Catalogue(place, create=True)
        yield store
        store.close()

    def test_what_was_stored_is_read_back_bit_by_bit(self, catalogue, identity):
        space = make_space()
        fingerprint = make_fingerprint(identity, "t", space)
        assert add(catalogue, space, fingerprint) == [True]
        (entry,) = catalogue.entries(space)
        assert entry.fingerprint.to_bytes() == fingerprint.to_bytes()
        assert catalogue.latest_space() == space

    def test_another_process_finds_what_was_stored(self, catalogue, place, identity):
        space = make_space()
        fingerprint = make_fingerprint(identity, "t", space)
        add(catalogue, space, fingerprint)
        other = Catalogue(place)
        assert other.content(1) == fingerprint.to_bytes()
        other.close()

    def test_the_same_fingerprint_is_stored_once(self, catalogue, identity):
        space = make_space()
        fingerprint = make_fingerprint(identity, "t", space)
        assert add(catalogue, space, fingerprint, fingerprint) == [True, False]
        assert len(catalogue.entries(space)) == 1

    def test_a_newer_fingerprint_replaces_the_current_one_and_keeps_the_old(self, catalogue, identity):
        space = make_space()
        old, new = (make_fingerprint(identity, "t", space, seed=seed) for seed in (1, 2))
        add(catalogue, space, old, new)
        assert [entry.current for entry in catalogue.entries(space)] == [False, True]
        add(catalogue, space, old)
        assert [entry.current for entry in catalogue.entries(space)] == [True, False]

    def test_a_failed_transaction_leaves_everything_as_it_was(self, catalogue, identity):
        space = make_space()
        add(catalogue, space, make_fingerprint(identity, "t", space))

        def crash():
            with catalogue.writing() as writer:
                writer.add_fingerprint(make_fingerprint(identity, "u", space))
                raise RuntimeError("crash")

        with pytest.raises(RuntimeError, match="crash"):
            crash()
        assert [entry.fingerprint.key for entry in catalogue.entries(space)] == ["st-anna/t"]

    @pytest.mark.parametrize("first", [100, 4096])
    def test_heads_are_those_of_the_whole_fingerprints(self, catalogue, identity, monkeypatch, first):
        monkeypatch.setattr("aggregator.fingerprint_heads._FIRST", first)
        space = make_space()
        prints = [make_fingerprint(identity, f"t{k}", space, seed=k) for k in range(3)]
        add(catalogue, space, *prints)
        found = catalogue.heads([3, 1, 2])
        assert [head.card for head in found] == [prints[2].card, prints[0].card, prints[1].card]

    def test_a_border_that_is_there_stays(self, catalogue, identity):
        space = make_space()
        add(catalogue, space, make_fingerprint(identity, "t", space))
        empty = make_space().edges[0, :0]
        with catalogue.writing() as writer:
            for value in (0.25, 0.5):
                writer.add_border(1, "js", Border(make_space().edges[0, :1] * 0 + value, empty))
        assert catalogue.borders(space, "js")[1].to_earlier == [0.25]

    def test_an_empty_catalogue_says_so(self, catalogue):
        with pytest.raises(StoreError, match="is empty"):
            catalogue.latest_space()
        with pytest.raises(UnknownNameError, match="no finished run"):
            catalogue.run_summary()

    def test_events_and_run_summaries_are_kept_in_order(self, catalogue):
        space = make_space()
        with catalogue.writing() as writer:
            writer.add_space(space)
            writer.add_event("accepted", "job-1", task="a/t")
            writer.add_event("missing", "job-1", site="b")
            writer.finish_run("job-1", space, {"missing": []})
        told = [(event["kind"], event["job"]) for event in catalogue.events()]
        assert told == [("accepted", "job-1"), ("missing", "job-1")]
        assert catalogue.run_summary()["job"] == "job-1"

    def test_writers_take_turns_and_none_loses_what_another_wrote(self, catalogue, place):
        space = make_space()
        add(catalogue, space)

        def count_up():
            own = Catalogue(place, create=True)
            for _ in range(10):
                with own.writing() as writer:
                    done = own.read(lambda c: c.execute(schema.run.select()).first())
                    so_far = 0 if done is None else int(done.summary)
                    writer.finish_run("count", space, so_far + 1)
            own.close()

        workers = [threading.Thread(target=count_up) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert catalogue.read(lambda c: c.execute(schema.run.select()).one()).summary == b"30"

    def test_readers_see_what_was_before_while_another_writes(self, catalogue, place, identity):
        space = make_space()
        add(catalogue, space, make_fingerprint(identity, "t", space))
        reader = Catalogue(place)
        with catalogue.writing() as writer:
            writer.add_fingerprint(make_fingerprint(identity, "u", space))
            assert [entry.task for entry in reader.listings(space)] == ["t"]
        assert [entry.task for entry in reader.listings(space)] == ["t", "u"]
        reader.close()

    def test_a_reading_cannot_write(self, catalogue):
        with pytest.raises(StoreError):
            catalogue.read(lambda c: c.execute(schema.run.delete()))

    def test_text_is_ordered_by_code_points(self, catalogue):
        names = ["a", "B", "Ä", "z", "a-b", "a_b", "ab", "a/b", "A"]
        with catalogue.transaction() as connection:
            rows = [{"space_id": name, "added_at": 0.0, "content": b""} for name in names]
            connection.execute(schema.space.insert(), rows)
        query = schema.space.select().order_by(schema.space.c.space_id)
        found = catalogue.read(lambda c: [row.space_id for row in c.execute(query)])
        assert found == sorted(names)

    @pytest.mark.parametrize("value", [0.1 + 0.2, 1e-300, 2.0**60 + 2.0**8])
    def test_floats_come_back_to_the_last_bit(self, catalogue, value):
        with catalogue.transaction() as connection:
            connection.execute(schema.space.insert().values(space_id="s", added_at=value, content=b""))
        found = catalogue.read(lambda c: c.execute(schema.space.select()).one()).added_at
        assert found.hex() == value.hex()


class TestCatalogueInAFile(CatalogueContract):
    @pytest.fixture
    def place(self, tmp_path):
        return tmp_path / "catalogue.sqlite"

    def test_a_full_disk_is_one_clear_error_and_loses_nothing(self, catalogue, identity, tmp_path):
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

    def test_only_its_owner_can_read_any_of_its_files(self, catalogue, place):
        add(catalogue, make_space())
        files = [file for file in place.parent.iterdir() if file.name.startswith(place.name)]
        assert len(files) > 1
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}

    def test_a_copy_on_a_medium_that_nobody_can_write_to_is_readable(self, catalogue, place, monkeypatch):
        add(catalogue, make_space())
        catalogue.close()
        monkeypatch.setattr(database.os, "access", lambda *_: False)
        assert Catalogue(place).latest_space() == make_space()
        assert [file.name for file in place.parent.iterdir()] == [place.name]

    def test_a_missing_one_is_named_with_a_remedy(self, tmp_path):
        with pytest.raises(StoreError, match=r"no catalogue at .*nowhere.*fedprint demo"):
            Catalogue(tmp_path / "nowhere.sqlite")
        assert not (tmp_path / "nowhere.sqlite").exists()

    @pytest.mark.parametrize("content", [b"", b"not a database at all" * 100])
    def test_a_file_that_is_no_catalogue_is_refused(self, tmp_path, content):
        path = tmp_path / "other.sqlite"
        path.write_bytes(content)
        with pytest.raises(StoreError):
            Catalogue(path)
        assert path.read_bytes() == content

    @pytest.mark.parametrize("create", [False, True])
    def test_another_programs_database_is_refused(self, tmp_path, create):
        path = tmp_path / "other.sqlite"
        sqlite3.connect(path).execute("CREATE TABLE t (x)").connection.commit()
        with pytest.raises(StoreError, match="is no catalogue"):
            Catalogue(path, create=create)


class TestCatalogueOnAServer(CatalogueContract):
    @pytest.fixture
    def place(self, postgresql_url, tmp_path):
        return CataloguePlace.of(postgresql_url, tmp_path)

    @pytest.fixture(autouse=True)
    def impatience(self, monkeypatch):
        monkeypatch.setattr(database, "PATIENCE_S", 0.0)

    def test_a_server_without_tables_is_named_with_a_remedy(self, place):
        with pytest.raises(StoreError, match=r"holds no catalogue yet.*hub migrate"):
            Catalogue(place)

    def test_another_programs_database_is_refused(self, postgresql_url):
        engine = database.sa.create_engine(postgresql_url)
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE t (x int)")
        engine.dispose()
        with pytest.raises(StoreError, match="is no catalogue"):
            Catalogue(postgresql_url, create=True)

    def test_a_database_that_does_not_exist_says_how_to_make_it(self, postgresql):
        with pytest.raises(StoreError, match=r'"nowhere" does not exist.*createdb'):
            Catalogue(postgresql.url("nowhere"))

    def test_a_connection_that_was_ended_is_replaced(self, catalogue, place, postgresql, identity):
        space = make_space()
        add(catalogue, space, make_fingerprint(identity, "t", space))
        postgresql.kill_connections(place.address)
        assert len(catalogue.listings(space)) == 1
        postgresql.kill_connections(place.address)
        add(catalogue, space, make_fingerprint(identity, "u", space))
        assert len(catalogue.listings(space)) == 2

    def test_a_reading_whose_connection_is_ended_is_done_once_more(self, catalogue, place, postgresql):
        seen = []

        def work(connection):
            seen.append(connection)
            if len(seen) == 1:
                postgresql.kill_connections(place.address)
            return connection.execute(schema.space.select()).all()

        assert catalogue.read(work) == []
        assert len(seen) == 2

    def test_a_server_that_dies_within_a_transaction_is_one_clear_error(
        self, catalogue, place, postgresql, identity
    ):
        space = make_space()
        add(catalogue, space, make_fingerprint(identity, "t", space))

        def die():
            with catalogue.writing() as writer:
                writer.add_fingerprint(make_fingerprint(identity, "u", space))
                writer.add_event("accepted", "job")
                postgresql.kill()
                writer.add_event("accepted", "job")

        with pytest.raises(StoreError, match=r"cannot be used.*server runs and can be reached"):
            die()
        with pytest.raises(StoreError, match=r"cannot be used.*do the same again"):
            catalogue.events()
        postgresql.revive()
        assert [entry.task for entry in catalogue.listings(space)] == ["t"]
        assert catalogue.events() == []

    def test_a_server_that_dies_before_the_commit_keeps_nothing_of_it(self, catalogue, place, postgresql):
        def die():
            with catalogue.writing() as writer:
                writer.add_event("accepted", "job")
                postgresql.kill()

        with pytest.raises(StoreError):
            die()
        postgresql.revive()
        assert catalogue.events() == []

    def test_a_writer_waits_for_a_server_that_restarts(self, catalogue, postgresql, monkeypatch):
        monkeypatch.setattr(database, "PATIENCE_S", 30.0)
        monkeypatch.setattr(database.time, "sleep", lambda _: postgresql.revive())
        postgresql.kill()
        with catalogue.writing() as writer:
            writer.add_event("accepted", "job")
        assert len(catalogue.events()) == 1

    def test_a_writer_that_never_gets_its_turn_says_so(self, catalogue, place, monkeypatch):
        monkeypatch.setattr(database, "TURN_S", 0.1)
        other = Catalogue(place)

        def write_meanwhile():
            with catalogue.writing(), other.writing():
                pass

        with pytest.raises(StoreError, match="another process has been writing"):
            write_meanwhile()
