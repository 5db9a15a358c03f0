"""Events become the leaves of a Merkle log."""

import json

import sqlalchemy as sa
from alembic import op

from aggregator.log.storage import Happening, append
from aggregator.schema import TEXT

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables of the log, and its first leaves of the events that there are."""
    known = _events()
    op.drop_table("event")
    op.create_table(
        "event",
        sa.Column("leaf_index", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("job_id", TEXT, nullable=False),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("leaf_index", name=op.f("pk_event")),
    )
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_event_kind"), ["kind"], unique=False)
        batch_op.create_index(batch_op.f("ix_event_job_id"), ["job_id"], unique=False)
    op.create_table(
        "log_node",
        sa.Column("level", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("level", "position", name=op.f("pk_log_node")),
    )
    op.create_table(
        "log_size",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_log_size")),
    )
    op.create_table(
        "log_head",
        sa.Column("log_id", TEXT, nullable=False),
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("log_id", "size", name=op.f("pk_log_head")),
    )
    op.create_table(
        "log_witness",
        sa.Column("site", TEXT, nullable=False),
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("site", "size", name=op.f("pk_log_witness")),
    )
    append(op.get_bind(), known)


def _events() -> list[Happening]:
    rows = op.get_bind().execute(sa.text("SELECT at, kind, job_id, detail FROM event ORDER BY id")).all()
    return [Happening(row.kind, row.job_id, json.loads(bytes(row.detail)), row.at) for row in rows]
