import pytest

from aggregator.jobs.job import DONE, FAILED, RUNNING, WAITING
from aggregator.jobs.queue import JobQueue
from aggregator.store import Catalogue
from federation.errors import UnknownNameError


@pytest.fixture
def queue(place):
    ticks = iter(range(100))
    catalogue = Catalogue(place, create=True)
    yield JobQueue(catalogue, clock=lambda: float(next(ticks)))
    catalogue.close()


def test_jobs_come_in_the_order_in_which_they_were_asked_for(queue):
    first, second = queue.ask("fingerprint"), queue.ask("transfer", {"plan": "plan.toml"})
    assert queue.next() == first
    queue.finished(first.job_id)
    assert queue.next() == second
    assert second.arguments == {"plan": "plan.toml"}
    queue.finished(second.job_id)
    assert queue.next() is None


def test_a_job_that_was_begun_comes_before_those_that_wait(queue):
    early, late = queue.ask("fingerprint"), queue.ask("fingerprint")
    queue.began(late.job_id, "7")
    assert queue.next().job_id == late.job_id
    assert queue.get(early.job_id).state == WAITING


def test_every_attempt_is_counted_under_the_same_job(queue):
    job = queue.ask("fingerprint")
    queue.began(job.job_id, "7")
    assert queue.interrupted(job.job_id, "7", "the process was killed")
    between = queue.get(job.job_id)
    assert (between.state, between.flower_run, between.reason) == (RUNNING, "", "the process was killed")
    queue.began(job.job_id, "8")
    again = queue.next()
    assert (again.attempts, again.flower_run, again.began_at) == (2, "8", 2.0)


def test_an_attempt_that_was_given_up_does_not_interrupt_the_next(queue):
    job = queue.ask("fingerprint")
    queue.began(job.job_id, "8")
    assert not queue.interrupted(job.job_id, "7", "died late")
    assert queue.get(job.job_id).flower_run == "8"


def test_asking_again_under_the_same_id_changes_nothing(queue):
    job = queue.ask("fingerprint", job_id="monday")
    queue.finished("monday")
    assert queue.ask("transfer", job_id="monday").state == DONE
    assert [each.kind for each in queue.list()] == [job.kind]


def test_the_end_of_a_job_is_said_once(queue):
    job = queue.ask("fingerprint")
    assert queue.failed(job.job_id, "config", "there is no such cohort")
    assert not queue.finished(job.job_id)
    assert not queue.began(job.job_id, "9")
    assert not queue.interrupted(job.job_id, "", "died")
    ended = queue.get(job.job_id)
    assert (ended.state, ended.code, ended.reason) == (FAILED, "config", "there is no such cohort")
    assert not ended.is_open


def test_the_list_is_newest_first_and_bounded(queue):
    jobs = [queue.ask("fingerprint").job_id for _ in range(5)]
    assert [each.job_id for each in queue.list(3)] == jobs[:1:-1]


def test_a_job_that_does_not_exist_is_an_error(queue):
    with pytest.raises(UnknownNameError, match="no job 'tuesday'"):
        queue.get("tuesday")
    assert not queue.finished("tuesday")
