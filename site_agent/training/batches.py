"""Which examples make up the batches of an epoch."""

import numpy as np
import numpy.typing as npt

from federation.transfer.recipe import Recipe
from site_agent.training.streams import random_words

Indices = npt.NDArray[np.int64]


def epoch_batches(labels: Indices, recipe: Recipe, seed: int, number: int) -> list[Indices]:
    """Return the batches of one epoch, as equal in size as can be, and none of a single example.

    Statistics of a batch need two examples at least.

    With ``recipe.draws`` every draw takes a class by chance, all alike, and then one of its examples;
    without, every example comes once.

    Args:
        labels: int64 [n].
        recipe: Names draws and batch size.
        seed: Repetition.
        number: Which epoch.

    Returns:
        int64 arrays of positions.
    """
    if recipe.draws is None:
        order = np.argsort(random_words(len(labels), seed, "order", number), kind="stable")
    else:
        order = _balanced(labels, recipe.draws, seed, number)
    n_batches = min(-(-len(order) // recipe.batch_size), len(order) // 2)
    return list(np.array_split(order, max(1, n_batches)))


def _balanced(labels: Indices, draws: int, seed: int, number: int) -> Indices:
    by_class = np.argsort(labels, kind="stable")
    present, starts, counts = np.unique(labels[by_class], return_index=True, return_counts=True)
    words = random_words(2 * draws, seed, "order", number)
    chosen = (words[:draws] % np.uint64(len(present))).astype(np.int64)
    member = (words[draws:] % counts[chosen].astype(np.uint64)).astype(np.int64)
    drawn: Indices = by_class[starts[chosen] + member]
    return drawn
