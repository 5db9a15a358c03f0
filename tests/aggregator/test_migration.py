"""Migrations: what they end in is what the code expects, and nobody works with other tables."""

import threading
from contextlib import suppress

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from aggregator import migration, schema
from aggregator.catalogue_place import CataloguePlace
from aggregator.database import Database
from aggregator.migration import OPTIONS, VERSION_TABLE, configuration, upgrade
from aggregator.store import Catalogue
from federation.errors import StoreError


@pytest.fixture
def database(place):
    found = Database(CataloguePlace.of(place), create=True)
    yield found
    found.close()


def set_revision(database, revision):
    with database.writing() as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = :new"), {"new": revision})


def test_the_migrations_end_in_what_the_code_expects(database):
    upgrade(database)
    options = {key: value for key, value in OPTIONS.items() if key != "target_metadata"}
    different = database.read(
        lambda c: compare_metadata(MigrationContext.configure(c, opts=options), schema.metadata)
    )
    assert different == [], "write a migration, as CONTRIBUTING.md says"


def test_the_latest_migration_is_the_one_that_the_code_names(database):
    found = database.read(lambda c: ScriptDirectory.from_config(configuration(c)).get_current_head())
    assert found == schema.REVISION


def test_every_column_of_text_is_ordered_by_code_points():
    other = [
        f"{table.name}.{column.name}"
        for table in schema.metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, sa.String) and column.type is not schema.TEXT and not column.foreign_keys
    ]
    assert other == [], "declare them with aggregator.schema.TEXT"


def test_numbers_have_the_same_width_everywhere():
    narrow = [c for t in schema.metadata.sorted_tables for c in t.columns if type(c.type) is sa.Float]
    assert narrow == [], "declare them with sqlalchemy.Double"


def test_what_is_up_to_date_is_left_alone(database):
    assert upgrade(database)
    assert not upgrade(database)


def test_of_two_that_open_an_empty_catalogue_one_migrates(place, monkeypatch):
    migrated, both_are_here = [], threading.Barrier(2, timeout=30)
    real_standing, real_migrate = migration._standing, migration._migrate

    def standing(connection):
        found = real_standing(connection)
        if not both_are_here.broken and found is migration.Standing.EMPTY and not migrated:
            with suppress(threading.BrokenBarrierError):
                both_are_here.wait(2)
        return found

    def migrate(connection):
        migrated.append(True)
        real_migrate(connection)

    monkeypatch.setattr(migration, "_standing", standing)
    monkeypatch.setattr(migration, "_migrate", migrate)
    workers = [threading.Thread(target=lambda: Catalogue(place, create=True).close()) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert migrated == [True]
    Catalogue(place).close()


def test_a_migration_that_fails_leaves_nothing_behind(database, monkeypatch):
    def fail(config, revision):
        real(config, revision)
        raise RuntimeError("crash")

    real = command.upgrade
    monkeypatch.setattr(command, "upgrade", fail)
    with pytest.raises(RuntimeError, match="crash"):
        upgrade(database)
    assert database.read(lambda c: sa.inspect(c).get_table_names()) == []


def test_an_older_catalogue_is_not_read_but_brought_up_to_date_by_a_writer(database, place, monkeypatch):
    upgrade(database)
    set_revision(database, "0000")
    monkeypatch.setattr(migration, "_known", lambda _: {"0000", schema.REVISION})
    with pytest.raises(StoreError, match=r"older version of fedprint.*fedprint hub migrate"):
        Catalogue(place)
    monkeypatch.setattr(migration, "_migrate", lambda _: migrated.append(True))
    migrated = []
    Catalogue(place, create=True).close()
    assert migrated == [True]


@pytest.mark.parametrize("create", [False, True])
def test_a_newer_catalogue_is_refused(database, place, create):
    upgrade(database)
    set_revision(database, "9999")
    with pytest.raises(StoreError, match=r"newer version of fedprint.*nothing was changed"):
        Catalogue(place, create=create)


@pytest.mark.parametrize("create", [False, True])
def test_a_catalogue_from_before_versions_is_refused(database, place, create):
    with database.changing_tables() as connection:
        schema.metadata.create_all(connection)
    with pytest.raises(StoreError, match=r"is no catalogue.*before versions"):
        Catalogue(place, create=create)
