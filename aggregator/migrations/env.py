"""What Alembic runs for every command: the migrations, on the connection that it was given."""

from alembic import context

from aggregator.migration import OPTIONS

context.configure(connection=context.config.attributes["connection"], **OPTIONS)
with context.begin_transaction():
    context.run_migrations()
