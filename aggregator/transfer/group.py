"""A group: tasks of several sites that train one backbone together, each with a head of its own."""

from dataclasses import dataclass
from functools import cached_property

from aggregator.transfer.answer import parts_of, site_of
from federation.canonical import canonical_json, sha256_hex
from federation.transfer.recipe import Network, Recipe
from federation.transfer.step import CotrainStep


@dataclass(frozen=True)
class Group:
    """A common training, from its beginning to the scores at the end.

    Args:
        members: Address of a task and the number of training images it is shrunk to (None: all), ordered.
        network: What is trained.
        recipe: How; ``epochs`` are those of one round at one site.
        rounds: How many there are; the averages lie between them.
        start: Where the first round begins: ``scratch`` or ``imagenet``.
        seed: Which repetition.
        masked: Whether updates are only summed under masks.
    """

    members: tuple[tuple[str, int | None], ...]
    network: Network
    recipe: Recipe
    rounds: int
    start: str
    seed: int
    masked: bool

    @cached_property
    def group_id(self) -> str:
        """SHA-256 over everything it says, 64 hexadecimal digits."""
        said = {
            "members": [list(member) for member in self.members],
            "network": self.network.model_dump(mode="json"),
            "recipe": self.recipe.model_dump(mode="json"),
            "rounds": self.rounds,
            "start": self.start,
            "seed": self.seed,
            "masked": self.masked,
        }
        return sha256_hex(canonical_json(said))

    @property
    def addresses(self) -> tuple[str, ...]:
        """Addresses of the members, ordered."""
        return tuple(address for address, _ in self.members)

    @property
    def partners(self) -> tuple[str, ...]:
        """The site of every member, ordered."""
        return tuple(sorted(site_of(address) for address in self.addresses))

    def step(self, member: str, number: int, start: str | None) -> CotrainStep:
        """Return what a member does in a round.

        Args:
            member: Address of its task.
            number: The round, from 0.
            start: Id of the average of the round before; None in the first one.
        """
        site, task = parts_of(member)
        return CotrainStep(
            site=site,
            task=task,
            network=self.network,
            recipe=self.recipe,
            start=start or self.start,
            n_train=dict(self.members)[member],
            seed=self.seed,
            group=self.group_id,
            round=number,
            rounds=self.rounds,
            partners=self.partners,
            masked=self.masked,
        )
