from dataclasses import replace

import pytest

from federation.errors import SpaceError
from federation.sketches.fisher_parameters import FisherParameters
from federation.sketches.kinds import zeros
from site_agent.extractors import ExtractorSpec, load_extractor
from site_agent.fisher.recipe import FisherRecipe
from site_agent.space_builder import SpaceRecipe, build_space, build_space_once

KINDS = ("fisher", "mean-embedding", "moments")
RECIPE = SpaceRecipe("test", 4, "equal-width", 100, KINDS, FisherRecipe(head="public"), private=True)
LARGEST = 2**16


def silent(done, total):
    """Progress that nobody watches."""


@pytest.fixture(scope="module")
def extractor():
    return load_extractor(ExtractorSpec("timm", "lcnet_035", "random:0", image_size=32), device="cpu")


@pytest.fixture(scope="module")
def space(extractor):
    return build_space(RECIPE, extractor, silent)


def test_every_kind_of_a_private_space_has_a_sensitivity_in_coarse_units(space):
    weight, rho = 12, 0.0238  # a cap of four images per patient, and less than the ρ of ε = 1 at δ = 1e-6
    for sketch in zeros(space).values():
        for name, bound in sketch.sensitivity(weight).items():
            variance = bound.l2_squared / (2 * rho * float(sketch.shares[name]))
            assert 0 < variance < LARGEST**2


def test_private_parameters_are_public_content_of_the_space(space):
    assert set(space.sketches) == set(KINDS)
    assert space.sketches["moments"]["order"] == 1
    assert space.sketches["mean-embedding"]["amplitude"] == 64
    assert FisherParameters.read(space.sketches["fisher"]).head == "public"
    assert space.reference.endswith("for private release")


def test_a_private_space_is_built_once_and_not_taken_for_another(space, extractor, tmp_path):
    path = tmp_path / "space.safetensors"
    assert build_space_once(RECIPE, extractor, path, silent) == space
    written = path.stat().st_mtime_ns
    assert build_space_once(RECIPE, extractor, path, silent) == space
    assert path.stat().st_mtime_ns == written
    plain = replace(RECIPE, private=False, fisher=FisherRecipe())
    other = build_space_once(plain, extractor, path, silent)
    assert "order" not in other.sketches["moments"]
    assert "head" not in other.sketches["fisher"]


def test_a_fisher_clip_needs_public_images_with_features(extractor):
    with pytest.raises(SpaceError, match="without public images"):
        RECIPE.fisher.parameters(extractor, [])
