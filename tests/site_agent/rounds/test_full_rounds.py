"""Whole rounds of real small sites: what is opened is their sum, and everybody has paid for it."""

import numpy as np
import pytest
from pooled_sites import ROUND, TASK
from private_site import SPACE

from federation.messages import DONE
from federation.round_messages import STEPS, StepReply
from federation.sampling import SamplingPlan
from federation.sketches import encode_arrays
from site_agent import jobs
from site_agent.data import open_source
from site_agent.patients import bound_patients
from site_agent.sketch_work import Work

OTHER_ROUND = ROUND[::-1]


def exact_vector(cohort, name, images_per_patient):
    """What a site would add without noise."""
    site = cohort.sites[name].open()
    dataset = site.config.dataset[0]
    source = open_source(dataset)
    if images_per_patient:
        work = Work.of_patients(bound_patients(source, images_per_patient), SPACE, 0.1, np.inf)
    else:
        work = Work(source, SPACE, SamplingPlan(None), 0.1, np.inf)
    arrays = encode_arrays(jobs.exact_sketches(site, dataset, work, None).sketches)
    return np.concatenate([arrays[key].ravel() for key in sorted(arrays)])


def test_the_sum_is_that_of_the_sites_but_for_the_noise_that_was_agreed_on(cohort):
    release = cohort.release()
    opened = cohort.begin().open()
    exact = sum(exact_vector(cohort, name, 2) for name in cohort.sites)
    noise = release.from_vector(opened.total - exact, SPACE, release.total_noise(4))
    assert opened.contributors == ("anna", "bern", "cork", "dorn")
    for name, array in encode_arrays(noise).items():
        deviations = array / np.sqrt(release.total_noise(4)[name])
        assert np.abs(deviations).max() < 6
        assert array.size < 10 or 0.4 < deviations.std() < 1.8


def test_every_site_is_charged_what_the_shares_cost_and_its_ledger_says_how(cohort):
    release = cohort.release()
    cohort.begin().open()
    for site in cohort.sites.values():
        (charge,) = site.charges()
        assert (charge.task, charge.population, charge.cohort) == (TASK, "patients", None)
        assert charge.rho == release.rho(SPACE)
        told = charge.mechanism
        assert (told["cohort"], told["round"], told["honest"]) == ("chests", ROUND, release.honest)
        assert told["noise"] == release.noise
        assert site.findings() == ()


def test_an_exact_sum_is_that_of_the_sites_to_the_last_bit_and_costs_nothing(exact_cohort):
    opened = exact_cohort.begin(release=exact_cohort.release(exact=True)).open()
    expected = sum(exact_vector(exact_cohort, name, 0) for name in exact_cohort.sites)
    np.testing.assert_array_equal(opened.total, expected)
    assert not any(list(site.state.glob("ledger*")) for site in exact_cohort.sites.values())


@pytest.mark.parametrize("step", STEPS)
def test_a_round_goes_on_without_a_site_that_drops_out(exact_cohort, step):
    begun = exact_cohort.begin(release=exact_cohort.release(exact=True))
    begun.missing = dict.fromkeys(STEPS[STEPS.index(step) :], ("cork",))
    opened = begun.open()
    late = step in ("confirm", "unmask")
    assert opened.contributors == (("anna", "bern", "cork", "dorn") if late else ("anna", "bern", "dorn"))
    expected = sum(exact_vector(exact_cohort, name, 0) for name in opened.contributors)
    np.testing.assert_array_equal(opened.total, expected)


def test_another_round_draws_other_noise_and_is_paid_for_again(cohort):
    first, second = cohort.begin().open(), cohort.begin(OTHER_ROUND).open()
    assert (first.total != second.total).mean() > 0.5
    assert all(len(site.charges()) == 2 for site in cohort.sites.values())


def test_a_private_release_goes_on_beside_a_sum(cohort):
    site = cohort.sites["anna"]
    site.set_policy(modes=["private", "pooled"], refresh="never")
    cohort.begin().open()
    file = site.folder / "site.toml"
    file.write_text(file.read_text().replace('"pooled"', '"private"'))
    site.approve()
    assert site.release("job-2") == site.release("job-3")
    assert len(site.charges()) == 2


def test_replies_travel_signed_and_bound_to_their_request(cohort):
    begun = cohort.begin()
    begun.prepare("confirm").close("confirm")
    for step, replies in begun.replies.items():
        for name, reply in replies.items():
            identity = cohort.sites[name].open().identity
            request = begun.request(step, name)
            read = StepReply.from_record(reply.to_record(identity), cohort.members, request.job, ROUND, step)
            assert (read.code, read.site) == (DONE, name)
            assert read.message.blobs() == reply.message.blobs()


def test_a_site_that_was_not_asked_before_the_sketches_were_made_adds_the_same(cohort, tmp_path):
    unsketched = cohort.copy_to(tmp_path / "unsketched")
    for kept in unsketched.sites["anna"].state.glob("sketches/*"):
        kept.unlink()
    reply = unsketched.begin().ask("advertise", "anna")
    assert reply.code == DONE
    assert len(list(unsketched.sites["anna"].state.glob("sketches/*"))) == 1
