"""The tables of the log beside ``event``, which holds the entries."""

import sqlalchemy as sa

from aggregator.schema import metadata

log_node = sa.Table(
    "log_node",
    metadata,
    # Root of the complete subtree over the leaves position · 2^level to (position + 1) · 2^level − 1.
    sa.Column("level", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("hash", sa.LargeBinary, nullable=False),
)
log_size = sa.Table(
    "log_size",
    metadata,
    # One row with id 1: whoever writes holds its lock, so that no two get one index.
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("size", sa.BigInteger, nullable=False),
)
log_head = sa.Table(
    "log_head",
    metadata,
    sa.Column("log_id", sa.String(64), primary_key=True),
    sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
)
log_witness = sa.Table(
    "log_witness",
    metadata,
    sa.Column("site", sa.String(64), primary_key=True),
    sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
)
