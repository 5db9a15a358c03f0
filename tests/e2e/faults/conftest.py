"""One consortium of real processes, which the cases share; every case has tasks of its own."""

import itertools
from contextlib import ExitStack

import pytest
from faults import Case
from loopback import SITES, Consortium, Task


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
def consortium(tmp_path_factory):
    with ExitStack() as running:
        found = Consortium(tmp_path_factory.mktemp("consortium"), running)
        found.offer()
        found.serve()
        yield found


@pytest.fixture(scope="session")
def number():
    return itertools.count(1)


@pytest.fixture
def served(consortium):
    """The consortium, with everybody connected, whatever the case before left behind."""
    consortium.repair()
    return consortium


@pytest.fixture
def case_of(served, number):
    """Begin a case of fingerprints: open at one site, private at the others, pooled at all if asked for."""

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
        return Case(served, tasks)

    return begin
