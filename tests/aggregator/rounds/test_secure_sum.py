"""A round over Flower: drop-outs, lies, and an aggregator that dies at every step and goes on."""

import logging
import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from round_sites import (
    Killed,
    Mortal,
    RoundSite,
    cohort,
    dying_with,
    hanging,
    raising,
    refusing,
    run,
    saying,
    terms_for,
    total,
    unreachable,
)
from sealed_wire import opened

from aggregator.rounds import secure_sum as module
from aggregator.rounds.round_store import ABANDONED, FINISHED, OPENED, RoundStore
from federation.errors import CohortTooSmallError, RoundError, ShareError, StoreError
from federation.reply_words import CRASHED, UNAVAILABLE
from federation.round_messages import ADVERTISE, CONFIRM, MASK, SHARE, STEPS, UNMASK
from federation.secagg.messages import Advertisement, MaskedInput, Unmasking

OTHER_ID = "1" * 32
BEFORE, AFTERWARDS = 3.9e9, 4.5e9
"""Before and after the rounds of these tests expire."""


def statuses(folder):
    return [kept.status for kept in RoundStore(folder).rounds()]


def test_the_sum_is_that_of_the_vectors(tmp_path):
    sites = cohort()
    done = run(sites, terms_for(sites), tmp_path)
    assert done.error is None
    assert np.array_equal(done.result.total, total(sites))
    assert done.result.total.dtype == np.int64
    assert done.result.contributors == tuple(site.name for site in sites)
    assert done.result.departures == {}
    assert done.asked() == list(STEPS)


@pytest.mark.parametrize("step", STEPS)
def test_a_site_may_drop_out_at_every_step(tmp_path, step):
    sites = cohort(s2=dict.fromkeys(STEPS[STEPS.index(step) :], unreachable))
    done = run(sites, terms_for(sites), tmp_path)
    left_out = [2] if step in (ADVERTISE, SHARE, MASK) else []
    assert np.array_equal(done.result.total, total(sites, without=left_out))
    assert list(done.result.departures) == ([step] if step != CONFIRM else [CONFIRM])
    assert set(done.result.departures[step]) == {sites[2].name}


@pytest.mark.parametrize("step", STEPS)
def test_too_few_sites_open_nothing(tmp_path, step):
    sites = cohort(s1={step: refusing("policy")}, s2={step: refusing("budget")})
    done = run(sites, terms_for(sites), tmp_path)
    assert isinstance(done.error, CohortTooSmallError)
    assert statuses(tmp_path) == [ABANDONED]
    [kept] = RoundStore(tmp_path).rounds()
    assert kept.departures() == {}
    assert "2 " in kept.why_abandoned()
    assert {path.name for path in kept.folder.iterdir()} == {"terms.json", "abandoned.json"}


@pytest.mark.parametrize("step", STEPS)
def test_a_round_waits_for_sites_that_may_only_be_late(tmp_path, step):
    sites = cohort(s1={step: unreachable}, s2={step: raising})
    first = run(sites, terms_for(sites), tmp_path)
    assert isinstance(first.error, CohortTooSmallError)
    assert statuses(tmp_path) == [step]
    for site in sites:
        site.faults = {}
    second = run(sites, terms_for(sites, OTHER_ID), tmp_path, job_id="job-2")
    assert np.array_equal(second.result.total, total(sites))
    assert second.result.terms.round_id == "0" * 32


@pytest.mark.parametrize("code", [CRASHED, UNAVAILABLE])
@pytest.mark.parametrize("step", STEPS)
def test_a_round_waits_for_a_site_whose_process_died_since_the_others_have_paid(tmp_path, step, code):
    sites = cohort(3, s1={step: dying_with(code)})
    first = run(sites, terms_for(sites), tmp_path)
    assert isinstance(first.error, CohortTooSmallError)
    assert statuses(tmp_path) == [step]
    sites[1].faults = {}
    second = run(sites, terms_for(sites, OTHER_ID), tmp_path, job_id="job-2")
    assert np.array_equal(second.result.total, total(sites))
    assert second.result.terms.round_id == "0" * 32


def test_a_round_goes_on_without_somebody_who_hangs(tmp_path):
    answered = threading.Event()
    sites = cohort(s3={MASK: hanging(answered)})
    done = run(sites, terms_for(sites), tmp_path, step_timeout_s=1.5)
    answered.set()
    assert np.array_equal(done.result.total, total(sites, without=[3]))
    assert done.result.departures == {MASK: {sites[3].name: "no-reply"}}


def test_a_late_reply_is_not_taken_for_an_answer_to_the_next_step(tmp_path):
    answered = threading.Event()

    def and_let_the_late_one_go(site, message, reply):
        answered.set()
        return saying(lambda same: same)(site, message, reply)

    sites = cohort(s3={MASK: hanging(answered)}, s0={CONFIRM: and_let_the_late_one_go})
    done = run(sites, terms_for(sites), tmp_path, step_timeout_s=1.5)
    assert np.array_equal(done.result.total, total(sites, without=[3]))


def test_members_are_waited_for_and_nobody_else(tmp_path):
    hang = threading.Event()
    outsider = RoundSite("outsider", lambda _: np.zeros(5, np.int64), {ADVERTISE: hanging(hang)})
    sites = cohort()
    done = run(sites, terms_for(sites), tmp_path, others=[outsider.app()])
    hang.set()
    assert np.array_equal(done.result.total, total(sites))


def test_a_site_of_no_cohort_says_so_and_is_not_missing(tmp_path):
    sites = cohort(5)
    outside = sites.pop()
    outside.members = ()
    done = run([*sites, outside], terms_for(sites), tmp_path)
    assert np.array_equal(done.result.total, total(sites))
    assert done.result.departures == {}
    assert outside.n_asked == {ADVERTISE: 1}


def test_two_nodes_of_one_site_count_once(tmp_path):
    sites = cohort()
    done = run(sites, terms_for(sites), tmp_path, others=[sites[1].app()])
    assert np.array_equal(done.result.total, total(sites))
    assert sites[1].n_asked[MASK] == 1


def forged(reply):
    return replace(reply, nonce="00" * 16)


def lies(sites):
    """Step → what is wrong there."""
    zeros = MaskedInput(np.zeros(4, np.uint32))
    keys = Advertisement(*(bytes([k]) * 32 for k in (1, 2, 3)), bytes(64))
    return {
        ADVERTISE: lambda reply: replace(reply, message=keys),
        SHARE: lambda reply: replace(reply, message=type(reply.message)({})),
        MASK: lambda reply: replace(reply, message=zeros),
        CONFIRM: lambda reply: replace(reply, message=type(reply.message)(bytes(64))),
        UNMASK: lambda reply: replace(reply, message=Unmasking({})),
    }


@pytest.mark.parametrize("step", STEPS)
def test_a_lie_costs_only_the_liar(tmp_path, step):
    sites = cohort()
    sites[0].faults = {step: saying(lies(sites)[step])}
    done = run(sites, terms_for(sites), tmp_path)
    left_out = [0] if step in (ADVERTISE, SHARE, MASK) else []
    assert np.array_equal(done.result.total, total(sites, without=left_out))
    assert set(done.result.departures[step]) == {sites[0].name}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    "lie", [saying(forged), saying(lambda reply: reply, signer="stranger")], ids=["replayed", "unsigned"]
)
def test_a_forged_reply_is_refused(tmp_path, step, lie):
    sites = cohort(s0={step: lie})
    done = run(sites, terms_for(sites), tmp_path)
    left_out = [0] if step in (ADVERTISE, SHARE, MASK) else []
    assert np.array_equal(done.result.total, total(sites, without=left_out))


def test_nobody_answers_for_another_site(tmp_path):
    """A node that was handed the request to another site gets nothing into the sum."""
    sites = cohort()

    def in_anothers_name(_site, message, reply):
        return saying(lambda same: replace(same, site=sites[1].name), sites[1].name)(_site, message, reply)

    sites[0].faults = {MASK: in_anothers_name}
    done = run(sites, terms_for(sites), tmp_path)
    assert np.array_equal(done.result.total, total(sites, without=[0]))
    assert done.result.departures == {MASK: {sites[0].name: "invalid-reply"}}


def test_shares_that_recover_nothing_end_the_round_and_open_nothing(tmp_path):
    wrong = saying(lambda r: replace(r, message=Unmasking(dict.fromkeys(r.message.shares, bytes(33)))))
    sites = cohort(s0={UNMASK: wrong}, s1={UNMASK: wrong})
    done = run(sites, terms_for(sites), tmp_path)
    assert isinstance(done.error, ShareError)
    assert statuses(tmp_path) == [ABANDONED]


def test_what_an_app_raises_is_not_kept(tmp_path, caplog):
    sites = cohort(s0={SHARE: raising})
    with caplog.at_level(logging.CRITICAL):
        done = run(sites, terms_for(sites), tmp_path)
    assert done.result.departures == {SHARE: {sites[0].name: "failed"}}


@pytest.mark.parametrize("when", ["push", "pull"])
@pytest.mark.parametrize("step", STEPS)
def test_a_round_goes_on_where_the_aggregator_died(tmp_path, step, when):
    sites = cohort(s2={MASK: refusing("internal")})
    died = run(sites, terms_for(sites), tmp_path, wrap=lambda grid: Mortal(grid, step, when))
    assert isinstance(died.error, Killed)
    assert statuses(tmp_path) == [step]
    vectors = {site.name: site.said.get(("0" * 32, MASK)) for site in sites}
    done = run(sites, terms_for(sites, OTHER_ID), tmp_path, job_id="job-2")
    assert done.result.terms.round_id == "0" * 32
    assert np.array_equal(done.result.total, total(sites, without=[2]))
    assert done.asked() == list(dict.fromkeys([ADVERTISE, *STEPS[STEPS.index(step) :]]))
    for site in sites:
        assert vectors[site.name] in (None, site.said["0" * 32, MASK])
    assert statuses(tmp_path) == [OPENED]


@given(st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from(["push", "pull"])), max_size=4))
@settings(max_examples=10, deadline=None)
def test_however_often_the_aggregator_dies_the_sum_is_exact(tmp_path_factory, deaths):
    folder, sites = tmp_path_factory.mktemp("rounds"), cohort(3)
    for step, when in deaths:
        run(sites, terms_for(sites), folder, wrap=lambda grid, s=step, w=when: Mortal(grid, s, w))
    done = run(sites, terms_for(sites, OTHER_ID), folder, job_id="job-2")
    assert np.array_equal(done.result.total, total(sites))
    assert len(RoundStore(folder).rounds()) == 1


def test_a_site_that_lost_the_round_drops_out_of_it(tmp_path):
    sites = cohort()
    run(sites, terms_for(sites), tmp_path, wrap=lambda grid: Mortal(grid, MASK, "push"))
    sites[1].forget()
    done = run(sites, terms_for(sites), tmp_path, job_id="job-2")
    assert np.array_equal(done.result.total, total(sites, without=[1]))
    assert set(done.result.departures) == {MASK}
    assert MASK not in sites[1].n_asked


def test_a_site_that_came_too_late_for_the_first_step_is_not_asked_again(tmp_path):
    sites = cohort(s3={ADVERTISE: unreachable})
    run(sites, terms_for(sites), tmp_path, wrap=lambda grid: Mortal(grid, MASK, "push"))
    sites[3].faults = {}
    done = run(sites, terms_for(sites), tmp_path, job_id="job-2")
    assert np.array_equal(done.result.total, total(sites, without=[3]))
    assert set(sites[3].n_asked) == {ADVERTISE}


def test_an_opened_sum_is_not_asked_for_again_until_it_is_where_it_is_wanted(tmp_path):
    sites = cohort()
    first = run(sites, terms_for(sites), tmp_path)
    second = run(sites, terms_for(sites, OTHER_ID), tmp_path, job_id="job-2")
    assert np.array_equal(second.result.total, first.result.total)
    assert second.grid.sent == []
    second.result.kept.finish("an id")
    assert statuses(tmp_path) == [FINISHED]
    third = run(sites, terms_for(sites, OTHER_ID), tmp_path, job_id="job-3")
    assert third.result.terms.round_id == OTHER_ID
    assert third.asked() == list(STEPS)


def test_an_expired_round_is_abandoned_and_another_one_begins(tmp_path, monkeypatch):
    sites = cohort()
    run(sites, terms_for(sites), tmp_path, wrap=lambda grid: Mortal(grid, CONFIRM, "push"))
    monkeypatch.setattr(module, "_now", lambda: AFTERWARDS)
    later = terms_for(sites, OTHER_ID, expires=AFTERWARDS + 100)
    done = run(sites, later, tmp_path, job_id="job-2")
    assert np.array_equal(done.result.total, total(sites))
    assert done.result.terms.round_id == OTHER_ID
    assert statuses(tmp_path) == [ABANDONED, OPENED]


@pytest.mark.parametrize("n_looks", range(1, 5))
def test_a_round_that_expires_while_it_runs_is_abandoned(tmp_path, monkeypatch, n_looks):
    sites, left = cohort(3), [BEFORE] * n_looks * 2
    monkeypatch.setattr(module, "_now", lambda: left.pop() if left else AFTERWARDS)
    done = run(sites, terms_for(sites), tmp_path)
    assert isinstance(done.error, RoundError)
    assert statuses(tmp_path) == [ABANDONED]
    assert len(done.asked()) <= n_looks


def test_another_question_begins_another_round(tmp_path):
    sites = cohort()
    run(sites, terms_for(sites), tmp_path, wrap=lambda grid: Mortal(grid, MASK, "push"))
    other = terms_for(sites, OTHER_ID, purpose={"purpose": "another"})
    done = run(sites, other, tmp_path, job_id="job-2")
    assert done.result.terms == other
    assert statuses(tmp_path) == [MASK, OPENED]


@pytest.mark.parametrize("n_writes", range(7))
def test_a_full_disk_leaves_nothing_half_done(tmp_path, monkeypatch, n_writes):
    """Terms, five steps, transcript: whichever cannot be written, the next run goes on from there."""
    from aggregator.rounds import round_store

    sites, written = cohort(3), []
    write = round_store.write_atomically

    def write_some(path, data):
        if len(written) == n_writes:
            raise StoreError(f"{path} cannot be written: No space left on device", remedy="free some")
        written.append(path)
        write(path, data)

    monkeypatch.setattr(round_store, "write_atomically", write_some)
    failed = run(sites, terms_for(sites), tmp_path)
    assert isinstance(failed.error, StoreError)
    assert failed.asked() == list(STEPS)[: min(n_writes, 5)]
    monkeypatch.undo()
    done = run(sites, terms_for(sites), tmp_path, job_id="job-2")
    assert np.array_equal(done.result.total, total(sites))
    assert statuses(tmp_path) == [OPENED]


def test_nothing_on_the_disk_or_on_the_wire_is_a_vector_or_a_secret(tmp_path):
    """But for what is revealed at the end: a share of the own masks of all who are in the sum."""
    sites = cohort(3, length=200)
    terms = terms_for(sites, length=200)
    rng = np.random.default_rng(0)
    vectors = {site.name: rng.integers(-1000, 1001, 200) for site in sites}
    for site in sites:
        site.values = lambda _, own=vectors[site.name]: own
    died = run(sites, terms, tmp_path, wrap=lambda grid: Mortal(grid, UNMASK, "push"))
    seen = [blob for each in [*died.grid.sent, *opened(died.grid.sent)] for blob in each.blobs]
    seen += [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    for site in sites:
        state = site.memory[terms.round_id]
        own = vectors[site.name]
        plain = [own.astype(dtype).tobytes()[:32] for dtype in ("<i4", "<u4", "<i8")]
        assert len(state.shares) == 3
        for secret in [*state.shares.values(), *plain]:
            assert not any(secret in blob for blob in seen)
            assert not any(secret.hex().encode() in blob for blob in seen)
    done = run(sites, terms, tmp_path, job_id="job-2")
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    masked = [site.said[terms.round_id, MASK][1].vector.tobytes() for site in sites]
    shares = [s for site in sites for s in site.said[terms.round_id, UNMASK][1].shares.values()]
    for told in [*masked, *shares]:
        assert not any(told in blob or told.hex().encode() in blob for blob in kept)
    assert np.array_equal(done.result.total, sum(vectors.values()))
