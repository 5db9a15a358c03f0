"""Inserting rows that may be there already, in the words of either database."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

Row: TypeAlias = dict[str, Any]


def insert_new(connection: sa.Connection, table: sa.Table, rows: Sequence[Row]) -> None:
    """Insert rows; one whose key is there already stays as it is."""
    if rows:
        connection.execute(_insert(connection, table).on_conflict_do_nothing(), rows)


def insert_or_replace(connection: sa.Connection, table: sa.Table, rows: Sequence[Row]) -> None:
    """Insert rows; one whose primary key is there already gets the new values."""
    if rows:
        insert = _insert(connection, table)
        new = {
            column.name: insert.excluded[column.name] for column in table.columns if not column.primary_key
        }
        insert = insert.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=new)
        connection.execute(insert, rows)


def _insert(connection: sa.Connection, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)
