"""What a site's rules do not allow is refused with a code, before anything is kept, computed or charged."""

import hashlib

import pytest
from pooled_sites import COHORT, EXACT, ROUND, refusal
from private_site import colour_space

from federation.errors import PolicyError
from federation.messages import DONE, WITHHELD
from site_agent import jobs

STRANGER = hashlib.sha256(b"stranger").hexdigest()


@pytest.fixture
def site(cohort):
    return cohort.sites["anna"]


def traces(site):
    """Every file that a round may leave, ledger included."""
    return sorted(
        path.name
        for pattern in ("rounds/**/*", "exact-sums/**/*", "ledger*")
        for path in site.state.glob(pattern)
        if path.is_file()
    )


def begin(cohort, **terms):
    """Code and text of a round that must be refused in its first step, before any image is read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "exact_sketches", lambda *_: pytest.fail("an image was read"))
        found = refusal(cohort, cohort.begin(**terms).ask("advertise", "anna"))
    site = cohort.sites["anna"]
    assert not site.charges() if (site.state / "ledger.jsonl").exists() else True
    assert not set(traces(site)) - {"ledger.jsonl", "ledger.head", "ledger.lock", "lock"}
    return found


def test_a_site_that_is_no_member_says_nothing_but_that(cohort, site):
    site.cohorts.clear()
    site.set_policy(modes=["listen"], **EXACT | {"cohort": None, "exact_sum_because": None, "spaces": None})
    reply = cohort.begin().ask("advertise", "anna")
    assert (reply.code, reply.message) == (WITHHELD, None)
    (event,) = site.events()
    assert (event["code"], event["cohort"], event["step"]) == (WITHHELD, COHORT, "advertise")
    assert traces(site) == []


def test_no_policy_answers_nobody(cohort, site):
    (site.folder / "policy.toml").unlink()
    assert begin(cohort)[0] == "policy"


def test_an_unknown_aggregator_is_answered_in_no_step(cohort):
    begun = cohort.begin().prepare("unmask")
    for step in begun.states:
        assert begun.ask(step, "anna", aggregator=STRANGER).code == "policy"


def test_a_step_after_the_deadline_of_its_request_is_refused(cohort):
    begun = cohort.begin().prepare("unmask")
    for step in begun.states:
        assert begun.ask(step, "anna", deadline=1.0).code == "deadline"


def test_a_roster_that_is_not_the_policys_is_refused(cohort, site):
    site.cohorts[COHORT]["members"]["dorn"] = STRANGER
    site.set_policy()
    code, text = begin(cohort)
    assert (code, "differ in dorn" in text) == ("roster", True)


def test_fewer_colluders_than_the_policy_fears_are_refused(cohort):
    release = cohort.release(honest=2)
    code, text = begin(cohort, release=release, colluders=0)
    assert (code, "colluding" in text) == ("policy", True)


def test_a_task_that_is_not_pooled_in_the_site_file_is_refused(cohort, site):
    file = site.folder / "site.toml"
    file.write_text(file.read_text().replace('trust = "pooled"', 'trust = "listen"'))
    code, text = begin(cohort)
    assert (code, 'trust is "listen", expected "pooled"' in text) == ("policy", True)


def test_a_task_that_the_site_file_does_not_name_is_refused(cohort, site):
    file = site.folder / "site.toml"
    file.write_text(file.read_text().replace('task = "lungs"', 'task = "hearts"'))
    code, text = begin(cohort)
    assert (code, "which the site file does not name" in text) == ("policy", True)


def test_a_cohort_of_no_task_is_refused(cohort, site):
    site.cohorts["other"] = site.cohorts[COHORT]
    site.set_policy(cohort="other")
    assert begin(cohort)[0] == "policy"


def test_a_space_that_the_policy_does_not_allow_is_refused(cohort, site):
    site.set_policy(spaces=["ab" * 32])
    code, text = begin(cohort)
    assert (code, "does not allow space" in text) == ("policy", True)


def test_a_kind_of_sketch_that_the_policy_does_not_allow_is_refused(cohort, site):
    site.set_policy(sketches=["histogram"])
    code, text = begin(cohort)
    assert (code, "sketches of kind cdf" in text) == ("policy", True)


def test_a_space_that_is_not_that_of_the_terms_is_refused(cohort):
    begun = cohort.begin()
    for space in (colour_space("other"), None):
        begun.space = space
        code, _ = refusal(cohort, begun.ask("advertise", "anna"))
        assert code == ("message" if space is None else "space-mismatch")
    assert traces(cohort.sites["anna"]) in ([], ["lock"])


@pytest.mark.parametrize(
    "purpose", [{"purpose": "weights"}, {}, {"purpose": ["sketches"]}, {"purpose": "sketches"}]
)
def test_a_purpose_that_nobody_knows_is_refused(cohort, purpose):
    assert begin(cohort, purpose=purpose)[0] == "terms"


@pytest.mark.parametrize("changes", [{"length": 92}, {"bound": 5}, {"bits": 64, "bound": 10**12}])
def test_terms_that_do_not_fit_what_is_summed_are_refused(cohort, changes):
    assert begin(cohort, **changes)[0] == "terms"


def test_terms_that_are_weaker_than_the_protocol_are_refused(cohort):
    begun = cohort.begin(minimum=2, threshold=2)
    assert begun.ask("advertise", "anna").code == "terms"
    assert "round.safetensors" not in traces(cohort.sites["anna"])


def test_more_honest_sites_than_the_terms_guarantee_are_refused(cohort):
    assert begin(cohort, release=cohort.release(honest=3))[0] == "terms"


def test_a_sum_that_costs_more_than_one_release_may_is_refused(cohort):
    code, text = begin(cohort, release=cohort.release(eps=1.1))
    assert (code, "the policy allows" in text) == ("budget", True)


def test_another_number_of_images_per_patient_is_refused(cohort):
    code, text = begin(cohort, release=cohort.release(images_per_patient=1))
    assert (code, "1 images of a patient would count, the policy says 2" in text) == ("policy", True)


def test_a_budget_that_is_spent_is_found_before_any_image_is_read(cohort, site):
    site.set_policy(eps=1.0)
    cohort.begin().open()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "exact_sketches", lambda *_: pytest.fail("an image was read"))
        reply = cohort.begin(ROUND[::-1]).ask("advertise", "anna")
    assert refusal(cohort, reply)[0] == "budget"
    assert len(site.charges()) == 1


@pytest.mark.parametrize(
    ("terms", "why"),
    [
        ({"minimum_patients": 9}, "has 8 patients, the policy asks for 9"),
        ({"budget": {"delta": 0.19}}, "is not below 1/8"),
    ],
)
def test_too_few_patients_are_nobody_elses_business(cohort, site, terms, why):
    site.set_policy(**terms)
    code, text = refusal(cohort, cohort.begin().ask("advertise", "anna"))
    assert (code, why in text) == ("not-releasable", True)
    assert "round.safetensors" not in traces(site)
    assert not site.charges()


def test_more_patients_than_the_cohort_expects_are_not_summed(cohort):
    reply = cohort.begin(release=cohort.release(max_patients=7)).ask("advertise", "anna")
    code, text = refusal(cohort, reply)
    assert (code, "has 8 patients, the cohort expects 7 at most" in text) == ("not-releasable", True)


def test_a_refused_round_can_be_begun_once_the_policy_allows_it(cohort, site):
    site.set_policy(minimum_patients=9)
    begun = cohort.begin()
    assert begun.ask("advertise", "anna").code == "not-releasable"
    site.set_policy(minimum_patients=5)
    assert begun.ask("advertise", "anna").code == DONE


def test_a_policy_that_changes_its_mind_stops_a_round_that_goes_on(cohort, site):
    begun = cohort.begin().prepare("mask")
    site.set_policy(modes=["private"], cohort=None, refresh="never")
    code, _ = refusal(cohort, begun.ask("mask", "anna"))
    assert code == "policy"
    assert not site.charges()


def test_an_exact_sum_needs_words_in_the_policy(cohort):
    code, text = begin(cohort, release=cohort.release(exact=True))
    assert (code, "does not allow an exact sum" in text) == ("policy", True)


def test_a_policy_of_exact_sums_has_no_budget_for_noise(exact_cohort):
    code, text = begin(exact_cohort, release=exact_cohort.release())
    assert (code, "allows no release with noise" in text) == ("policy", True)


def test_what_goes_wrong_unforeseen_leaves_as_a_code(cohort, monkeypatch, caplog):
    def fail(*_):
        raise RuntimeError("patient-0815 is unreadable")

    monkeypatch.setattr("site_agent.rounds.participation.client.advertise", fail)
    reply = cohort.begin().ask("advertise", "anna")
    assert (reply.code, reply.message) == ("internal", None)
    assert "RuntimeError" in cohort.sites["anna"].events()[-1]["text"]


def test_a_damaged_round_is_refused_and_does_not_stop_others(cohort, site):
    begun = cohort.begin().prepare("share")
    path = site.state / "rounds" / ROUND / "round.safetensors"
    path.write_bytes(path.read_bytes()[:-3])
    assert refusal(cohort, begun.ask("share", "anna"))[0] == "store"
    assert cohort.begin(ROUND[::-1]).ask("advertise", "anna").code == DONE


def test_a_space_whose_sketches_cannot_be_summed_is_refused(cohort, monkeypatch):
    def refuse(space):
        raise PolicyError("heads of each site's own")

    begun = cohort.begin()
    monkeypatch.setattr("federation.pooled.require_poolable", refuse)
    monkeypatch.setattr(jobs, "exact_sketches", lambda *_: pytest.fail("an image was read"))
    assert begun.ask("advertise", "anna").code == "policy"
