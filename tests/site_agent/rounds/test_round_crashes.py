"""A site may die at any step of a round: it then says the same, is charged once, and sends nothing unpaid."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from pooled_sites import ROUND, PooledRound, said
from private_site import Colours, run_in_child

from federation.messages import DONE
from federation.round_messages import MASK, STEPS
from federation.secagg.client import Masked, Shared
from site_agent import jobs
from site_agent.ledger import Ledger
from site_agent.policy import Policy
from site_agent.rounds import pooled_sketches, turn
from site_agent.rounds.round_files import RoundFiles, SiteRounds
from site_agent.state import SiteState

PRIMITIVES = [(os, "write"), (os, "fsync"), (os, "ftruncate"), (Path, "replace"), (Path, "unlink")]
STEPS_OF_MASKING = {
    "before noise is drawn": (pooled_sketches, "discrete_gaussian", "before"),
    "after noise is drawn": (pooled_sketches, "discrete_gaussian", "after"),
    "after masking": (Shared, "mask", "after"),
    "after it is put aside": (RoundFiles, "keep", "after"),
    "inside the charge, before the line": (os, "write", "before"),
    "inside the charge, after the line": (os, "write", "after"),
    "after the charge": (Ledger, "charge", "after"),
    "before the log": (SiteState, "record", "before"),
    "after the log": (SiteState, "record", "after"),
    "before the reply": (turn.Turn, "_paid", "after"),
}


def die(*_args, **_keywords):
    os.kill(os.getpid(), signal.SIGKILL)


def dying(when, call):
    def called(*args, **keywords):
        call(*args, **keywords)
        die()

    return die if when == "before" else called


def each_write(patch, told):
    for owner, name in PRIMITIVES:
        real = getattr(owner, name)

        def called(*args, real=real, **keywords):
            told()
            return real(*args, **keywords)

        patch.setattr(owner, name, called)


def count_writes(begun, step):
    turns = []
    with pytest.MonkeyPatch.context() as patch:
        each_write(patch, lambda: turns.append(1))
        begun.ask(step, "anna")
    return len(turns)


def write_and_die(begun, step, turn_number):
    left = [None] * turn_number
    with pytest.MonkeyPatch.context() as patch:
        each_write(patch, lambda: left.pop() if left else die())
        begun.ask(step, "anna")


def elsewhere(begun, folder):
    """The same round with copies of the sites."""
    copy = begun.cohort.copy_to(folder)
    replies = {step: dict(known) for step, known in begun.replies.items()}
    return PooledRound(copy, begun.terms, begun.space, {}, dict(begun.states), replies)


@pytest.fixture(scope="module")
def prepared(sketched, tmp_path_factory):
    """Rounds just before each step, without the processes' open ledgers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "_extractor", lambda *_: Colours())
        folder = tmp_path_factory.mktemp("rounds")
        return {
            step: PooledRound(sketched.copy_to(folder / step), sketched.terms()).prepare(step)
            for step in STEPS
        }


def assert_goes_on(begun, step):
    """The round ends as if nobody had died, and is paid for once."""
    site = begun.cohort.sites["anna"]
    site.forget_the_open_ledger()
    paid_before = len(site.charges())
    first, second = begun.ask(step, "anna"), begun.ask(step, "anna")
    assert said(first) == said(second)
    opened = begun.open()
    assert opened.contributors == ("anna", "bern", "cork", "dorn")
    assert len(site.charges()) == 1
    assert paid_before <= 1
    released = [event for event in site.events() if event["event"] == "released"]
    assert {event["ledger"] for event in released} == {2}
    assert site.findings() == ()
    assert sorted(path.name for path in (site.state / "rounds" / ROUND).iterdir()) == [
        "lock",
        "round.safetensors",
    ]


@pytest.mark.parametrize("name", STEPS_OF_MASKING)
def test_a_site_killed_while_it_masks_is_charged_once_and_sends_what_was_charged(prepared, tmp_path, name):
    begun = elsewhere(prepared[MASK], tmp_path)
    owner, function, when = STEPS_OF_MASKING[name]

    def mask_and_die():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(owner, function, dying(when, getattr(owner, function)))
            begun.ask(MASK, "anna")

    assert run_in_child(mask_and_die) == -signal.SIGKILL
    assert_goes_on(begun, MASK)


@pytest.mark.parametrize("step", STEPS)
def test_dying_before_any_single_write_to_the_disk_changes_nothing(prepared, tmp_path, step):
    n_writes = count_writes(elsewhere(prepared[step], tmp_path / "counted"), step)
    assert n_writes >= 4
    for number in range(n_writes):
        begun = elsewhere(prepared[step], tmp_path / str(number))
        assert run_in_child(lambda begun=begun, n=number: write_and_die(begun, step, n)) == -signal.SIGKILL
        assert_goes_on(begun, step)


def test_a_masked_vector_that_was_put_aside_is_the_one_that_is_charged_and_sent(prepared, tmp_path):
    begun = elsewhere(prepared[MASK], tmp_path)

    def put_aside_and_die():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Ledger, "charge", die)
            begun.ask(MASK, "anna")

    run_in_child(put_aside_and_die)
    kept = SiteRounds(begun.cohort.sites["anna"].state, "anna").of(ROUND).read()
    assert isinstance(kept.state, Masked)
    assert (kept.is_owing, kept.prepared) == (True, None)
    assert not begun.cohort.sites["anna"].charges()
    sent = begun.ask(MASK, "anna")
    assert sent.message.blobs() == kept.answers[MASK].answer.blobs()
    assert len(begun.cohort.sites["anna"].charges()) == 1


def test_a_full_disk_lets_nothing_leave_and_asking_again_goes_on(prepared, tmp_path, monkeypatch):
    begun = elsewhere(prepared[MASK], tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert begun.ask(MASK, "anna").code == "store"
    assert not begun.cohort.sites["anna"].charges()
    assert_goes_on(begun, MASK)


def full(*_):
    raise OSError(28, "No space left on device")


def test_a_budget_that_others_have_spent_since_lets_nothing_leave(prepared, tmp_path):
    begun = elsewhere(prepared[MASK], tmp_path)
    site = begun.cohort.sites["anna"]
    site.set_policy(eps=1.0)
    spend(site, begun.terms)
    assert begun.ask(MASK, "anna").code == "budget"
    assert len(site.charges()) == 1
    site.set_policy(eps=6.0)
    assert begun.ask(MASK, "anna").code == DONE
    assert len(site.charges()) == 2


def test_a_price_that_the_policy_no_longer_allows_draws_no_noise(prepared, tmp_path, monkeypatch):
    begun = elsewhere(prepared[MASK], tmp_path)
    begun.cohort.sites["anna"].set_policy(release_eps=0.5)
    monkeypatch.setattr(pooled_sketches, "discrete_gaussian", lambda *_: pytest.fail("drawn"))
    assert begun.ask(MASK, "anna").code == "budget"
    assert not begun.cohort.sites["anna"].charges()


def spend(site, terms):
    """Charge the site as much as a round costs, for something else."""
    allowed = Policy.read(site.folder / "policy.toml").task("lungs")
    kept = SiteRounds(site.state, "anna").of(terms.round_id).read()
    charge = replace(kept.charge, release_id="another", mechanism={})
    jobs.ledger_of(site.open()).charge(charge, allowed.budgets())
