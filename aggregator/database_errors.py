"""What databases complain about, in words that say what to do."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from aggregator.catalogue_place import CataloguePlace
from federation.errors import StoreError

_GONE = ("08", "57P01", "57P02", "57P03", "53300")
"""SQLSTATE of a server that cannot be reached, shuts down, starts up or has no connection left."""

_REFUSALS = {
    "database system is": "57P03",
    "too many": "53300",
    "connection slots": "53300",
    "password": "28P01",
    "authentication": "28000",
    "pg_hba.conf": "28000",
    "certificate": "SSL",
    "database": "3D000",
    "role": "28000",
}
"""Words of a server that answers but lets nobody in → SQLSTATE."""

_REMEDIES = {
    "53": "free disk space or memory on the database server; what was stored before is unchanged",
    "28": "see that the user exists and that the file in the URL's ?passfile= holds its password",
    "3D": "create the database: `createdb --encoding UTF8 --template template0 NAME`",
    "SSL": "name the certificate of the server's authority in the URL: ?sslmode=verify-full&sslrootcert=FILE",
    "42501": "let the user of the URL own the database and its schema",
    "55P03": "another process has been writing for a minute: see which one, then do the same again",
}
_DO_AGAIN = (
    "see that the database server runs and can be reached, then do the same again; "
    "what was not stored as a whole is not stored at all"
)
_RESTORE = "it is damaged or no catalogue: restore it from a backup, or name another"
_CHECK = "check free disk space and permissions; what was stored before is unchanged"


def is_passing(error: BaseException) -> bool:
    """Return whether a server is away, perhaps only for a moment."""
    if not isinstance(error, DBAPIError) or isinstance(error.orig, sqlite3.Error):
        return False
    state = _state(error)
    unreached = state is None and isinstance(error, OperationalError)
    return error.connection_invalidated or unreached or (state or "").startswith(_GONE)


@contextmanager
def errors_of(place: CataloguePlace) -> Iterator[None]:
    """Turn what drivers raise about a catalogue into one clear error.

    Raises:
        StoreError: If anything of the sort is raised.
    """
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise _explained(error, place) from error


def _explained(error: Exception, place: CataloguePlace) -> StoreError:
    """Return what happened to a catalogue, with a remedy and without a password."""
    lines = str(getattr(error, "orig", None) or error).splitlines()
    cause = place.hide(lines[0] if lines else type(error).__name__)
    if not place.is_on_server or isinstance(error, OSError):
        damaged = "malformed" in cause or "not a database" in cause
        return StoreError(
            f"catalogue {place} cannot be used: {cause}", remedy=_RESTORE if damaged else _CHECK
        )
    return StoreError(f"catalogue {place} cannot be used: {cause}", remedy=_remedy(error))


def _remedy(error: Exception) -> str:
    state = _state(error)
    if state is None or is_passing(error):
        return _DO_AGAIN
    found = (remedy for start, remedy in _REMEDIES.items() if state.startswith(start))
    return next(found, "nothing was changed; the database server's log says more")


def _state(error: BaseException) -> str | None:
    """SQLSTATE of an error; of a refused connection, for which the driver has none, by its words."""
    original = getattr(error, "orig", None)
    stated = getattr(original, "sqlstate", None)
    if stated or not isinstance(error, OperationalError):
        return str(stated) if stated else None
    return next((state for words, state in _REFUSALS.items() if words in str(original)), None)
