import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from federation.transfer.recipe import Recipe
from site_agent.training.batches import epoch_batches


@given(st.integers(2, 200), st.integers(2, 64), st.integers(0, 5))
def test_an_epoch_without_draws_shows_every_image_once(n, batch_size, number):
    batches = epoch_batches(np.zeros(n, np.int64), Recipe(batch_size=batch_size), 0, number)
    assert sorted(np.concatenate(batches).tolist()) == list(range(n))


@given(st.integers(2, 200), st.integers(2, 64))
def test_no_batch_has_a_single_image_or_many_more_than_asked_for(n, batch_size):
    sizes = [
        len(batch) for batch in epoch_batches(np.zeros(n, np.int64), Recipe(batch_size=batch_size), 0, 0)
    ]
    assert min(sizes) >= 2
    assert max(sizes) <= max(batch_size, 3)
    assert max(sizes) - min(sizes) <= 1


def test_draws_are_balanced_over_the_classes_that_occur():
    labels = np.array([0] * 900 + [2] * 90 + [3] * 10)
    drawn = np.concatenate(epoch_batches(labels, Recipe(draws=6000), 0, 0))
    counts = np.bincount(labels[drawn], minlength=4)
    assert counts[1] == 0
    assert np.abs(counts[[0, 2, 3]] - 2000).max() < 5 * np.sqrt(6000 * 2 / 9)


def test_draws_reach_every_image_of_a_class_alike():
    drawn = np.concatenate(epoch_batches(np.array([0, 1, 1, 1, 1]), Recipe(draws=8000), 0, 0))
    assert np.abs(np.bincount(drawn)[1:] - 1000).max() < 5 * np.sqrt(1000)


def test_epochs_and_seeds_differ_and_repeat():
    labels = np.zeros(50, np.int64)
    orders = [
        np.concatenate(epoch_batches(labels, Recipe(), *key)).tolist() for key in ((0, 0), (0, 1), (1, 0))
    ]
    assert len({tuple(order) for order in orders}) == 3
    assert np.concatenate(epoch_batches(labels, Recipe(), 0, 0)).tolist() == orders[0]
