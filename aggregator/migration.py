"""Which version of its tables a catalogue has: writers bring it up to date, readers refuse an older one.

Alembic is imported only where something is to be changed: reading a catalogue must not wait for it.
"""

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from aggregator import schema
from aggregator.database import Database
from federation.errors import StoreError

if TYPE_CHECKING:
    from alembic.config import Config


def _named(kind: str, value: object, _context: object) -> str | bool:
    """Write the schema's own type of text by its name into new migrations."""
    return "TEXT" if kind == "type" and isinstance(value, sa.Text) else False


VERSION_TABLE = "catalogue_revision"
OPTIONS: dict[str, Any] = {
    "target_metadata": schema.metadata,
    "version_table": VERSION_TABLE,
    "render_as_batch": True,  # SQLite changes a table by making another
    "render_item": _named,
    "compare_type": True,
}

_FOLDER = Path(__file__).parent / "migrations"


class Standing(Enum):
    """What a database is to this version of fedprint."""

    EMPTY = "empty"
    FOREIGN = "foreign"
    OLD = "old"
    CURRENT = "current"
    NEW = "new"


def check_revision(database: Database) -> None:
    """Refuse to read what is no catalogue, or has other tables than this version of fedprint knows.

    Raises:
        StoreError: If it is so.
    """
    standing = database.read(_standing)
    if standing is Standing.OLD:
        raise StoreError(
            f"catalogue {database.place} was made by an older version of fedprint",
            remedy="back it up, then run `fedprint hub migrate`, or any job",
        )
    if standing is Standing.EMPTY and database.place.is_on_server:
        raise StoreError(
            f"the database {database.place} holds no catalogue yet",
            remedy="run a job or `fedprint hub migrate` first, or see that the URL names the right database",
        )
    _refuse(database, standing)


def upgrade(database: Database) -> bool:
    """Make the tables of a new catalogue, or bring those of an older one up to date.

    It is one transaction that keeps other writers waiting: of two processes one migrates.

    Returns:
        Whether anything was changed.

    Raises:
        StoreError: If the database holds something else, or comes from a newer version of fedprint.
    """
    standing = database.read(_standing)
    if standing in (Standing.EMPTY, Standing.OLD):
        with database.changing_tables() as connection:
            standing = _standing(connection)
            if standing in (Standing.EMPTY, Standing.OLD):
                _migrate(connection)
                return True
    _refuse(database, standing)
    return False


def is_new(database: Database) -> bool:
    """Return whether a database holds no table at all."""
    return database.read(_standing) is Standing.EMPTY


def configuration(connection: sa.Connection) -> "Config":
    """Return what Alembic needs to know to migrate on a connection whose transaction is open."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("file_template", "v%%(rev)s_%%(slug)s")
    config.attributes["connection"] = connection
    return config


def _migrate(connection: sa.Connection) -> None:
    from alembic import command

    command.upgrade(configuration(connection), "head")


def _standing(connection: sa.Connection) -> Standing:
    tables = sa.inspect(connection).get_table_names()
    if VERSION_TABLE not in tables:
        return Standing.FOREIGN if tables else Standing.EMPTY
    found = connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608
    if found == schema.REVISION:
        return Standing.CURRENT
    return Standing.OLD if found in _known(connection) else Standing.NEW


def _known(connection: sa.Connection) -> set[str]:
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(configuration(connection))
    return {script.revision for script in scripts.walk_revisions()}


def _refuse(database: Database, standing: Standing) -> None:
    if standing is Standing.NEW:
        raise StoreError(
            f"catalogue {database.place} was made by a newer version of fedprint",
            remedy="install that version here; nothing was changed",
        )
    if standing is not Standing.CURRENT:
        raise StoreError(
            f"{database.place} is no catalogue",
            remedy="name the catalogue of a run, or a place where there is nothing yet; "
            "one from before versions were kept has to be made again",
        )
