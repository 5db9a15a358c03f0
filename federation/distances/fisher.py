"""Distances between Fisher embeddings: FED and Task2Vec."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from federation.distances.base import Comparable, Distance, Matrix
from federation.distances.embedding import EmbeddingStack, embedding_pair
from federation.distances.stack import slices
from federation.sketches import FisherSketch
from federation.threads import for_each

BLOCK = 2**22  # numbers of one side of a matrix product at a time (32 MiB)
_SIDE = 16  # targets that are compared with one source at a time
_DOWN = 2.0**-40
_LENGTH = 2**12  # filters of them; what is computed between then stays in a core's cache


@dataclass(frozen=True, kw_only=True)
class FisherDistance(Distance):
    """A distance between Fisher embeddings; an embedding of zeros is at distance 1 from all others."""

    needs: str = FisherSketch.kind


@dataclass(frozen=True, kw_only=True)
class RawCosine(FisherDistance):
    """1 − cos of the embeddings as they are (Godau and Maier-Hein 2021, FED).

    Noise leaves inner products right on average and lengthens the vectors by a known amount, which is
    subtracted from their squared lengths. A length that noise hides counts as the least that would show, one
    standard error. Between noisy embeddings the cosine can exceed one, and the distance be negative.
    """

    def matrix(self, sources: Sequence[Comparable], targets: Sequence[Comparable]) -> Matrix:
        """Return float64 [n_sources, n_targets]: the distance of every source to every target."""
        if not (len(sources) and len(targets)):
            return np.zeros((len(sources), len(targets)))
        left, right = embedding_pair(sources, targets)
        products, own, others = np.zeros((len(left), len(right))), np.zeros(len(left)), np.zeros(len(right))
        for part in slices(left.n_weights, max(1, BLOCK // max(len(left), len(right)))):
            # Scaled down, so that squares of sums near 2^63 stay finite for any number of columns.
            x, y = left.columns(part) * _DOWN, right.columns(part) * _DOWN
            products += x @ y.T
            own += np.einsum("nd,nd->n", x, x)
            others += np.einsum("nd,nd->n", y, y)
        noisy = left.is_noisy or right.is_noisy
        own, others = (_without_noise(squares, side) for squares, side in ((own, left), (others, right)))
        values = _one_minus_cosine(products, own[:, None], others[None], can_be_negative=noisy)
        if noisy:
            values[_same(left, right)] = 0.0
        return values


@dataclass(frozen=True, kw_only=True)
class NormalisedCosine(FisherDistance):
    """1 − cos(F_s/(F_s + F_t + ε), F_t/(F_s + F_t + ε)) per filter (Achille et al. 2019, d_sym).

    Args:
        epsilon: ε, in units of the mean of both embeddings; in units of the embeddings where ``absolute``.
        absolute: Whether ε is an absolute number, as published (1e-8).
    """

    epsilon: float = 1e-8
    absolute: bool = False

    def matrix(self, sources: Sequence[Comparable], targets: Sequence[Comparable]) -> Matrix:
        """Return float64 [n_sources, n_targets]: the distance of every source to every target."""
        if not (len(sources) and len(targets)):
            return np.zeros((len(sources), len(targets)))
        return self._of_stacks(*embedding_pair(sources, targets))

    def _of_stacks(self, left: EmbeddingStack, right: EmbeddingStack) -> Matrix:
        x = np.maximum(left.per_filter(), 0.0)
        if left.is_same_as(right):
            values = self._of_rows(x, x, mirrored=True)
            lower = np.tril_indices(len(values), -1)
            values[lower] = values.T[lower]
            return np.asarray(values)
        y = np.maximum(right.per_filter(), 0.0)
        return self._of_rows(x, y, mirrored=False)

    def _of_rows(self, x: Matrix, y: Matrix, *, mirrored: bool) -> Matrix:
        products, own, others = (np.zeros((len(x), len(y))) for _ in range(3))
        epsilon = self._epsilons(x, y)

        def compare(tile: tuple[int, slice]) -> None:
            source, columns = tile
            for part in slices(x.shape[1], _LENGTH):
                a, b = x[source, part], y[columns, part]
                weight = 1.0 / np.square(b + (a + epsilon[source, columns, None]))
                products[source, columns] += (weight * b) @ a
                own[source, columns] += weight @ (a * a)
                np.square(b, out=(squares := np.empty_like(b)))
                others[source, columns] += np.einsum("td,td->t", weight, squares)

        tiles = [
            (source, columns)
            for source in range(len(x))
            for columns in slices(len(y), _SIDE)
            if not mirrored or columns.stop > source
        ]
        for_each(tiles, compare)
        return _one_minus_cosine(products, own, others)

    def _epsilons(self, x: Matrix, y: Matrix) -> Matrix:
        """Return float64 [n_sources, n_targets], positive."""
        if self.absolute:
            return np.full((len(x), len(y)), self.epsilon)
        scale = (x.mean(axis=1)[:, None] + y.mean(axis=1)[None]) / 2
        return np.asarray(np.maximum(self.epsilon * scale, 1e-140))


@dataclass(frozen=True, kw_only=True)
class AsymmetricCosine(NormalisedCosine):
    """d_sym(F_s, F_t) − α d_sym(F_s, t0): sources far from trivial are preferred (Achille et al. 2019).

    The trivial embedding t0 is the posterior that equals the prior: every filter equally informative. Its
    level is taken from the source's own mean, so that the term measures how unevenly the source's information
    lies on the filters, and does not depend on the unit or on how confident the head is. No other task enters
    it: a new task changes no old value.

    Args:
        alpha: α; the published value for ResNet34 is 0.15.
    """

    alpha: float = 0.15

    def matrix(self, sources: Sequence[Comparable], targets: Sequence[Comparable]) -> Matrix:
        """Return float64 [n_sources, n_targets]: the distance of every source to every target."""
        if not (len(sources) and len(targets)):
            return np.zeros((len(sources), len(targets)))
        left, right = embedding_pair(sources, targets)
        return np.asarray(self._of_stacks(left, right) - self.alpha * self.to_trivial(left)[:, None])

    def to_trivial(self, stack: EmbeddingStack) -> Matrix:
        """Return float64 [n_tasks]: d_sym of every task to the trivial embedding at its own level."""
        x = np.maximum(stack.per_filter(), 0.0)
        rows = [self._of_rows(row[None], np.full((1, len(row)), row.mean()), mirrored=False) for row in x]
        return np.concatenate(rows)[:, 0]


def _one_minus_cosine(
    products: Matrix, own: Matrix, others: Matrix, *, can_be_negative: bool = False
) -> Matrix:
    """Return 1 − ⟨x, y⟩ / ‖x‖‖y‖; two vectors of zeros are alike, one is unlike everything else."""
    norms = np.sqrt(own) * np.sqrt(others)
    alike = (own == 0) & (others == 0)
    cosine = np.divide(products, norms, out=np.zeros_like(products), where=norms > 0)
    values = 1.0 - np.where(alike, 1.0, cosine)
    return values if can_be_negative else np.maximum(values, 0.0)


def _without_noise(squares: Matrix, stack: EmbeddingStack) -> Matrix:
    """Return squared lengths of scaled sums less what noise adds, float64 [n_tasks]."""
    energies = stack.noise_variances() * (_DOWN**2 * stack.n_weights)
    least = energies * np.sqrt(2 / stack.n_weights)  # standard error of the energy of so many numbers
    return np.asarray(np.maximum(squares - energies, least))


def _same(left: EmbeddingStack, right: EmbeddingStack) -> npt.NDArray[np.bool_]:
    """Return bool [n_sources, n_targets]: where a sketch is compared with itself, noise and all."""
    return np.array([[ours is theirs for theirs in right.sketches] for ours in left.sketches])


_NOISE = (
    "what it adds to squared lengths on average is subtracted; can then be negative (Spearman .86 at ε = 1, "
    ".99 at ε = 4, n = 1,000, public head)"
)
_NORMALISED_NOISE = (
    "strong: every filter counts alike, so that noise in the many small numbers outweighs the few large "
    "ones; what noise made negative counts as zero (Spearman .2 at ε = 1, .4 at ε = 8, n = 1,000: use fed)"
)
FED = RawCosine(
    name="fed",
    formula="1 − cos(F_s, F_t) of the mean squared gradients F",
    origin="Godau and Maier-Hein 2021, arXiv 2107.03949",
    symmetric=True,
    zero_self=True,
    non_negative=True,
    noise=_NOISE,
)
TASK2VEC = NormalisedCosine(
    name="task2vec",
    formula="1 − cos(F_s/(F_s + F_t + ε), F_t/(F_s + F_t + ε)), F per filter, ε = 1e-8 of their mean",
    origin="Achille et al., ICCV 2019, arXiv 1902.03545; there ε = 1e-8 in any unit",
    symmetric=True,
    zero_self=True,
    non_negative=True,
    noise=_NORMALISED_NOISE,
)
TASK2VEC_PUBLISHED = NormalisedCosine(
    name="task2vec-published",
    formula="1 − cos(F_s/(F_s + F_t + ε), F_t/(F_s + F_t + ε)), F per filter, ε = 1e-8",
    origin="Achille et al., ICCV 2019, arXiv 1902.03545, as in its code",
    symmetric=True,
    zero_self=True,
    non_negative=True,
    noise=_NORMALISED_NOISE,
    absolute=True,
)
TASK2VEC_ASYMMETRIC = AsymmetricCosine(
    name="task2vec-asymmetric",
    formula="task2vec(s, t) − 0.15 task2vec(s, t0), t0 = all filters alike at the mean of F_s",
    origin="Achille et al., ICCV 2019, arXiv 1902.03545",
    symmetric=False,
    zero_self=False,
    non_negative=False,
    noise=_NORMALISED_NOISE + "; source noise also makes the source look less trivial",
)
