"""A process may die at any step of a charge; another may charge at the same time."""

import os
import signal
from fractions import Fraction
from pathlib import Path

import pytest
from ledgers import Clock, budgets, charge, identity_in, ledger_in

from federation.errors import BudgetError
from site_agent.ledger import Ledger, storage
from site_agent.ledger.storage import LedgerFiles
from site_agent.ledger.verify import verify_ledger


def die(*_args, **_keywords):
    os.kill(os.getpid(), signal.SIGKILL)


def after(call, which=1):
    """Return the call, followed by death at its ``which``-th turn."""
    turns = []

    def called(*args, **keywords):
        result = call(*args, **keywords)
        turns.append(result)
        if len(turns) == which:
            die()
        return result

    return called


def after_half_of(call):
    def called(descriptor, data):
        call(descriptor, data[: len(data) // 2])
        die()

    return called


STEPS = {
    "before the write": (storage.os, "write", lambda _: die),
    "half-way through the write": (storage.os, "write", after_half_of),
    "before the line is durable": (storage.os, "fsync", lambda _: die),
    "before the head is begun": (storage.os, "fsync", after),
    "after the head's temporary file": (Path, "replace", lambda _: die),
    "after the head": (Path, "replace", after),
    "after everything is durable": (LedgerFiles, "sync", after),
}


def in_child(work):
    """Run something in a process of its own and return how that ended."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            # Nothing of the test run may go on in the child.
            os._exit(status)
    return child


def wait_for(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("release", ["charged-before", "new"])
def test_a_killed_charge_is_made_once_or_not_at_all(tmp_path, monkeypatch, step, release):
    owner, name, replaced = STEPS[step]
    ledger = ledger_in(tmp_path)
    ledger.charge(charge("charged-before"), budgets())

    def charge_and_die():
        monkeypatch.setattr(owner, name, replaced(getattr(owner, name)))
        ledger.charge(charge(release), budgets())

    ended = wait_for(in_child(charge_and_die))
    assert ended == (0 if release == "charged-before" else -signal.SIGKILL)
    reopened = Ledger.open(tmp_path, identity_in(tmp_path), Clock())
    entry = reopened.charge(charge(release), budgets())
    assert reopened.charge(charge(release), budgets()) == entry
    assert [e.body["release_id"] for e in reopened.entries() if e.charge].count(release) == 1
    assert verify_ledger(LedgerFiles(tmp_path), identity_in(tmp_path).public_key).findings == ()
    assert reopened.spent(budgets()[0]) == Fraction(1 if release == "charged-before" else 2, 10)


@pytest.mark.parametrize("step", STEPS)
def test_a_ledger_whose_first_moment_was_killed_begins_again(tmp_path, monkeypatch, step):
    owner, name, replaced = STEPS[step]
    identity = identity_in(tmp_path)

    def begin_and_die():
        monkeypatch.setattr(owner, name, replaced(getattr(owner, name)))
        Ledger.open(tmp_path, identity, Clock())

    assert wait_for(in_child(begin_and_die)) == -signal.SIGKILL
    assert [entry.kind for entry in Ledger.open(tmp_path, identity, Clock()).entries()] == ["start"]


def test_processes_that_charge_at_once_never_exceed_the_budget(tmp_path):
    ledger_in(tmp_path)

    def spend(who):
        own = Ledger.open(tmp_path, identity_in(tmp_path), Clock())
        for i in range(12):
            try:
                own.charge(charge(f"{who}-{i}"), budgets())
            except BudgetError:
                return

    children = [in_child(lambda who=who: spend(who)) for who in range(3)]
    assert [wait_for(child) for child in children] == [0, 0, 0]
    ledger = Ledger.open(tmp_path, identity_in(tmp_path), Clock())
    assert ledger.spent(budgets()[0]) == 1
    assert len(ledger.entries()) == 11
    assert verify_ledger(LedgerFiles(tmp_path), identity_in(tmp_path).public_key).findings == ()


@pytest.mark.parametrize("turn", [1, 2, 3, 4])
def test_a_killed_restart_leaves_the_old_ledger_or_a_spent_one_or_refuses(tmp_path, monkeypatch, turn):
    ledger_in(tmp_path, 1)
    identity = identity_in(tmp_path)

    def restart_and_die():
        monkeypatch.setattr(Path, "replace", after(Path.replace, turn))
        Ledger.restart(tmp_path, identity, budgets(10, 10), Clock())

    assert wait_for(in_child(restart_and_die)) == -signal.SIGKILL
    left = (tmp_path / "ledger.jsonl").read_bytes()
    assert b'"release-0"' in left or b'"restart"' in left
    again = Ledger.restart(tmp_path, identity, budgets(10, 10), Clock())
    assert again.remaining(budgets(10, 10)[0]) == 0
