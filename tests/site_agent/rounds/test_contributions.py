"""What is summed is a matter of its purpose: a round of something else goes the same way."""

import secrets
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from flwr.app import Message
from flwr.serverapp import ServerApp
from pooled_sites import NAMES, TASK, TOMORROW, PooledRound
from private_site import SPACE
from sealed_wire import REPLY_KEY

from deploy.inprocess import Node, run_in_process
from federation.errors import NotReleasableError
from federation.identity import Identity
from federation.messages import DONE, JobHeader
from federation.round_messages import QUERY_ROUND, STEPS, AdvertiseRequest, StepReply
from federation.sealed_record import seal_request
from federation.secagg.terms import Terms
from site_agent.client_app import app as client_app
from site_agent.ledger.budget import Charge
from site_agent.rounds import participation
from site_agent.rounds.contribution import Asked, Contribution, Prepared

ABOUT = {"purpose": "ages"}


@dataclass(frozen=True)
class Ages(Contribution):
    """Three numbers that every site knows of itself, at a price."""

    asked: Asked
    calls: list

    @property
    def task(self):
        return TASK

    def require(self):
        self.calls.append("require")

    def prepare(self):
        self.calls.append("prepare")
        if self.asked.site.config.name == "dorn":
            raise NotReleasableError("too young")
        name, terms = self.asked.site.config.name, self.asked.terms
        charge = Charge(terms.round_id, self.asked.job.job_id, TASK, "patients", None, Fraction(1, 1000))
        return Prepared(np.arange(3) + NAMES.index(name), charge, {"factor": 10})

    def vector(self, prepared):
        self.calls.append("vector")
        return prepared.values * prepared.about["factor"]

    def budgets(self):
        return self.asked.policy.task(TASK).budgets()


@pytest.fixture
def calls(monkeypatch):
    found = []
    monkeypatch.setitem(participation.CONTRIBUTIONS, "ages", lambda asked: Ages(asked, found))
    return found


def test_another_purpose_is_summed_and_charged_by_the_same_steps(cohort, calls):
    terms = Terms.for_cohort(
        "ab" * 16, "chests", cohort.members, ABOUT, length=3, bound=100, expires=TOMORROW
    )
    opened = PooledRound(cohort, terms, space=None).open()
    assert opened.contributors == ("anna", "bern", "cork")
    assert opened.total.tolist() == [30, 60, 90]
    assert cohort.sites["anna"].charges()[0].rho == Fraction(1, 1000)
    assert (calls.count("prepare"), calls.count("vector")) == (4, 3)
    assert calls.count("require") == 4 + 3 * len(STEPS[1:])


def test_a_round_travels_over_flower(cohort, tmp_path):
    """The first step of one site, from message to message."""
    site, hub = cohort.sites["anna"], Identity.load_or_create("hub", tmp_path / "hub.key")
    policy = site.folder / "policy.toml"
    policy.write_text(policy.read_text().replace("ab" * 32, hub.public_key))
    job = JobHeader(
        "job-1",
        secrets.token_hex(16),
        4e9,
        hub.public_key,
        REPLY_KEY.public,
        (cohort.members["anna"],),
    )
    record = seal_request(AdvertiseRequest(job, cohort.terms(), SPACE).to_record(hub), job.recipients)
    replies, server = [], ServerApp()

    @server.main()
    def main(grid, _context):
        (node_id,) = grid.get_node_ids()
        pending = list(grid.push_messages([Message(record, node_id, QUERY_ROUND)]))
        while not replies:
            replies.extend(grid.pull_messages(pending))

    run_in_process(server, [Node(client_app, {"site-config": str(site.folder / "site.toml")})], {})
    round_id = cohort.terms().round_id
    opened = REPLY_KEY.open(replies[0].content)
    reply = StepReply.from_record(opened, cohort.members, job, round_id, "advertise")
    assert (reply.site, reply.code) == ("anna", DONE)
