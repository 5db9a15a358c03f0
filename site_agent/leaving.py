"""What would leave a site, in words and numbers, as far as that is known without reading an image."""

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from federation.privacy.accounting import eps_by_pld, eps_of
from federation.sketches.kinds import KINDS
from federation.task_card import TaskCard
from site_agent.cohort_policy import CohortPolicy
from site_agent.data import ImageSource
from site_agent.dataset_config import DatasetConfig
from site_agent.ledger.forecast import DAY
from site_agent.patients import bound_patients
from site_agent.policy import PrivateTerms, TaskPolicy

_EVERY_KIND = "every kind that the space names"
_SHOWN = 16  # digits of a key
_EXACT_SUM = (
    "whoever holds a patient's image can tell whether that patient is in one of the members' datasets, "
    "though not in which; all other members together can subtract their own"
)


def of_open(dataset: DatasetConfig, allowed: TaskPolicy, source: ImageSource) -> dict[str, Any]:
    """Return what would leave exactly."""
    return {
        "card": card_words(dataset.card(len(source), source.class_counts())),
        "sketches": _named(allowed.sketches, _EVERY_KIND) + ", exact",
        "spaces": _named(allowed.spaces, "any"),
        "because": allowed.open_because,
    }


def of_private(dataset: DatasetConfig, allowed: TaskPolicy, source: ImageSource) -> dict[str, Any]:
    """Return what would leave with noise."""
    return {
        "card": card_words(dataset.private_card()) | {"n_images": "what the noisy sketches say"},
        **_with_noise(allowed, source),
        "refresh": _refresh(allowed.terms),
    }


def of_pooled(allowed: TaskPolicy, source: ImageSource) -> dict[str, Any]:
    """Return what would leave as a part of a sum that nobody can take apart."""
    cohort = allowed.cohort
    if cohort is None:
        return {}
    if allowed.exact_sum_because:
        protection = {
            "sketches": _named(allowed.sketches, _EVERY_KIND) + ", without noise",
            "spaces": _named(allowed.spaces, "any"),
            "reveals": _EXACT_SUM,
            "because": allowed.exact_sum_because,
        }
    else:
        protection = _with_noise(allowed, source)
    return {**_cohort(cohort), **protection}


def of_transfer(allowed: TaskPolicy) -> dict[str, Any]:
    """Return what may leave in transfer experiments; nothing where the task takes no part in them."""
    policy = allowed.transfer
    if policy is None:
        return {}
    figures = {
        "figures": "scores, rankings of networks and augmentation policies, without noise",
        "figures because": policy.metrics_because,
    }
    if policy.models is None:
        return figures | {"models": "none"}
    return {
        **figures,
        "models": "exact" if policy.models == "exact" else f"with noise, each at most ρ = {_most(allowed)}",
        **({"models because": policy.models_because} if policy.models_because else {}),
        "models to": _named(policy.models_to, "any site"),
    }


def card_words(card: TaskCard) -> dict[str, Any]:
    """Return what a card says, without what it leaves empty."""
    return {name: value for name, value in card.to_json().items() if value}


def _cohort(cohort: CohortPolicy) -> dict[str, Any]:
    n = len(cohort.members)
    return {
        "cohort": cohort.name,
        "members": {name: f"{key[:_SHOWN]}…" for name, key in sorted(cohort.members.items())},
        "roster": cohort.roster_id,
        "sum": f"of {cohort.minimum} to {n} sites; fewer are not opened",
        "colluders": f"{cohort.colluders} of {n} members may work together with the aggregator and learn "
        "nothing but the sum of the others",
    }


def _with_noise(allowed: TaskPolicy, source: ImageSource) -> dict[str, Any]:
    terms = allowed.terms
    return {
        "spaces": _named(allowed.spaces, "any"),
        "sketches": _named(allowed.sketches, _EVERY_KIND),
        "eps": eps_of(terms.release_rho, terms.task.delta),
        "eps_by_pld": eps_by_pld(terms.release_rho, terms.task.delta),
        "delta": terms.task.delta,
        "rho": str(terms.release_rho),
        "noise": _noise(allowed),
        "unit": bound_patients(source, terms.images_per_patient).unit,
        "images_per_patient": terms.images_per_patient,
    }


def _most(allowed: TaskPolicy) -> str:
    return str(allowed.terms.release_rho)


def _refresh(terms: PrivateTerms) -> str:
    """Return what happens to a release that stands, in words."""
    if terms.refresh == "never":
        return "never: the first release stands"
    days = (
        f"when what stands is {terms.refresh_seconds / DAY:g} days old, whether or not the data have changed"
    )
    replaced = {
        "new-patients": "new-patients: they are released, however few, and the sum is published",
        "whole": "whole: everybody is released anew, and paid for again",
    }
    return f"{replaced[terms.refresh]}, {days}"


def _noise(allowed: TaskPolicy) -> dict[str, float]:
    """Return ``kind.array`` → σ in units of what one patient can move it, where all kinds leave together."""
    kinds = sorted(allowed.sketches or KINDS)
    return {
        name: 1 / math.sqrt(2 * allowed.release_rho * share / len(kinds))
        for kind in kinds
        for name, share in _shares(kind).items()
    }


def _shares(kind: str) -> dict[str, Fraction]:
    """Return what each array of a kind spends; the kind as a whole where its space decides that."""
    shares: object = KINDS[kind].shares
    if not isinstance(shares, Mapping):
        return {kind: Fraction(1)}
    return {f"{kind}.{array}": share for array, share in shares.items()}


def _named(names: frozenset[str] | None, every: str) -> str:
    return every if names is None else ", ".join(sorted(names))
