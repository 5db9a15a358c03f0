"""The tables of a catalogue, but for outcomes, which have their own file."""

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
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("job_id", sa.String(64), nullable=False),
    sa.Column("detail", sa.LargeBinary, nullable=False),
)
run = sa.Table(
    "run",
    metadata,
    sa.Column("job_id", sa.String(64), primary_key=True),
    sa.Column("finished_at", sa.Float, nullable=False),
    sa.Column("space_id", sa.ForeignKey("space.space_id"), nullable=False),
    sa.Column("summary", sa.LargeBinary, nullable=False),
)
