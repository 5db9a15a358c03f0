"""How the learning rate falls."""

import math

from federation.transfer.recipe import Recipe

_STEP_EPOCHS, _STEP_FACTOR = 25, 0.1


def learning_rate(recipe: Recipe, epoch: float, total: int) -> float:
    """Return the learning rate at a moment of training.

    Args:
        recipe: Names peak and schedule.
        epoch: Epochs done, with fractions.
        total: Epochs in all.
    """
    if recipe.schedule == "cosine":
        return recipe.learning_rate * (1 + math.cos(math.pi * epoch / total)) / 2
    if recipe.schedule == "step":
        return recipe.learning_rate * _STEP_FACTOR ** (int(epoch) // _STEP_EPOCHS)
    return recipe.learning_rate
