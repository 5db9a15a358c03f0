"""Several parts read one after the other; what cannot be read is named and the rest goes on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from federation.errors import FedprintError
from federation.operations.part import Part

T = TypeVar("T")


@dataclass
class Readings:
    """What of a reading failed so far.

    Args:
        problems: Part → what is wrong.
    """

    problems: dict[str, FedprintError] = field(default_factory=dict)

    def of(self, part: Part[T]) -> T | None:
        """Return a part; None if it cannot be read."""
        try:
            return part.value()
        except FedprintError as error:
            self.problems[part.name] = error
            return None

    @property
    def codes(self) -> Mapping[str, str]:
        """Part → code of what is wrong, which may be told to anybody."""
        return {name: error.code for name, error in self.problems.items()}

    def to_json(self) -> dict[str, Any]:
        """Return what is wrong in words, for the people at this machine."""
        return {
            name: {"code": error.code, "text": str(error)} for name, error in sorted(self.problems.items())
        }
