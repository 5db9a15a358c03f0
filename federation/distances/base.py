"""What every distance between tasks declares and does."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from federation.distances.noise import Matrix, NoiseModel
from federation.fingerprint import Fingerprint
from federation.sketches import Sketch

__all__ = ["CARD", "Comparable", "Distance", "Matrix"]

Comparable: TypeAlias = Sketch | Fingerprint

CARD = "card"
"""What distances need that compare task cards; they take fingerprints only."""


@dataclass(frozen=True, kw_only=True)
class Distance(ABC):
    """A directed distance from source tasks to target tasks; lower means more transfer expected.

    Args:
        name: What people type.
        formula: Definition in one line, for one feature unless it says otherwise.
        origin: Paper or method it follows.
        needs: Kind of sketch it compares, or ``CARD``.
        symmetric: Whether D(a→b) = D(b→a).
        zero_self: Whether D(T→T) = 0 for every task T.
        non_negative: Whether D ≥ 0 between exact sketches.
        noise: What it does when sketches carry noise.
        ties: What puts sources at equal distance in order: their address, or their number of labelled
            images, larger first.
        direction: What rows and columns of the matrix mean.
        on_demand: Whether it is computed only when asked for by name, being too slow for every catalogue.
        noise_model: What noise does to it in closed form; where there is one, what noise adds is subtracted.
    """

    name: str
    formula: str
    origin: str
    needs: str
    symmetric: bool
    zero_self: bool
    non_negative: bool
    noise: str
    ties: Literal["address", "size"] = "address"
    direction: str = "source→target"
    on_demand: bool = False
    noise_model: NoiseModel | None = None

    @abstractmethod
    def matrix(self, sources: Sequence[Comparable], targets: Sequence[Comparable]) -> Matrix:
        """Return the distance of every source to every target.

        Args:
            sources: Sketches of the kind that ``needs`` names, or fingerprints that carry one.
            targets: Likewise, of the same space.

        Returns:
            float64 [n_sources, n_targets], finite.

        Raises:
            FingerprintError: If a sketch is missing, of another kind, or holds no images.
            SpaceMismatchError: If the sketches are not all of one space.
        """
