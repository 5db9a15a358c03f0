"""Transactions of a catalogue, the same on SQLite and on PostgreSQL.

Readers see the state of one moment and never wait. Writers take turns: a transaction that writes holds the
catalogue's only write lock from its beginning, so that what it reads stays true until it commits.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from typing import Any, TypeVar, cast
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from aggregator.catalogue_place import CataloguePlace
from aggregator.database_errors import errors_of, is_passing
from federation.errors import StoreError

Result = TypeVar("Result")

PATIENCE_S = 15.0
"""Seconds in which a server that restarts may come back before a transaction begins."""

TURN_S = 60
"""Seconds that a writer waits for its turn."""

_WRITERS_LOCK = 0x66656470  # of PostgreSQL's advisory locks, which belong to one database
_WRITES = "fedprint_writes"
_LOG_BYTES = 2**26  # what SQLite keeps of its log after a large transaction


class Database:
    """The rows of a catalogue.

    Args:
        place: Where they are.
        create: Whether a missing SQLite file is made; a database on a server is made by its operator.

    Raises:
        StoreError: If the file is missing.
        OSError: If it cannot be made.
    """

    def __init__(self, place: CataloguePlace, *, create: bool = False) -> None:
        self.place = place
        if not create:
            _require_file(place)
        self._engine = _server_engine(place) if place.is_on_server else _file_engine(place, create)
        self._readers = self._engine.execution_options(**_reading(place))
        self._writers = self._engine.execution_options(**{_WRITES: True})

    def close(self) -> None:
        """Release file or connections."""
        self._engine.dispose()

    def read(self, work: Callable[[sa.Connection], Result]) -> Result:
        """Return what some reading finds; it is done once more if the server went away meanwhile.

        Raises:
            StoreError: If the catalogue cannot be read.
        """
        with errors_of(self.place):
            try:
                return self._read(work)
            except DBAPIError as error:
                if not is_passing(error):
                    raise
            return self._read(work)

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Open one transaction that may write: all of it is kept, or nothing.

        Only its beginning is tried again if the server is away: what came after it may depend on what was
        read before.

        Raises:
            StoreError: If the catalogue cannot be written.
        """
        with errors_of(self.place), self._begun(self._writers) as connection:
            yield connection

    @contextmanager
    def changing_tables(self) -> Iterator[sa.Connection]:
        """Open one transaction as ``writing`` does, in which SQLite may replace a table others refer to."""
        with errors_of(self.place), closing(self._writers.connect()) as connection:
            if not self.place.is_on_server:
                _driver(connection).execute("PRAGMA foreign_keys = OFF")
            try:
                with connection.begin():
                    yield connection
            finally:
                if not self.place.is_on_server:
                    _driver(connection).execute("PRAGMA foreign_keys = ON")

    def keep_log_ahead(self) -> None:
        """Let readers of a SQLite file read while another process writes; the file keeps that setting."""
        if self.place.is_on_server:
            return
        with closing(self._engine.connect()) as connection, suppress(sqlite3.OperationalError):
            _driver(connection).execute(
                "PRAGMA journal_mode = WAL"
            )  # fails where others are at work: no harm

    def _read(self, work: Callable[[sa.Connection], Result]) -> Result:
        with self._begun(self._readers) as connection:
            return work(connection)

    @contextmanager
    def _begun(self, engine: sa.Engine) -> Iterator[sa.Connection]:
        with self._patiently(lambda: _begin(engine)) as connection, _transaction(connection):
            yield connection

    def _patiently(self, begin: Callable[[], sa.Connection]) -> sa.Connection:
        """Begin a transaction, after a while if the server is about to come back."""
        until, pause = time.monotonic() + PATIENCE_S, 0.1
        while True:
            try:
                return begin()
            except DBAPIError as error:
                if not is_passing(error) or time.monotonic() + pause > until:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, 2.0)


def _require_file(place: CataloguePlace) -> None:
    if not place.is_on_server and not place.file.is_file():
        raise StoreError(
            f"there is no catalogue at {place}",
            remedy="`fedprint hub serve`, `fedprint simulate` and `fedprint demo` begin one; or name another "
            "with --catalogue",
        )


def _driver(connection: sa.Connection) -> sqlite3.Connection:
    """SQLite's own connection, for what is said outside of transactions."""
    return cast("sqlite3.Connection", connection.connection.driver_connection)


def _begin(engine: sa.Engine) -> sa.Connection:
    connection = engine.connect()
    try:
        connection.begin()
    except BaseException:
        connection.close()
        raise
    return connection


def _transaction(connection: sa.Connection) -> AbstractContextManager[Any]:
    transaction = connection.get_transaction()
    if transaction is None:
        raise AssertionError("a connection was returned before its transaction began")
    return transaction


def _reading(place: CataloguePlace) -> dict[str, Any]:
    """A reader on a server asks for one moment's state; on a file it has it anyway."""
    if not place.is_on_server:
        return {}
    return {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}


def _server_engine(place: CataloguePlace) -> sa.Engine:
    keep_alive = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
    engine = sa.create_engine(
        place.url,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={"connect_timeout": 10, "application_name": "fedprint", "tcp_user_timeout": 60_000}
        | keep_alive,
    )
    sa.event.listen(engine, "begin", _take_turn_at_server)
    return engine


def _take_turn_at_server(connection: sa.Connection) -> None:
    if connection.get_execution_options().get(_WRITES):
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{TURN_S}s'")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS_LOCK})")


def _file_engine(place: CataloguePlace, create: bool) -> sa.Engine:
    if create:
        place.folder.mkdir(parents=True, exist_ok=True)
        os.close(os.open(place.file, os.O_CREAT | os.O_RDWR, 0o600))
        place.file.chmod(0o600)  # it may hold exact histograms
    engine = sa.create_engine(_file_url(place), hide_parameters=True)
    sa.event.listen(engine, "connect", _configure_file)
    sa.event.listen(engine, "begin", _take_turn_at_file)
    return engine


def _file_url(place: CataloguePlace) -> sa.URL:
    """A catalogue that nobody may write to, such as one on a medium, is read without SQLite's own files."""
    waiting = place.file.with_name(place.file.name + "-wal")
    if waiting.exists() or os.access(place.folder, os.W_OK):
        return place.url
    return sa.URL.create(
        "sqlite", database=f"file:{quote(str(place.file))}", query={"immutable": "1", "uri": "true"}
    )


def _configure_file(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin where SQLAlchemy says so
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
    connection.execute(f"PRAGMA busy_timeout = {1000 * TURN_S}")


def _take_turn_at_file(connection: sa.Connection) -> None:
    # A transaction that begins with reading and writes later would fail as soon as another one wrote.
    writes = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql(f"PRAGMA query_only = {'OFF' if writes else 'ON'}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
