"""From findings to outcomes: what was measured enters the catalogue like any measured transfer.

A plan replaces its own earlier outcomes alone. What somebody else measured for the same source, target,
scenario, metric and seed stays, and so does a baseline that others of the repetition were compared with.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from aggregator.outcome_table import digest
from aggregator.outcomes import Key, Outcome, Repetition
from aggregator.store import Catalogue
from aggregator.study import SCENARIOS
from aggregator.transfer.answer import site_of
from aggregator.transfer.experiment import Finding
from federation.log.kinds import TRANSFER_OUTCOMES
from federation.transfer.result import AUROC, BALANCED_ACCURACY

EVENT = TRANSFER_OUTCOMES
PASSED_ON = (AUROC, BALANCED_ACCURACY)
"""Metrics of which more is better, as outcomes demand."""


@dataclass(frozen=True)
class Bridged:
    """What became of the outcomes of a plan.

    Args:
        written: Number that were written, new ones and changed ones.
        removed: Number of earlier ones of the plan that are measured no more.
        kept_out: Number that were not written: somebody else's outcome or baseline stands in their place.
    """

    written: int = 0
    removed: int = 0
    kept_out: int = 0


def bridge_outcomes(catalogue: Catalogue, findings: Sequence[Finding], plan: str, job_id: str) -> Bridged:
    """Bring the findings of a plan into the catalogue's outcomes, all at once.

    Args:
        catalogue: The catalogue.
        findings: All findings of the plan.
        plan: Name of the plan.
        job_id: Id of the job.
    """
    stored = {outcome.key: outcome for outcome in catalogue.outcomes()}
    own = _own(catalogue.events(), plan, stored)
    others = {key: outcome for key, outcome in stored.items() if key not in own}
    measured = {outcome.key: (outcome, finding) for finding in findings for outcome in outcomes_of(finding)}
    fitting = {key: told for key, told in measured.items() if _fits(told[0], others)}
    changed = [told for key, told in fitting.items() if stored.get(key) != told[0]]
    gone = [stored[key] for key in own if key not in fitting]
    if changed or gone:
        with catalogue.writing() as writer:
            # Removed first: a new baseline must not meet the old one in rows that are about to change.
            writer.remove_outcomes([*gone, *(stored[key] for key in own if key in fitting)])
            writer.add_outcomes([outcome for outcome, _ in fitting.values()])
            table = digest(writer.outcomes())
            for site, rows in _by_target_site(fitting.values()).items():
                writer.add_event(EVENT, job_id, plan=plan, site=site, rows=rows, table=table)
            if not fitting:
                writer.add_event(EVENT, job_id, plan=plan, rows=[], table=table)
    return Bridged(len(changed), len(gone), len(measured) - len(fitting))


def outcomes_of(finding: Finding) -> Iterable[Outcome]:
    """Return what a finding says as outcomes: nothing unless one source was measured at one target."""
    asked = finding.experiment
    if finding.state != "done" or asked.scenario not in SCENARIOS or asked.source.count("/") != 1:
        return
    for metric in PASSED_ON:
        if metric in finding.scores:
            value, baseline = finding.scores[metric].value, finding.baseline.get(metric)
            yield Outcome(asked.scenario, metric, asked.seed, asked.source, asked.target, value, baseline)


def _own(events: Iterable[Mapping[str, object]], plan: str, stored: Mapping[Key, Outcome]) -> set[Key]:
    """Return the stored outcomes that a plan wrote, last of all, and nobody changed since."""
    written: dict[Key, tuple[str, object]] = {}
    for event in events:
        rows = event.get("rows") if event["kind"] == EVENT else None
        for row in rows if isinstance(rows, list) else []:
            written[_key(row)] = (str(event["plan"]), row["value"])
    return {
        key for key, outcome in stored.items() if key in written and written[key] == (plan, outcome.value)
    }


def _fits(outcome: Outcome, others: Mapping[Key, Outcome]) -> bool:
    if outcome.key in others:
        return False
    standing: dict[Repetition, float] = {
        other.repetition: other.baseline for other in others.values() if other.baseline is not None
    }
    return outcome.baseline in (None, standing.get(outcome.repetition, outcome.baseline))


def _by_target_site(told: Iterable[tuple[Outcome, Finding]]) -> dict[str, list[dict[str, object]]]:
    """Return site → what was measured at its tasks: nobody else is shown it."""
    found: dict[str, list[dict[str, object]]] = {}
    for outcome, finding in told:
        found.setdefault(site_of(outcome.target), []).append(_row(outcome, finding))
    return found


def _row(outcome: Outcome, finding: Finding) -> dict[str, object]:
    return asdict(outcome) | {"steps": list(finding.steps)}


def _key(row: Mapping[str, object]) -> Key:
    seed = row["seed"]
    if not isinstance(seed, int):
        raise TypeError("the seed of a row is no whole number")
    return (str(row["scenario"]), str(row["metric"]), seed, str(row["source"]), str(row["target"]))
