"""${message}."""

import sqlalchemy as sa
from alembic import op

from aggregator.schema import TEXT

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    """Change the tables."""
    ${upgrades if upgrades else "pass"}
