"""PLAN.toml: which transfer experiments are run, with which networks and budgets."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from aggregator.transfer.experiment import Scenario
from federation.config_file import read_config
from federation.errors import FedprintError
from federation.names import check_name
from federation.secagg.graph import MOST_COMPLETE
from federation.secagg.terms import SMALLEST_COHORT
from federation.transfer.recipe import Network, PrivateTraining, Recipe, Seed, Strict

SCENARIOS: tuple[str, ...] = get_args(Scenario)
Component = Literal["architecture", "pretraining", "augmentation"]
PlainStart = Literal["imagenet", "scratch"]
Tasks = Annotated[tuple[str, ...], Field(strict=False)]
GroupAddresses = Annotated[tuple[str, ...], Field(strict=False, min_length=2, max_length=1000)]
Groups = Annotated[
    Annotated[tuple[GroupAddresses, ...], Field(strict=False), Tag("list")]
    | Annotated[dict[str, GroupAddresses], Tag("table")],
    Discriminator(lambda groups: "table" if isinstance(groups, Mapping) else "list"),
]
MAX_SEEDS = 100


def _is_address(address: str) -> str:
    site, slash, task = address.partition("/")
    if not slash:
        raise ValueError(f"{address!r} is no address, expected site/task")
    try:
        check_name("site", site)
        check_name("task", task)
    except FedprintError as error:
        raise ValueError(str(error)) from error
    return address


def _each_once(named: tuple[object, ...], what: str) -> None:
    twice = [each for i, each in enumerate(named) if each in named[:i]]
    if twice:
        raise ValueError(f"{what} {twice[0]!r} is named twice")


def _check_cohort(cohort: str, group: tuple[str, ...]) -> None:
    try:
        check_name("cohort", cohort)
    except FedprintError as error:
        raise ValueError(str(error)) from error
    sites = tuple(address.partition("/")[0] for address in group)
    _each_once(sites, f"in the masked group {cohort}, where a site adds one update, the site")
    if not SMALLEST_COHORT <= len(group) <= MOST_COMPLETE:
        raise ValueError(
            f"the masked group {cohort} has {len(group)} tasks, expected {SMALLEST_COHORT} to "
            f"{MOST_COMPLETE}: the sum of two hides neither"
        )


class PlannedNetwork(Network):
    """The network of every experiment that does not choose another.

    Args:
        start: Where its weights begin where no model travels: the published ones, or at random.
    """

    start: PlainStart = "imagenet"

    @property
    def architecture(self) -> Network:
        """The network alone."""
        return Network(library=self.library, name=self.name, image_size=self.image_size)


class ArchitecturePlan(Strict):
    """Which networks a source ranks.

    Args:
        networks: ``"library:name"`` of every candidate.
        start: Where all of them begin; not all of them may have published weights at every site.
    """

    networks: tuple[str, ...] = Field((), strict=False, max_length=100)
    start: PlainStart = "scratch"

    @field_validator("networks")
    @classmethod
    def _are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        _each_once(networks, "network")
        for text in networks:
            network_named(text, Network().image_size)
        return networks


class AugmentationPlan(Strict):
    """How augmentation policies are searched.

    Args:
        candidates: How many policies a source tries.
    """

    candidates: int = Field(8, ge=1, le=1000)


class CotrainingPlan(Strict):
    """How backbones are trained together.

    Args:
        rounds: Number of rounds, with averages between them; the epochs of ``target_training``, a multiple
            of it, are spread over them.
        groups: Addresses of tasks that train together, with names or without; without any group, every source
            trains with every target.
        masked: Whether only the sum over a group is opened. Its name is then that of the cohort in which the
            policies of its sites let their updates be summed.
    """

    rounds: int = Field(5, ge=2, le=1000)
    groups: Groups = ()
    masked: bool = False

    @model_validator(mode="after")
    def _groups_are_possible(self) -> Self:
        for _, group in self.parties:
            _each_once(tuple(map(_is_address, group)), "the address")
        if self.masked:
            self._check_masked()
        return self

    @property
    def parties(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """The cohort and the addresses of every group; the cohort is empty where updates are not masked."""
        if isinstance(self.groups, dict):
            return tuple((name if self.masked else "", group) for name, group in self.groups.items())
        return tuple(("", group) for group in self.groups)

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses of all groups, in the order in which they are named."""
        return tuple(address for _, group in self.parties for address in group)

    def _check_masked(self) -> None:
        """Raise unless sites can sum: a task in one cohort, a site with one update, all with all others."""
        if not isinstance(self.groups, dict) and self.groups:
            raise ValueError(
                "masked needs names of groups, those of cohorts in the policies of their sites: "
                'groups = {chests = ["a/x", "b/y", "c/z"]}'
            )
        for cohort, group in self.parties:
            _check_cohort(cohort, group)
        _each_once(self.addresses, "the task of a masked group")


class CombinedPlan(Strict):
    """What a source passes on at once.

    Args:
        parts: Two or three of architecture, pretraining and augmentation.
    """

    parts: tuple[Component, ...] = Field(("architecture", "augmentation"), strict=False, min_length=2)

    @field_validator("parts")
    @classmethod
    def _differ(cls, parts: tuple[Component, ...]) -> tuple[Component, ...]:
        _each_once(parts, "part")
        return parts


class PrivatePlan(PrivateTraining):
    """DP-SGD for models that travel.

    Args:
        tasks: Addresses of sources that train with it even where their policy asks for none; the others do
            where their policy lets models leave as private only.
    """

    tasks: tuple[str, ...] = Field((), strict=False)

    @field_validator("tasks")
    @classmethod
    def _are_addresses(cls, tasks: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(_is_address, tasks))

    @property
    def training(self) -> PrivateTraining:
        """The noise alone."""
        return PrivateTraining(**self.model_dump(exclude={"tasks"}))


class TransferPlan(Strict):
    """A plan of transfer experiments.

    Args:
        name: Names the plan; its outcomes replace those of earlier plans of that name.
        federation: File of the simulated consortium; an aggregator passes it over.
        seeds: Repetitions.
        scenarios: What sources pass on.
        targets: Addresses of the tasks that are helped, or all.
        sources: Addresses of the tasks that help, or all.
        sources_per_target: How many sources each target tries, half of them the nearest by the catalogue's
            distance and half by chance; 0: all. Chosen once, before any outcome is seen.
        pairs: Source and target of every transfer, in place of the choice that ``targets``, ``sources`` and
            ``sources_per_target`` make; ``fedprint transfer suggest`` writes them.
        baselines: Where targets begin without a source; where scenarios begin is among it.
        n_train: Training images that a target is shrunk to; 0: all it has.
        slice_s: Seconds after which a site reports how far it is.
        deadline_s: Seconds without an answer, or without any progress, after which a step has failed.
        attempts: How often a step that failed for a passing reason is tried in one run.
        network: The network, unless a scenario chooses another.
        source_training: Budget of a source.
        target_training: Budget of a target, with a source and without.
        architecture: The ranking of networks.
        augmentation: The search of policies.
        co_training: The training of common backbones.
        combined: What is combined.
        private: DP-SGD of models that travel; None: sources whose policy demands it take no part.
    """

    name: str
    federation: str = ""
    seeds: tuple[Seed, ...] = Field((0, 1, 2), strict=False, min_length=1, max_length=MAX_SEEDS)
    scenarios: tuple[Scenario, ...] = Field(
        ("pretraining", "architecture", "augmentation", "co_training"), strict=False, min_length=1
    )
    targets: Literal["all"] | Tasks = "all"
    sources: Literal["all"] | Tasks = "all"
    sources_per_target: int = Field(0, ge=0)
    pairs: tuple[Annotated[tuple[str, str], Field(strict=False)], ...] = Field((), strict=False)
    baselines: tuple[PlainStart, ...] = Field(("imagenet", "scratch"), strict=False, min_length=1)
    n_train: int = Field(0, ge=0, le=10_000_000)
    slice_s: float = Field(20.0, gt=0, le=3600)
    deadline_s: float = Field(3600.0, gt=0, le=30 * 86400)
    attempts: int = Field(3, ge=1, le=100)
    network: PlannedNetwork = PlannedNetwork()
    source_training: Recipe = Recipe()
    target_training: Recipe = Recipe()
    architecture: ArchitecturePlan = ArchitecturePlan()
    augmentation: AugmentationPlan = AugmentationPlan()
    co_training: CotrainingPlan = CotrainingPlan()
    combined: CombinedPlan = CombinedPlan()
    private: PrivatePlan | None = None

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        return check_name("plan", name)

    @field_validator("targets", "sources")
    @classmethod
    def _are_addresses(cls, tasks: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if isinstance(tasks, tuple):
            _each_once(tuple(map(_is_address, tasks)), "the address")
            if not tasks:
                raise ValueError('names no task; "all" means every one')
        return tasks

    @field_validator("pairs")
    @classmethod
    def _are_pairs(cls, pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        _each_once(pairs, "the pair")
        for source, target in pairs:
            if _is_address(source) == _is_address(target):
                raise ValueError(f"{source!r} is source and target of a pair")
        return pairs

    @field_validator("seeds", "scenarios", "baselines")
    @classmethod
    def _are_each_once(cls, named: tuple[object, ...]) -> tuple[object, ...]:
        _each_once(named, "the entry")
        return named

    @field_validator("n_train")
    @classmethod
    def _is_enough(cls, n_train: int) -> int:
        if 0 < n_train < 4:
            raise ValueError(f"{n_train} images train nothing, expected 0 for all of them, or at least 4")
        return n_train

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for table, recipe in (("source", self.source_training), ("target", self.target_training)):
            if recipe.private is not None:
                raise ValueError(f"{table}_training.private belongs into the table [private]")
        ranks = "architecture" in self.scenarios or (
            "combined" in self.scenarios and "architecture" in self.combined.parts
        )
        if ranks and len(self.architecture.networks) < 2:
            raise ValueError(
                f"architecture.networks has {len(self.architecture.networks)} of at least 2 entries: "
                "a ranking needs something to rank"
            )
        if self.co_training.masked and not self.co_training.groups and "co_training" in self.scenarios:
            raise ValueError("co_training.masked needs co_training.groups: the sum of a pair hides nobody")
        return self

    @model_validator(mode="after")
    def _compares_what_is_alike(self) -> Self:
        for scenario in self.scenarios:
            arm = self.arm_without(scenario)
            if arm not in self.baselines:
                raise ValueError(
                    f"baselines leaves out {arm!r}, with which {scenario} is compared: all else must be alike"
                )
        epochs, rounds = self.target_training.epochs, self.co_training.rounds
        if "co_training" in self.scenarios and epochs % rounds:
            raise ValueError(
                f"target_training.epochs is {epochs}, expected a multiple of co_training.rounds, {rounds}: "
                "common training gets as many epochs as a target alone"
            )
        return self

    def arm_without(self, scenario: str) -> PlainStart:
        """Return where a target begins without a source, when all else is as in a scenario."""
        ranked = scenario == "combined" and "architecture" in self.combined.parts
        return self.architecture.start if scenario == "architecture" or ranked else self.network.start

    @classmethod
    def read(cls, path: Path) -> "TransferPlan":
        """Read a plan.

        Raises:
            ConfigError: If the file is missing or wrong.
        """
        return read_config(path, cls)

    @property
    def candidates(self) -> tuple[Network, ...]:
        """The networks that are ranked, in the size of the plan's network."""
        return tuple(network_named(text, self.network.image_size) for text in self.architecture.networks)

    @property
    def shrunk_to(self) -> int | None:
        """Training images of a target as steps say it; None: all."""
        return self.n_train or None


def network_named(text: str, image_size: int) -> Network:
    """Return the network of ``"library:name"``.

    Raises:
        ValueError: If it is none.
    """
    library, colon, name = text.partition(":")
    if not colon or library not in ("timm", "torchvision"):
        raise ValueError(f'{text!r} is no network, expected "timm:name" or "torchvision:name"')
    return Network.model_validate({"library": library, "name": name, "image_size": image_size})
