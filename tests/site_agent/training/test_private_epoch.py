"""An epoch with noise: what it adds, what it divides by, and that it learns all the same."""

import math

import numpy as np
import pytest
import torch
from private_training import Vectors, make_epoch, private_recipe, small_head, source_of
from torch import nn

from federation.errors import TrainingError
from federation.privacy.accounting import rho_for
from federation.privacy.training import gradient_noise, noise_multiplier_for, training_rho
from federation.transfer.recipe import Recipe
from federation.transfer.step import TrainStep
from site_agent.training.private import noised, require_private_step, train_private_epoch

SIGMA = 2.0


def steps_of(examples, network, recipe, **changes):
    """What plain gradient descent at rate one subtracts in an epoch, all parameters as one vector."""
    recipe = recipe.model_copy(update={"learning_rate": 1.0, "schedule": "constant"})
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    before = flat(network)
    train_private_epoch(make_epoch(examples, network, recipe, optimizer=optimizer, **changes))
    return before - flat(network)


def flat(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()]).double().numpy()


def test_the_noise_of_an_epoch_has_the_stated_variance_whether_anybody_is_there_or_not():
    network = nn.Linear(20_000, 2)
    nobody = Vectors(source_of({"a": 1}).subset([]), shape=(20_000,))
    recipe = private_recipe(noise_multiplier=SIGMA, clip_norm=0.5, draws=12, batch_size=4)
    moved = steps_of(nobody, network, recipe)
    expected = math.sqrt(3) * SIGMA * 0.5 / 4  # three batches, divided by the public size of a batch
    assert abs(moved.std() / expected - 1) < 5 / math.sqrt(2 * len(moved))
    assert abs(moved.mean()) < 5 * expected / math.sqrt(len(moved))


def test_noise_is_drawn_anew_every_time():
    total = [torch.zeros(50, dtype=torch.int64)]
    noise = gradient_noise(1.0)
    assert not torch.equal(noised(total, noise)[0], noised(total, noise)[0])


def test_noise_on_whole_numbers_stays_in_whole_numbers():
    (found,) = noised([torch.arange(6).reshape(2, 3)], gradient_noise(1.0))
    assert (found.dtype, tuple(found.shape)) == (torch.int64, (2, 3))


def test_with_next_to_no_noise_it_is_gradient_descent_on_clipped_sums():
    examples = Vectors(source_of({"a": 1, "b": 2, "c": 1}))
    recipe = private_recipe(noise_multiplier=1e-4, clip_norm=0.5, draws=4, batch_size=4)
    moved = steps_of(examples, small_head(), recipe)
    assert 0 < np.linalg.norm(moved) <= 3 * 0.5 / 4 + 1e-2


def test_no_loss_is_told():
    examples = Vectors(source_of({"a": 1, "b": 2}))
    assert train_private_epoch(make_epoch(examples, small_head())) is None


def test_rates_follow_the_public_number_of_batches():
    rates = []

    class Watched(torch.optim.SGD):
        def step(self, closure=None):
            rates.append(self.param_groups[0]["lr"])

    network = small_head()
    recipe = private_recipe(epochs=2, draws=16, batch_size=4, learning_rate=1.0)
    examples = Vectors(source_of({"a": 1}))
    epoch = make_epoch(examples, network, recipe, optimizer=Watched(network.parameters(), lr=0.1), number=1)
    train_private_epoch(epoch)
    assert rates == [(1 + math.cos(math.pi * (1 + b / 4) / 2)) / 2 for b in range(4)]


def test_only_what_is_trained_moves():
    network = small_head()
    network[0].requires_grad_(False)
    before = network[0].weight.clone()
    optimizer = torch.optim.AdamW(network[2].parameters(), lr=0.1)
    train_private_epoch(make_epoch(Vectors(source_of({"a": 1})), network, optimizer=optimizer))
    assert torch.equal(network[0].weight, before)


def test_a_task_is_learnt_at_eps_8():
    rng = np.random.default_rng(0)
    source = source_of({f"p{n}": 1 for n in range(300)})

    class Separable(Vectors):
        labels_of_all = rng.integers(0, 2, 300)

        def __init__(self):
            super().__init__(source)
            self.labels = self.labels_of_all
            noise = np.random.default_rng(1).normal(0, 0.6, (300, 6))
            self.rows = torch.from_numpy(noise + (2 * self.labels[:, None] - 1)).float()

        def inputs(self, positions, chance):
            return self.rows[positions]

    examples, network, epochs = Separable(), nn.Linear(6, 2), 10
    sigma = noise_multiplier_for(rho_for(8.0, 1e-6), epochs)
    recipe = private_recipe(
        epochs=epochs, draws=300, batch_size=60, noise_multiplier=sigma, clip_norm=1.0, learning_rate=0.05
    )
    assert training_rho(sigma, epochs) <= rho_for(8.0, 1e-6)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.05)
    for number in range(epochs):
        train_private_epoch(make_epoch(examples, network, recipe, optimizer=optimizer, number=number))
    right = network(examples.rows).argmax(1).numpy() == examples.labels
    assert right.mean() > 0.9


PRIVATE = private_recipe()


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (TrainStep(site="anna", task="lungs"), "asks for no noise"),
        (TrainStep(site="anna", task="lungs", recipe=PRIVATE, n_train=50), "leave n_train out"),
        (TrainStep(site="anna", task="lungs", recipe=Recipe(private=PRIVATE.private)), "give draws"),
    ],
)
def test_steps_that_leave_something_to_the_data_are_refused(step, why):
    with pytest.raises(TrainingError, match=why):
        require_private_step(step)


def test_an_epoch_without_a_private_recipe_is_refused():
    with pytest.raises(TrainingError, match="asks for no noise"):
        train_private_epoch(make_epoch(Vectors(source_of({"a": 1})), small_head(), Recipe(draws=4)))
