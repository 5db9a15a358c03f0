"""A catalogue on a PostgreSQL server that dies: jobs go on when it is back, and nobody pays twice."""

from contextlib import ExitStack

import pytest
from faults import Case, before_it_is_asked, while_it_replies, while_it_works
from loopback import SITES, Consortium, Task
from postgresql_server import PostgresqlServer, binaries

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def server():
    programs = binaries()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed")
    found = PostgresqlServer(programs)
    found.start()
    yield found
    found.remove()


@pytest.fixture(scope="module")
def on_server(server, tmp_path_factory):
    """Return a consortium whose catalogue is on the server."""
    with ExitStack() as running:
        found = Consortium(tmp_path_factory.mktemp("database"), running, database=server.new_database())
        found.offer()
        found.serve()
        yield found


@pytest.mark.parametrize("moment", [before_it_is_asked, while_it_works, while_it_replies])
def test_a_job_survives_a_kill_of_the_database(on_server, server, number, moment):
    on_server.repair()
    n = next(number)
    tasks = (Task(f"open-{n}", "open", SITES[:1], n), Task(f"private-{n}", "private", SITES[1:], n))
    on_server.offer(*tasks)
    case = Case(on_server, tasks)
    case.ask()
    moment(case, "bern")
    server.kill()
    server.revive()
    case.finish()
    case.verify()
