import pytest
from hub_folders import write_hub

from aggregator.config import HubConfig
from aggregator.jobs.process import JobProcess
from federation.errors import DeploymentError


class Steps:
    """A control client and a runner that note what they are asked, and fail where told."""

    def __init__(self):
        self.asked, self.failing = [], set()

    def _note(self, what):
        self.asked.append(what)
        if what in self.failing:
            raise DeploymentError(f"{what} failed")

    def nodes(self):
        self._note("nodes")
        return []

    def tidy(self):
        self._note("tidy")

    def tick(self):
        self._note("tick")


@pytest.fixture
def steps():
    return Steps()


@pytest.fixture
def process(tmp_path, steps):
    folder = write_hub(tmp_path)
    (tmp_path / "space.safetensors").touch()
    return JobProcess(folder, HubConfig.read(folder.config), steps, steps)


def test_members_are_admitted_and_what_was_left_over_is_tidied_before_the_first_job(process, steps):
    process.tick()
    process.tick()
    assert steps.asked == ["nodes", "tidy", "tick", "tick"]


def test_trouble_with_members_does_not_stop_jobs(process, steps, caplog):
    steps.failing = {"nodes"}
    process.tick()
    process.tick()
    assert steps.asked == ["nodes", "tidy", "tick", "nodes", "tick"]
    assert caplog.text.count("nodes failed") == 1


def test_jobs_wait_until_tidying_has_succeeded(process, steps):
    steps.failing = {"tidy"}
    process.tick()
    steps.failing = set()
    process.tick()
    assert steps.asked == ["nodes", "tidy", "tidy", "tick"]


def test_it_ends_when_it_is_told_to(process):
    process.stopping.set()
    process.run()
