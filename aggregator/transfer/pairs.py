"""Who serves whom: which sources a target tries, decided before any outcome is seen."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain

from aggregator.config import HubConfig
from aggregator.transfer.answer import site_of
from aggregator.transfer.offers import Offers
from aggregator.transfer.plan import TransferPlan
from aggregator.transfer.setup import Pair
from federation.canonical import canonical_json, sha256_hex
from federation.errors import ConfigError, UnknownNameError
from federation.names import task_key

Distances = Mapping[Pair, float]
"""Source and target → distance; finite."""


def kept_apart(hub: HubConfig) -> tuple[frozenset[str], ...]:
    """Return the groups of tasks that never serve each other: they share images, or are one cohort's."""
    shared = [frozenset(group) for group in hub.shared_images.values()]
    pooled = [frozenset(task_key(site, cohort.task) for site in cohort.sites) for cohort in hub.cohort]
    return (*shared, *pooled)


def choose_pairs(
    plan: TransferPlan,
    known: Collection[str],
    offers: Offers,
    apart: Sequence[frozenset[str]],
    distances: Distances,
) -> tuple[Pair, ...]:
    """Return source and target of every transfer, ordered by target.

    Args:
        plan: The plan.
        known: Addresses of all tasks that are known.
        offers: What policies allow; a choice of some sources is made among those that take part.
        apart: Groups of tasks that never serve each other.
        distances: The catalogue's, as far as it has any.
    """
    if plan.pairs:
        named = sorted(plan.pairs, key=lambda pair: (pair[1], pair[0]))
        return tuple(pair for pair in named if may_serve(*pair, apart))
    targets = sorted(known) if plan.targets == "all" else sorted(plan.targets)
    sources = sorted(known) if plan.sources == "all" else sorted(plan.sources)
    chosen: list[Pair] = []
    for target in targets:
        possible = [source for source in sources if may_serve(source, target, apart)]
        chosen += [(source, target) for source in _some(plan, possible, target, offers, distances)]
    return tuple(chosen)


def check_addresses(plan: TransferPlan, sites: Collection[str]) -> None:
    """Raise unless all tasks that a plan names are of enrolled sites.

    Raises:
        UnknownNameError: Naming the first that is not.
    """
    named = [tasks for tasks in (plan.targets, plan.sources) if not isinstance(tasks, str)]
    for address in sorted(chain(*named, *plan.pairs, plan.co_training.addresses)):
        if site_of(address) not in sites:
            raise UnknownNameError(
                f"plan {plan.name} names {address}, whose site is not enrolled",
                remedy=f"choose tasks of: {', '.join(sorted(sites))}",
            )


def check_groups(plan: TransferPlan, shared_images: Iterable[Collection[str]]) -> None:
    """Raise where tasks that share images would train together: one's training images are another's test.

    Tasks of a cohort may, as they do under masks.

    Raises:
        ConfigError: Naming the first two.
    """
    for _, group in plan.co_training.parties if "co_training" in plan.scenarios else ():
        for shared in shared_images:
            both = sorted(set(group) & set(shared))
            if len(both) > 1:
                raise ConfigError(
                    f"plan {plan.name} lets {both[0]} and {both[1]} train together, which share images",
                    remedy="leave one of them out of the group in co_training.groups",
                )


def may_serve(source: str, target: str, apart: Iterable[frozenset[str]]) -> bool:
    """Return whether a source may serve a target; arguments as of ``choose_pairs``."""
    return source != target and not any(source in group and target in group for group in apart)


def _some(
    plan: TransferPlan, possible: Sequence[str], target: str, offers: Offers, distances: Distances
) -> list[str]:
    """Return all sources of a target, or half the nearest, half by chance."""
    n = plan.sources_per_target
    if n == 0 or n >= len(possible):
        return list(possible)
    taking_part = set(offers.addresses)
    candidates = [source for source in possible if source in taking_part] or list(possible)
    near = sorted(
        (source for source in candidates if (source, target) in distances),
        key=lambda source: (distances[source, target], source),
    )[: (n + 1) // 2]
    others = [source for source in candidates if source not in near]
    by_chance = sorted(others, key=lambda source: _lot(plan, source, target))
    return sorted([*near, *by_chance[: n - len(near)]])


def _lot(plan: TransferPlan, source: str, target: str) -> str:
    """Return what orders sources by chance: the same for the same names and seeds on every machine."""
    return sha256_hex(canonical_json([list(plan.seeds), source, target]))
