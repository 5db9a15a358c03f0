"""Whoever is killed while a cohort's sketches are summed: one sum, and every site pays for it once."""

import pytest
from faults import (
    aggregator,
    clientapp,
    once_a_step_is_closed,
    once_it_is_charged,
    sites_superexec,
    superlink,
    supernode,
    whole_hub,
    whole_site,
)

from federation.round_messages import ADVERTISE, CONFIRM, MASK, SHARE, UNMASK

pytestmark = pytest.mark.faults

SITE = "bern"
CASES = [
    (clientapp, once_it_is_charged),
    (supernode, once_a_step_is_closed(ADVERTISE)),
    (sites_superexec, once_a_step_is_closed(SHARE)),
    (whole_site, once_it_is_charged),
    (whole_site, once_a_step_is_closed(MASK)),
    (superlink, once_a_step_is_closed(SHARE)),
    (aggregator, once_a_step_is_closed(MASK)),
    (aggregator, once_a_step_is_closed(UNMASK)),
    (whole_hub, once_a_step_is_closed(CONFIRM)),
]
TELLING = (whole_site, once_it_is_charged)


def named(case):
    victim, moment = case
    marks = [pytest.mark.telling] if case == TELLING else []
    return pytest.param(victim, moment, id=f"{victim.__name__}-{moment.__name__}", marks=marks)


@pytest.mark.parametrize(("kill", "moment"), [named(case) for case in CASES])
def test_a_sum_survives_a_kill(case_of, kill, moment):
    case = case_of(pooled=True)
    case.ask()
    moment(case, SITE)
    kill(case, SITE)
    case.finish()
    case.verify()
