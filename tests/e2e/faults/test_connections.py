"""A site whose connection drops, falls silent or is slow, and a site that is slower than the hub waits."""

import os
import signal
import time

import pytest
from faults import while_it_replies, while_it_works

from aggregator.rounds.round import NO_REPLY

pytestmark = pytest.mark.faults

SITE = "bern"


@pytest.mark.parametrize(
    ("seconds", "moment"),
    [
        pytest.param(20, while_it_works, marks=pytest.mark.telling),
        pytest.param(60, while_it_works),
        pytest.param(20, while_it_replies),
    ],
)
def test_a_connection_that_drops_for_a_while_costs_time_only(case_of, connection, seconds, moment):
    case = case_of(fresh=moment is while_it_works)
    case.ask()
    moment(case, SITE)
    connection.cut()
    time.sleep(seconds)
    connection.mend()
    case.finish()
    case.verify()


def test_a_connection_that_falls_silent_costs_time_only(case_of, connection):
    case = case_of(fresh=True)
    case.ask()
    while_it_works(case, SITE)
    connection.silence()
    time.sleep(20)
    connection.mend()
    case.finish()
    case.verify()


def test_a_slow_connection_is_waited_for(case_of, connection):
    connection.bytes_per_s = 30_000
    case = case_of()
    case.ask()
    assert case.finish() == []
    case.verify()


def test_who_is_slower_than_the_hub_waits_is_named_and_complete_in_the_next_job(case_of, served):
    case = case_of()
    served.configure_hub(timeout_s=30.0)
    try:
        case.ask()
        while_it_works(case, SITE)
        (working,) = served.sites[SITE].working()
        os.kill(working, signal.SIGSTOP)
        job = served.ended(case.jobs[-1])
        missing = served.summary(job.job_id)["missing"]
        os.kill(working, signal.SIGCONT)
    finally:
        served.configure_hub(timeout_s=120.0)
    assert (SITE, NO_REPLY) in [(each["site"], each["code"]) for each in missing]
    case.ask()
    case.finish()
    case.verify()
