"""Rounds of common training at real sites: what stays, what leaves, what may begin."""

from fractions import Fraction

import cohorts
import numpy as np
import pytest
from cotraining_sites import COHORT, GROUP, HUB, model_in, write_consortium

from federation.errors import StoreError
from federation.transfer.averaging import shared_part, stays_local
from federation.transfer.masked_update import weights_digest
from federation.transfer.recipe import PrivateTraining, Recipe
from federation.transfer.result import AUROC
from site_agent.jobs import ledger_of
from site_agent.ledger import Ledger
from site_agent.transfer.cotraining import CotrainWork
from site_agent.transfer.group_files import GroupFiles
from site_agent.transfer.participation import WORK
from site_agent.transfer.step_files import StepFiles

PAYING = {
    "modes": ["private"],
    "population": "patients",
    "rho": "1",
    "release_rho": "1/2",
    "images_per_patient": 1,
    "minimum_patients": 2,
    "spaces": "any",
    "sketches": ["cdf"],
}
SUMMED = {
    "metrics_because": "public",
    "measured_images": 1,
    "summed_in": COHORT,
    "summed_because": "a sum of three hospitals",
}


@pytest.fixture(autouse=True)
def counting(monkeypatch):
    """Here sites really train."""
    monkeypatch.setitem(WORK, "cotrain", CotrainWork)


@pytest.fixture
def consortium(tmp_path):
    return write_consortium(tmp_path)


def own(consortium, name, number):
    folder = consortium.sites[name].state.folder
    return GroupFiles.of(folder, GROUP, "lungs").own(number)


def plain_average(replies):
    models = [model_in(reply).weights for reply in replies]
    return {name: np.mean([weights[name] for weights in models], axis=0) for name in models[0]}


def trained_rounds(consortium, rounds, **asking):
    """Train some rounds of all sites with plain averages between, and return the replies of the last one."""
    start, data = None, b""
    for number in range(rounds):
        steps = [consortium.step(name, number, start) for name in consortium.sites]
        replies = [consortium.finish(step, data, **asking) for step in steps]
        if all(reply.model for reply in replies):
            start, data = consortium.average(plain_average(replies), steps[0])
    return replies


def test_three_rounds_end_with_a_score_and_nothing_leaves_in_the_last_one(consortium):
    anna, bern = trained_rounds(consortium, 3)
    assert (anna.state, bern.state) == ("done", "done")
    assert anna.result.scores[AUROC].value > 0.5
    assert (anna.model, bern.model) == (b"", b"")
    assert anna.result.epochs == 2


def test_earlier_rounds_measure_nothing(consortium):
    reply = trained_rounds(consortium, 1)[0]
    assert reply.result.scores == {}
    assert reply.result.n_train > 0


def test_head_and_statistics_stay_and_everything_else_leaves_signed(consortium):
    reply = trained_rounds(consortium, 1)[0]
    model, kept = model_in(reply), own(consortium, "anna", 0)
    assert model.public_key == consortium.roster["anna"]
    assert kept.statistics
    assert not any(stays_local(name) for name in model.weights)
    for array in (*kept.head.values(), *kept.statistics.values()):
        assert array.nbytes < 100 or array.tobytes() not in reply.model


def test_all_sites_begin_alike(tmp_path):
    consortium = write_consortium(tmp_path, ("anna", "bern", "cork"), SUMMED, masked=True)
    starts = [model_in(reply).weights for reply in trained_rounds(consortium, 1)]
    assert len({weights_digest(weights) for weights in starts}) == 1


def test_interruptions_change_no_byte(tmp_path):
    often = trained_rounds(write_consortium(tmp_path / "often"), 2)
    never = trained_rounds(write_consortium(tmp_path / "never"), 2, slice_s=60.0)
    assert [reply.result.model_id for reply in often] != [None, None]
    for one, other in zip(often, never, strict=True):
        np.testing.assert_equal(dict(model_in(one).weights), dict(model_in(other).weights))


def test_a_site_that_dies_while_it_keeps_a_round_does_it_again_with_the_same_result(
    consortium, tmp_path, monkeypatch
):
    start, data = consortium.average(plain_average(trained_rounds(consortium, 1)), consortium.step("anna"))
    step = consortium.step("anna", 1, start)

    def die(*_):
        raise StoreError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(StepFiles, "end", die)
        assert consortium.finish(step, data).state == "store"
        kept = own(consortium, "anna", 1)
    again = consortium.finish(step)
    assert again.state == "done"
    np.testing.assert_equal(dict(own(consortium, "anna", 1).head), dict(kept.head))


def test_each_round_goes_on_with_the_head_of_the_round_before(consortium):
    start, data = consortium.average(plain_average(trained_rounds(consortium, 1)), consortium.step("anna"))
    still = Recipe(epochs=1, batch_size=8, learning_rate=1e-12, weight_decay=0.0)
    before = own(consortium, "anna", 0)
    assert consortium.finish(consortium.step("anna", 1, start, recipe=still), data).state == "done"
    np.testing.assert_allclose(own(consortium, "anna", 1).head["weight"], before.head["weight"], atol=1e-6)


def test_only_the_last_two_rounds_are_kept(consortium):
    trained_rounds(consortium, 3)
    assert consortium.files("anna") == ["own-1.safetensors", "own-2.safetensors"]


def test_only_the_average_of_this_group_signed_by_who_asks_is_begun_at(consortium):
    weights = plain_average(trained_rounds(consortium, 1))
    other = consortium.step("anna", group="ef" * 32)
    for step, signer in ((other, HUB), (consortium.step("anna"), cohorts.identity("eve"))):
        start, data = consortium.average(weights, step, signer)
        assert consortium.finish(consortium.step("anna", 1, start), data).state == "model"
    assert "another group or round" in consortium.texts("anna")
    assert "the aggregator that asks" in consortium.texts("anna")


def test_an_average_with_other_arrays_does_not_fit(consortium):
    weights = plain_average(trained_rounds(consortium, 1))
    weights.pop(min(weights))
    start, data = consortium.average(weights, consortium.step("anna"))
    assert consortium.finish(consortium.step("anna", 1, start), data).state == "model"


def test_statistics_in_an_average_are_not_taken(consortium):
    weights = plain_average(trained_rounds(consortium, 1))
    statistics = own(consortium, "anna", 0).statistics
    start, data = consortium.average(
        weights | {name: np.full_like(array, 7) for name, array in statistics.items()},
        consortium.step("anna"),
    )
    reply = consortium.finish(consortium.step("anna", 1, start), data)
    assert reply.state == "done"
    assert set(model_in(reply).weights) == set(shared_part(weights))


def test_who_missed_a_round_has_no_head_to_go_on_with(consortium):
    weights = plain_average(trained_rounds(consortium, 1))
    start, data = consortium.average(weights, consortium.step("bern", 1))
    assert consortium.finish(consortium.step("bern", 2, start), data).state == "transfer"
    assert "did not do round 1" in consortium.texts("bern")


@pytest.mark.parametrize(
    ("number", "begins"), [(3, "average"), (0, "average"), (1, "scratch"), (1, "imagenet")]
)
def test_rounds_that_cannot_be_are_refused(consortium, number, begins):
    start, data = consortium.average(plain_average(trained_rounds(consortium, 1)), consortium.step("anna"))
    step = consortium.step("anna", number, start if begins == "average" else begins)
    assert consortium.finish(step, data).state == "transfer"


def test_rounds_with_noise_are_paid_one_by_one_but_not_the_last(tmp_path):
    private = PrivateTraining(noise_multiplier=2.0)
    recipe = Recipe(epochs=1, draws=8, batch_size=4, private=private)
    task = PAYING | {
        "transfer": {
            "metrics_because": "public",
            "measured_images": 1,
            "models": "private",
            "models_to": "any",
        }
    }
    consortium = write_consortium(tmp_path, task=task, recipe=recipe)
    for site in consortium.sites.values():
        Ledger.open(site.state.folder, site.identity)
    first = trained_rounds(consortium, 2)[0]
    assert first.result.privacy.rho == "1/8"
    assert first.result.n_train == 0
    assert not own(consortium, "anna", 1).statistics
    last = trained_rounds(consortium, 3)[0]
    assert last.result.scores[AUROC].value >= 0
    entries = ledger_of(consortium.sites["anna"]).entries()
    assert [entry.charge.rho for entry in entries if entry.charge] == [Fraction(1, 8)] * 2


@pytest.fixture
def paying(tmp_path):
    """Sites of which ``anna`` has done and paid for the first round, and the average of it."""
    recipe = Recipe(epochs=1, draws=8, batch_size=4, private=PrivateTraining(noise_multiplier=2.0))
    task = PAYING | {
        "transfer": {
            "metrics_because": "public",
            "measured_images": 1,
            "models": "private",
            "models_to": "any",
        }
    }
    consortium = write_consortium(tmp_path, task=task, recipe=recipe)
    for site in consortium.sites.values():
        Ledger.open(site.state.folder, site.identity)
    first = consortium.finish(consortium.step("anna"))
    return consortium, *consortium.average(model_in(first).weights, consortium.step("anna"))


def test_a_round_does_not_go_on_with_a_head_that_another_step_of_the_group_trained_without_noise(paying):
    consortium, start, data = paying
    unpaid = consortium.step("anna", partners=("anna", "anna"), recipe=Recipe(epochs=1, batch_size=8))
    assert consortium.finish(unpaid).state == "done"
    assert consortium.finish(consortium.step("anna", 1, start), data).state == "policy"
    assert "not paid for" in consortium.texts("anna")


def test_a_round_that_was_paid_for_keeps_its_head_if_it_is_trained_again(paying):
    """Else two trainings with other noise would be known of, and one paid for."""
    consortium, *_ = paying
    step, before = consortium.step("anna"), own(consortium, "anna", 0)
    folder = consortium.sites["anna"].state.folder / "transfer" / step.step_id
    (folder / "ended.json").unlink()
    assert consortium.finish(step).state == "store"  # what was put aside is gone as well
    np.testing.assert_equal(dict(own(consortium, "anna", 0).head), dict(before.head))


def test_masked_training_needs_words_and_exactly_the_members_of_the_cohort(tmp_path):
    names = ("anna", "bern", "cork")
    refused = write_consortium(tmp_path / "models only", names, masked=True)
    assert refused.ask(refused.step("anna")).state == "policy"
    allowed = write_consortium(tmp_path / "summed", names, SUMMED, masked=True)
    assert allowed.ask(allowed.step("anna", partners=("anna", "bern"))).state == "policy"
    assert allowed.ask(allowed.step("anna", masked=False)).state == "policy"
    assert allowed.ask(allowed.step("anna")).state == "running"


def test_of_a_masked_group_only_what_nothing_was_trained_in_leaves(tmp_path):
    consortium = write_consortium(tmp_path, ("anna", "bern", "cork"), SUMMED, masked=True)
    first = trained_rounds(consortium, 1)[0]
    update = GroupFiles.of(consortium.sites["anna"].state.folder, GROUP, "lungs").update(0)
    assert weights_digest(model_in(first).weights) == weights_digest(update.start)
    assert weights_digest(update.trained) != weights_digest(update.start)
    start, data = consortium.average(update.trained, consortium.step("anna"))
    second = consortium.finish(consortium.step("anna", 1, start), data)
    assert (second.state, second.model, second.result.model_id) == ("done", b"", None)
    assert not list(consortium.sites["anna"].state.folder.glob("transfer/*/start.safetensors"))
