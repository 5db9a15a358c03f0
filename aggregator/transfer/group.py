"""A group: tasks of several sites that train one backbone together, each with a head of its own."""

from dataclasses import dataclass
from functools import cached_property

from federation.canonical import canonical_json, sha256_hex
from federation.names import task_key
from federation.transfer.recipe import Network, Recipe
from federation.transfer.step import SCRATCH, CotrainStep, Part


@dataclass(frozen=True, order=True)
class Member:
    """One task of a group.

    Args:
        site: Its site.
        task: Its name there.
        n_train: How many training images it is shrunk to; None: all.
    """

    site: str
    task: str
    n_train: int | None = None

    @property
    def address(self) -> str:
        """Address of the task: ``site/task``."""
        return task_key(self.site, self.task)


@dataclass(frozen=True)
class Group:
    """A common training, from its beginning to the scores at the end.

    Args:
        members: Whose tasks; at least two.
        network: What is trained.
        recipe: How; ``epochs`` are those of one round at one site.
        rounds: How often there is an average.
        start: Where the first round begins: ``scratch`` or ``imagenet``.
        seed: Which repetition.
        masked: Whether updates are only summed under masks.
        measure: On which part of a member's data.
    """

    members: tuple[Member, ...]
    network: Network
    recipe: Recipe
    rounds: int
    start: str = SCRATCH
    seed: int = 0
    masked: bool = False
    measure: Part = "test"

    @cached_property
    def group_id(self) -> str:
        """SHA-256 over everything it says, 64 hexadecimal digits."""
        said = {
            "members": [[each.site, each.task, each.n_train] for each in sorted(self.members)],
            "network": self.network.model_dump(mode="json"),
            "recipe": self.recipe.model_dump(mode="json"),
            "rounds": self.rounds,
            "start": self.start,
            "seed": self.seed,
            "masked": self.masked,
            "measure": self.measure,
        }
        return sha256_hex(canonical_json(said))

    @property
    def partners(self) -> tuple[str, ...]:
        """The site of every member, sorted."""
        return tuple(sorted(each.site for each in self.members))

    def step(self, member: Member, round_number: int, start: str | None = None) -> CotrainStep:
        """Return what a member does in a round.

        Args:
            member: The member.
            round_number: From 0; ``rounds`` is the last: nothing is trained in it, the last average is
                measured with the member's own head.
            start: Id of the average of the round before; None in the first one.
        """
        return CotrainStep(
            site=member.site,
            task=member.task,
            network=self.network,
            recipe=self.recipe,
            start=start or self.start,
            n_train=member.n_train,
            seed=self.seed,
            group=self.group_id,
            round=round_number,
            rounds=self.rounds,
            partners=self.partners,
            masked=self.masked,
            measure=self.measure,
        )
