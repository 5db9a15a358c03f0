"""An aggregator that dies between any two writes goes on where it stopped; sites vanish and come back."""

from contextlib import contextmanager

import pytest
from dying_server import DyingServer
from transfer_runs import Consortium, plan_of
from transfer_sites import FakeSite

from aggregator.store import Catalogue
from aggregator.transfer import models

SMALL = {
    "scenarios": ("pretraining", "co_training"),
    "network": {"name": "test_resnet", "image_size": 32, "start": "scratch"},
    "baselines": ("scratch",),
    "source_training": {"epochs": 1},
    "target_training": {"epochs": 2},
    "co_training": {"rounds": 2},
}


class KilledError(BaseException):
    """What stops a process at once."""


class Writes:
    """Counts what is made durable, and kills the process after so many writes."""

    def __init__(self, monkeypatch):
        self.left = None
        self.counted = 0
        real, write = Catalogue.transaction, models.write_atomically

        @contextmanager
        def transaction(catalogue):
            with real(catalogue) as connection:
                before = connection.connection.driver_connection.total_changes
                yield connection
                changed = connection.connection.driver_connection.total_changes - before
            if changed:
                self.count()

        def write_atomically(path, data):
            write(path, data)
            self.count()

        monkeypatch.setattr(Catalogue, "transaction", transaction)
        monkeypatch.setattr(models, "write_atomically", write_atomically)

    def count(self):
        self.counted += 1
        if self.counted == self.left:
            raise KilledError

    def kill_after(self, n):
        self.counted, self.left = 0, n


@pytest.fixture
def writes(monkeypatch):
    return Writes(monkeypatch)


def two_sites(folder, **hub):
    key = folder.parent / "hub.key"
    return Consortium(folder, [FakeSite("anna", ["eyes"]), FakeSite("bern", ["skin"])], key=key, **hub)


def test_killed_after_any_write_a_plan_ends_as_if_nothing_had_happened(tmp_path, writes):
    plan = plan_of(**SMALL)
    undisturbed = two_sites(tmp_path / "undisturbed")
    undisturbed.run(plan)
    n_writes = writes.counted
    for n in range(1, n_writes + 1, 3):
        killed = two_sites(tmp_path / str(n))
        writes.kill_after(n)
        with pytest.raises(KilledError):
            killed.run(plan)
        writes.kill_after(None)
        killed.run(plan)
        assert killed.findings() == undisturbed.findings(), f"killed after write {n}"
        trained = {name: site.epochs for name, site in killed.sites.items()}
        assert trained == {name: site.epochs for name, site in undisturbed.sites.items()}


def test_killed_again_and_again_a_plan_still_comes_to_its_end(tmp_path, writes):
    plan, consortium, n = plan_of(**SMALL), two_sites(tmp_path), 0
    while True:
        n += 1
        writes.kill_after(n)
        try:
            consortium.run(plan)
        except KilledError:
            continue
        break
    assert n > 5
    assert {finding.state for finding in consortium.findings()} == {"done"}


@pytest.mark.parametrize("place", ["postgresql"], indirect=True)
def test_whenever_the_database_dies_a_plan_ends_clearly_and_goes_on_where_it_was(
    tmp_path, place, postgresql, monkeypatch
):
    undisturbed, plan = two_sites(tmp_path / "undisturbed"), plan_of(**SMALL)
    undisturbed.run(plan)
    consortium = two_sites(tmp_path / "disturbed", catalogue=place)
    _, errors = DyingServer(postgresql, monkeypatch).until_done(lambda: consortium.run(plan))
    assert len(errors) > 20
    assert {"see that the database server runs" in error for error in errors} == {True}
    assert consortium.findings() == undisturbed.findings()


@pytest.mark.parametrize("loses", [False, True])
def test_a_site_that_vanishes_fails_alone(consortium, loses):
    consortium.grid.loses = loses
    vanishing = consortium.sites["bern"]

    def vanish(site, request):
        if site is vanishing and len(vanishing.asked) >= 3:
            vanishing.online = False

    consortium.grid.before_answer = vanish
    summary = consortium.run(plan_of())
    assert set(summary.reasons) == {"no-reply at bern"}
    assert consortium.finding("pretraining", "anna/eyes", "cork/lung").state == "done"
    for finding in consortium.findings():
        touched = "bern/skin" in (finding.experiment.source, finding.experiment.target)
        assert finding.state == "done" or touched


def test_what_a_vanished_site_did_before_is_not_lost(consortium):
    plan = plan_of(targets=("anna/eyes", "bern/skin", "cork/lung"))
    consortium.sites["cork"].online = False
    first = consortium.run(plan)
    assert first.absent == ("cork",)
    assert set(first.reasons) == {"no-reply at cork"}
    consortium.sites["cork"].online = True
    consortium.grid.requests.clear()
    second = consortium.run(plan, retry_failed=True)
    assert second.failed == 0
    assert not [step for step in consortium.steps() if step.site != "cork" and step.start == "scratch"]


@pytest.mark.parametrize("loses", [False, True])
def test_a_site_that_comes_back_as_another_node_goes_on(consortium, loses):
    consortium.grid.loses = loses
    site, grid = consortium.sites["bern"], consortium.grid
    honest = grid._answer

    def answer(message):
        if len(site.asked) == 3 and 101 in grid.nodes:
            grid.nodes[900] = grid.nodes.pop(101)
        return honest(message)

    grid._answer = answer
    assert consortium.run(plan_of()).failed == 0
    assert 900 in grid.nodes


def test_a_site_that_comes_back_slowly_is_given_time_to_say_who_it_is(consortium):
    site, grid, clock = consortium.sites["bern"], consortium.grid, consortium.clock
    honest, pull, ready = grid._answer, grid.pull_messages, {}

    def answer(message):
        if len(site.asked) == 3 and 101 in grid.nodes:
            grid.nodes[900] = grid.nodes.pop(101)
        if message.metadata.dst_node_id == 900:
            ready[message.metadata.message_id] = clock.now() + 40
        return honest(message)

    grid._answer = answer
    grid.pull_messages = lambda ids: pull([i for i in ids if clock.now() >= ready.get(i, 0)])
    assert consortium.run(plan_of(deadline_s=600.0)).failed == 0


def test_a_busy_site_is_asked_later(consortium):
    times = []

    def busy(request, reply):
        times.append(consortium.clock.now())
        return consortium.sites["anna"].reply(request, "busy") if len(times) < 6 else reply

    consortium.sites["anna"].twist = busy
    assert consortium.run(plan_of()).failed == 0
    assert times[4] - times[3] > times[1] - times[0]


def test_a_step_that_never_comes_on_is_given_up(consortium):
    site = consortium.sites["anna"]
    site.twist = lambda request, reply: site.reply(request, "running")
    summary = consortium.run(plan_of())
    assert set(summary.reasons) == {"deadline at anna"}


def test_passing_trouble_is_tried_again_up_to_a_limit(consortium):
    site, failures = consortium.sites["anna"], []

    def trouble(request, reply):
        failures.append(request.step.step_id)
        return site.reply(request, "store") if failures.count(request.step.step_id) <= 2 else reply

    site.twist = trouble
    assert consortium.run(plan_of(attempts=3)).failed == 0


def test_lasting_trouble_is_tried_again_when_asked_for(consortium):
    site = consortium.sites["anna"]
    site.codes["eyes"] = "memory"
    first = consortium.run(plan_of())
    assert set(first.reasons) == {"memory at anna"}
    del site.codes["eyes"]
    assert consortium.run(plan_of()).reasons == first.reasons
    assert consortium.run(plan_of(), retry_failed=True).failed == 0


def test_of_a_group_who_vanishes_leaves_and_the_others_go_on(consortium):
    group = ("anna/eyes", "bern/skin", "cork/lung")
    site = consortium.sites["cork"]

    def trouble(request, reply):
        common = request.step.kind == "cotrain" and request.step.round == 1
        return site.reply(request, "training") if common else reply

    site.twist = trouble
    plan = plan_of(scenarios=("co_training",), co_training={"groups": (group,), "rounds": 3})
    consortium.run(plan)
    found = {each.experiment.target: each for each in consortium.findings() if each.experiment.source}
    assert found["anna/eyes"].state == found["bern/skin"].state == "done"
    assert found["cork/lung"].reason == "training at cork"


def test_an_edited_plan_is_another_plan(consortium):
    consortium.run(plan_of())
    consortium.grid.requests.clear()
    consortium.run(plan_of(n_train=50))
    assert {step.n_train for step in consortium.steps()} == {50}


def test_a_plan_that_was_edited_back_is_the_one_that_is_shown(consortium):
    for n_train in (40, 50, 40):
        consortium.run(plan_of(n_train=n_train))
    assert {finding.experiment.n_train for finding in consortium.findings()} == {40}


def test_a_model_that_is_damaged_while_a_plan_runs_is_asked_for_again_by_the_next_run(consortium):
    folder = consortium.hub.catalogue.folder / "models"
    site = consortium.sites["bern"]

    def damage(request, reply):
        for path in folder.glob("*") if request.step.model_id else ():
            path.write_bytes(b"?")
        return reply

    site.twist = damage
    plan = plan_of(sources=("anna/eyes",), targets=("bern/skin",))
    consortium.run(plan)
    assert consortium.reasons() == {"model at the aggregator"}
    site.twist = lambda request, reply: reply
    assert consortium.run(plan).failed == 0
