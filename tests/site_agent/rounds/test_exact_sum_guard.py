"""Two exact sums that differ by one site, or by one site's new images, are never both opened."""

import json

import pytest
from pooled_sites import COHORT, EXACT, ROUND, TASK, refusal
from private_site import colour_space

from federation.errors import CohortTooSmallError, StoreError
from federation.messages import DONE
from federation.secagg.messages import Survivors
from site_agent.rounds.exact_sums import ExactSums

OTHER_ROUND = ROUND[::-1]


def begin(cohort, round_id=ROUND, **terms):
    return cohort.begin(round_id, release=cohort.release(exact=True, **terms), **terms)


def bound(cohort, name="anna"):
    return json.loads((cohort.sites[name].state / "exact-sums" / COHORT / f"{TASK}.json").read_text())


def test_the_same_sites_with_the_same_images_sum_as_often_as_they_like(exact_cohort):
    first, second = begin(exact_cohort).open(), begin(exact_cohort, OTHER_ROUND).open()
    assert first.total.tolist() == second.total.tolist()


def test_no_site_confirms_two_lists_of_survivors(exact_cohort):
    begin(exact_cohort).open()
    second = begin(exact_cohort, OTHER_ROUND)
    second.missing = dict.fromkeys(("mask", "confirm", "unmask"), ("dorn",))
    with pytest.raises(CohortTooSmallError):
        second.open()
    replies = second.replies["confirm"]
    assert {reply.code for reply in replies.values()} == {"policy"}
    text = exact_cohort.sites["anna"].events()[-1]["text"]
    assert "confirmed anna, bern, cork, dorn for exact sums of task lungs in cohort chests" in text
    assert "was asked to confirm anna, bern, cork" in text
    assert "give the cohort a budget for noise" in text


def test_a_list_that_was_never_opened_binds_all_the_same(exact_cohort):
    first = begin(exact_cohort)
    first.missing = dict.fromkeys(("mask",), ("dorn",))
    first.prepare("unmask")
    second = begin(exact_cohort, OTHER_ROUND).prepare("confirm")
    assert second.ask("confirm", "anna").code == "policy"


def test_a_site_whose_images_changed_says_so_in_the_first_step(exact_cohort):
    begin(exact_cohort).open()
    site = exact_cohort.sites["anna"]
    site.admit(range(900, 901))
    code, text = refusal(exact_cohort, begin(exact_cohort, OTHER_ROUND).ask("advertise", "anna"))
    assert (code, "not those of the exact sum that cohort chests began before" in text) == ("policy", True)
    assert "restore the images, or give the cohort a budget for noise" in text


def test_images_that_changed_after_the_round_began_do_not_change_what_is_summed(exact_cohort):
    begun = begin(exact_cohort).prepare("mask")
    exact_cohort.sites["anna"].admit(range(900, 901))
    other = begin(exact_cohort, OTHER_ROUND).prepare("mask")
    assert begun.ask("mask", "anna").code == DONE
    assert other.ask("mask", "anna").code == "policy"
    assert other.ask("mask", "bern").code == DONE


def test_the_vector_is_bound_before_it_leaves_and_the_survivors_before_the_signature(exact_cohort):
    begun = begin(exact_cohort).prepare("mask")
    assert not (exact_cohort.sites["anna"].state / "exact-sums").exists()
    begun.close("mask")
    assert (len(bound(exact_cohort)["vectors"]), bound(exact_cohort)["survivors"]) == (1, None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("site_agent.rounds.exact_sums.write_atomically", full)
        assert begun.ask("confirm", "anna").code == "store"
    assert begun.ask("confirm", "anna").code == DONE
    assert bound(exact_cohort)["survivors"] == ["anna", "bern", "cork", "dorn"]


def full(*_):
    raise StoreError("No space left on device")


def test_survivors_are_the_same_in_every_space(exact_cohort):
    begin(exact_cohort).open()
    space = colour_space("the same but for its name")
    second = begin(exact_cohort, OTHER_ROUND, space=space)
    second.missing = dict.fromkeys(("mask",), ("dorn",))
    second.prepare("confirm")
    assert second.ask("confirm", "anna").code == "policy"


def test_noisy_sums_bind_nobody(cohort):
    cohort.begin().open()
    cohort.sites["anna"].admit(range(900, 901))
    second = cohort.begin(OTHER_ROUND)
    second.missing = dict.fromkeys(("mask", "confirm", "unmask"), ("dorn",))
    assert second.open().contributors == ("anna", "bern", "cork")
    assert not (cohort.sites["anna"].state / "exact-sums").exists()


def test_a_task_that_noise_was_promised_for_is_never_summed_exactly(cohort):
    cohort.begin().open()
    site = cohort.sites["anna"]
    site.set_policy(**EXACT)
    code, text = refusal(cohort, begin(cohort, OTHER_ROUND).ask("advertise", "anna"))
    assert (code, "was released with noise before" in text) == ("policy", True)


def test_an_exact_sum_does_not_stand_against_later_noise(exact_cohort):
    begin(exact_cohort).open()
    exact_cohort.pool(
        exact_sum_because=None, population="patients", eps=6.0, release_eps=1.0,
        images_per_patient=2, minimum_patients=5, sketches=["cdf", "histogram"],
    )  # fmt: skip
    exact_cohort.begin(OTHER_ROUND).open()
    assert len(exact_cohort.sites["anna"].charges()) == 1


def test_a_degree_below_that_of_the_complete_graph_is_refused(exact_cohort):
    reply = exact_cohort.begin(release=exact_cohort.release(exact=True), degree=2).ask("advertise", "anna")
    code, text = refusal(exact_cohort, reply)
    assert (code, "degree is 2, expected 3" in text) == ("terms", True)


def test_a_damaged_record_binds_to_nothing_being_said(tmp_path):
    sums = ExactSums(tmp_path, COHORT, TASK)
    sums.confirm(Survivors(("anna", "bern", "cork"), ()))
    sums.path.write_bytes(sums.path.read_bytes()[:-2])
    with pytest.raises(StoreError, match="nobody knows what this site summed before"):
        sums.confirm(Survivors(("anna", "bern", "cork"), ()))
