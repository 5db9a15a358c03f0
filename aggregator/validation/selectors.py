"""What can choose sources: every distance of the study, and the rules of thumb it has to beat."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import boxcox

from aggregator.study import Floats, Setting, Study
from federation.errors import StudyError

LARGEST_SOURCE = "largest_source"
RANDOM = "random"
RECOMMENDER = "recommender"
NO_TRANSFER = "no_transfer"

RESERVED = (LARGEST_SOURCE, RANDOM, RECOMMENDER, NO_TRANSFER)
"""Names that no distance may have."""

_P2L = "p2l"
_SIMILARITY_WEIGHT, _SIZE_WEIGHT = 1.5, 1.0


@dataclass(frozen=True)
class Selector:
    """A way to rank the sources of every target.

    Args:
        name: How results are labelled.
        affinity: Gives float64 [n_tasks, n_tasks] for a study and a setting, rows are sources and columns
            are targets, higher is more promising; NaN or −inf where it knows nothing. A selector that
            learns from outcomes must not look at a target's own, nor at those of targets in its groups,
            when it fills that target's column.
    """

    name: str
    affinity: Callable[[Study, Setting], Floats]


def selectors(study: Study) -> list[Selector]:
    """Return every distance of the study, P2L with its size term, and the largest source.

    Args:
        study: Where the distances and sizes come from; what it does not hold is left out.

    Raises:
        StudyError: If a distance is named like P2L with its size term.
    """
    found = [by_distance(name) for name in study.distances]
    if np.isfinite(_sizes(study)).any():
        found += [_p2l_with_size(name) for name in study.distances if name.startswith(_P2L)]
        found.append(Selector(LARGEST_SOURCE, _affinity_of_size))
    _check_distinct([each.name for each in found])
    return found


def _check_distinct(names: Sequence[str]) -> None:
    for i, name in enumerate(names):
        if name in names[:i]:
            raise StudyError(
                f"two selectors are called {name!r}: distances named p2l… get a second one with the source's "
                "size, whose name ends in '_with_size'",
                remedy="rename one of the files in distances/",
            )


def by_distance(name: str) -> Selector:
    """Return the selector that prefers the nearest source.

    Args:
        name: Name of the distance in the study.
    """
    return Selector(name, lambda study, _: -study.distances[name])


def _affinity_of_size(study: Study, _: Setting) -> Floats:
    return np.tile(_sizes(study)[:, None], len(study.tasks))


def _p2l_with_size(name: str) -> Selector:
    """Predict-to-Learn (Bhattacharjee et al., 2020) as weighted by Godau et al., arXiv 2412.08763.

    1.5 z(similarity) + z(Box-Cox(number of source images)); the similarity is standardised within every
    target, the size over the sources.
    """

    def affinity(study: Study, _: Setting) -> Floats:
        similarity = np.where(study.allowed, -study.distances[name], np.nan)
        size = _standardised(_normalised(_sizes(study)))[:, None]
        return _SIMILARITY_WEIGHT * _standardised(similarity) + _SIZE_WEIGHT * size

    return Selector(name.removesuffix("_without_size") + "_with_size", affinity)


def _sizes(study: Study) -> Floats:
    return np.array([study.facts[task].num_samples for task in study.tasks])


def _normalised(sizes: Floats) -> Floats:
    """Sizes after the Box-Cox transformation of greatest likelihood; unchanged if all are equal."""
    known = np.isfinite(sizes) & (sizes > 0)
    if len(np.unique(sizes[known])) < 2:
        return np.where(known, sizes, np.nan)
    transformed = np.full_like(sizes, np.nan)
    transformed[known] = boxcox(sizes[known])[0]
    return transformed


def _standardised(values: Floats) -> Floats:
    """Z-scores along the first axis among the known values; zero where all are equal."""
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=0), 1)
    centred = np.where(known, values - np.where(known, values, 0.0).sum(axis=0) / count, np.nan)
    spread = np.sqrt(np.where(known, centred**2, 0.0).sum(axis=0) / count)
    scores: Floats = centred / np.where(spread > 0, spread, 1.0)
    return scores
