import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from federation.errors import SpaceError
from site_agent.extractors import ExtractorSpec, load_extractor
from site_agent.fisher.montecarlo import MonteCarlo
from site_agent.fisher.public_head import N_CLASSES, public_head
from site_agent.fisher.recipe import FisherRecipe

SPEC = ExtractorSpec("timm", "lcnet_035", "random:0", image_size=32)


@pytest.fixture(scope="module")
def extractor():
    return load_extractor(SPEC, acceleration="off", device="cpu")


@pytest.fixture(scope="module")
def public():
    random = np.random.default_rng(0)
    return torch.from_numpy(random.integers(0, 255, (21, 3, 32, 32)).astype(np.uint8))


@pytest.fixture(scope="module")
def parameters(extractor, public):
    return FisherRecipe(head="public").parameters(extractor, public.split(8))


def test_logits_of_typical_images_have_variance_one(extractor, public, parameters):
    x = extractor(public)
    logits = x @ public_head(parameters, extractor.n_features).weights.T
    assert np.mean(logits**2 / (np.linalg.norm(x, axis=1)[:, None] / parameters.head_scale) ** 2) == (
        pytest.approx(1, rel=0.5)
    )
    assert logits.shape[1] == N_CLASSES


def test_the_head_is_the_same_on_every_machine_and_another_for_every_seed(parameters):
    fixed = replace(parameters, head_scale=1.0, seed=0)
    weights = public_head(fixed, 6).weights
    digest = hashlib.sha256(np.rint(weights * 2**20).astype("<i8").tobytes()).hexdigest()
    assert digest[:16] == "6be13b40b6543900"
    assert not np.isclose(public_head(replace(fixed, seed=1), 6).weights, weights).any()


def test_the_scale_is_the_median_norm_of_public_features(extractor, public, parameters):
    expected = np.median(np.linalg.norm(extractor(public), axis=1))
    assert parameters.head_scale == pytest.approx(expected, rel=1e-5)


def test_the_clip_is_above_the_median_of_public_squares_and_has_some_thousand_units(
    extractor, public, parameters
):
    squares = MonteCarlo(extractor, public_head(parameters, extractor.n_features), parameters)(public)
    expected = 1.1 * np.median(np.linalg.norm(squares, axis=1))
    assert parameters.clip == pytest.approx(expected, rel=1e-4)
    assert 2**9 <= parameters.clip * 2.0**parameters.scale_bits <= 2**10


def test_a_clip_that_was_chosen_stays(extractor, public):
    assert FisherRecipe(head="public", clip=0.25).parameters(extractor, [public]).clip == 0.25


def test_without_public_images_there_is_no_public_head(extractor):
    with pytest.raises(SpaceError, match="without public images"):
        FisherRecipe(head="public").parameters(extractor)


def test_a_recipe_recognises_its_parameters_whatever_public_images_decided(extractor, parameters):
    recipe = FisherRecipe(head="public")
    assert recipe.is_followed_by(parameters, extractor)
    assert not replace(recipe, seed=1).is_followed_by(parameters, extractor)
    assert not replace(recipe, clip=0.25).is_followed_by(parameters, extractor)
    assert not FisherRecipe().is_followed_by(parameters, extractor)
    assert FisherRecipe().is_followed_by(FisherRecipe().parameters(extractor), extractor)
