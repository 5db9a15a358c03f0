"""``fedprint space calibrate``: a space whose bin edges follow a cohort, or the public reference alone."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from deploy.calibration_round import opened_histogram
from deploy.federation_file import FederationConfig, SpaceConfig
from deploy.progress_display import ProgressDisplay
from deploy.simulated_cohort import SimulatedCohort
from deploy.simulation import open_extractor, recipe_of
from federation.calibration import Calibration, calibrate, coarse_edges
from federation.config_complaints import describe
from federation.errors import ConfigError, UnknownNameError
from federation.files import write_atomically
from federation.privacy.statement import PrivacyStatement
from federation.sketches import HistogramSketch
from federation.space import Edges, Space
from site_agent.extractors import Extractor
from site_agent.space_builder import SpaceRecipe, reference_features, space_of, space_with

EXACT_COARSE_BINS = 64
NOISY_COARSE_BINS = 16
"""Noise of a cumulative count grows with the number of bins; this many still tell where quantiles lie."""


@dataclass(frozen=True)
class Plan:
    """What is asked for.

    Args:
        out: The space file to write.
        n_bins: Number of bins; None: as the federation file says.
        binning: How edges are placed; None: likewise.
        cohort: Name of the cohort that edges follow; None: public images alone.
        n_coarse: Coarse bins of its histogram; None: what suits a sum with or without noise.
        again: Whether the sites are asked, and pay, again for a histogram that was opened before.
    """

    out: Path
    n_bins: int | None = None
    binning: str | None = None
    cohort: str | None = None
    n_coarse: int | None = None
    again: bool = False


@dataclass(frozen=True)
class Pooled:
    """What a cohort contributed.

    Args:
        cohort: Its name.
        coarse: The space of its histogram.
        privacy: What protects the patients of the sum.
        calibration: The edges that follow.
        asked: Whether sites were asked; False: the histogram had been opened before, and costs nothing more.
    """

    cohort: str
    coarse: Space
    privacy: PrivacyStatement
    calibration: Calibration
    asked: bool


@dataclass(frozen=True)
class Calibrated:
    """A space that was written.

    Args:
        space: The space.
        path: Its file.
        pooled: What a cohort contributed; None: edges come from public images alone.
    """

    space: Space
    path: Path
    pooled: Pooled | None


def calibrate_space(config: FederationConfig, plan: Plan, display: ProgressDisplay) -> Calibrated:
    """Write a space whose edges follow a cohort, or the public reference.

    Args:
        config: The consortium; its paths are absolute.
        plan: What is asked for.
        display: Where progress is shown.

    Raises:
        ConfigError: If the plan does not fit the federation file, or the output exists as another space.
        RoundError: If the cohort's sum could not be opened; nothing is written then.
        StoreError: If a file cannot be written.
    """
    cohort = None if plan.cohort is None else _cohort(config, plan.cohort)
    _require_new(plan.out)
    recipe = recipe_of(_planned(config.space, plan))
    display.stage(f"the public reference: {config.space.extractor}, {recipe.n_reference} images")
    extractor = open_extractor(config.space)
    recipe.require_size(extractor.n_features)
    reference = reference_features(recipe.n_reference, extractor, display.reference)
    if cohort is None:
        space, pooled = space_of(recipe, extractor, reference), None
    else:
        coarse = _coarse_space(recipe, extractor, coarse_edges(reference, _n_coarse(plan, cohort)))
        pooled = _pooled(config, cohort, coarse, plan.again, reference, recipe, display)
        space = space_with(
            recipe, extractor, reference, pooled.calibration.edges, _provenance(pooled, recipe)
        )
    write_atomically(plan.out, space.to_bytes())
    return Calibrated(space, plan.out, pooled)


def _pooled(
    config: FederationConfig,
    cohort: SimulatedCohort,
    coarse: Space,
    again: bool,
    reference: npt.NDArray[np.float32],
    recipe: SpaceRecipe,
    display: ProgressDisplay,
) -> Pooled:
    opened = opened_histogram(config, cohort, coarse, display, again=again)
    found = calibrate(coarse, opened.fingerprint.histogram, reference, recipe.n_bins, recipe.binning)
    return Pooled(cohort.name, coarse, opened.fingerprint.privacy, found, opened.asked)


def _coarse_space(recipe: SpaceRecipe, extractor: Extractor, edges: Edges) -> Space:
    name = f"{recipe.name}, coarse"
    return Space(name, extractor.identity, edges, "equal-width", recipe.reference, {HistogramSketch.kind: {}})


def _provenance(pooled: Pooled, recipe: SpaceRecipe) -> str:
    """Return where calibrated edges come from, part of the identity of their space."""
    privacy, coarse = pooled.privacy, pooled.coarse
    noise = "exact"
    if not privacy.is_exact:
        noise = f"ρ = {float(Fraction(privacy.rho)):.4g}, ε = {privacy.eps:.4g} at δ = {privacy.delta:g}"
    return (
        f"pooled histogram of cohort {pooled.cohort}, {privacy.sites} sites, {noise}, {coarse.n_bins} coarse "
        f"bins of space {coarse.space_id}; {recipe.reference}"
    )


def _require_new(path: Path) -> None:
    if path.exists():
        raise ConfigError(
            f"{path} exists already, and others may work in that space",
            remedy="choose another name with --out, or remove it",
        )


def _cohort(config: FederationConfig, name: str) -> SimulatedCohort:
    for cohort in config.cohort:
        if cohort.name == name:
            return cohort
    known = ", ".join(cohort.name for cohort in config.cohort) or "none"
    raise UnknownNameError(
        f"the federation file has no cohort {name!r}; it has: {known}", remedy="name one, or add a [[cohort]]"
    )


def _planned(space: SpaceConfig, plan: Plan) -> SpaceConfig:
    """Return the space that is to be made, with the bins that were asked for."""
    if space.file is not None:
        raise ConfigError(
            f"[space] names the file {space.file.name}, and a space that is made already is not calibrated",
            remedy="say how to build it instead: extractor, bins, binning, sketches",
        )
    asked = {"bins": plan.n_bins, "binning": plan.binning}
    changed = {key: value for key, value in asked.items() if value is not None}
    try:
        return SpaceConfig.model_validate({**space.model_dump(exclude={"file"}), **changed})
    except ValidationError as error:
        raise ConfigError(describe(error, changed), remedy="choose other bins") from error


def _n_coarse(plan: Plan, cohort: SimulatedCohort) -> int:
    if plan.n_coarse is not None:
        return plan.n_coarse
    return NOISY_COARSE_BINS if cohort.has_noise else EXACT_COARSE_BINS
