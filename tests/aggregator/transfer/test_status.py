"""How far a plan is, as people see it."""

import json

import pytest
from transfer_runs import plan_of

from aggregator.store import Catalogue
from aggregator.transfer.status import (
    duration,
    experiments_table,
    read_status,
    scenarios_table,
    sites_table,
    status_json,
)
from federation.errors import UnknownNameError


class StoppedError(BaseException):
    pass


def interrupted(consortium, n):
    """Run a plan until a site has been asked so often."""

    def stop(site, request):
        if site.name == "anna" and len(site.asked) == n:
            raise StoppedError

    consortium.grid.before_answer = stop
    with pytest.raises(StoppedError):
        consortium.run(plan_of())


def test_an_interrupted_plan_shows_epochs_and_what_is_left(consortium):
    interrupted(consortium, 5)
    status = read_status(consortium.catalogue())
    assert status.counts["done"] > 0
    site = next(site for site in status.sites if site.site == "anna")
    assert (site.running.progress.epoch, site.running.progress.epochs) == (2, 3)
    assert site.seconds_left > 0
    told = status_json(status)
    assert {"anna: epoch 2 of 3"} == {
        each["where"].partition("; ")[0] for each in told["findings"] if each["where"].startswith("anna")
    }


def test_a_finished_plan_has_nothing_left(consortium):
    consortium.run(plan_of())
    status = read_status(consortium.catalogue())
    assert status.counts == {"waiting": 0, "running": 0, "done": 12, "failed": 0}
    assert status.seconds_left == 0
    assert status.known.finished_at is not None


def test_reasons_are_shown(consortium):
    consortium.sites["anna"].codes["eyes"] = "memory"
    consortium.run(plan_of())
    told = status_json(read_status(consortium.catalogue(), "test"))
    assert {each["where"] for each in told["findings"]} == {"done", "failed: memory at anna"}
    json.dumps(told, allow_nan=False)


def test_tables_have_a_line_for_everything(consortium):
    consortium.run(plan_of())
    status = read_status(consortium.catalogue())
    assert experiments_table(status).row_count == 12
    assert sites_table(status).row_count == 3
    scenarios = {finding.experiment.scenario for finding in status.findings}
    assert scenarios_table(status).row_count == len(scenarios) > 1


def test_an_unknown_plan_is_named(tmp_path):
    with pytest.raises(UnknownNameError, match="knows no transfer plan night"):
        read_status(Catalogue(tmp_path / "catalogue.sqlite", create=True), "night")


@pytest.mark.parametrize(("seconds", "text"), [(None, ""), (42, "42 s"), (150, "2 min"), (7500, "2 h 5 min")])
def test_times_are_written_as_people_do(seconds, text):
    assert duration(seconds) == text


def test_a_step_that_is_tried_again_is_shown_as_running(consortium):
    site, told = consortium.sites["anna"], []

    def trouble(request, reply):
        told.append(next(each for each in read_status(consortium.catalogue()).sites if each.site == "anna"))
        return site.reply(request, "store") if len(told) == 1 else reply

    site.twist = trouble
    consortium.run(plan_of(sources=("anna/eyes",), targets=("bern/skin",)))
    assert {each.counts["running"] for each in told} == {1}
