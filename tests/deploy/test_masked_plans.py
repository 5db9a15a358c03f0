"""Masked groups of a plan, from PLAN.toml to scores: real sites, the real protocol, on one machine."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from flwr.app import Error, Message
from flwr.clientapp import ClientApp
from sealed_wire import opened
from small_transfer import write_small_transfer
from update_traces import forms_of

import deploy.transfer_simulation as simulation
from aggregator.store import Catalogue
from aggregator.transfer.models import ModelFiles
from aggregator.transfer.plan import TransferPlan
from aggregator.transfer.queue import Queue, plan_id_of
from deploy.federation_file import FederationConfig
from deploy.simulated_cohort import SimulatedCohort
from deploy.transfer_simulation import prepare_plan, prepare_transfer, run_transfer
from federation.errors import ConfigError
from federation.transfer.masked_update import MaskedUpdate, weights_digest
from federation.transfer.result import AUROC
from site_agent.client_app import app
from site_agent.transfer.group_files import GroupFiles

FOUR = ("anna", "bern", "cork", "dora")


def addresses(names):
    return [f"{name}/digits" for name in names]


def write_plan(folder, names=FOUR, *, masked=True, seeds=(0,), listening=()):
    """Write a consortium and a plan in which its sites are one group, each shrunk to as many images."""
    folder.mkdir(exist_ok=True)
    group = f"groups = {{digits = {addresses(names)}}}\nmasked = {str(masked).lower()}\n"
    trusts = tuple("listen" if name in listening else "open" for name in names)
    path = write_small_transfer(
        folder,
        scenarios=("co_training",),
        trusts=trusts,
        seeds=seeds,
        extra=group,
    )
    in_three = path.read_text().replace("rounds = 2", "rounds = 3").replace("epochs = 2", "epochs = 3")
    path.write_text(in_three)
    return path


@dataclass
class Ran:
    """A plan that was run, and what is left of it.

    Args:
        folder: Where.
        sent: All that crossed the wire.
    """

    folder: object
    sent: list = field(default_factory=list)

    def run(self, plan):
        self.sent = run_transfer(prepare_transfer(plan), record=True).sent
        return self

    @property
    def queue(self):
        catalogue = Catalogue(self.folder / "run" / "catalogue.sqlite")
        return Queue(catalogue, plan_id_of(TransferPlan.read(self.folder / "plan.toml")))

    def trained(self, seed=0):
        """Target → how its common training ended."""
        return {
            found.experiment.target.partition("/")[0]: found
            for found in self.queue.findings()
            if found.experiment.scenario == "co_training" and found.experiment.seed == seed
        }

    def averages(self):
        """The averages as a site received them, in the order in which they were asked for."""
        received = ModelFiles(self.folder / "run" / "sites" / "anna" / "models" / "received")
        steps = [step for step in self.queue.steps() if step.kind == "average"]
        return [received.load(step.result.model_id).weights for step in steps]

    def said(self):
        """Every byte string that a site said, before it was sealed."""
        return [blob for each in opened(self.sent) if each.direction == "up" for blob in each.blobs]


def outcomes(found):
    return {site: (each.state, each.reason) for site, each in found.items()}


@pytest.fixture(scope="module")
def kept():
    """Site and round → what it trained from where, as the site keeps it for the sum."""
    kept, keep = {}, GroupFiles.keep_update

    def keep_and_tell(self, step, trained, start):
        kept[step.site, step.round] = (step.group, trained, start)
        keep(self, step, trained, start)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GroupFiles, "keep_update", keep_and_tell)
        yield kept


@pytest.fixture(scope="module")
def masked(tmp_path_factory, kept):
    folder = tmp_path_factory.mktemp("masked")
    return Ran(folder).run(write_plan(folder, FOUR[:3]))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    return Ran(folder).run(write_plan(folder, FOUR[:3], masked=False))


def test_every_member_of_a_masked_group_is_measured(masked):
    found = masked.trained()
    assert outcomes(found) == dict.fromkeys(FOUR[:3], ("done", ""))
    assert all(0 <= each.scores[AUROC].value <= 1 and each.baseline for each in found.values())


def test_masked_averages_are_the_plain_ones_of_equal_weights(masked, plain):
    """What rounding moves in the first average, training moves a little more in the second."""
    for one, other, bound in zip(masked.averages(), plain.averages(), (2.0**-22, 1e-3), strict=True):
        assert set(one) == set(other)
        for name, array in one.items():
            np.testing.assert_allclose(array, other[name], rtol=2.0**-22, atol=bound)


def test_masked_scores_are_the_plain_ones(masked, plain):
    for site, found in plain.trained().items():
        assert masked.trained()[site].scores[AUROC].value == pytest.approx(
            found.scores[AUROC].value, abs=0.01
        )


def test_no_update_of_a_single_site_reaches_the_aggregator(masked, kept):
    said = b"".join(masked.said())
    assert {number for _, number in kept} == {0, 1}
    for group, trained, start in kept.values():
        vector = MaskedUpdate(group, 0, weights_digest(start), "ab" * 32).to_vector(trained, start)
        assert np.count_nonzero(vector) > vector.size // 2
        assert not any(form in said for form in forms_of(vector, trained, 8))


def test_of_a_plain_group_they_do(masked, plain, kept):
    said = b"".join(plain.said())
    _, trained, _ = kept["anna", 0]
    assert any(form in said for form in forms_of(np.zeros(0, np.int64), trained))


def missing_in_sums(name, n):
    """The sites' app, of which one site is gone from its n-th question about a sum on."""
    leaver, asked = ClientApp(), []

    @leaver.query("round")
    def answer(message, context):
        if f"/{name}/" in str(context.node_config["site-config"]):
            asked.append(message)
            if len(asked) > n:
                return Message(Error(100, "gone"), reply_to=message)
        return app(message, context)

    for kind in ("transfer", "roll_call"):
        leaver.query(kind)(app)
    return leaver


def test_one_of_four_that_misses_a_sum_is_left_out_and_the_rest_goes_on(tmp_path, monkeypatch):
    plan = write_plan(tmp_path)
    monkeypatch.setattr(simulation, "client_app", missing_in_sums("dora", 0))
    found = Ran(tmp_path).run(plan).trained()
    assert outcomes(found) == dict.fromkeys(FOUR[:3], ("done", "")) | {"dora": ("failed", "gone at dora")}


def test_who_comes_back_later_stays_out_of_the_sums_of_its_cohort(tmp_path, monkeypatch):
    plan = write_plan(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(simulation, "client_app", missing_in_sums("dora", 0))
        Ran(tmp_path).run(plan)
    plan.write_text(plan.read_text().replace("seeds = [0]", "seeds = [1]"))
    found = Ran(tmp_path).run(plan).trained(seed=1)
    left_out = {"dora": ("failed", "left-out at dora")}
    assert outcomes(found) == dict.fromkeys(FOUR[:3], ("done", "")) | left_out


def test_a_site_whose_policy_forbids_it_is_told_as_the_reason(tmp_path):
    found = Ran(tmp_path).run(write_plan(tmp_path, FOUR[:3], listening=("cork",))).trained()
    assert outcomes(found) == dict.fromkeys(FOUR[:3], ("failed", "policy at cork"))


def test_a_group_with_the_name_of_another_cohort_is_refused_before_any_work(tmp_path):
    plan = write_plan(tmp_path)
    federation = FederationConfig.read(tmp_path / "federation.toml")
    cohort = SimulatedCohort(
        name="digits", task="scans", sites=("anna", "bern", "dora"), exact_because="public"
    )
    with pytest.raises(ConfigError, match="of other sites than the cohort digits"):
        prepare_plan(TransferPlan.read(plan), plan, federation.model_copy(update={"cohort": (cohort,)}))
