"""How much two tasks resemble each other, by all distances and by their facts together."""

from collections.abc import Mapping

import numpy as np

from aggregator.study import Floats, Study

_REACH = 0.5  # share of the consortium over which resemblance falls to 1/e


def by_distances(distances: Mapping[str, Floats], n_tasks: int) -> Floats:
    """Return a kernel of tasks from ranks of symmetrised distances, mean over distances.

    Ranks make distances of any scale comparable. A task resembles another with exp(−rank/reach), where
    rank is the share of tasks that are at least as near.

    Args:
        distances: Name → float64 [n_tasks, n_tasks], NaN where unknown.
        n_tasks: Number of tasks.

    Returns:
        float64 [n_tasks, n_tasks], symmetric, positive semidefinite, ones on the diagonal; the identity
        where there is no distance.
    """
    kernels = [np.exp(-_ranks(values) / _REACH) for values in distances.values()]
    return _positive(np.mean(kernels, axis=0)) if kernels else np.eye(n_tasks)


def by_facts(traits: Floats) -> Floats:
    """Return a Gaussian kernel of standardised traits float64 [n_tasks, n_traits]."""
    difference = traits[:, None, :] - traits[None, :, :]
    return np.asarray(np.exp(-np.einsum("abk,abk->ab", difference, difference) / 4))


def by_modality(study: Study) -> dict[str, Floats]:
    """Return the distance ``modality``: 0 where two tasks state the same, 1 where they differ.

    NaN where one states nothing; no distance at all where fewer than two modalities are stated.
    """
    stated = [study.facts[task].domain.casefold().strip() for task in study.tasks]
    if len({*stated} - {""}) < 2:
        return {}
    words = np.array(stated)
    differs = (words[:, None] != words[None, :]).astype(np.float64)
    unknown = (words == "")[:, None] | (words == "")[None, :] | np.eye(len(words), dtype=bool)
    return {"modality": np.where(unknown, np.nan, differs)}


def traits(study: Study) -> Floats:
    """Return float64 [n_tasks, 2]: standardised logarithms of the numbers of images and classes.

    What is unknown is taken as average.
    """
    facts = [study.facts[task] for task in study.tasks]
    columns = [[fact.num_samples for fact in facts], [fact.num_classes for fact in facts]]
    return np.column_stack([_standardised(np.array(column, dtype=np.float64)) for column in columns])


def _ranks(values: Floats) -> Floats:
    """Rank of every other task by nearness, as a share of the known ones; 1 where unknown."""
    from scipy.stats import rankdata  # slow to import

    with np.errstate(invalid="ignore"):
        both = np.where(np.isfinite(values), values, values.T)
        both = (both + np.where(np.isfinite(values.T), values.T, both)) / 2
    ranks = np.ones_like(both)
    for target in range(len(both)):
        known = np.isfinite(both[:, target])
        known[target] = False
        if known.any():
            ranks[known, target] = rankdata(both[known, target]) / known.sum()
    np.fill_diagonal(ranks, 0.0)
    return np.asarray((ranks + ranks.T) / 2)


def _positive(kernel: Floats) -> Floats:
    """Remove negative eigenvalues and restore the diagonal of ones."""
    values, vectors = np.linalg.eigh(kernel)
    positive = (vectors * np.clip(values, 1e-9, None)) @ vectors.T
    scale = np.sqrt(np.diag(positive))
    return np.asarray(positive / np.outer(scale, scale))


def _standardised(column: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        logarithms = np.log(column)
    known = np.isfinite(logarithms)
    spread = logarithms[known].std() if known.any() else 0.0
    if spread == 0:
        return np.zeros(len(column))
    return np.where(known, (logarithms - logarithms[known].mean()) / spread, 0.0)
