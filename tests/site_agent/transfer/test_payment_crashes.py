"""A site may die at any write while it pays for a model: one charge, and what was charged leaves."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from paid_models import model_in, paid_step, write_paying_site
from private_site import run_in_child
from transfer_site import CountingWork, model_of

from federation.canonical import sha256_hex
from federation.transfer.model import TravellingModel
from federation.transfer.result import StepResult
from site_agent.ledger import Ledger
from site_agent.transfer import private_models
from site_agent.transfer.model_store import ModelStore
from site_agent.transfer.pending_model import PendingModel
from site_agent.transfer.step_files import StepFiles

PRIMITIVES = [(os, "write"), (os, "fsync"), (os, "ftruncate"), (Path, "replace"), (Path, "unlink")]
STEPS = {
    "before it is put aside": (PendingModel, "keep", "before"),
    "after it is put aside": (PendingModel, "keep", "after"),
    "before the charge": (Ledger, "charge", "before"),
    "after the charge": (Ledger, "charge", "after"),
    "after the payment is kept": (private_models, "keep_payment", "after"),
    "before it is signed": (TravellingModel, "signed", "before"),
    "before the model is kept": (ModelStore, "keep_made", "before"),
    "after the model is kept": (ModelStore, "keep_made", "after"),
    "after the step has ended": (StepFiles, "end", "after"),
}


def die(*_args, **_keywords):
    os.kill(os.getpid(), signal.SIGKILL)


def dying(real, when):
    def called(*args, **keywords):
        if when == "after":
            real(*args, **keywords)
        die()

    return called


def finish_and_die(site, owner, name, when):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, dying(getattr(owner, name), when))
        site.reopened().finish(paid_step())


def assert_settled(site, charged_by_the_dead):
    site = site.reopened()
    reply = site.finish(paid_step())[-1]
    assert reply.state == "done", site.texts()
    (charge,) = site.charges()
    assert charged_by_the_dead in ([], [charge])
    model = model_in(reply)
    assert (model.privacy.rho, model.privacy.ledger_seq) == (str(charge.rho), 2)
    assert reply.result.privacy == model.privacy
    assert sha256_hex(unpaid(model, site)) == charge.mechanism["weights"]
    assert site.reopened().ask(paid_step()) == reply
    assert not list(site.site.state.folder.glob("transfer/*/pending-*"))
    assert site.findings() == ()


def unpaid(model, site):
    """The bytes that were put aside before the charge."""
    privacy = model.privacy.model_copy(update={"ledger_seq": None, "ledger_hash": ""})
    return replace(model, privacy=privacy).signed(site.site.identity).to_bytes()


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_payment_is_made_once_and_what_was_charged_leaves(tmp_path, step):
    site = write_paying_site(tmp_path / "anna")
    assert run_in_child(lambda: finish_and_die(site, *STEPS[step])) == -signal.SIGKILL
    assert_settled(site, site.charges())


def write_and_die(site, turn):
    left = [None] * turn

    def before():
        if not left:
            die()
        left.pop()

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in PRIMITIVES:
            patch.setattr(owner, name, watched(getattr(owner, name), before))
        site.reopened().finish(paid_step())


def watched(real, before):
    def called(*args, **keywords):
        before()
        return real(*args, **keywords)

    return called


def test_dying_before_any_single_write_to_the_disk_charges_once(tmp_path):
    for turn in range(300):
        site = write_paying_site(tmp_path / str(turn))
        site.ask(paid_step())
        ended = run_in_child(lambda site=site, turn=turn: write_and_die(site, turn))
        assert_settled(site, site.charges())
        if ended == 0:
            break
    assert 15 < turn < 299


def test_training_that_is_lost_after_the_charge_does_not_change_what_leaves(tmp_path):
    """Noise is drawn anew when an epoch is trained again: what was paid for leaves, not what is new."""
    site = write_paying_site(tmp_path / "anna")
    run_in_child(lambda: finish_and_die(site, *STEPS["after the charge"]))
    (charge,) = site.charges()
    folder = site.site.state.folder / "transfer" / paid_step().step_id
    (folder / "checkpoint.safetensors").unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CountingWork, "result", other_result)
        assert_settled(site, [charge])


def other_result(work):
    """What the same training finds with other noise."""
    made = model_of(work.asked.site.identity, work.asked.step, weights={"w": np.full(3, 7, np.float32)})
    return StepResult(n_train=0, n_classes=2, epochs=2), made.to_bytes()
