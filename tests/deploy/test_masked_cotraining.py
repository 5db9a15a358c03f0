"""Common training of which only sums are seen: real sites, the real protocol, over Flower in one process."""

from dataclasses import dataclass

import numpy as np
import pytest
from cotraining_sites import COHORT, GROUP, HUB, model_in, write_consortium
from flwr.app import Error, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from sealed_wire import opened, plain
from update_traces import forms_of

from aggregator.rounds.round_store import RoundStore
from aggregator.transfer.masked import Masking, agreed_start, masked_average
from deploy.inprocess import Node, run_in_process
from federation.errors import CohortTooSmallError, FedprintError, TransferError
from federation.round_messages import STEPS, read_request
from federation.transfer.masked_update import CLIP, SCALE_BITS, MaskedUpdate, weights_digest
from federation.transfer.recipe import Recipe
from federation.transfer.result import AUROC
from site_agent.client_app import app
from site_agent.transfer.group_files import GroupFiles

NAMES = ("anna", "bern", "cork", "dover")
SUMMED = {
    "metrics_because": "public",
    "measured_images": 1,
    "summed_in": COHORT,
    "summed_because": "a sum of three hospitals",
}


@dataclass
class Training:
    """A masked group and what became of its rounds.

    Args:
        folder: Where the sites are.
        sites: They and the aggregator's questions.
        grid: What crossed the wire at last.
    """

    folder: object
    sites: object
    grid: object = None

    def train(self, number=0, start=None, data=b"", names=NAMES, **changes):
        """Let sites do a round, and return their replies."""
        steps = {name: self.sites.step(name, number, start, **changes) for name in names}
        replies = {name: self.sites.finish(step, data) for name, step in steps.items()}
        assert {reply.state for reply in replies.values()} == {"done"}
        return replies

    def average(self, start, number=0, absent=None, **changes):
        """Sum the updates of a round; ``absent``: site → the step from which on it is gone."""
        found, step = [], self.sites.step("anna", number, None if number == 0 else "ab" * 32, **changes)
        masking = Masking(
            COHORT, RoundStore(self.folder / "rounds"), "job-1", timeout_s=30.0, step_timeout_s=30.0
        )
        server = ServerApp()

        @server.main()
        def main(grid, _context):
            try:
                found.append(masked_average(grid, HUB, self.sites.roster, step, start, masking))
            except FedprintError as error:
                found.append(error)

        gone = absent or {}
        nodes = [
            Node(leaving(gone.get(name)), {"site-config": str(self.folder / name / "site.toml")})
            for name in NAMES
        ]
        self.grid = run_in_process(server, nodes, {}, parallel=2, record=True)
        if isinstance(found[0], FedprintError):
            raise found[0]
        return found[0]

    def update(self, name, number=0, group=GROUP):
        """What a site keeps of a round for the sum."""
        return GroupFiles.of(self.sites.sites[name].state.folder, group, "lungs").update(number)


def leaving(last):
    """The site's app, whose node is gone from a step on."""
    leaver = ClientApp()

    @leaver.query("round")
    def answer(message, context):
        step = read_request(plain(message.content)).step
        if last is not None and STEPS.index(step) >= STEPS.index(last):
            return Message(Error(100, "node unavailable"), reply_to=message)
        return app(message, context)

    return leaver


@pytest.fixture
def training(tmp_path):
    recipe = Recipe(epochs=1, batch_size=8)
    return Training(tmp_path, write_consortium(tmp_path, NAMES, SUMMED, masked=True, recipe=recipe))


@pytest.fixture
def trained(training):
    """A group that has done its first round, and the backbone at which that began."""
    replies = training.train()
    return training, agreed_start({name: model_in(reply).weights for name, reply in replies.items()})


def plain_mean(training, names=NAMES, number=0):
    updates = [training.update(name, number).trained for name in names]
    return {
        name: np.mean([weights[name].astype(np.float64) for weights in updates], axis=0)
        for name in updates[0]
    }


def assert_mean(average, training, names=NAMES, number=0):
    """Rounding errs by half a step per site, and float32 by half of its own."""
    for name, mean in plain_mean(training, names, number).items():
        found = average.weights[name]
        bound = 2.0**-SCALE_BITS / 2 + np.abs(mean) * np.finfo(np.float32).eps
        assert (np.abs(found - mean) <= bound).all()
        assert found.dtype == np.float32


def test_the_masked_average_is_the_plain_one_of_equal_weights(trained):
    training, start = trained
    average = training.average(start)
    assert average.contributors == NAMES
    assert_mean(average, training)


def test_a_whole_masked_training_ends_with_scores(trained):
    training, weights = trained
    for number in (0, 1):
        weights = training.average(weights, number).weights
        begun = training.sites.step("anna", number, "ab" * 32 if number else None)
        start, data = training.sites.average(weights, begun)
        replies = training.train(number + 1, start, data)
    assert all(0 <= reply.result.scores[AUROC].value <= 1 for reply in replies.values())
    assert all(reply.model == b"" for reply in replies.values())


@pytest.mark.parametrize("step", STEPS[:3])
def test_one_of_four_may_drop_out(trained, step):
    training, start = trained
    average = training.average(start, absent={"cork": step})
    assert average.contributors == ("anna", "bern", "dover")
    assert_mean(average, training, average.contributors)


def test_two_of_four_may_not(trained):
    training, start = trained
    with pytest.raises(CohortTooSmallError):
        training.average(start, absent={"cork": "advertise", "dover": "mask"})


def test_nothing_of_a_single_update_is_on_the_wire(trained):
    training, start = trained
    training.average(start, absent={"cork": "confirm"})
    told = [blob for sent in opened(training.grid.sent) if sent.direction == "up" for blob in sent.blobs]
    assert sum(map(len, told)) > len(NAMES) * 4 * sum(array.size for array in start.values())
    purpose = MaskedUpdate(GROUP, 0, weights_digest(start), "ab" * 32)
    for name in NAMES:
        update = training.update(name)
        vector = purpose.to_vector(update.trained, update.start)
        forms = list(forms_of(vector, update.trained))
        assert not any(form in blob for form in forms for blob in told)
        assert any(form in kept_by(training, name) for form in forms)  # where they must be found


def kept_by(training, name):
    folder = training.sites.sites[name].state.folder
    return GroupFiles.of(folder, GROUP, "lungs").folder.joinpath("update-0.safetensors").read_bytes()


def test_the_same_round_is_not_opened_with_other_survivors(trained):
    training, start = trained
    training.average(start)
    with pytest.raises(CohortTooSmallError):
        training.average(start, absent={"dover": "advertise"})
    assert "the difference of two sums could be one site" in training.sites.texts("anna")


def test_nor_is_one_of_another_group_that_hardly_differs(trained):
    training, start = trained
    training.average(start)
    other = {"group": "ef" * 32, "recipe": Recipe(epochs=1, batch_size=8, learning_rate=1.0001e-3)}
    training.train(**other)
    with pytest.raises(CohortTooSmallError):
        training.average(start, absent={"dover": "advertise"}, **other)


def test_the_same_sum_may_be_asked_for_again(trained):
    training, start = trained
    first, second = training.average(start), training.average(start)
    np.testing.assert_equal(dict(first.weights), dict(second.weights))


def test_who_did_not_train_the_round_takes_no_part(training):
    replies = training.train(names=NAMES[:3])
    start = agreed_start({name: model_in(reply).weights for name, reply in replies.items()})
    assert training.average(start).contributors == NAMES[:3]


def test_another_start_than_the_sites_have_is_refused(trained):
    training, start = trained
    other = {name: array + np.float32(1) for name, array in start.items()}
    with pytest.raises(CohortTooSmallError):
        training.average(other)
    assert "start" in training.sites.texts("anna")


def test_a_site_that_was_let_to_train_otherwise_than_the_others_is_not_summed_with_them(training):
    """Were all but one trained at a rate of almost nothing, the sum would be that one's update."""
    still = Recipe(epochs=1, batch_size=8, learning_rate=1e-12, weight_decay=0.0)
    replies = training.train(names=NAMES[:1]) | training.train(names=NAMES[1:], recipe=still)
    start = agreed_start({name: model_in(reply).weights for name, reply in replies.items()})
    with pytest.raises(CohortTooSmallError):
        training.average(start)
    assert "trained otherwise" in training.sites.texts("bern")
    assert training.average(start, recipe=still).contributors == NAMES[1:]


def test_a_policy_that_changed_its_mind_stops_the_sum(trained):
    training, start = trained
    for name in NAMES:
        file = training.folder / name / "policy.toml"
        lines = [line for line in file.read_text().splitlines() if not line.startswith("summed_")]
        file.write_text("\n".join(lines))
    with pytest.raises(CohortTooSmallError):
        training.average(start)


def test_sites_that_began_elsewhere_are_noticed():
    starts = {"anna": {"w": np.zeros(2, np.float32)}, "bern": {"w": np.zeros(2, np.float32)}}
    assert agreed_start(starts) is starts["anna"]
    with pytest.raises(TransferError, match="cork began at another backbone"):
        agreed_start(starts | {"cork": {"w": np.ones(2, np.float32)}})


def test_the_vector_of_many_sites_fits_into_32_bits():
    bound = MaskedUpdate("ab" * 32, 0, "cd" * 32, "ef" * 32).fixed_point.bound
    assert bound == CLIP * 2**SCALE_BITS
    assert 31 * bound < 2**31
