"""A disk that is full: whose it is, is told of; nothing is half done, and nothing is paid for in vain."""

import pytest
from faults import before_it_is_asked, once_it_is_admitted
from loopback import wait_until

from aggregator.jobs.job import DONE

pytestmark = pytest.mark.faults

SITE = "bern"


def test_a_site_without_room_says_so_and_pays_nothing(case_of, served, small_disks):
    case = case_of()
    served.configure_hub(timeout_s=45.0)  # who cannot write cannot answer either
    with small_disks.full(SITE):
        case.ask()
        job = served.ended(case.jobs[-1])
    served.configure_hub(timeout_s=120.0)
    assert job.state == DONE
    assert SITE in [each["site"] for each in served.summary(job.job_id)["missing"]]
    case.ask()
    case.finish()
    case.verify()


@pytest.mark.parametrize("moment", [before_it_is_asked, once_it_is_admitted])
def test_a_hub_without_room_goes_on_when_there_is_some(case_of, served, small_disks, moment):
    case = case_of(fresh=moment is before_it_is_asked)
    case.ask()
    moment(case, SITE)
    with small_disks.full("hub"):
        wait_until(lambda: not served.aggregators(), "the end of the attempt")
    case.finish()
    case.verify()
