"""``fedprint site rounds`` and ``fedprint site ledger`` show what a site took part in and what it cost."""

import json
import time

import pytest
from pooled_sites import ROUND
from typer.testing import CliRunner

from federation.identity import Identity
from site_agent.cli import app
from site_agent.ledger import Ledger
from site_agent.policy import Policy
from site_agent.rounds import listing

OTHER_ROUND = ROUND[::-1]


def run(*arguments):
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert not result.exception or isinstance(result.exception, SystemExit), result.output
    return result


def rounds(site):
    return json.loads(run("rounds", site.folder / "site.toml", "--json").stdout)


@pytest.fixture
def site(cohort):
    return cohort.sites["anna"]


def test_nothing_is_listed_before_anybody_asked(site):
    assert rounds(site) == []
    assert "nobody has asked" in run("rounds", site.folder / "site.toml").stdout


def test_a_finished_round_says_with_whom_and_what_it_cost(cohort, site):
    begun = cohort.begin()
    begun.missing = dict.fromkeys(("mask", "confirm", "unmask"), ("dorn",))
    begun.open()
    (listed,) = rounds(site)
    (charge,) = site.charges()
    assert (listed["round"], listed["cohort"], listed["task"]) == (ROUND, "chests", "lungs")
    assert (listed["state"], listed["next"], listed["code"]) == ("finished", "", "")
    assert (listed["survivors"], listed["dropped"]) == (["anna", "bern", "cork"], ["dorn"])
    assert (listed["rho"], listed["ledger"]) == (str(charge.rho), 2)
    shown = run("rounds", site.folder / "site.toml").stdout
    assert all(
        word in shown
        for word in ("chests", "finished", "anna, bern, cork", "dorn", f"{float(charge.rho):.4g}")
    )


def test_an_exact_sum_costs_nothing(exact_cohort):
    exact_cohort.begin(release=exact_cohort.release(exact=True)).open()
    (listed,) = rounds(exact_cohort.sites["anna"])
    assert (listed["state"], listed["rho"], listed["ledger"]) == ("finished", "", None)


def test_an_open_round_says_what_it_waits_for_and_what_was_refused_last(cohort, site):
    begun = cohort.begin().prepare("share")
    assert (rounds(site)[0]["state"], rounds(site)[0]["next"]) == ("open", "share")
    begun.ask("share", "anna", aggregator="cd" * 32)
    assert rounds(site)[0]["code"] == "policy"


def test_an_open_round_whose_time_is_over_has_expired(cohort, site, monkeypatch):
    cohort.begin(expires=time.time() + 60).prepare("share")
    now = time.time() + 61
    monkeypatch.setattr(listing.time, "time", lambda: now)
    assert (rounds(site)[0]["state"], rounds(site)[0]["next"]) == ("expired", "")


def test_a_refused_round_is_listed_with_its_code(cohort, site):
    site.set_policy(minimum_patients=9)
    cohort.begin().ask("advertise", "anna")
    (listed,) = rounds(site)
    assert (listed["round"], listed["cohort"], listed["state"]) == (ROUND, "chests", "refused")
    assert (listed["code"], listed["rho"]) == ("not-releasable", "")


def test_a_damaged_round_is_listed_as_such(cohort, site):
    cohort.begin().prepare("share")
    (site.state / "rounds" / ROUND / "round.safetensors").write_bytes(b"?")
    assert rounds(site)[0]["state"] == "damaged"


def test_rounds_are_listed_oldest_first(cohort, site):
    cohort.begin(OTHER_ROUND).open()
    cohort.begin(ROUND).open()
    assert [listed["round"] for listed in rounds(site)] == [OTHER_ROUND, ROUND]


def test_the_ledger_shows_in_whose_sum_budget_was_spent_and_goes_on_to_forecast(cohort, site):
    cohort.begin().open()
    shown = run("ledger", "show", site.folder / "site.toml").stdout
    assert "distributed discrete Gaussian, 2 honest shares in cohort chests" in shown
    assert "at one release of this size" in shown


def test_verify_looks_every_paid_round_up_in_the_ledger(cohort, site):
    cohort.begin().open()
    found = json.loads(run("ledger", "verify", site.folder / "site.toml", "--json").stdout)
    assert (found["ok"], found["releases"]) == (True, 1)


def test_verify_misses_an_entry_that_paid_for_a_round(cohort, site):
    cohort.begin().open()
    for name in ("ledger.jsonl", "ledger.head"):
        path = site.state / name
        path.write_bytes(b"" if name == "ledger.head" else path.read_bytes().splitlines(keepends=True)[0])
    problems = [finding.problem for finding in site.findings()]
    assert any("names an entry that is not in this ledger" in problem for problem in problems)
    assert any("ledger.head is missing" in problem for problem in problems)


def test_a_site_that_took_part_in_a_round_does_not_begin_a_new_ledger(cohort, site):
    cohort.begin().open()
    for name in ("ledger.jsonl", "ledger.head", "log.jsonl"):
        (site.state / name).unlink()
    site.forget_the_open_ledger()
    reply = cohort.begin(OTHER_ROUND).ask("advertise", "anna")
    assert reply.code == "ledger"


def test_rounds_before_a_restart_of_the_ledger_are_remembered_as_such(cohort, site):
    cohort.begin().open()
    identity = Identity.load_or_create("anna", site.state / "identity.key")
    Ledger.restart(site.state, identity, Policy.read(site.folder / "policy.toml").budgets())
    assert site.findings() == ()


def test_a_damaged_round_is_a_finding(cohort, site):
    cohort.begin().open()
    (site.state / "rounds" / ROUND / "round.safetensors").write_bytes(b"?")
    assert any("is damaged" in finding.problem for finding in site.findings())


def test_the_forecast_of_exact_sums_has_no_budget(exact_cohort):
    site = exact_cohort.sites["anna"]
    shown = run("ledger", "show", site.folder / "site.toml").stdout
    assert "no ledger was begun" in shown
