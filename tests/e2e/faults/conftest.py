"""One consortium of real processes, which the cases share; every case has tasks of its own."""

import itertools
from contextlib import ExitStack

import pytest
from faults import Case
from loopback import SITES, Consortium, Task
from small_disks import SmallDisks
from tcp_proxy import TcpProxy

from aggregator.config import HubConfig
from federation.operations.disk import LEAST_FREE


def pytest_collection_modifyitems(config, items):
    """Without ``-m`` only the telling ones of the faults are tried: all of them take a quarter of an hour."""
    if config.option.markexpr:
        return
    left = [each for each in items if is_fault(each) and not each.get_closest_marker("telling")]
    config.hook.pytest_deselected(items=left)
    items[:] = [each for each in items if each not in left]


def is_fault(item):
    return item.get_closest_marker("faults") is not None


@pytest.fixture(scope="session")
def founded(tmp_path_factory):
    """Return a consortium that is not served yet."""
    with ExitStack() as running:
        found = Consortium(tmp_path_factory.mktemp("consortium"), running)
        found.offer()
        yield found


@pytest.fixture(scope="session")
def disks(founded):
    """Give the hub and one site small disks, where this user may."""
    found = SmallDisks(founded.path)
    megabytes = LEAST_FREE // 2**20 + 128  # a hub with less takes nothing in
    for name in ("hub", "bern"):
        found.move(name, megabytes)
    yield found
    founded.stop()
    found.close()


@pytest.fixture(scope="session")
def consortium(founded, disks, line):
    """Return the consortium once everybody is connected."""
    founded.lead("bern", line.port)
    founded.serve()
    return founded


@pytest.fixture(scope="session")
def line(founded):
    """Return what is between one site and the hub."""
    found = TcpProxy(HubConfig.read(founded.hub.config).serve.port)
    yield found
    found.close()


@pytest.fixture(scope="session")
def number():
    return itertools.count(1)


@pytest.fixture
def served(consortium, line):
    """Return the consortium with everybody connected, whatever the case before left behind."""
    line.mend()
    consortium.repair()
    return consortium


@pytest.fixture
def connection(served, line):
    """Return the connection of ``bern``."""
    yield line
    line.mend()


@pytest.fixture
def small_disks(served, disks):
    """Return the small disks of ``hub`` and ``bern``."""
    if not disks.holds("hub"):
        pytest.skip("only root can give a folder a disk of its own")
    return disks


@pytest.fixture
def case_of(served, number, record_property):
    """Begin a case of fingerprints: open at one site, private at the others; or pooled at all of them.

    What its jobs told is noted for ``--junitxml``.
    """
    begun = []

    def begin(*, pooled=False, fresh=False):
        n = next(number)
        seed = n if fresh else None
        if pooled:
            tasks = (Task(f"pooled-{n}", "pooled", SITES, seed),)
        else:
            tasks = (
                Task(f"open-{n}", "open", SITES[:1], seed),
                Task(f"private-{n}", "private", SITES[1:], seed),
            )
        served.offer(*tasks)
        begun.append(Case(served, tasks))
        return begun[-1]

    yield begin
    for case in begun:
        record_property("told", "; ".join(case.told) or "nothing")
