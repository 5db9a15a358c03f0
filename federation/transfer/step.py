"""A step: one unit of work of a transfer experiment at one site, named by the hash of all that it says."""

import json
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, TypeAdapter, ValidationError, field_validator

from federation.canonical import canonical_json, sha256_hex
from federation.errors import ConfigError, MessageError
from federation.names import check_name, task_key
from federation.transfer.augmentation import AugmentationPolicy
from federation.transfer.recipe import Network, Recipe, Seed, Strict

SCRATCH, IMAGENET = "scratch", "imagenet"
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Start = Annotated[str, Field(pattern=r"^(scratch|imagenet|[0-9a-f]{64})$")]
"""Where weights begin: at random, at the site's own copy of the published ones, or at a model by its id."""

Part = Literal["validation", "test"]


class _Step(Strict):
    """What every step says.

    Args:
        site: Who shall do it.
        task: On which of its tasks.
        network: What is trained.
        recipe: How.
        start: Where its weights begin.
        n_train: How many training images are used, to simulate scarcity; None: all.
        seed: Repetition: decides splits' subsets, random weights, order and augmentation.
        augmentation: Policy for training images; None: the plain one, flips and small shifts.
    """

    site: str
    task: str
    network: Network = Network()
    recipe: Recipe = Recipe()
    start: Start = SCRATCH
    n_train: int | None = Field(None, ge=4, le=10_000_000)
    seed: Seed = 0
    augmentation: AugmentationPolicy | None = None

    @field_validator("site", "task")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        try:
            return check_name("the", name)
        except ConfigError as error:
            raise ValueError(str(error)) from error

    @property
    def step_id(self) -> str:
        """SHA-256 over everything it says, 64 hexadecimal digits."""
        return sha256_hex(canonical_json(self.to_json()))

    @property
    def address(self) -> str:
        """Address of the task: ``site/task``."""
        return task_key(self.site, self.task)

    @property
    def model_id(self) -> str | None:
        """Id of the model that it begins at, if any."""
        return None if self.start in (SCRATCH, IMAGENET) else self.start

    def to_json(self) -> dict[str, Any]:
        """Return it as canonical JSON can hold it."""
        return self.model_dump(mode="json")


class TrainStep(_Step):
    """Train on a task, and measure.

    Args:
        measure: On which part of the data; a ranking must not see the test images.
        travels_to: Sites that the model shall travel to; empty: it stays.
    """

    kind: Literal["train"] = "train"
    measure: Part = "test"
    travels_to: tuple[str, ...] = Field((), strict=False, max_length=1000)


class SearchStep(_Step):
    """Search an augmentation policy on a task's training images.

    Args:
        candidates: How many policies are tried.
        travels_to: Sites that the policy shall travel to.
    """

    kind: Literal["search"] = "search"
    candidates: int = Field(8, ge=1, le=1000)
    travels_to: tuple[str, ...] = Field((), strict=False, max_length=1000)


class CotrainStep(_Step):
    """One round of training a shared backbone at one of several sites; each keeps a head of its own.

    Args:
        group: Names the common training; heads and optimizer states of a site belong to it.
        round: Which round this is, from 0.
        rounds: How many there are.
        partners: Sites that take part, this one among them.
        masked: Whether the trained backbone stays, to be summed under masks; else it leaves as it is.
        measure: On which part of the data, after the last round.
    """

    kind: Literal["cotrain"] = "cotrain"
    group: Digest
    round: int = Field(ge=0, lt=10_000)
    rounds: int = Field(ge=1, le=10_000)
    partners: tuple[str, ...] = Field(strict=False, min_length=2, max_length=1000)
    masked: bool = False
    measure: Part = "test"


Step: TypeAlias = TrainStep | SearchStep | CotrainStep
_ADAPTER: TypeAdapter[Step] = TypeAdapter(Annotated[Step, Field(discriminator="kind")])


def step_from_json(table: object) -> Step:
    """Read a step.

    Raises:
        MessageError: If it is malformed; the message names the first complaint.
    """
    try:
        return _ADAPTER.validate_json(json.dumps(table), strict=True)
    except (ValidationError, TypeError, ValueError) as error:
        why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else type(error).__name__
        raise MessageError(f"a step of a transfer experiment is malformed: {why}") from error
