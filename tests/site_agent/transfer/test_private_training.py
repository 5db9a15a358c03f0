"""From a request to a paid model, with real training: the reply tells nothing else of the data."""

import numpy as np
import pytest
from paid_models import RECIPE, model_in, paid_step, write_paying_site

from federation.transfer.recipe import PrivateTraining, Recipe
from site_agent.transfer.participation import WORK
from site_agent.transfer.train_work import TrainWork


@pytest.fixture
def anna(tmp_path, monkeypatch):
    monkeypatch.setitem(WORK, "train", TrainWork)
    return write_paying_site(tmp_path / "anna")


def test_a_network_is_trained_with_noise_paid_for_and_sent(anna):
    replies = anna.finish(paid_step())
    assert replies[-1].state == "done", anna.texts()
    model = model_in(replies[-1])
    assert model.normalization == "group"
    assert model.privacy.rho == "1/4"
    assert all(np.isfinite(array).all() for array in model.weights.values())
    assert {reply.progress.loss for reply in replies if reply.progress} == {None}
    result = replies[-1].result
    assert (result.scores, result.n_train, result.n_measured, result.seconds) == ({}, 0, 0, 0.0)


def test_the_noise_of_a_step_is_secret_and_drawn_anew_elsewhere(anna, tmp_path):
    other = write_paying_site(tmp_path / "twin")
    first, second = (model_in(site.finish(paid_step())[-1]) for site in (anna, other))
    assert any(not np.array_equal(first.weights[name], second.weights[name]) for name in first.weights)


def test_a_number_of_batches_that_the_data_decide_is_refused(anna):
    open_ended = Recipe(epochs=2, private=PrivateTraining(noise_multiplier=2.0))
    assert anna.ask(paid_step(recipe=open_ended)).state == "training"
    assert anna.ask(paid_step(n_train=4)).state == "training"


def test_a_head_alone_is_trained_with_noise(anna):
    head = RECIPE.model_copy(update={"trainable": "head"})
    assert anna.finish(paid_step(recipe=head))[-1].state == "done", anna.texts()
