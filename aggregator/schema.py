"""The tables of a catalogue, but for outcomes and the tree of the log, which have their own files."""

import sqlalchemy as sa

metadata = sa.MetaData()

space = sa.Table(
    "space",
    metadata,
    sa.Column("space_id", sa.String(64), primary_key=True),
    sa.Column("added_at", sa.Float, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
)
fingerprint = sa.Table(
    "fingerprint",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("fingerprint_id", sa.String(64), nullable=False, unique=True),
    sa.Column("space_id", sa.ForeignKey("space.space_id"), nullable=False, index=True),
    sa.Column("site", sa.String(64), nullable=False),
    sa.Column("task", sa.String(64), nullable=False),
    sa.Column("received_at", sa.Float, nullable=False),
    sa.Column("current", sa.Boolean, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
)
border = sa.Table(
    "border",
    metadata,
    sa.Column("seq", sa.ForeignKey("fingerprint.seq"), primary_key=True),
    sa.Column("distance", sa.String(64), primary_key=True),
    sa.Column("to_earlier", sa.LargeBinary, nullable=False),
    sa.Column("from_earlier", sa.LargeBinary, nullable=False),
)
event = sa.Table(
    "event",
    metadata,
    sa.Column("leaf_index", sa.BigInteger, primary_key=True, autoincrement=False),
    # Copies of what the leaf says, to look for; only the leaf counts.
    sa.Column("kind", sa.String(64), nullable=False, index=True),
    sa.Column("job_id", sa.String(64), nullable=False, index=True),
    sa.Column("leaf", sa.LargeBinary, nullable=False),
)
run = sa.Table(
    "run",
    metadata,
    sa.Column("job_id", sa.String(64), primary_key=True),
    sa.Column("finished_at", sa.Float, nullable=False),
    sa.Column("space_id", sa.ForeignKey("space.space_id"), nullable=False),
    sa.Column("summary", sa.LargeBinary, nullable=False),
)
transfer_plan = sa.Table(
    "transfer_plan",
    metadata,
    sa.Column("plan_id", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(64), nullable=False, index=True),
    sa.Column("began_at", sa.Float, nullable=False),
    sa.Column("finished_at", sa.Float),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Column("offers", sa.LargeBinary, nullable=False),
    sa.Column("pairs", sa.LargeBinary, nullable=False),
)
transfer_step = sa.Table(
    "transfer_step",
    metadata,
    sa.Column("step_id", sa.String(64), primary_key=True),
    sa.Column("plan_id", sa.String(64), nullable=False),
    sa.Column("site", sa.String(64), nullable=False, index=True),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("progress", sa.LargeBinary),
    sa.Column("result", sa.LargeBinary),
    sa.Column("code", sa.String(64), nullable=False),
    sa.Column("added_at", sa.Float, nullable=False),
    sa.Column("began_at", sa.Float),
    sa.Column("changed_at", sa.Float, nullable=False),
)
experiment = sa.Table(
    "experiment",
    metadata,
    sa.Column("plan_id", sa.ForeignKey("transfer_plan.plan_id"), primary_key=True),
    sa.Column("scenario", sa.String(16), primary_key=True),
    sa.Column("arm", sa.String(16), primary_key=True),
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("target", sa.String(129), primary_key=True),
    sa.Column("seed", sa.BigInteger, primary_key=True),
    sa.Column("n_train", sa.BigInteger, primary_key=True),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("reason", sa.String(128), nullable=False),
    sa.Column("scores", sa.LargeBinary, nullable=False),
    sa.Column("baseline", sa.LargeBinary, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("steps", sa.LargeBinary, nullable=False),
)
job = sa.Table(
    "job",
    metadata,
    sa.Column("job_id", sa.String(64), primary_key=True),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("arguments", sa.LargeBinary, nullable=False),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("code", sa.String(64), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("flower_run", sa.String(32), nullable=False),
    sa.Column("asked_at", sa.Float, nullable=False),
    sa.Column("began_at", sa.Float),
    sa.Column("finished_at", sa.Float),
)
