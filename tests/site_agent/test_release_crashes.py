"""A site may die at any step of a private release: one charge, and the noise that was charged leaves."""

import os
import signal
from pathlib import Path

import pytest
from private_site import Colours, assert_settled, run_in_child, write_private_site

from site_agent import jobs, private_release
from site_agent.admissions import Admissions
from site_agent.ledger import Ledger
from site_agent.pending import ReleaseFiles
from site_agent.state import SiteState


@pytest.fixture(autouse=True)
def colours(monkeypatch):
    monkeypatch.setattr(jobs, "_extractor", lambda *_: Colours())


def die(*_args, **_keywords):
    os.kill(os.getpid(), signal.SIGKILL)


def after(call):
    def called(*args, **keywords):
        call(*args, **keywords)
        die()

    return called


def before(_call):
    return die


STEPS = {
    "before noise is drawn": (private_release, "add_noise", before),
    "after noise is drawn": (private_release, "add_noise", after),
    "after it is put aside": (ReleaseFiles, "keep_pending", after),
    "inside the charge, before the line": (os, "write", before),
    "inside the charge, after the line": (os, "write", after),
    "after the charge": (Ledger, "charge", after),
    "after the cohort is remembered": (Admissions, "begin", after),
    "after a new cohort is remembered": (Admissions, "remember", after),
    "after the release is kept": (SiteState, "keep_release", after),
    "after it stands": (ReleaseFiles, "keep_standing", after),
    "after the log": (SiteState, "record", after),
    "after nothing is pending": (ReleaseFiles, "drop_pending", after),
    "before the reply": (jobs, "TaskResult", before),
}
PRIMITIVES = [(os, "write"), (os, "fsync"), (os, "ftruncate"), (Path, "replace"), (Path, "unlink")]
KINDS_OF_RELEASE = ("first", "new-patients", "whole")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Sites just before a release, with images sketched already, so that only the release is left to do."""
    folder = tmp_path_factory.mktemp("crashes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "_extractor", lambda *_: Colours())
        return {kind: _just_before(kind, folder / kind) for kind in KINDS_OF_RELEASE}


def _just_before(kind, folder):
    refresh = "new-patients" if kind == "first" else kind
    site = write_private_site(folder / "site", refresh=refresh, refresh_days=30)
    if kind != "first":
        site.release_days_ago(31)
        site.admit(range(8, 15))
    rehearsal = site.copy_to(folder / "rehearsal")
    rehearsal.release("job-1")
    for kept in (rehearsal.state / "sketches").iterdir():
        (site.state / "sketches").mkdir(exist_ok=True)
        (site.state / "sketches" / kept.name).write_bytes(kept.read_bytes())
    return site


def release_and_die(site, owner, name, replaced):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, replaced(getattr(owner, name)))
        site.ask("job-1")


@pytest.mark.parametrize("asked", [("job-1", "job-2"), ("job-2", "job-1")], ids=["same-job", "new-job"])
@pytest.mark.parametrize("kind", KINDS_OF_RELEASE)
@pytest.mark.parametrize("step", STEPS)
def test_a_killed_release_is_charged_once_and_what_was_charged_leaves(prepared, tmp_path, step, kind, asked):
    site = prepared[kind].copy_to(tmp_path / "site")
    already_charged = len(site.charges())
    ended = run_in_child(lambda: release_and_die(site, *STEPS[step]))
    other = "begin" if kind == "new-patients" else "remember"
    assert ended == (0 if STEPS[step][1] == other else -signal.SIGKILL)
    assert_settled(site, already_charged, asked)


@pytest.mark.parametrize("kind", KINDS_OF_RELEASE)
def test_dying_before_any_single_write_to_the_disk_changes_nothing_either(prepared, tmp_path, kind):
    n_writes = count_writes(prepared[kind].copy_to(tmp_path / "counted"))
    assert n_writes > 15
    for turn in range(n_writes):
        site = prepared[kind].copy_to(tmp_path / str(turn))
        already_charged = len(site.charges())
        assert run_in_child(lambda site=site, turn=turn: write_and_die(site, turn)) == -signal.SIGKILL
        assert_settled(site, already_charged, ("job-2", "job-1") if turn % 2 else ("job-1", "job-2"))


def each_write(patch, told):
    for owner, name in PRIMITIVES:
        real = getattr(owner, name)

        def called(*args, real=real, **keywords):
            told()
            return real(*args, **keywords)

        patch.setattr(owner, name, called)


def count_writes(site):
    turns = []
    with pytest.MonkeyPatch.context() as patch:
        each_write(patch, lambda: turns.append(1))
        site.ask("job-1")
    return len(turns)


def write_and_die(site, turn):
    left = [None] * turn
    with pytest.MonkeyPatch.context() as patch:
        each_write(patch, lambda: left.pop() if left else die())
        site.ask("job-1")


def test_a_site_that_dies_again_and_again_while_it_recovers_still_charges_once(prepared, tmp_path):
    site = prepared["first"].copy_to(tmp_path / "site")
    for step in STEPS:
        run_in_child(lambda step=step: release_and_die(site, *STEPS[step]))
    assert_settled(site, 0, ("job-2", "job-1"))
