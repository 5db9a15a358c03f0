"""Whoever is killed while fingerprints are made: nothing is lost, and nobody pays twice."""

import pytest
from faults import (
    aggregator,
    before_it_is_asked,
    clientapp,
    hubs_superexec,
    job_runner,
    once_it_is_admitted,
    once_it_is_charged,
    sites_superexec,
    superlink,
    supernode,
    while_it_replies,
    while_it_works,
    whole_hub,
    whole_site,
)

pytestmark = pytest.mark.faults

SITE = "bern"
TELLING = {
    (clientapp, once_it_is_charged),
    (superlink, while_it_replies),
    (aggregator, once_it_is_admitted),
}
CASES = [
    (clientapp, while_it_works),
    (clientapp, once_it_is_charged),
    (supernode, before_it_is_asked),
    (supernode, while_it_works),
    (supernode, while_it_replies),
    (sites_superexec, while_it_works),
    (whole_site, while_it_works),
    (whole_site, once_it_is_charged),
    (whole_site, while_it_replies),
    (superlink, before_it_is_asked),
    (superlink, while_it_works),
    (superlink, while_it_replies),
    (aggregator, while_it_works),
    (aggregator, while_it_replies),
    (aggregator, once_it_is_admitted),
    (hubs_superexec, while_it_works),
    (job_runner, while_it_works),
    (whole_hub, while_it_works),
    (whole_hub, once_it_is_admitted),
]


def named(case):
    victim, moment = case
    marks = [pytest.mark.telling] if case in TELLING else []
    return pytest.param(victim, moment, id=f"{victim.__name__}-{moment.__name__}", marks=marks)


@pytest.mark.parametrize(("kill", "moment"), [named(case) for case in CASES])
def test_a_fingerprint_job_survives_a_kill(case_of, kill, moment):
    case = case_of(fresh=moment is while_it_works)
    case.ask()
    moment(case, SITE)
    kill(case, SITE)
    case.finish()
    case.verify()


@pytest.mark.parametrize("kill", [supernode, superlink, aggregator, whole_site, whole_hub])
def test_what_is_released_is_sent_again_at_no_cost_after_a_kill(case_of, kill):
    case = case_of()
    case.ask()
    assert case.finish() == []
    kill(case, SITE)
    case.ask()
    case.finish()
    case.verify()
