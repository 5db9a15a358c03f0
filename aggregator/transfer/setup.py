"""What all scenarios of a plan share: how its sources and targets are trained."""

from collections.abc import Sequence
from dataclasses import dataclass

from aggregator.transfer.answer import parts_of, site_of
from aggregator.transfer.group import Group
from aggregator.transfer.offers import Offers
from aggregator.transfer.plan import TransferPlan
from federation.transfer.augmentation import AugmentationPolicy
from federation.transfer.recipe import Network, PrivateTraining, Recipe
from federation.transfer.step import SearchStep, TrainStep

Pair = tuple[str, str]
"""Addresses of source and target."""


@dataclass(frozen=True)
class Setup:
    """A plan, what policies allow, and who serves whom.

    Args:
        plan: The plan.
        offers: What policies allow.
        pairs: Source and target of every transfer.
    """

    plan: TransferPlan
    offers: Offers
    pairs: tuple[Pair, ...]

    def at_target(
        self,
        target: str,
        seed: int,
        *,
        network: Network | None = None,
        start: str = "",
        augmentation: AugmentationPolicy | None = None,
    ) -> TrainStep:
        """Return the training at a target, by default as the plan's network begins."""
        site, task = parts_of(target)
        return TrainStep(
            site=site,
            task=task,
            network=network or self.plan.network.architecture,
            recipe=self.plan.target_training,
            start=start or self.plan.network.start,
            n_train=self.plan.shrunk_to,
            seed=seed,
            augmentation=augmentation,
        )

    def model_of(
        self, source: str, seed: int, *, network: Network | None = None, start: str = ""
    ) -> TrainStep:
        """Return the training of a source whose model travels, to every target that it may travel to."""
        site, task = parts_of(source)
        return TrainStep(
            site=site,
            task=task,
            network=network or self.plan.network.architecture,
            recipe=self._with_noise(source, self.plan.source_training),
            start=start or self.plan.network.start,
            seed=seed,
            travels_to=self.offers.reachable(source, self._target_sites(source)),
        )

    def candidate(self, source: str, seed: int, network: Network) -> TrainStep:
        """Return the training of one network that a source ranks; no test image is seen."""
        site, task = parts_of(source)
        return TrainStep(
            site=site,
            task=task,
            network=network,
            recipe=self.plan.source_training,
            start=self.plan.architecture.start,
            seed=seed,
            measure="validation",
        )

    def search(self, source: str, seed: int) -> SearchStep:
        """Return the search of an augmentation policy at a source."""
        site, task = parts_of(source)
        return SearchStep(
            site=site,
            task=task,
            network=self.plan.network.architecture,
            recipe=self.plan.source_training,
            start=self.plan.network.start,
            seed=seed,
            candidates=self.plan.augmentation.candidates,
            travels_to=self._target_sites(source),
        )

    def group(self, members: Sequence[str], shrunk: Sequence[str], seed: int, *, masked: bool) -> Group:
        """Return a common training within the budget of a target: its epochs are spread over the rounds.

        Args:
            members: Addresses of all.
            shrunk: Those that train on as few images as the plan's targets.
            seed: The repetition.
            masked: Whether updates are only summed under masks.
        """
        recipe, planned = self.plan.target_training, self.plan.co_training
        return Group(
            tuple((each, self.plan.shrunk_to if each in shrunk else None) for each in sorted(members)),
            self.plan.network.architecture,
            recipe.model_copy(update={"epochs": recipe.epochs // planned.rounds}),
            planned.rounds,
            self.plan.network.start,
            seed,
            masked,
        )

    def _with_noise(self, source: str, recipe: Recipe) -> Recipe:
        noise = self._noise_for(source)
        return recipe if noise is None else recipe.model_copy(update={"private": noise})

    def _noise_for(self, source: str) -> PrivateTraining | None:
        if self.plan.private is None:
            return None
        offer = self.offers.get(source)
        asked = source in self.plan.private.tasks or (offer is not None and offer.models == "private")
        return self.plan.private.training if asked else None

    def _target_sites(self, source: str) -> tuple[str, ...]:
        return tuple(sorted({site_of(target) for served_by, target in self.pairs if served_by == source}))
