"""Charging budgets: checked first, durable before it returns, once per release."""

import errno
import os
from fractions import Fraction

import pytest
from factories import make_fingerprint, make_space
from ledgers import START, YEAR, Clock, budgets, charge, identity_in, keep_private_release, ledger_in

from federation.errors import BudgetError, LedgerError, PolicyError, StoreError
from site_agent.ledger import Budget, Charge, Ledger, Scope, storage
from site_agent.state import SiteState


def reopen(folder, clock=None):
    return Ledger.open(folder, identity_in(folder), clock or Clock())


def test_a_new_ledger_begins_with_the_sites_name_and_key(tmp_path):
    (start,) = ledger_in(tmp_path).entries()
    assert (start.seq, start.kind, start.at) == (1, "start", START)
    assert start.body["site"] == "st-anna"
    assert start.body["public_key"] == identity_in(tmp_path).public_key


def test_a_charge_is_in_the_ledger_with_everything_it_says(tmp_path):
    entry = ledger_in(tmp_path).charge(charge("r", cohort="2026-11"), budgets())
    (_, found) = reopen(tmp_path).entries()
    assert found == entry
    assert found.charge == charge("r", cohort="2026-11")
    assert found.body["rho"] == "1/10"


def test_the_same_release_is_charged_once(tmp_path):
    ledger = ledger_in(tmp_path)
    first = ledger.charge(charge("r"), budgets())
    assert ledger.charge(charge("r"), budgets()) == first
    assert reopen(tmp_path).charge(charge("r"), budgets()) == first
    assert ledger.spent(budgets()[0]) == Fraction(1, 10)


def test_a_release_that_was_paid_for_stays_paid_when_the_budget_shrinks(tmp_path):
    first = ledger_in(tmp_path).charge(charge("r"), budgets())
    assert reopen(tmp_path).charge(charge("r"), budgets("1/100", "1/100")) == first


def test_the_same_release_with_other_content_is_refused(tmp_path):
    ledger = ledger_in(tmp_path, 1)
    with pytest.raises(LedgerError, match="release release-0 was charged in entry 2 with other content"):
        ledger.charge(charge("release-0", "1/20"), budgets())


def test_a_budget_can_be_spent_to_the_last_fraction_and_not_beyond(tmp_path):
    ledger = ledger_in(tmp_path)
    for i in range(3):
        ledger.charge(charge(f"r{i}", "1/3"), budgets())
    assert ledger.remaining(budgets()[0]) == 0
    with pytest.raises(BudgetError, match="population patients"):
        ledger.charge(charge("r4", "1/1000000000000"), budgets())
    assert len(ledger.entries()) == 4


def test_a_refusal_names_budget_spent_asked_limit_and_when_there_is_room(tmp_path):
    clock = Clock()
    ledger = ledger_in(tmp_path, clock=clock)
    ledger.charge(charge("a", "3/5"), budgets(2, 1))
    clock.now += 86_400
    ledger.charge(charge("b", "2/5"), budgets(2, 1))
    with pytest.raises(BudgetError) as caught:
        ledger.charge(charge("c", "1/2"), budgets(2, 1))
    assert str(caught.value).startswith("task lungs: ρ 1 (ε ")
    assert "of ρ 1 (" in caught.value.problem
    assert "too much for a release of ρ 0.5 (" in caught.value.problem
    assert caught.value.remedy == "there is room for it from 2028-01-15 08:00 UTC on"
    with pytest.raises(BudgetError, match="never has room"):
        ledger.charge(charge("c", "5/2"), budgets(2, 1))


def test_a_rolling_budget_renews_and_another_does_not(tmp_path):
    clock = Clock()
    ledger = ledger_in(tmp_path, clock=clock)
    ledger.charge(charge("a", 1), budgets())
    clock.now += YEAR - 1
    with pytest.raises(BudgetError):
        ledger.charge(charge("b", 1), budgets())
    clock.now += 1
    with pytest.raises(BudgetError, match="never has room"):
        ledger.charge(charge("b", 1), budgets(period=None))
    assert ledger.charge(charge("b", 1), budgets()).seq == 3


def test_all_tasks_of_a_population_share_its_budget(tmp_path):
    ledger = ledger_in(tmp_path)
    ledger.charge(charge("a", "3/5"), budgets())
    with pytest.raises(BudgetError, match="population patients"):
        ledger.charge(charge("b", "3/5", task="skin"), budgets(name="skin"))


@pytest.mark.parametrize(
    "wrong",
    [
        (),
        budgets()[:1],
        budgets()[1:],
        budgets(name="skin"),
        (Budget(Scope.POPULATION, "mice", Fraction(1), 1e-6), budgets()[1]),
    ],
)
def test_a_release_is_charged_to_the_budgets_of_its_own_task_and_population_only(tmp_path, wrong):
    ledger = ledger_in(tmp_path)
    with pytest.raises(PolicyError, match="cannot be charged to"):
        ledger.charge(charge("r"), wrong)
    assert len(ledger.entries()) == 1


@pytest.mark.parametrize("rho", [0, -1])
def test_a_charge_of_nothing_is_refused(rho):
    with pytest.raises(BudgetError, match="expected more than 0"):
        Charge("r", "j", "t", "p", None, Fraction(rho))


def test_a_budget_of_nothing_is_refused():
    with pytest.raises(BudgetError, match="population patients"):
        Budget(Scope.POPULATION, "patients", Fraction(0), 1e-6)


def test_a_clock_that_went_backwards_is_refused(tmp_path):
    clock = Clock()
    ledger = ledger_in(tmp_path, 1, clock)
    clock.now -= 301
    with pytest.raises(PolicyError, match=r"the clock says 2027-01-15 07:54 UTC, .* of 2027-01-15 08:00 UTC"):
        ledger.charge(charge("r"), budgets())
    assert len(ledger.entries()) == 2


def test_a_clock_slightly_behind_does_not_make_an_older_entry(tmp_path):
    clock = Clock()
    ledger = ledger_in(tmp_path, 1, clock)
    clock.now -= 200
    assert ledger.charge(charge("r"), budgets()).at == START


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_full_disk_charges_nothing(tmp_path, monkeypatch, call):
    ledger = ledger_in(tmp_path, 1)
    before = (tmp_path / "ledger.jsonl").read_bytes()
    real_write = os.write

    def full(descriptor, data=b""):
        if data:
            real_write(descriptor, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(storage.os, call, full)
        with pytest.raises(StoreError, match=r"No space left on device → free space"):
            ledger.charge(charge("r"), budgets())
    assert (tmp_path / "ledger.jsonl").read_bytes() == before
    assert reopen(tmp_path).charge(charge("r"), budgets()).seq == 3


def test_a_disk_that_fills_up_before_the_head_is_written_charges_nothing(tmp_path, monkeypatch):
    ledger = ledger_in(tmp_path, 1)
    before = (tmp_path / "ledger.jsonl").read_bytes()

    def full(path, data):
        raise StoreError("No space left")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "write_atomically", full)
        with pytest.raises(StoreError, match="No space left"):
            ledger.charge(charge("r"), budgets())
    assert (tmp_path / "ledger.jsonl").read_bytes() == before
    assert ledger.charge(charge("r"), budgets()).seq == 3


def test_a_torn_last_line_is_cut_away_and_logged(tmp_path):
    ledger_in(tmp_path, 1)
    with (tmp_path / "ledger.jsonl").open("ab") as file:
        file.write(b'{"at":18000')
    ledger = reopen(tmp_path)
    assert len(ledger.entries()) == 2
    assert (tmp_path / "ledger.jsonl").read_bytes().endswith(b"}\n")
    (event,) = SiteState(tmp_path).events()
    assert (event["event"], event["cut_bytes"]) == ("ledger-repaired", 11)


def test_a_last_line_that_lost_its_content_in_a_crash_is_cut_away(tmp_path):
    ledger_in(tmp_path, 1)
    with (tmp_path / "ledger.jsonl").open("ab") as file:
        file.write(b"{" + b"\0" * 40 + b"}\n")
    assert len(reopen(tmp_path).entries()) == 2


@pytest.mark.parametrize("n_bytes", [1, 2, 100])
def test_a_last_line_that_the_head_vouches_for_is_never_cut_away(tmp_path, n_bytes):
    ledger_in(tmp_path, 1)
    path = tmp_path / "ledger.jsonl"
    torn = path.read_bytes()[:-n_bytes]
    path.write_bytes(torn)
    with pytest.raises(LedgerError, match=r"line 2 is incomplete → restore ledger.jsonl and ledger.head"):
        reopen(tmp_path)
    assert path.read_bytes() == torn


def test_a_changed_line_is_refused_by_its_number(tmp_path):
    ledger_in(tmp_path, 3)
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"release-1"', b'"release-7"'))
    with pytest.raises(LedgerError, match="line 4 does not follow from the line before"):
        reopen(tmp_path)


def test_a_ledger_that_is_changed_while_a_site_runs_is_refused(tmp_path):
    ledger = ledger_in(tmp_path, 2)
    path, head = tmp_path / "ledger.jsonl", tmp_path / "ledger.head"
    whole = path.read_bytes(), head.read_bytes()
    ledger.charge(charge("r"), budgets())
    path.write_bytes(whole[0])
    head.write_bytes(whole[1])
    with pytest.raises(LedgerError, match="no longer holds what it held before"):
        ledger.charge(charge("s"), budgets())


@pytest.mark.parametrize("lost", [["ledger.jsonl"], ["ledger.jsonl", "ledger.head"], ["ledger.head"]])
def test_a_lost_ledger_of_a_site_that_has_released_is_refused(tmp_path, lost):
    ledger_in(tmp_path, 1)
    keep_private_release(tmp_path)
    for name in lost:
        (tmp_path / name).unlink()
    with pytest.raises(LedgerError, match=r"restore ledger.jsonl and .* `fedprint site ledger restart`"):
        reopen(tmp_path)
    assert not any((tmp_path / name).exists() for name in lost)


def test_a_ledger_cut_back_to_its_beginning_without_head_is_refused(tmp_path):
    ledger_in(tmp_path, 1)
    keep_private_release(tmp_path)
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    (tmp_path / "ledger.head").unlink()
    with pytest.raises(LedgerError, match=r"ledger.head is missing"):
        reopen(tmp_path)


def test_exact_releases_of_public_data_need_no_ledger(tmp_path):
    fingerprint = make_fingerprint(identity_in(tmp_path), "lungs", make_space())
    SiteState(tmp_path).keep_release("job-0", "lungs", fingerprint.to_bytes())
    assert len(reopen(tmp_path).entries()) == 1


def test_a_restarted_ledger_counts_every_budget_as_spent_for_a_period(tmp_path):
    ledger_in(tmp_path, 1)
    keep_private_release(tmp_path)
    (tmp_path / "ledger.jsonl").write_bytes(b"damaged\n")
    clock = Clock(START + 10)
    ledger = Ledger.restart(tmp_path, identity_in(tmp_path), budgets(), clock)
    assert [ledger.remaining(budget) for budget in budgets()] == [0, 0]
    with pytest.raises(BudgetError, match="room for it from 2028-01-15 08:00"):
        ledger.charge(charge("r"), budgets())
    clock.now += YEAR
    assert reopen(tmp_path, clock).charge(charge("r"), budgets()).seq == 2
    (copy,) = tmp_path.glob("ledger.jsonl.before-*")
    assert copy.read_bytes() == b"damaged\n"


def test_another_sites_key_is_refused(tmp_path):
    ledger_in(tmp_path, 1)
    (tmp_path / "identity.key").unlink()
    with pytest.raises(LedgerError, match="another key signed it"):
        reopen(tmp_path)


def test_nobody_else_can_read_the_ledger(tmp_path):
    ledger_in(tmp_path, 1)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("ledger.*")} == {0o600}


def test_a_check_refuses_what_a_charge_would_and_charges_nothing(tmp_path):
    ledger = ledger_in(tmp_path)
    ledger.check(charge("r"), budgets())
    with pytest.raises(BudgetError, match="never has room"):
        ledger.check(charge("r", 2), budgets())
    with pytest.raises(PolicyError, match="cannot be charged to"):
        ledger.check(charge("r"), budgets(name="skin"))
    assert len(ledger.entries()) == 1


def test_a_release_is_found_by_its_id_once_it_was_charged(tmp_path):
    ledger = ledger_in(tmp_path)
    assert ledger.charged("r") is None
    assert ledger.charge(charge("r"), budgets()) == reopen(tmp_path).charged("r")
