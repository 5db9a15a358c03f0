"""What the policies of sites let steps be: the answers to a roll call, read for planning."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction

from aggregator.transfer.answer import Failed, address_of, site_of
from federation.errors import PolicyError
from federation.names import task_key
from federation.transfer.messages import Offer
from federation.transfer.recipe import Network, Recipe
from federation.transfer.step import CotrainStep, SearchStep, Step, TrainStep

NO_REPLY = "no-reply"
POLICY = PolicyError.code


@dataclass(frozen=True)
class Offers:
    """What every site that ever answered a roll call of the plan lets its tasks take part in.

    Args:
        by_site: Site → its offers.
    """

    by_site: Mapping[str, tuple[Offer, ...]]

    def updated(self, answered: Mapping[str, tuple[Offer, ...]]) -> "Offers":
        """Return them with newer answers in place of older ones of the same sites."""
        return Offers({**self.by_site, **answered})

    @property
    def addresses(self) -> tuple[str, ...]:
        """Addresses of the tasks that figures may leave of."""
        return tuple(
            task_key(site, offer.task)
            for site, offers in sorted(self.by_site.items())
            for offer in offers
            if offer.measured
        )

    def get(self, address: str) -> Offer | None:
        """Return the offer of a task, None where it takes no part."""
        offers = self.by_site.get(site_of(address), ())
        return next((offer for offer in offers if task_key(site_of(address), offer.task) == address), None)

    def reachable(self, address: str, sites: Collection[str]) -> tuple[str, ...]:
        """Return those of some sites that models of a task may travel to, in order."""
        offer = self.get(address)
        allowed = set(offer.models_to) if offer else set()
        own = site_of(address)
        return tuple(sorted(site for site in set(sites) if not allowed or site == own or site in allowed))

    def obstacle(self, step: Step) -> Failed | None:
        """Return why a step needs not be asked for: its site is unknown, or its policy forbids it."""
        if step.site not in self.by_site:
            return Failed(NO_REPLY, step.site)
        offer = self.get(address_of(step))
        allowed = (
            offer is not None
            and offer.measured
            and _may_train(offer, step.network)
            and (_is_masked(step) or not recipients(step) or _may_leave(offer, step))
        )
        return None if allowed else Failed(POLICY, step.site)


def recipients(step: Step) -> frozenset[str]:
    """Return the other sites that the model of a step goes to."""
    if isinstance(step, SearchStep):
        return frozenset()
    named = step.travels_to if isinstance(step, TrainStep) else step.partners
    return frozenset(named) - {step.site}


def rho_of(recipe: Recipe) -> Fraction:
    """Return what a private training costs, zCDP: each epoch is a partition of the patients, 1/(2σ²)."""
    if recipe.private is None:
        raise ValueError("the recipe is not private")
    return Fraction(recipe.epochs) / (2 * Fraction(recipe.private.noise_multiplier) ** 2)


def _may_train(offer: Offer, network: Network) -> bool:
    name = f"{network.library}:{network.name}"
    return not offer.networks or bool({name, name.partition(".")[0]} & set(offer.networks))


def _is_masked(step: Step) -> bool:
    """Return whether only a sum is seen, which the site itself decides about."""
    return isinstance(step, CotrainStep) and step.masked


def _may_leave(offer: Offer, step: Step) -> bool:
    if not offer.models or (offer.models_to and recipients(step) - set(offer.models_to)):
        return False
    if step.recipe.private is None:
        return offer.models == "exact"
    return not offer.max_rho or rho_of(step.recipe) <= _amount(offer.max_rho)


def _amount(text: str) -> Fraction:
    """Return what a site says, nothing where it says nonsense."""
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        return Fraction(0)
