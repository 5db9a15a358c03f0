"""Building a space: load the extractor, look at the public reference, place the bin edges."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from federation.errors import SpaceError
from federation.files import read_file, write_atomically
from federation.sketches import CdfSketch, FisherSketch, kind
from federation.sketches.cdf_parameters import CLIP, CdfParameters
from federation.sketches.fisher_parameters import FisherParameters
from federation.space import Binning, Edges, Parameters, Space, edges_from_reference
from site_agent import reference_corpus
from site_agent.extractors import Extractor
from site_agent.fisher.recipe import FisherRecipe

_FISHER_IMAGES = 100  # public images whose gradients decide how those of private images are clipped

log = logging.getLogger("fedprint.space")


@dataclass(frozen=True)
class SpaceRecipe:
    """How bin edges are placed.

    Args:
        name: A label for people.
        n_bins: Bins per feature.
        binning: Equal-width or equal-mass.
        n_reference: Number of public reference images.
        sketches: Kinds of sketches that fingerprints of the space carry.
        fisher: How Fisher information is estimated, where it is among them.
        private: Whether sketches take the clipped, coarse parameters that private release needs.
        clip: Clip norm of cdf sketches, as a multiple of the reference's root mean square norm.
    """

    name: str
    n_bins: int
    binning: Binning
    n_reference: int
    sketches: tuple[str, ...] = ("histogram",)
    fisher: FisherRecipe = field(default_factory=FisherRecipe)
    private: bool = False
    clip: float = CLIP

    @property
    def reference(self) -> str:
        """Provenance of edges and parameters, part of the space's identity."""
        purpose = "; for private release" if self.private else ""
        return f"{reference_corpus.VERSION}, n={self.n_reference}{purpose}"

    def parameters(self, name: str, reference: npt.NDArray[Any], edges: Edges) -> Parameters:
        """Return the parameters of a kind of sketch, see `Sketch.parameters`.

        Raises:
            SpaceError: If the kind does not fit such features or bins.
        """
        if name == CdfSketch.kind:
            return CdfParameters.of_reference(edges, reference, self.clip).to_space()
        rule = kind(name).private_parameters if self.private else kind(name).parameters
        return rule(reference, edges)

    def require_size(self, n_features: int) -> None:
        """Raise where one of the sketches cannot hold that many features.

        Raises:
            SpaceError: If there are too many.
        """
        for name in self.sketches:
            kind(name).require_size(n_features)


def build_space(recipe: SpaceRecipe, extractor: Extractor, on_progress: Callable[[int, int], None]) -> Space:
    """Return the space of a recipe; edges come from images that belong to no site.

    Args:
        recipe: How to place the edges.
        extractor: The network whose features are binned.
        on_progress: Told how many reference images are done, of how many.

    Raises:
        SpaceError: If a sketch cannot hold that many features; no image was looked at then.
    """
    recipe.require_size(extractor.n_features)
    return space_of(recipe, extractor, reference_features(recipe.n_reference, extractor, on_progress))


def reference_features(
    n: int, extractor: Extractor, on_progress: Callable[[int, int], None]
) -> npt.NDArray[np.float32]:
    """Return float32 [n, n_features] of the public reference images."""
    features = []
    for batch in _reference_batches(n, extractor):
        features.append(extractor(batch))
        on_progress(sum(map(len, features)), n)
    return np.concatenate(features)


def space_of(recipe: SpaceRecipe, extractor: Extractor, reference: npt.NDArray[np.float32]) -> Space:
    """Return the space that a recipe makes of the reference's features, float32 [n_images, n_features]."""
    edges = edges_from_reference(reference, recipe.n_bins, recipe.binning)
    return space_with(recipe, extractor, reference, edges, recipe.reference)


def space_with(
    recipe: SpaceRecipe,
    extractor: Extractor,
    reference: npt.NDArray[np.float32],
    edges: Edges,
    provenance: str,
) -> Space:
    """Return the space of a recipe with edges from elsewhere.

    Args:
        recipe: What else the space fixes; parameters of sketches follow the edges by its public rules.
        extractor: The network whose features are binned.
        reference: float32 [n_images, n_features] of the public reference.
        edges: float64 [n_features, n_bins + 1].
        provenance: Where the edges come from, part of the space's identity.

    Raises:
        SpaceError: If the edges break the rules of a space, or a sketch does not fit them.
    """
    sketches = {
        name: recipe.parameters(name, reference, edges)
        for name in recipe.sketches
        if name != FisherSketch.kind
    } | _fisher(recipe, extractor)
    return Space(recipe.name, extractor.identity, edges, recipe.binning, provenance, sketches)


def build_space_once(
    recipe: SpaceRecipe, extractor: Extractor, path: Path, on_progress: Callable[[int, int], None]
) -> Space:
    """Return the space kept in a file if it follows the recipe, else build and keep it.

    Edges are content: a space that was built before stays what it is, even where another machine or library
    version would place the edges a hair differently.

    Raises:
        SpaceError: If a sketch cannot hold that many features; no image was looked at then.
    """
    recipe.require_size(extractor.n_features)
    if path.exists():
        kept = _read(path)
        if kept is not None and _follows(kept, recipe, extractor):
            return kept
    space = build_space(recipe, extractor, on_progress)
    write_atomically(path, space.to_bytes())
    return space


def _fisher(recipe: SpaceRecipe, extractor: Extractor) -> dict[str, Parameters]:
    if FisherSketch.kind not in recipe.sketches:
        return {}
    public = _reference_batches(min(recipe.n_reference, _FISHER_IMAGES), extractor)
    return {FisherSketch.kind: recipe.fisher.parameters(extractor, public).to_space()}


def _read(path: Path) -> Space | None:
    try:
        return Space.from_bytes(read_file(path, "space"))
    except SpaceError as error:
        log.warning("the space in %s is unusable and is built again: %s", path, error)
        return None


def _follows(space: Space, recipe: SpaceRecipe, extractor: Extractor) -> bool:
    clip = space.sketches.get(CdfSketch.kind, {"clip": recipe.clip}).get("clip")
    return (space.extractor, space.n_bins, space.binning, space.reference, set(space.sketches), clip) == (
        extractor.identity,
        recipe.n_bins,
        recipe.binning,
        recipe.reference,
        set(recipe.sketches),
        recipe.clip,
    ) and _follows_fisher(space, recipe, extractor)


def _follows_fisher(space: Space, recipe: SpaceRecipe, extractor: Extractor) -> bool:
    found = space.sketches.get(FisherSketch.kind)
    try:
        return found is None or recipe.fisher.is_followed_by(FisherParameters.read(found), extractor)
    except SpaceError:  # written by another version
        return False


def _reference_batches(n: int, extractor: Extractor) -> Iterator[torch.Tensor]:
    images = reference_corpus.reference_images(n, extractor.identity.transform.image_size)
    batch: list[npt.NDArray[np.uint8]] = []
    for image in images:
        batch.append(image)
        if len(batch) == extractor.batch_size:
            yield _tensor(batch)
            batch = []
    if batch:
        yield _tensor(batch)


def _tensor(images: list[npt.NDArray[np.uint8]]) -> torch.Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
