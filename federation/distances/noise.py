"""What noise does to squared distances, in closed form: how much it adds, and how uncertain the rest is.

The distances meant here are ‖y_s − y_t‖² of vectors y that are linear in a sketch's array. Noise of variance
v in every number of the array and n images give y a covariance (v/n²) Σ, where Σ belongs to the space. So
noise adds (v/n²) tr Σ per task on average, which is subtracted, and what remains has the variance
2 a² ‖Σ‖_F² + 4 a y'Σy with a the sum of both tasks' v/n²: at most 4 a λ ‖y‖² with the largest eigenvalue λ.
Noise in the number of images stretches y besides.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from federation.canonical import sha256_hex
from federation.sketches import Sketch
from federation.sketches.base import Noise

Matrix: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Covariance:
    """What is needed of the covariance Σ that unit noise gives the vectors of one image.

    Args:
        trace: tr Σ.
        squares: ‖Σ‖_F², the sum of squared eigenvalues.
        largest: The largest eigenvalue.
    """

    trace: float
    squares: float
    largest: float


@dataclass(frozen=True)
class NoisyTask:
    """What is known of a task's noise.

    Args:
        noise: Array → variance of the noise in each of its numbers; empty for an exact sketch.
        n: Number of images in the units of the sketch.
    """

    noise: Noise
    n: float

    @classmethod
    def of(cls, sketch: Sketch) -> Self:
        """Return what a sketch says of its noise."""
        return cls(sketch.noise, sketch.n)


class NoiseModel(ABC):
    """How noise in a kind of sketch shows in a squared distance."""

    array: ClassVar[str]

    @abstractmethod
    def covariance(self, sketch: Sketch) -> Covariance:
        """Return Σ for sketches that share this one's parameters."""

    def count_variance(self, sketch: Sketch, noise: Noise) -> float:
        """Return the variance of the number of images."""
        del sketch
        return float(noise.get("n_images", 0))

    def energies(self, sketch: Sketch, tasks: Sequence[NoisyTask]) -> Matrix:
        """Return float64 [n_tasks]: how much each task's noise adds to its distances on average."""
        return self._intensity(tasks) * self.covariance(sketch).trace

    def standard_errors(
        self, sketch: Sketch, values: Matrix, sources: Sequence[NoisyTask], targets: Sequence[NoisyTask]
    ) -> Matrix:
        """Return float64 [n_sources, n_targets]: the standard errors that noise gives debiased distances.

        They are upper bounds where the vectors' noise is correlated, and leave out terms of third order.

        Args:
            sketch: A sketch of the space, of no images.
            values: float64 [n_sources, n_targets], debiased distances.
            sources: The sources' noise.
            targets: The targets' noise.
        """
        shape, distance = self.covariance(sketch), np.maximum(values, 0.0)
        a = self._intensity(sources)[:, None] + self._intensity(targets)
        stretch = self._stretch(sketch, sources)[:, None] + self._stretch(sketch, targets)
        variance = 2 * a**2 * shape.squares + 4 * a * shape.largest * distance + 2 * stretch * distance**2
        return np.asarray(np.sqrt(variance))

    def _intensity(self, tasks: Sequence[NoisyTask]) -> Matrix:
        return np.array([task.noise.get(self.array, 0) / max(task.n, 1.0) ** 2 for task in tasks])

    def _stretch(self, sketch: Sketch, tasks: Sequence[NoisyTask]) -> Matrix:
        """Squared relative error δ² of the number of images.

        It moves a distance d by 2δ⟨y_s − y_t, y_s⟩: that is dδ where both vectors are as long, and for one
        task 2dδ and the other nothing where the other's vector is zero. An error of 2d²δ² each covers both.
        """
        return np.array([self.count_variance(sketch, t.noise) / max(t.n, 1.0) ** 2 for t in tasks])


def without_noise(
    model: NoiseModel | None, values: Matrix, sources: Sequence[Sketch], targets: Sequence[Sketch]
) -> Matrix:
    """Return squared distances less what noise adds to them on average.

    A task has the same noise on both sides of its distance to itself, which therefore stays as it is, also
    where the two are copies.

    Args:
        model: What noise does; None changes nothing.
        values: float64 [n_sources, n_targets].
        sources: The sketches that were compared.
        targets: Likewise.
    """
    if model is None or not any(sketch.noise for sketch in (*sources, *targets)):
        return values
    ours, theirs = (model.energies(side[0], [NoisyTask.of(s) for s in side]) for side in (sources, targets))
    left, right = (np.array([_content(sketch) for sketch in side]) for side in (sources, targets))
    return less_energies(values, ours, theirs, left[:, None] == right)


def less_energies(values: Matrix, ours: Matrix, theirs: Matrix, same: npt.NDArray[np.bool_]) -> Matrix:
    """Return squared distances less the noise energies of both tasks.

    Args:
        values: float64 [n_sources, n_targets].
        ours: float64 [n_sources], what ``NoiseModel.energies`` gives.
        theirs: float64 [n_targets], likewise.
        same: bool [n_sources, n_targets], where source and target are one task, whose distance to itself
            its noise does not reach.
    """
    return np.where(same, values, values - ours[:, None] - theirs)


def _content(sketch: Sketch) -> str:
    """Return what two sketches share only if one is the other, wherever they were read from."""
    return sha256_hex(sketch.to_vector().tobytes())
