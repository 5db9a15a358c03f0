"""Findings become outcomes of the catalogue, and nobody else's outcomes are touched."""

from transfer_runs import plan_of

from aggregator.outcomes import Outcome
from aggregator.transfer.outcomes import EVENT


def outcomes(consortium):
    return {outcome.key: outcome for outcome in consortium.catalogue().outcomes()}


def store(consortium, *rows):
    with consortium.catalogue().writing() as writer:
        writer.add_outcomes(rows, replace=True)


def test_findings_become_outcomes_with_their_baseline(consortium):
    summary = consortium.run(plan_of())
    found = outcomes(consortium)
    assert len(found) == summary.outcomes.written == 2 * 6
    one = found["pretraining", "auroc", 0, "anna/eyes", "bern/skin"]
    finding = consortium.finding("pretraining", "anna/eyes", "bern/skin")
    assert (one.value, one.baseline) == (finding.scores["auroc"].value, finding.baseline["auroc"])


def test_an_event_says_where_outcomes_come_from(consortium):
    consortium.run(plan_of())
    events = consortium.catalogue().events()
    event = next(event for event in events if event["kind"] == EVENT and event["site"] == "bern")
    assert (event["plan"], event["job"]) == ("test", "job-1")
    assert {row["target"].split("/")[0] for row in event["rows"]} == {"bern"}
    steps = consortium.finding("pretraining", "anna/eyes", "bern/skin").steps
    row = next(row for row in event["rows"] if (row["source"], row["target"]) == ("anna/eyes", "bern/skin"))
    assert row["steps"] == list(steps)


def test_run_again_nothing_is_written(consortium):
    consortium.run(plan_of())
    told = [event for event in consortium.catalogue().events() if event["kind"] == EVENT]
    again = consortium.run(plan_of()).outcomes
    assert (again.written, again.removed, again.kept_out) == (0, 0, 0)
    assert [event for event in consortium.catalogue().events() if event["kind"] == EVENT] == told


def test_an_edited_plan_replaces_its_own_outcomes(consortium):
    consortium.run(plan_of())
    before = outcomes(consortium)
    summary = consortium.run(plan_of(n_train=50, targets=("bern/skin",)))
    after = outcomes(consortium)
    assert {key[4] for key in after} == {"bern/skin"}
    assert all(after[key] != before[key] for key in after)
    assert (summary.outcomes.written, summary.outcomes.removed) == (4, 8)


def test_outcomes_of_others_stay(consortium):
    mine = Outcome("pretraining", "auroc", 0, "anna/eyes", "bern/skin", 0.123)
    elsewhere = Outcome("pretraining", "auroc", 0, "zürich".replace("ü", "u") + "/x", "cork/lung", 0.5, 0.4)
    consortium.run(plan_of(scenarios=("architecture",)))
    store(consortium, mine, elsewhere)
    summary = consortium.run(plan_of(name="other"))
    found = outcomes(consortium)
    assert found[mine.key] == mine
    assert found[elsewhere.key] == elsewhere
    # Neither the value that stands, nor the two that were compared with another baseline.
    assert summary.outcomes.kept_out == 3


def test_what_somebody_corrected_by_hand_stays(consortium):
    consortium.run(plan_of())
    corrected = Outcome("pretraining", "auroc", 0, "anna/eyes", "bern/skin", 0.5, 0.4)
    store(consortium, corrected)
    consortium.run(plan_of())
    assert outcomes(consortium)[corrected.key] == corrected


def test_groups_and_failures_are_no_outcomes(consortium):
    consortium.sites["anna"].codes["eyes"] = "memory"
    group = ("anna/eyes", "bern/skin", "cork/lung")
    consortium.run(
        plan_of(scenarios=("co_training", "pretraining"), co_training={"groups": (group,), "rounds": 3})
    )
    keys = outcomes(consortium)
    assert {key[0] for key in keys} == {"pretraining"}
    assert {(key[3], key[4]) for key in keys} == {("bern/skin", "cork/lung"), ("cork/lung", "bern/skin")}
