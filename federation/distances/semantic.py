"""Distances between what people say about two tasks: words and visual properties on their task cards."""

import unicodedata
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from federation.distances.base import CARD, Comparable, Distance, Matrix
from federation.errors import FingerprintError
from federation.expert_properties import PROPERTIES
from federation.fingerprint import Fingerprint
from federation.task_card import TaskCard

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Words = frozenset[str]


def normalised(words: Sequence[str]) -> Words:
    """Return a set of keywords in which case, spaces and Unicode forms make no difference."""
    folded = (" ".join(unicodedata.normalize("NFKC", word).casefold().split()) for word in words)
    return frozenset(word for word in folded if word)


@dataclass(frozen=True, kw_only=True)
class CardDistance(Distance):
    """A distance between task cards, which fingerprints carry; it does not depend on their space.

    What a card does not say has nothing in common with any other task, not even with one that says nothing
    either, so that silence never looks like resemblance; only a task is at no distance from itself.
    """

    needs: str = CARD

    def matrix(self, sources: Sequence[Comparable], targets: Sequence[Comparable]) -> Matrix:
        """Return float64 [n_sources, n_targets]: the distance of every source to every target."""
        left, right = _fingerprints(sources), _fingerprints(targets)
        if not (left and right):
            return np.zeros((len(left), len(right)))
        return self._compare([f.card for f in left], [f.card for f in right], _same_task(left, right))

    @abstractmethod
    def _compare(
        self, sources: Sequence[TaskCard], targets: Sequence[TaskCard], same: npt.NDArray[np.bool_]
    ) -> Matrix:
        """Return the distances; ``same`` [n_sources, n_targets] marks the pairs that are one task."""


@dataclass(frozen=True, kw_only=True)
class KeywordJaccard(CardDistance):
    """1 − |K_s ∩ K_t| / |K_s ∪ K_t| of keyword sets K, the "manual" selection of arXiv 2412.08763.

    There a small term of the number of samples puts equal sources in order; here the distance stays pure and
    the ranking does it.
    """

    def _compare(
        self, sources: Sequence[TaskCard], targets: Sequence[TaskCard], same: npt.NDArray[np.bool_]
    ) -> Matrix:
        left, right = ([normalised(card.keywords) for card in cards] for cards in (sources, targets))
        places = {word: i for i, word in enumerate(sorted(frozenset[str]().union(*left, *right)))}
        values = (_incidence(left, places) @ _incidence(right, places).T).toarray()
        union = np.add.outer(_sizes(left), _sizes(right))
        union -= values
        silent = union == 0
        np.divide(values, union, out=values, where=~silent)
        np.subtract(1.0, values, out=values)
        values[silent & same] = 0.0
        return np.asarray(values)


@dataclass(frozen=True, kw_only=True)
class PropertyHamming(CardDistance):
    """Number of the six expert properties in which two tasks differ, from 0 to 6."""

    def _compare(
        self, sources: Sequence[TaskCard], targets: Sequence[TaskCard], same: npt.NDArray[np.bool_]
    ) -> Matrix:
        stated = _one_hot(sources) @ _one_hot(targets).T
        silent = _unsaid(sources) @ _unsaid(targets).T
        return np.asarray(len(PROPERTIES) - stated - same * silent)


def _incidence(tasks: Sequence[Words], places: dict[str, int]) -> "csr_array":
    from scipy.sparse import csr_array  # slow to import

    columns = [places[word] for words in tasks for word in words]
    starts = np.cumsum([0, *map(len, tasks)])
    return csr_array((np.ones(len(columns)), columns, starts), shape=(len(tasks), max(1, len(places))))


def _sizes(tasks: Sequence[Words]) -> Matrix:
    return np.array([len(words) for words in tasks], dtype=np.float64)


def _one_hot(cards: Sequence[TaskCard]) -> Matrix:
    answers = [(known.name, answer) for known in PROPERTIES for answer in known.answers]
    return np.array(
        [[float(getattr(card.properties, name) == answer) for name, answer in answers] for card in cards]
    )


def _unsaid(cards: Sequence[TaskCard]) -> Matrix:
    return np.array(
        [[float(getattr(card.properties, known.name) is None) for known in PROPERTIES] for card in cards]
    )


def _same_task(left: Sequence[Fingerprint], right: Sequence[Fingerprint]) -> npt.NDArray[np.bool_]:
    places = {key: i for i, key in enumerate({f.key for f in (*left, *right)})}
    ours, theirs = (np.array([places[f.key] for f in side]) for side in (left, right))
    return np.asarray(np.equal.outer(ours, theirs))


def _fingerprints(items: Sequence[Comparable]) -> list[Fingerprint]:
    found = [item for item in items if isinstance(item, Fingerprint)]
    if len(found) < len(items):
        other = next(item for item in items if not isinstance(item, Fingerprint))
        raise FingerprintError(
            f"a {type(other).__name__} carries no task card",
            remedy="compare fingerprints instead of sketches",
        )
    return found


_NO_NOISE = "none is added to cards"

SEMANTIC = KeywordJaccard(
    name="semantic",
    formula="1 − |K_s ∩ K_t| / |K_s ∪ K_t|, K = keywords of the task card; 1 where neither names any",
    origin="Godau et al., arXiv 2412.08763, manual selection without its size term",
    symmetric=True,
    zero_self=True,
    non_negative=True,
    noise=_NO_NOISE,
    ties="size",
)
EXPERT = PropertyHamming(
    name="expert",
    formula="how many of six expert properties differ, 0 to 6; one that a card leaves out differs",
    origin="van den Brandt et al., Cats, not CAT scans; the properties are fedprint's",
    symmetric=True,
    zero_self=True,
    non_negative=True,
    noise=_NO_NOISE,
    ties="size",
)
