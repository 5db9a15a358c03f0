"""Fixtures that every package's tests share."""

import os
from pathlib import Path

import pytest
from postgresql_server import PostgresqlServer, binaries

# Two threads for networks this small wait for each other longer than they work, above all on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The reference data beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("the reference data (../shared) is not beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def _postgresql():
    """A PostgreSQL server of this test run."""
    programs = binaries()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed here: apt-get install postgresql")
    server = PostgresqlServer(programs)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def postgresql(_postgresql):
    """A PostgreSQL server; a test may kill it."""
    yield _postgresql
    _postgresql.revive()


@pytest.fixture
def postgresql_url(postgresql):
    """URL of an empty database on a PostgreSQL server."""
    url = postgresql.new_database()
    yield url
    postgresql.revive()
    postgresql.drop(url)
