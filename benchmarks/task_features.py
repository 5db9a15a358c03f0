"""Features of a directory of tasks, extracted once and kept in a folder between runs of a benchmark."""

import sys
from pathlib import Path

import numpy as np

from benchmarks.task_folders import task_sources
from federation.sampling import SamplingPlan
from federation.space import Space
from site_agent.extractors import Extractor, load_extractor, packaged_efficientnet_lite0
from site_agent.loading import ImageStream
from site_agent.reference_corpus import DEFAULT_IMAGES
from site_agent.space_builder import SpaceRecipe, build_space_once, reference_features


def task_features(root: Path, cache: Path, n_images: int | None) -> tuple[Space, dict[str, np.ndarray]]:
    """Return a space of 100 equal-width bins, and float32 [n, n_features] of every task below ``root``.

    Args:
        root: Directory of tasks.
        cache: Folder for the space and one file of features per task.
        n_images: At most this many images per task.
    """
    cache.mkdir(parents=True, exist_ok=True)
    extractor = load_extractor(packaged_efficientnet_lite0())
    recipe = SpaceRecipe("benchmark", 100, "equal-width", DEFAULT_IMAGES)
    space = build_space_once(recipe, extractor, cache / "space.safetensors", lambda *_: None)
    found = {}
    for name, source in task_sources(root):
        plan = SamplingPlan(n_images, seed=1)
        path = cache / f"{name}-{n_images}.npy"
        if not path.exists():
            np.save(path, _extract(source, plan, extractor))
        found[name] = np.load(path, mmap_mode="r")
        print(f"{name}: {len(found[name])} images", file=sys.stderr, flush=True)
    return space, found


def reference(cache: Path, extractor: Extractor) -> np.ndarray:
    """Return float32 [n, n_features] of the public reference images, extracted once into a folder."""
    path = cache / f"reference-{DEFAULT_IMAGES}.npy"
    if not path.exists():
        np.save(path, reference_features(DEFAULT_IMAGES, extractor, lambda *_: None))
    return np.load(path)


def _extract(source, plan: SamplingPlan, extractor: Extractor) -> np.ndarray:
    stream = ImageStream(source, extractor.identity.transform, plan, batch_size=extractor.batch_size)
    return np.concatenate([extractor(batch.images) for batch in stream])
