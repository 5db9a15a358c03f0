"""Tables of the first catalogue."""

import sqlalchemy as sa
from alembic import op

from aggregator.schema import TEXT

revision = "0001"
down_revision = None

_LARGE = (("fingerprint", "content"), ("border", "to_earlier"), ("border", "from_earlier"))


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "event",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("job_id", TEXT, nullable=False),
        sa.Column("detail", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
    )
    op.create_table(
        "job",
        sa.Column("job_id", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("arguments", sa.LargeBinary(), nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("code", TEXT, nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("flower_run", TEXT, nullable=False),
        sa.Column("asked_at", sa.Double(), nullable=False),
        sa.Column("began_at", sa.Double(), nullable=True),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_job")),
    )
    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_job_state"), ["state"], unique=False)

    op.create_table(
        "outcome",
        sa.Column("scenario", TEXT, nullable=False),
        sa.Column("metric", TEXT, nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("target", TEXT, nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("baseline", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("scenario", "metric", "seed", "source", "target", name=op.f("pk_outcome")),
    )
    op.create_table(
        "space",
        sa.Column("space_id", TEXT, nullable=False),
        sa.Column("added_at", sa.Double(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("space_id", name=op.f("pk_space")),
    )
    op.create_table(
        "transfer_plan",
        sa.Column("plan_id", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("began_at", sa.Double(), nullable=False),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("offers", sa.LargeBinary(), nullable=False),
        sa.Column("pairs", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("plan_id", name=op.f("pk_transfer_plan")),
    )
    with op.batch_alter_table("transfer_plan", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_transfer_plan_name"), ["name"], unique=False)

    op.create_table(
        "transfer_step",
        sa.Column("step_id", TEXT, nullable=False),
        sa.Column("plan_id", TEXT, nullable=False),
        sa.Column("site", TEXT, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("progress", sa.LargeBinary(), nullable=True),
        sa.Column("result", sa.LargeBinary(), nullable=True),
        sa.Column("code", TEXT, nullable=False),
        sa.Column("added_at", sa.Double(), nullable=False),
        sa.Column("began_at", sa.Double(), nullable=True),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("step_id", name=op.f("pk_transfer_step")),
    )
    with op.batch_alter_table("transfer_step", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_transfer_step_site"), ["site"], unique=False)

    op.create_table(
        "experiment",
        sa.Column("plan_id", TEXT, nullable=False),
        sa.Column("scenario", TEXT, nullable=False),
        sa.Column("arm", TEXT, nullable=False),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("target", TEXT, nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("n_train", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("scores", sa.LargeBinary(), nullable=False),
        sa.Column("baseline", sa.LargeBinary(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("steps", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["plan_id"], ["transfer_plan.plan_id"], name=op.f("fk_experiment_plan_id")),
        sa.PrimaryKeyConstraint(
            "plan_id", "scenario", "arm", "source", "target", "seed", "n_train", name=op.f("pk_experiment")
        ),
    )
    op.create_table(
        "fingerprint",
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("fingerprint_id", TEXT, nullable=False),
        sa.Column("space_id", TEXT, nullable=False),
        sa.Column("site", TEXT, nullable=False),
        sa.Column("task", TEXT, nullable=False),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.Column("current", sa.Boolean(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["space_id"], ["space.space_id"], name=op.f("fk_fingerprint_space_id")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_fingerprint")),
        sa.UniqueConstraint("fingerprint_id", name=op.f("uq_fingerprint_fingerprint_id")),
    )
    with op.batch_alter_table("fingerprint", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_fingerprint_space_id"), ["space_id"], unique=False)

    op.create_table(
        "run",
        sa.Column("job_id", TEXT, nullable=False),
        sa.Column("finished_at", sa.Double(), nullable=False),
        sa.Column("space_id", TEXT, nullable=False),
        sa.Column("summary", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["space_id"], ["space.space_id"], name=op.f("fk_run_space_id")),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_run")),
    )
    op.create_table(
        "border",
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("distance", TEXT, nullable=False),
        sa.Column("to_earlier", sa.LargeBinary(), nullable=False),
        sa.Column("from_earlier", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["seq"], ["fingerprint.seq"], name=op.f("fk_border_seq")),
        sa.PrimaryKeyConstraint("seq", "distance", name=op.f("pk_border")),
    )
    if op.get_context().dialect.name == "postgresql":
        _let_parts_be_read()


def _let_parts_be_read() -> None:
    """Store large values as they are: of what the server packs, a part is read only as a whole."""
    for table, column in _LARGE:
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STORAGE EXTERNAL")
