"""Suggestions for a catalogue: what it has measured, what its plan took, and what sites offer."""

from collections.abc import Sequence
from dataclasses import replace

from aggregator import matrix
from aggregator.recommender.consortium import consortium_study
from aggregator.store import Catalogue
from aggregator.study import Setting, Study
from aggregator.transfer.cost import Costs, costs
from aggregator.transfer.experiment import Finding
from aggregator.transfer.report.load import Executed, executed
from aggregator.transfer.report.measured import comparable, with_outcomes
from aggregator.transfer.suggest import Allowed, Suggestion, allowed_by, suggest
from federation.errors import UnknownNameError
from federation.transfer.result import AUROC

_USUAL = "pretraining"


def suggest_next(
    catalogue: Catalogue,
    name: str = "",
    n: int = 10,
    *,
    scenarios: Sequence[str] = (),
    metric: str = AUROC,
    targets: Sequence[str] | None = None,
    nearest_by: str = "",
) -> tuple[Suggestion, ...]:
    """Return the most informative next experiments for a catalogue, best first.

    Args:
        catalogue: Fingerprints, outcomes, and the queue of plans.
        name: Plan whose times, offers and failures count; by default the one begun last, if any.
        n: How many at most.
        scenarios: What may be passed on; by default what the plan says, or pretraining.
        metric: What is to be improved.
        targets: Addresses of targets that count, by default all.
        nearest_by: Distance that ranks sources where nothing was measured; empty for the mean of all.

    Raises:
        UnknownNameError: If a plan of that name, or a target, does not exist.
    """
    plan = _last_plan(catalogue, name)
    study = _study(catalogue, plan)
    wanted = scenarios or (plan.known.plan.scenarios if plan else (_USUAL,))
    strangers = sorted(set(targets or ()) - set(study.tasks))
    if strangers:
        raise UnknownNameError(
            f"there is no task {strangers[0]!r}", remedy=f"choose from: {', '.join(study.tasks)}"
        )
    return suggest(
        study,
        [Setting(scenario, metric) for scenario in wanted],
        n,
        costs=costs(plan.findings, plan.step_seconds) if plan else Costs(),
        allowed=_allowed(plan) if plan else None,
        targets=targets,
        nearest_by=nearest_by,
    )


def _last_plan(catalogue: Catalogue, name: str) -> Executed | None:
    try:
        return executed(catalogue, name)
    except UnknownNameError:
        if name:
            raise
        return None


def _study(catalogue: Catalogue, plan: Executed | None) -> Study:
    """The catalogue's tasks and outcomes; where the plan measured a setting, what it measured."""
    matrices = matrix.read_all(catalogue, catalogue.latest_space())
    study = consortium_study(matrices, catalogue.outcomes(), catalogue.shared_images())
    if plan is None:
        return study
    measured, _ = with_outcomes(study, comparable(plan.findings)[0])
    return replace(study, outcomes={**study.outcomes, **measured.outcomes})


def _allowed(plan: Executed) -> Allowed:
    """What policies allow and has not failed; what a roll call never answered is not known to be allowed."""
    offers = plan.known.offers.by_site
    permitted = allowed_by(offers, plan.known.plan.combined.parts) if offers else None
    failed = {_pair(finding) for finding in plan.findings if finding.state == "failed"}

    def allowed(scenario: str, source: str, target: str) -> bool:
        tried_in_vain = (scenario, source, target) in failed
        return not tried_in_vain and (permitted is None or permitted(scenario, source, target))

    return allowed


def _pair(finding: Finding) -> tuple[str, str, str]:
    asked = finding.experiment
    return asked.scenario, asked.source, asked.target
