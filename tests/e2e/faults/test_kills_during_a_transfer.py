"""Whoever is killed during transfer experiments: every experiment is measured, and no step is done twice."""

import pytest
from faults import aggregator, clientapp, superlink, supernode, whole_hub, whole_site
from transfer_faults import TransferCase, once_a_model_leaves, once_a_step_is_done, while_it_trains

pytestmark = pytest.mark.faults

CASES = [
    (clientapp, while_it_trains),
    (supernode, while_it_trains),
    (whole_site, while_it_trains),
    (superlink, while_it_trains),
    (whole_site, once_a_model_leaves),
    (aggregator, once_a_step_is_done),
    (whole_hub, once_a_model_leaves),
]


@pytest.mark.parametrize(
    ("kill", "moment"),
    [pytest.param(*case, id=f"{case[0].__name__}-{case[1].__name__}") for case in CASES],
)
def test_transfer_experiments_survive_a_kill(served, number, kill, moment):
    case = TransferCase(served, next(number))
    case.ask()
    moment(case, "anna")
    kill(case, "anna")
    case.finish()
    case.verify()
