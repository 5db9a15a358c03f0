import pytest

from federation.transfer.recipe import Recipe
from site_agent.training.schedule import learning_rate


@pytest.mark.parametrize(
    ("schedule", "epoch", "share"),
    [
        ("cosine", 0, 1),
        ("cosine", 20, 0.5),
        ("cosine", 40, 0),
        ("constant", 39.5, 1),
        ("step", 24.9, 1),
        ("step", 25, 0.1),
        ("step", 50, 0.01),
    ],
)
def test_the_rate_at_moments_of_40_epochs(schedule, epoch, share):
    recipe = Recipe(schedule=schedule, learning_rate=0.5)
    assert learning_rate(recipe, epoch, 40) == pytest.approx(0.5 * share, abs=1e-12)
