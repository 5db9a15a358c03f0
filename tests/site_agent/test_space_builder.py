from dataclasses import replace

import numpy as np
import pytest

from federation.errors import SpaceError
from federation.sketches.cdf_parameters import CLIP, CdfParameters
from federation.space import ExtractorIdentity, Transform
from site_agent.space_builder import SpaceRecipe, build_space, build_space_once

TRANSFORM = Transform(32, "deterministic", "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
RECIPE = SpaceRecipe("small", 4, "skewed", 100, ("cdf",))


class Colours:
    """Stands in for a network: the mean of every colour, and of its square."""

    identity = ExtractorIdentity("timm", "colours", "ab" * 32, TRANSFORM, 6)
    n_features, batch_size = 6, 50

    def __init__(self):
        self.n_batches = 0

    def __call__(self, images):
        self.n_batches += 1
        x = images.numpy().mean(axis=(2, 3)) / 255
        return np.concatenate([x, x**2], axis=1).astype(np.float32)


def silent(*_):
    """Show no progress."""


def test_the_clip_of_a_recipe_becomes_the_norm_of_its_space():
    plain, wide = (
        CdfParameters.read(space.sketches["cdf"], space.edges)
        for space in (build_space(replace(RECIPE, clip=c), Colours(), silent) for c in (CLIP, 2 * CLIP))
    )
    assert wide.clip == 2 * plain.clip
    np.testing.assert_allclose(wide.clips, np.multiply(plain.clips, 2), atol=1)


@pytest.mark.parametrize(
    ("changes", "n_batches"),
    [({}, 0), ({"clip": 1.3}, 2), ({"binning": "equal-mass"}, 2), ({"sketches": ("cdf", "histogram")}, 2)],
)
def test_a_kept_space_is_built_again_only_where_the_recipe_changed(tmp_path, changes, n_batches):
    path = tmp_path / "space.safetensors"
    build_space_once(RECIPE, Colours(), path, silent)
    again = Colours()
    space = build_space_once(replace(RECIPE, **changes), again, path, silent)
    assert again.n_batches == n_batches
    assert space.sketches["cdf"]["clip"] == changes.get("clip", CLIP)


def test_the_clip_does_not_matter_where_nothing_is_clipped(tmp_path):
    path, recipe = tmp_path / "space.safetensors", replace(RECIPE, sketches=("histogram",))
    build_space_once(recipe, Colours(), path, silent)
    again = Colours()
    build_space_once(replace(recipe, clip=1.1), again, path, silent)
    assert again.n_batches == 0


def test_bins_that_no_dyadic_thresholds_fit_are_refused():
    with pytest.raises(SpaceError, match="not 20"):
        build_space(replace(RECIPE, n_bins=20), Colours(), silent)
