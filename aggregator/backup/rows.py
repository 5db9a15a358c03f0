"""All rows of a catalogue as a SQLite file, and back into a catalogue of either kind."""

import sqlite3
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from aggregator import schema
from aggregator.catalogue_place import CataloguePlace
from aggregator.database import Database
from aggregator.migration import VERSION_TABLE, check_revision, is_new, upgrade
from federation.errors import StoreError

_AT_ONCE = 100  # rows in memory; a border of the 10,000th task has 160 kB


def save_rows(place: CataloguePlace, file: Path) -> dict[str, int]:
    """Write the state of one moment of a catalogue into a new SQLite file; others go on writing meanwhile.

    Returns:
        Table → number of rows.

    Raises:
        StoreError: If the catalogue cannot be read, or the file not be written.
    """
    source, target = Database(place), Database(CataloguePlace.of(file), create=True)
    with closing(source), closing(target):
        check_revision(source)
        if place.is_on_server:
            upgrade(target)
            with target.writing() as connection:
                source.read(lambda reading: _copy(reading, connection))
        else:
            source.read(lambda reading: _copy_file(reading, file))
        return target.read(_count)


def load_rows(file: Path, place: CataloguePlace) -> None:
    """Write all rows of a SQLite file into a catalogue that has none, in one transaction.

    Args:
        file: What ``save_rows`` wrote; it is brought up to date first.
        place: Where the rows go.

    Raises:
        StoreError: If there are rows already, or they cannot be written; nothing is written then.
    """
    source, target = Database(CataloguePlace.of(file)), Database(place, create=True)
    with closing(source), closing(target):
        upgrade(source)
        require_no_rows(target)
        upgrade(target)
        with target.writing() as connection:
            source.read(lambda reading: _copy(reading, connection))
            _go_on_counting(connection)


def require_no_rows(database: Database) -> None:
    """Refuse a database that holds anything.

    Raises:
        StoreError: If it does.
    """
    if not is_new(database) and any(database.read(_count).values()):
        raise StoreError(
            f"{database.place} holds a catalogue already",
            remedy="restore into an empty database; nothing was changed",
        )


def _copy(source: sa.Connection, target: sa.Connection) -> None:
    _require_all_known(source)
    for table in schema.metadata.sorted_tables:
        rows = source.execution_options(yield_per=_AT_ONCE).execute(sa.select(table))
        for part in rows.mappings().partitions():
            target.execute(sa.insert(table), [dict(row) for row in part])


def _copy_file(source: sa.Connection, file: Path) -> None:
    driver = source.connection.driver_connection
    if not isinstance(driver, sqlite3.Connection):
        raise AssertionError("only a file is copied as a file")
    _require_all_known(source)
    with closing(sqlite3.connect(file)) as target:
        driver.backup(target)


def _count(connection: sa.Connection) -> dict[str, int]:
    tables = schema.metadata.sorted_tables
    counts = (
        connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() for table in tables
    )
    return {table.name: int(n) for table, n in zip(tables, counts, strict=True)}


def _require_all_known(connection: sa.Connection) -> None:
    """Notice a table that migrations make and the schema does not name: its rows would be left out."""
    there = set(sa.inspect(connection).get_table_names()) - {VERSION_TABLE}
    if there != set(schema.metadata.tables):
        raise AssertionError(f"tables {sorted(there ^ set(schema.metadata.tables))} are not in the schema")


def _go_on_counting(connection: sa.Connection) -> None:
    """Let the server number new rows after those that were copied with their numbers."""
    if connection.dialect.name != "postgresql":
        return
    for table in schema.metadata.sorted_tables:
        column = table.autoincrement_column
        if column is not None:
            sequence = sa.func.pg_get_serial_sequence(table.name, column.name)
            last = sa.select(sa.func.max(column)).scalar_subquery()
            connection.execute(sa.select(sa.func.setval(sequence, last)).where(last.is_not(None)))
