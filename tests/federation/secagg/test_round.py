"""The sum is exact or the round ends with a named error; nothing in between."""

import json
import logging

import numpy as np
import pytest
from cohorts import Cohort, identity, names, small_cohort, terms_of
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.errors import (
    CohortTooSmallError,
    ReplayError,
    RoundError,
    ShareError,
    StoreError,
    VectorError,
)
from federation.secagg import client
from federation.secagg.memory import recall, remember
from federation.secagg.messages import MaskedInput, Unmasking
from federation.secagg.terms import Terms

STEPS = ("advertise", "share", "mask", "confirm", "unmask")


@st.composite
def rounds(draw):
    """Any size of cohort, vectors up to the bound, and any sites that drop out at any step."""
    n = draw(st.integers(3, 9))
    sites = names(n)
    bits = draw(st.sampled_from((32, 64)))
    bound = (2 ** (bits - 1) - 1) // n
    length = draw(st.integers(1, 5))
    rows = st.lists(st.integers(-bound, bound), min_size=length, max_size=length)
    values = {site: np.array(draw(rows), dtype=np.int64) for site in sites}
    gone = draw(st.dictionaries(st.sampled_from(sites), st.sampled_from(STEPS), max_size=4))
    missing = {step: {site for site, when in gone.items() if when == step} for step in STEPS}
    return Cohort(terms_of(sites, length=length, bound=bound), values, missing)


@settings(max_examples=150, deadline=None)
@given(rounds())
def test_the_sum_is_exact_over_who_contributed_or_there_is_none(cohort):
    gone = {step: len(sites) for step, sites in cohort.missing.items()}
    enough = cohort.terms.n - sum(gone.values()) >= cohort.terms.minimum
    try:
        opened = cohort.unmask()
    except CohortTooSmallError:
        assert not enough
        return
    assert enough
    lost = set().union(*(cohort.missing[step] for step in ("advertise", "share", "mask")))
    assert opened.contributors == tuple(sorted(set(cohort.terms.members) - lost))
    expected = sum(cohort.values[site] for site in opened.contributors)
    assert opened.total.tolist() == expected.tolist()


@pytest.mark.parametrize("step", STEPS)
def test_a_site_that_drops_out_at_any_step_does_not_change_the_sum_of_the_others(step):
    cohort = small_cohort(7, missing={step: {"site-0002"}})
    opened = cohort.unmask()
    expected = set(cohort.terms.members) - ({"site-0002"} if step in STEPS[:3] else set())
    assert opened.contributors == tuple(sorted(expected))
    assert opened.total.tolist() == sum(cohort.values[site] for site in expected).tolist()


def test_a_cohort_beyond_the_complete_graph_opens_the_exact_sum():
    gone = {"share": names(130)[:2], "mask": names(130)[2:5], "unmask": names(130)[5:7]}
    cohort = small_cohort(130, length=10, missing=gone)
    assert cohort.terms.degree < cohort.terms.n - 1
    opened = cohort.unmask()
    assert len(opened.contributors) == 125
    assert opened.total.tolist() == sum(cohort.values[site] for site in opened.contributors).tolist()


def test_a_masked_vector_looks_like_chance_even_if_all_vectors_are_zero():
    sites = names(3)
    values = {site: np.zeros(4096, dtype=np.int64) for site in sites}
    cohort = Cohort(terms_of(sites, length=4096), values)
    cohort.mask()
    for answer in cohort.answers["mask"].values():
        counts = np.bincount(answer.vector.view(np.uint8), minlength=256)
        chi_squared = float(((counts - 64.0) ** 2 / 64.0).sum())
        assert 150 < chi_squared < 380  # 255 degrees of freedom: five deviations either way


def test_masks_cancel_only_in_the_sum_of_everybody():
    cohort = small_cohort(4)
    state = cohort.mask()
    vectors = [answer.vector for answer in cohort.answers["mask"].values()]
    assert (sum(vectors[1:], vectors[0]) == state.masked).all()
    assert state.masked.tolist() != sum(cohort.values.values()).tolist()


@pytest.mark.parametrize("step", ["share", "mask", "confirm", "unmask"])
def test_a_step_taken_again_from_what_the_disk_remembers_gives_the_same_bytes(step):
    cohort = small_cohort(4, missing={"mask": {"site-0003"}})
    cohort.unmask()
    state = cohort.history["site-0000"][STEPS.index(step) - 1]
    again = recall(cohort.terms, "site-0000", json.loads(json.dumps(remember(state))))
    assert again == state
    answer = getattr(again, step)(*_question(cohort, step))
    answer = answer[1] if isinstance(answer, tuple) else answer
    assert answer.blobs() == cohort.answers[step]["site-0000"].blobs()


@pytest.mark.parametrize(
    "damage", [{}, {"state": "shared"}, {"state": "unknown"}, {"state": "masked", "session": 1}]
)
def test_a_damaged_memory_is_refused(damage):
    with pytest.raises(StoreError, match="damaged"):
        recall(terms_of(names(3)), "site-0000", damage)


@pytest.mark.parametrize("step", ["share", "mask", "confirm", "unmask"])
def test_a_state_is_left_once(step):
    cohort = small_cohort(4)
    cohort.unmask()
    state = cohort.history["site-0000"][STEPS.index(step) - 1]
    with pytest.raises(ReplayError, match="second time"):
        getattr(state, step)(*_question(cohort, step))


def _question(cohort, step, site="site-0000"):
    """What the aggregator asks a site in a step."""
    state = cohort.servers[step]
    match step:
        case "share":
            return (state.directory,)
        case "mask":
            return state.delivery(site), cohort.values[site]
        case "confirm":
            return state.survivors, identity(site)
        case "unmask":
            return (state.confirmations,)


def test_what_is_refused_does_not_leave_the_state():
    cohort = small_cohort(4)
    state = cohort.share()
    site = "site-0000"
    with pytest.raises(VectorError):
        cohort.states[site].mask(state.delivery(site), np.zeros(2, dtype=np.int64))
    _, answer = cohort.states[site].mask(state.delivery(site), cohort.values[site])
    assert isinstance(answer, MaskedInput)


def test_liars_among_the_holders_are_outvoted_where_there_are_shares_to_spare():
    cohort = small_cohort(9)
    state = cohort.confirm()
    replies = {site: cohort.states[site].unmask(state.confirmations) for site in state.sites}
    wrong = {owner: bytes(33) for owner in replies["site-0004"].shares}
    opened = state.close({**replies, "site-0004": Unmasking(wrong)})
    assert opened.total.tolist() == sum(cohort.values.values()).tolist()


def test_without_shares_to_spare_a_liar_ends_the_round():
    cohort = small_cohort(3)
    state = cohort.confirm()
    replies = {site: cohort.states[site].unmask(state.confirmations) for site in state.sites}
    wrong = {owner: bytes(33) for owner in replies["site-0001"].shares}
    with pytest.raises(ShareError, match="committed"):
        state.close({**replies, "site-0001": Unmasking(wrong)})


def test_a_site_that_breaks_the_bound_can_spoil_the_sum_but_not_unseen():
    cohort = small_cohort(3)
    state = cohort.share()
    replies = {}
    for site in state.sites:
        cohort.states[site], replies[site] = cohort.states[site].mask(
            state.delivery(site), cohort.values[site]
        )
    vector = replies["site-0002"].vector.copy()
    vector[:1] += np.uint32(2**30)
    confirming = state.close({**replies, "site-0002": MaskedInput(vector)})
    signatures = {}
    for site in confirming.sites:
        cohort.states[site], signatures[site] = cohort.states[site].confirm(
            confirming.survivors, identity(site)
        )
    revealing = confirming.close(signatures)
    shares = {site: cohort.states[site].unmask(revealing.confirmations) for site in revealing.sites}
    with pytest.raises(VectorError, match="did not follow"):
        revealing.close(shares)


def test_no_secret_is_in_repr_or_log(caplog):
    caplog.set_level(logging.DEBUG)
    cohort = small_cohort(4)
    cohort.unmask()
    states = [state for states in cohort.history.values() for state in states if state is not None]
    secrets = {secret for state in states for secret in _hidden(state)}
    shown = "".join(
        map(repr, (*states, *(a for answers in cohort.answers.values() for a in answers.values())))
    )
    assert len(secrets) > 20
    for secret in secrets:
        for text in (shown, caplog.text):
            assert secret.hex() not in text
            assert repr(secret)[2:-1] not in text


def _hidden(state):
    """The 32-byte pieces of everything that a state hides."""
    for name, known in type(state).__dataclass_fields__.items():
        content = b"" if known.repr else getattr(state, name)
        for part in content.values() if isinstance(content, dict) else (content,):
            yield from (part[i : i + 32] for i in range(0, len(part) - 31, 32))


def test_nothing_the_aggregator_receives_holds_a_vector_or_a_secret():
    cohort = small_cohort(5, length=64, missing={"mask": {"site-0004"}})
    cohort.unmask()
    seeds = [states[0].seeds for states in cohort.history.values()]
    received = b"".join(
        blob
        for answers in cohort.answers.values()
        for answer in answers.values()
        for blob in (*answer.blobs().values(), json.dumps(dict(answer.body())).encode())
    )
    for seed in seeds:
        assert len(seed) == 128
        assert not any(seed[i : i + 16] in received for i in range(0, 128, 16))
    for values in cohort.values.values():
        for width in (np.uint32, np.uint64):
            assert values.astype(width).tobytes()[:16] not in received


def test_terms_choose_the_smaller_modulus_that_cannot_overflow():
    sites = names(4)
    assert terms_of(sites, bound=2**29 - 1).bits == 32
    assert terms_of(sites, bound=2**29).bits == 64
    with pytest.raises(RoundError, match="bound"):
        terms_of(sites, bound=2**62)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"threshold": 2}, "threshold"),
        ({"minimum": 2}, "minimum"),
        ({"degree": 2}, "degree"),
        ({"colluders": 2}, "colluders"),
        ({"bits": 16}, "bits"),
        ({"bound": 2**30}, "bound"),
        ({"length": 0}, "length"),
        ({"round_id": "xyz"}, "round_id"),
        ({"expires": float("inf")}, "malformed|expires"),
        ({"cohort": "Not A Name"}, "name"),
        ({"extra": 1}, "malformed"),
        ({"threshold": 3.0}, "malformed"),
        ({"members": ["a"]}, "malformed"),
    ],
)
def test_terms_that_are_weaker_than_the_protocol_are_refused(change, said):
    value = terms_of(names(4)).to_json()
    with pytest.raises(RoundError, match=said):
        Terms.from_json({**value, **change})


def test_a_stranger_cannot_advertise():
    with pytest.raises(RoundError, match="not a member"):
        client.advertise(terms_of(names(4)), "site-0009", identity("site-0009"))
