"""The tables of a catalogue. Whoever changes one writes a migration: see CONTRIBUTING.md."""

import sqlalchemy as sa

REVISION = "0002"
"""The latest migration."""

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Text of any length, ordered by code points as SQLite and Python do: locales order otherwise.

SQLite would not check a length; lengths are checked where values enter.
"""

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

space = sa.Table(
    "space",
    metadata,
    sa.Column("space_id", TEXT, primary_key=True),
    sa.Column("added_at", sa.Double, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
)
fingerprint = sa.Table(
    "fingerprint",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("fingerprint_id", TEXT, nullable=False, unique=True),
    sa.Column("space_id", sa.ForeignKey("space.space_id"), nullable=False, index=True),
    sa.Column("site", TEXT, nullable=False),
    sa.Column("task", TEXT, nullable=False),
    sa.Column("received_at", sa.Double, nullable=False),
    sa.Column("current", sa.Boolean, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
)
border = sa.Table(
    "border",
    metadata,
    sa.Column("seq", sa.ForeignKey("fingerprint.seq"), primary_key=True),
    sa.Column("distance", TEXT, primary_key=True),
    sa.Column("to_earlier", sa.LargeBinary, nullable=False),
    sa.Column("from_earlier", sa.LargeBinary, nullable=False),
)
event = sa.Table(
    "event",
    metadata,
    sa.Column("leaf_index", sa.BigInteger, primary_key=True, autoincrement=False),
    # Copies of what the leaf says, to look for; only the leaf counts.
    sa.Column("kind", TEXT, nullable=False, index=True),
    sa.Column("job_id", TEXT, nullable=False, index=True),
    sa.Column("leaf", sa.LargeBinary, nullable=False),
)
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
    sa.Column("log_id", TEXT, primary_key=True),
    sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
)
log_witness = sa.Table(
    "log_witness",
    metadata,
    sa.Column("site", TEXT, primary_key=True),
    sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
)
run = sa.Table(
    "run",
    metadata,
    sa.Column("job_id", TEXT, primary_key=True),
    sa.Column("finished_at", sa.Double, nullable=False),
    sa.Column("space_id", sa.ForeignKey("space.space_id"), nullable=False),
    sa.Column("summary", sa.LargeBinary, nullable=False),
)
transfer_plan = sa.Table(
    "transfer_plan",
    metadata,
    sa.Column("plan_id", TEXT, primary_key=True),
    sa.Column("name", TEXT, nullable=False, index=True),
    sa.Column("began_at", sa.Double, nullable=False),
    sa.Column("finished_at", sa.Double),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Column("offers", sa.LargeBinary, nullable=False),
    sa.Column("pairs", sa.LargeBinary, nullable=False),
)
transfer_step = sa.Table(
    "transfer_step",
    metadata,
    sa.Column("step_id", TEXT, primary_key=True),
    sa.Column("plan_id", TEXT, nullable=False),
    sa.Column("site", TEXT, nullable=False, index=True),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Column("state", TEXT, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("progress", sa.LargeBinary),
    sa.Column("result", sa.LargeBinary),
    sa.Column("code", TEXT, nullable=False),
    sa.Column("added_at", sa.Double, nullable=False),
    sa.Column("began_at", sa.Double),
    sa.Column("changed_at", sa.Double, nullable=False),
)
outcome = sa.Table(
    "outcome",
    metadata,
    sa.Column("scenario", TEXT, primary_key=True),
    sa.Column("metric", TEXT, primary_key=True),
    sa.Column("seed", sa.BigInteger, primary_key=True),
    sa.Column("source", TEXT, primary_key=True),
    sa.Column("target", TEXT, primary_key=True),
    sa.Column("value", sa.Double, nullable=False),
    sa.Column("baseline", sa.Double),
)
experiment = sa.Table(
    "experiment",
    metadata,
    sa.Column("plan_id", sa.ForeignKey("transfer_plan.plan_id"), primary_key=True),
    sa.Column("scenario", TEXT, primary_key=True),
    sa.Column("arm", TEXT, primary_key=True),
    sa.Column("source", TEXT, primary_key=True),
    sa.Column("target", TEXT, primary_key=True),
    sa.Column("seed", sa.BigInteger, primary_key=True),
    sa.Column("n_train", sa.BigInteger, primary_key=True),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("state", TEXT, nullable=False),
    sa.Column("reason", TEXT, nullable=False),
    sa.Column("scores", sa.LargeBinary, nullable=False),
    sa.Column("baseline", sa.LargeBinary, nullable=False),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Column("steps", sa.LargeBinary, nullable=False),
)
job = sa.Table(
    "job",
    metadata,
    sa.Column("job_id", TEXT, primary_key=True),
    sa.Column("kind", TEXT, nullable=False),
    sa.Column("arguments", sa.LargeBinary, nullable=False),
    sa.Column("state", TEXT, nullable=False, index=True),
    sa.Column("code", TEXT, nullable=False),
    sa.Column("reason", TEXT, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("flower_run", TEXT, nullable=False),
    sa.Column("asked_at", sa.Double, nullable=False),
    sa.Column("began_at", sa.Double),
    sa.Column("finished_at", sa.Double),
)
