"""Sites that lie: what cannot be true is refused, and everything else completes."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from transfer_runs import plan_of, score

from aggregator.backup.rows import save_rows
from federation.canonical import sha256_hex
from federation.envelope import Envelope
from federation.identity import Identity
from federation.transfer.messages import TransferReply
from federation.transfer.model import TravellingModel
from federation.transfer.result import Progress

OTHER = Identity("anna", Ed25519PrivateKey.generate())


def only_done(lie):
    return lambda request, reply: lie(request, reply) if reply.state == "done" else reply


def with_model(request, reply, site, **changes):
    if not reply.model:
        return reply
    model = TravellingModel.from_bytes(reply.model, reply.result.model_id)
    signer = changes.pop("signer", site.identity)
    data = replace(model, **changes).signed(signer).to_bytes()
    result = reply.result.model_copy(update={"model_id": sha256_hex(data)})
    return replace(reply, model=data, result=result)


def raw(reply, site, **body):
    """A reply that no honest program would write."""
    honest = Envelope.from_record("transfer-reply", reply.to_record(site.identity))
    return Envelope.sealed("transfer-reply", {**honest.body, **body}, honest.blobs, site.identity).to_record()


LIES = {
    "another step": lambda q, r, s: replace(r, step_id="0" * 64),
    "another nonce": lambda q, r, s: replace(r, nonce="0" * 32),
    "another site": lambda q, r, s: replace(r, site="bern"),
    "done without a result": lambda q, r, s: replace(r, result=None),
    "a state in prose": lambda q, r, s: replace(r, state="Patient Müller is dead", result=None, model=b""),
    "an impossible score": lambda q, r, s: replace(
        r, result=r.result.model_copy(update={"scores": {"auroc": score(7.0)}})
    ),
    "an unknown metric": lambda q, r, s: replace(
        r, result=r.result.model_copy(update={"scores": {"luck": score(0.5)}})
    ),
    "no score": lambda q, r, s: replace(r, result=r.result.model_copy(update={"scores": {}})),
    "no number": lambda q, r, s: raw(
        r, s, result={**r.result.model_dump(mode="json"), "scores": {"auroc": {"value": "NaN"}}}
    ),
    "an altered record": lambda q, r, s: raw(r, s, state="done", result={"n_train": "many"}),
}
MODEL_LIES = {
    "another model": lambda q, r, s: replace(r, model=r.model and r.model + b"x"),
    "a pickle": lambda q, r, s: (
        replace(
            r,
            model=b"\x80\x04pickle",
            result=r.result.model_copy(update={"model_id": sha256_hex(b"\x80\x04pickle")}),
        )
        if r.model
        else r
    ),
    "a stranger's key": lambda q, r, s: with_model(q, r, s, signer=OTHER),
    "another task": lambda q, r, s: with_model(q, r, s, task="other"),
    "another step": lambda q, r, s: with_model(q, r, s, step_id="1" * 64),
    "not finite": lambda q, r, s: with_model(
        q, r, s, weights={"conv.weight": np.full((2, 3), np.nan, np.float32)}
    ),
    "no model": lambda q, r, s: replace(r, model=b"", result=r.result.model_copy(update={"model_id": None})),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_result_that_cannot_be_true_is_refused(consortium, lie):
    site = consortium.sites["anna"]
    site.twist = only_done(lambda request, reply: lie(request, reply, site))
    summary = consortium.run(plan_of())
    assert set(summary.reasons) == {"invalid-reply at anna"}
    assert consortium.finding("pretraining", "bern/skin", "cork/lung").state == "done"


@pytest.mark.parametrize("lie", MODEL_LIES.values(), ids=MODEL_LIES)
def test_a_model_that_is_not_what_it_says_is_refused(consortium, lie):
    site = consortium.sites["anna"]
    site.twist = only_done(lambda request, reply: lie(request, reply, site))
    summary = consortium.run(plan_of())
    assert set(summary.reasons) <= {"invalid-reply at anna", "model at anna"}
    assert consortium.finding("pretraining", "anna/eyes", "bern/skin").state == "failed"
    assert consortium.finding("pretraining", "bern/skin", "anna/eyes").state == "done"
    assert len(list((consortium.hub.catalogue.folder / "models").iterdir())) == 2


def test_a_site_that_never_takes_the_model_is_given_up(consortium):
    site = consortium.sites["bern"]
    site.twist = lambda request, reply: site.reply(request, "wants-model") if request.step.model_id else reply
    consortium.run(plan_of())
    assert consortium.reasons() == {"invalid-reply at bern"}


@pytest.mark.parametrize("state", ["running", "busy"])
def test_a_site_that_only_says_that_it_works_is_given_up_after_a_few_steps(consortium, state):
    site, plan = consortium.sites["anna"], plan_of(seeds=tuple(range(5)), attempts=2)
    site.twist = lambda request, reply: site.reply(request, state)
    began = consortium.clock.now()
    assert set(consortium.run(plan).reasons) == {"deadline at anna"}
    assert len({step.step_id for step in site.asked}) == plan.attempts
    assert consortium.clock.now() - began < 3 * plan.attempts * plan.deadline_s


def test_epochs_that_nobody_planned_are_no_progress(consortium):
    site, told = consortium.sites["anna"], itertools.count(1)

    def counts_up(request, reply):
        return site.reply(request, "running", progress=Progress(epoch=next(told), epochs=10**9))

    site.twist = counts_up
    assert set(consortium.run(plan_of()).reasons) == {"deadline at anna"}


def test_a_site_that_swallows_every_request_is_given_up(consortium):
    consortium.sites["bern"].work = lambda request: None
    assert set(consortium.run(plan_of()).reasons) == {"no-reply at bern"}


def test_replies_carry_no_text_into_the_catalogue(consortium, tmp_path):
    site = consortium.sites["anna"]
    site.twist = only_done(lambda request, reply: LIES["a state in prose"](request, reply, site))
    consortium.run(plan_of())
    save_rows(consortium.hub.catalogue, tmp_path / "rows.sqlite")
    assert "Müller".encode() not in (tmp_path / "rows.sqlite").read_bytes()


def test_a_forged_reply_is_a_reply_of_nobody(consortium):
    site = consortium.sites["anna"]
    honest = site.work

    def forged(request):
        reply = honest(request)
        return reply.to_record(OTHER) if isinstance(reply, TransferReply) else reply

    site.work = forged
    assert set(consortium.run(plan_of()).reasons) == {"invalid-reply at anna"}
