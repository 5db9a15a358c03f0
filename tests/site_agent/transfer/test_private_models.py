"""A model with noise leaves once its step is paid for, says so, and is refused where it could not be."""

import tomllib
from dataclasses import replace

import pytest
import tomli_w
from factories import make_identity, make_job
from paid_models import RECIPE, model_in, paid_step, recipe, write_paying_site
from transfer_site import EXACT, CountingWork, cotrain, model_of, train

from federation.canonical import sha256_hex
from federation.errors import DataError, PolicyError
from federation.privacy.accounting import eps_of
from federation.transfer.recipe import Recipe
from federation.transfer.result import StepResult
from site_agent.ledger import Ledger
from site_agent.ledger.kept import has_released
from site_agent.ledger.storage import LedgerFiles
from site_agent.policy import Policy
from site_agent.transfer.arrival import store_of
from site_agent.transfer.private_models import charge_model
from site_agent.transfer.work import Asked


@pytest.fixture
def anna(tmp_path):
    return write_paying_site(tmp_path / "anna")


def test_a_model_that_leaves_is_charged_and_names_what_it_promises_and_what_paid(anna):
    step = paid_step()
    reply = anna.finish(step)[-1]
    assert reply.state == "done"
    (charge,) = anna.charges()
    model = model_in(reply)
    assert (str(charge.rho), charge.task, charge.population) == ("1/4", "digits", "patients")
    assert charge.mechanism["step"] == step.step_id
    assert model.privacy == reply.result.privacy
    assert (model.privacy.rho, model.privacy.unit, model.privacy.delta) == ("1/4", "patient", 1e-6)
    assert model.privacy.eps == eps_of(charge.rho, 1e-6)
    ledger = Ledger.open(anna.site.state.folder, anna.site.identity)
    assert model.privacy.ledger_hash == ledger.entries()[model.privacy.ledger_seq - 1].hash
    assert anna.findings() == ()


def test_exact_counts_times_and_losses_do_not_leave_with_it(anna):
    replies = anna.finish(paid_step())
    assert all(reply.progress.loss is None for reply in replies if reply.progress)
    assert (replies[-1].result.n_train, replies[-1].result.seconds) == (0, 0.0)


def test_asking_again_gives_the_same_bytes_and_charges_nothing(anna):
    first = anna.finish(paid_step())[-1]
    assert anna.reopened().ask(paid_step()).model == first.model
    assert len(anna.charges()) == 1


def test_every_step_is_paid_for_by_itself_until_a_budget_is_spent(anna):
    for seed in range(4):
        assert anna.finish(paid_step(seed=seed))[-1].state == "done"
    refused = paid_step(seed=4)
    assert anna.ask(refused).state == "budget"
    assert not (anna.site.state.folder / "transfer" / refused.step_id).exists()
    assert sum(charge.rho for charge in anna.charges()) == 1


def test_rounds_of_co_training_are_charged_one_by_one(anna):
    assert anna.finish(cotrain(recipe=RECIPE, rounds=2))[-1].state == "done"
    assert anna.finish(cotrain(recipe=RECIPE, round=1, rounds=2))[-1].state == "done"
    assert len(anna.charges()) == 2


def test_a_model_that_stays_costs_nothing(anna):
    assert anna.finish(paid_step(travels_to=()))[-1].state == "done"
    assert anna.charges() == []


REFUSALS = {
    "more than one release may cost": (paid_step(recipe=recipe(noise_multiplier=1.0)), {}, "budget"),
    "a spent population": (paid_step(), {"population": "1/5", "rho": "1/5", "release_rho": "1/5"}, "budget"),
    "too many images per patient": (paid_step(recipe=recipe(images_per_patient=3)), {}, "policy"),
    "too few patients": (paid_step(), {"minimum_patients": 20}, "not-releasable"),
    "no noise": (paid_step(recipe=Recipe(epochs=2)), {}, "policy"),
    "an open number of batches": (
        paid_step(recipe=RECIPE.model_copy(update={"draws": None})),
        {},
        "training",
    ),
    "a mask": (cotrain(recipe=RECIPE, masked=True), {}, "policy"),
    "a round after one that was not paid for": (cotrain(recipe=RECIPE, round=1, rounds=2), {}, "policy"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_could_not_be_paid_for_is_refused_before_any_work(tmp_path, case):
    step, terms, code = REFUSALS[case]
    site = write_paying_site(tmp_path / "anna", **terms)
    reply = site.ask(step)
    assert (reply.state, reply.model) == (code, b"")
    assert not (site.site.state.folder / "transfer" / step.step_id).exists()
    assert site.charges() == []


def test_a_price_at_the_limit_is_paid(tmp_path):
    site = write_paying_site(tmp_path / "anna", release_rho="1/4")
    assert site.finish(paid_step())[-1].state == "done"


def test_a_start_that_knows_the_sites_own_patients_without_noise_is_refused(anna):
    exact = model_of(anna.site.identity).to_bytes()
    store_of(anna.site).keep_made(exact)
    assert anna.ask(paid_step(start=sha256_hex(exact))).state == "policy"
    paid = anna.finish(paid_step())[-1]
    assert anna.finish(paid_step(start=paid.result.model_id))[-1].state == "done"


def test_a_start_of_another_site_is_no_concern_of_this_ones_patients(anna, tmp_path):
    foreign = model_of(make_identity("bern", tmp_path)).to_bytes()
    assert anna.finish(paid_step(start=sha256_hex(foreign)), model=foreign)[-1].state == "done"


def test_a_budget_that_is_spent_meanwhile_holds_the_model_back_until_there_is_room(anna):
    step = paid_step(seed=9)
    assert anna.ask(step).state == "running"
    anna.set_terms(rho="1/5", release_rho="1/5")
    assert anna.ask(step).state == "budget"
    anna.set_terms()
    assert anna.finish(step)[-1].state == "done"
    assert len(anna.charges()) == 1


def test_a_model_that_was_made_when_nobody_had_to_pay_does_not_leave_once_somebody_has_to(anna):
    path = anna.site.config.policy_path
    demanding, policy = path.read_text(), tomllib.loads(path.read_text())
    policy["task"] = {"digits": {"modes": ["listen"], "transfer": EXACT}}
    path.write_text(tomli_w.dumps(policy))
    made = anna.finish(paid_step())[-1]
    assert (made.state, made.result.privacy) == ("done", None)
    path.write_text(demanding)
    again = anna.ask(paid_step())
    assert (again.state, again.model) == ("policy", b"")


@pytest.mark.parametrize(("step", "code"), [(paid_step(), "not-releasable"), (train(), "data")])
def test_what_stands_against_data_that_noise_protects_has_one_code(anna, monkeypatch, step, code):
    def unreadable(*_):
        raise DataError("too many images cannot be read")

    monkeypatch.setattr(CountingWork, "advance", unreadable)
    assert anna.ask(step).state == code


def test_a_model_that_was_paid_for_and_lost_is_not_made_again(anna):
    step = paid_step()
    anna.finish(step)
    folder = anna.site.state.folder / "transfer" / step.step_id
    for path in sorted(folder.iterdir()):
        path.unlink()
    assert anna.finish(step)[-1].state == "store"
    assert "no longer kept" in anna.texts()
    assert len(anna.charges()) == 1


def test_the_ledger_cannot_be_lost_unnoticed_once_a_model_was_paid_for(anna):
    anna.finish(paid_step())
    state = anna.site.state.folder
    (state / "log.jsonl").unlink()
    assert has_released(LedgerFiles(state))
    (state / "ledger.jsonl").unlink()
    (state / "ledger.head").unlink()
    assert [str(finding) for finding in anna.findings()] != []
    assert anna.reopened().ask(paid_step(seed=5)).state == "ledger"


@pytest.mark.parametrize("damage", ["seq", "hash", "rho", "bytes"])
def test_a_payment_that_does_not_fit_the_ledger_is_found(anna, damage):
    step = paid_step()
    anna.finish(step)
    path = anna.site.state.folder / "transfer" / step.step_id / "payment.json"
    told = path.read_text()
    changed = {
        "seq": told.replace('"seq":2', '"seq":1'),
        "hash": told.replace('"hash":"', '"hash":"f'),
        "rho": told.replace("1/4", "1/8"),
        "bytes": told[:-3],
    }
    assert changed[damage] != told
    path.write_text(changed[damage])
    assert anna.findings()


@pytest.mark.parametrize("wrong", [{"step_id": "cd" * 32}, {"epochs": 3}])
def test_a_model_that_is_not_what_would_be_paid_for_is_not_charged(anna, wrong):
    step = paid_step()
    policy = Policy.read(anna.site.config.policy_path).task("digits")
    asked = Asked(
        anna.site, policy, make_job("job-1"), step, anna.site.config.dataset[0], anna.site.state.folder
    )
    made = replace(model_of(anna.site.identity, step), step_id=wrong.get("step_id", step.step_id))
    result = StepResult(n_train=0, n_classes=2, epochs=wrong.get("epochs", 2))
    with pytest.raises(PolicyError, match="was to be paid for"):
        charge_model(asked, result, made.signed(anna.site.identity).to_bytes())
    assert anna.charges() == []
