"""A question that is repeated gets the same bytes; any other one to an answered step is refused."""

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from pooled_sites import COHORT, ROUND, refusal, said

from federation.messages import DONE
from federation.round_messages import CONFIRM, MASK, SHARE, STEPS, UNMASK
from federation.secagg.messages import Confirmations, Directory, Sealed, Survivors
from site_agent.rounds import pooled_sketches

AFTER_SHARE = STEPS[1:]


def other_question(begun, step, name="anna"):
    """A question to the same step that differs a little."""
    request = begun.request(step, name)
    changed = {
        SHARE: lambda told: Directory({k: v for k, v in told.advertisements.items() if k != "dorn"}),
        MASK: lambda told: Sealed({k: v for k, v in told.shares.items() if k != "dorn"}),
        CONFIRM: lambda told: Survivors(("anna", "bern", "cork"), ("dorn",)),
        UNMASK: lambda told: Confirmations({k: v for k, v in told.signatures.items() if k != "dorn"}),
    }[step](request.message)
    return replace(request, message=changed)


@pytest.mark.parametrize("step", STEPS)
def test_a_repeated_question_gets_the_same_bytes_under_its_own_job_and_nonce(cohort, step):
    begun = cohort.begin().prepare(step)
    begun.close(step)
    first = begun.replies[step]["anna"]
    again = begun.ask(step, "anna", job="job-2", nonce="1e" * 16)
    assert said(again) == said(first)
    assert (again.job_id, again.nonce, again.round_id) == ("job-2", "1e" * 16, ROUND)
    assert len(cohort.sites["anna"].charges()) == (STEPS.index(step) >= STEPS.index(MASK))


@pytest.mark.parametrize("step", STEPS[:-1])
def test_earlier_questions_are_still_answered_while_the_round_goes_on(cohort, step):
    begun = cohort.begin().prepare(UNMASK)
    assert said(begun.ask(step, "anna")) == said(begun.replies[step]["anna"])


@pytest.mark.parametrize("step", AFTER_SHARE)
def test_another_question_to_an_answered_step_is_refused(cohort, step):
    begun = cohort.begin().prepare(step)
    begun.close(step)
    code, text = refusal(cohort, cohort.ask("anna", other_question(begun, step)))
    assert (code, "was answered before, to another question" in text) == ("replay", True)
    assert said(begun.ask(step, "anna")) == said(begun.replies[step]["anna"])


@pytest.mark.parametrize("step", AFTER_SHARE[1:])
def test_a_step_out_of_order_is_refused(cohort, step):
    late = cohort.copy_to(cohort.sites["anna"].folder.parent.parent / "late")
    begun = cohort.begin().prepare(UNMASK)
    again = late.begin().prepare(SHARE)
    request = replace(begun.request(step, "anna"), digest=again.terms.digest.hex())
    code, text = refusal(late, late.ask("anna", request))
    assert (code, "is out of order, expected share" in text) == ("replay", True)


def test_a_step_of_a_round_that_the_site_never_began_is_refused_and_leaves_nothing(cohort, tmp_path):
    begun = cohort.copy_to(tmp_path / "others").begin().prepare(SHARE)
    code, text = refusal(cohort, cohort.ask("anna", begun.request(SHARE, "anna")))
    assert (code, "takes no part in round" in text) == ("round", True)
    assert not (cohort.sites["anna"].state / "rounds").exists()


@pytest.mark.parametrize("round_id", ["../../../etc", "", "0" * 31, "A" * 32, "0" * 32 + "\n"])
def test_a_round_id_that_is_none_names_no_file(cohort, round_id):
    begun = cohort.begin().prepare(SHARE)
    reply = cohort.ask("anna", replace(begun.request(SHARE, "anna"), round_id=round_id))
    assert reply.code == "message"
    assert [path.name for path in (cohort.sites["anna"].state / "rounds").iterdir()] == [ROUND]


def test_a_round_id_is_used_with_one_set_of_terms(cohort):
    begun = cohort.begin().prepare(SHARE)
    other = cohort.begin(expires=begun.terms.expires - 1)
    assert refusal(cohort, other.ask("advertise", "anna"))[0] == "replay"
    reply = cohort.ask("anna", replace(begun.request(SHARE, "anna"), digest="00" * 32))
    assert refusal(cohort, reply)[0] == "replay"


def test_another_aggregator_of_the_policy_cannot_go_on_with_a_round(cohort):
    begun = cohort.begin().prepare(SHARE)
    policy = cohort.sites["anna"].folder / "policy.toml"
    policy.write_text(policy.read_text().replace(f'"{"ab" * 32}"', f'"{"ab" * 32}", "{"cd" * 32}"'))
    code, text = refusal(cohort, begun.ask(SHARE, "anna", aggregator="cd" * 32))
    assert (code, "begun by another aggregator" in text) == ("policy", True)
    assert begun.ask(SHARE, "anna").code == DONE


@pytest.mark.parametrize("step", STEPS[:-1])
def test_a_finished_round_answers_nothing_but_the_same_last_question(cohort, step):
    begun = cohort.begin()
    begun.open()
    code, text = refusal(cohort, begun.ask(step, "anna"))
    assert (code, "is finished" in text) == ("replay", True)
    assert said(begun.ask(UNMASK, "anna")) == said(begun.replies[UNMASK]["anna"])


def test_a_finished_round_is_never_begun_again(cohort):
    cohort.begin().open()
    assert cohort.begin().ask("advertise", "anna").code == "replay"
    assert cohort.begin(expires=time.time() + 7200).ask("advertise", "anna").code == "replay"
    assert len(cohort.sites["anna"].charges()) == 1


def test_what_contradicts_the_protocol_is_refused_and_the_right_question_still_answered(cohort):
    begun = cohort.begin().prepare(CONFIRM)
    request = begun.request(CONFIRM, "anna")
    lie = replace(request, message=Survivors(("anna", "bern", "cork", "dorn"), ("dorn",)))
    assert refusal(cohort, cohort.ask("anna", lie))[0] == "survivors"
    assert cohort.ask("anna", request).code == DONE


@pytest.mark.parametrize("step", STEPS)
def test_two_identical_requests_at_once_get_the_same_answer(cohort, monkeypatch, step):
    drawn, real = [], pooled_sketches.discrete_gaussian
    monkeypatch.setattr(pooled_sketches, "discrete_gaussian", lambda *args: drawn.append(args) or real(*args))
    begun = cohort.begin().prepare(step)
    if step == "advertise":
        begun.states[step] = None
    drawn.clear()
    with ThreadPoolExecutor(4) as threads:
        replies = list(threads.map(lambda n: begun.ask(step, "anna", job=f"job-{n}"), range(4)))
    assert all(said(reply) == said(replies[0]) for reply in replies)
    assert len(drawn) == (3 if step == MASK else 0)
    assert len(cohort.sites["anna"].charges()) == (STEPS.index(step) >= STEPS.index(MASK))


def test_the_log_names_round_cohort_task_step_and_code(cohort):
    begun = cohort.begin()
    begun.open()
    begun.ask(SHARE, "anna")
    steps = [event for event in cohort.sites["anna"].events() if event["event"] == "round"]
    assert [(e["step"], e["code"]) for e in steps] == [*((s, DONE) for s in STEPS), (SHARE, "replay")]
    assert {(e["round"], e["cohort"], e["task"]) for e in steps} == {(ROUND, COHORT, "lungs")}


def test_a_round_that_was_paid_for_does_not_begin_again_when_its_state_is_lost(cohort):
    begun = cohort.begin()
    begun.open()
    before = [len(site.charges()) for site in cohort.sites.values()]
    for site in cohort.sites.values():
        shutil.rmtree(site.folder / "state" / "rounds")
    assert cohort.begin().ask("advertise", "anna").code == "replay"
    assert [len(site.charges()) for site in cohort.sites.values()] == before
