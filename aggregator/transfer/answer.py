"""Work that experiments need, and what became of it."""

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from federation.canonical import canonical_json, sha256_hex
from federation.names import task_key
from federation.transfer.recipe import Network
from federation.transfer.result import StepResult
from federation.transfer.step import CotrainStep, Step

HUB = ""
"""The site of work that the aggregator does itself."""


@dataclass(frozen=True)
class Average:
    """The mean of what sites trained in one round of a common training; the aggregator makes it.

    Args:
        steps: The steps whose models are averaged; all of one round, begun at the same weights.
        cohort: Where sites' policies let only the sum be seen, the cohort that they name; else empty.
    """

    steps: tuple[CotrainStep, ...]
    cohort: str = ""

    @cached_property
    def step_id(self) -> str:
        """SHA-256 over what is averaged, 64 hexadecimal digits."""
        return sha256_hex(canonical_json(self.to_json()))

    @property
    def site(self) -> str:
        """The aggregator."""
        return HUB

    @property
    def task(self) -> str:
        """The group, shortened."""
        return self.steps[0].group[:12]

    @property
    def kind(self) -> str:
        """What it is, as steps say it."""
        return "average"

    @property
    def network(self) -> Network:
        """The architecture."""
        return self.steps[0].network

    @property
    def start(self) -> str | None:
        """Id of the model at which the round began, None where it began at none that travels."""
        return self.steps[0].model_id

    def to_json(self) -> dict[str, object]:
        """Return it as canonical JSON can hold it."""
        return {"kind": self.kind, "steps": [step.step_id for step in self.steps]}


Work: TypeAlias = Step | Average


@dataclass(frozen=True)
class Done:
    """Work that was done.

    Args:
        result: What it found.
    """

    result: StepResult


@dataclass(frozen=True)
class Failed:
    """Work that cannot be done.

    Args:
        code: Code of the error.
        site: Where; empty at the aggregator.
    """

    code: str
    site: str = HUB

    def __str__(self) -> str:
        return f"{self.code} at {self.site or 'the aggregator'}"


Answer: TypeAlias = Done | Failed


def site_of(address: str) -> str:
    """Return the site of a task's address."""
    return address.partition("/")[0]


def parts_of(address: str) -> tuple[str, str]:
    """Return site and task of an address."""
    site, _, task = address.partition("/")
    return site, task


def address_of(work: Work) -> str:
    """Return the address of the task that some work is about."""
    return task_key(work.site, work.task)
