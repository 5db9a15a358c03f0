"""Small real objects for tests."""

import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
from randomness import stream

from federation.fingerprint import Fingerprint, Provenance
from federation.identity import Identity
from federation.messages import JobHeader
from federation.pooled import PooledRelease
from federation.privacy.accounting import eps_of
from federation.privacy.mechanism import add_noise
from federation.privacy.noise import discrete_gaussian
from federation.privacy.statement import DISCRETE_GAUSSIAN, NEIGHBOURS, PrivacyStatement
from federation.privacy.weight import total_weight
from federation.sampling import SamplingPlan
from federation.sketches import CdfSketch, HistogramSketch, kind, zeros
from federation.space import ExtractorIdentity, Space, Transform, edges_from_reference
from federation.task_card import TaskCard
from federation.trust import TrustMode

N_FEATURES = 6
FAR_FUTURE = 4e9


def make_features(seed: int, n: int = 200, shift: float = 0.0) -> npt.NDArray[np.float32]:
    """Non-negative features, as after a ReLU."""
    noise = np.random.default_rng(seed).normal(0.4 + shift, 0.6, (n, N_FEATURES))
    return np.maximum(noise, 0).astype(np.float32)


def make_space(n_bins: int = 20, *, image_size: int = 224, seed: int = 0) -> Space:
    transform = Transform(image_size, "deterministic", "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    extractor = ExtractorIdentity("timm", "tiny", "ab" * 32, transform, N_FEATURES)
    edges = edges_from_reference(make_features(seed, 500), n_bins, "equal-width")
    return Space("test", extractor, edges, "equal-width", "normal noise")


def make_identity(name: str, folder: Path) -> Identity:
    return Identity.load_or_create(name, folder / f"{name}.key")


def make_fingerprint(
    identity: Identity, task: str, space: Space, *, seed: int = 0, shift: float = 0.0, n: int = 200
) -> Fingerprint:
    sketch = HistogramSketch.from_features(make_features(seed, n, shift), space.edges)
    return Fingerprint(
        site=identity.name,
        card=TaskCard(task, n, {"ill": n // 2, "well": n - n // 2}, modality="X-ray"),
        space_id=space.space_id,
        sketches={"histogram": sketch},
        privacy=PrivacyStatement(TrustMode.OPEN),
        provenance=Provenance("0.1.0", SamplingPlan(None), "float32"),
    ).signed_by(identity)


def make_noisy_space(*kinds: str, n_bins: int = 4, seed: int = 0) -> Space:
    """A space of few bins for private fingerprints, with the sketches of these kinds."""
    plain, reference = make_space(n_bins, seed=seed), make_features(seed, 500)
    parameters = {
        name: kind(name).private_parameters(reference, plain.edges) for name in kinds or ("histogram",)
    }
    return replace(plain, sketches=parameters)


def make_private_fingerprint(
    identity: Identity,
    task: str,
    space: Space,
    *,
    seed: int = 0,
    shift: float = 0.0,
    n: int = 200,
    rho: Fraction = Fraction(1, 2),
    images_per_patient: int = 1,
    levels: int | None = None,
    draw: int | None = None,
    **statement: object,
) -> Fingerprint:
    """A fingerprint with real noise as a site releases it, the same for the same seed and draw."""
    weight = total_weight(images_per_patient)
    features = np.repeat(make_features(seed, n, shift), weight, axis=0)
    empty = zeros(space)
    if levels is not None:
        empty["cdf"] = CdfSketch.zero(CdfSketch.for_space(space).known, levels)
    exact = {name: sketch.update(features) for name, sketch in empty.items()}
    noised = add_noise(exact, rho, weight, stream(seed if draw is None else draw))
    stated = PrivacyStatement(
        mode=TrustMode.PRIVATE,
        mechanism=DISCRETE_GAUSSIAN,
        unit="patient",
        neighbours=NEIGHBOURS,
        rho=str(noised.rho),
        eps=eps_of(noised.rho, 1e-6),
        delta=1e-6,
        images_per_patient=images_per_patient,
        weight=weight,
        cohorts=1,
        edges=space.reference,
        noise=dict(noised.noise),
        ledger_seq=3,
        ledger_hash="cd" * 32,
    )
    return Fingerprint(
        site=identity.name,
        card=TaskCard(task, max(1, round(noised.sketches[min(noised.sketches)].n / weight)), {}),
        space_id=space.space_id,
        sketches=noised.sketches,
        privacy=replace(stated, **statement),  # type: ignore[arg-type]
        provenance=Provenance("0.1.0", SamplingPlan(None), "float32", None),
    ).signed_by(identity)


def make_pooled_fingerprint(
    identity: Identity,
    task: str,
    space: Space,
    *,
    sites: int = 5,
    honest: int = 3,
    rho: Fraction | None = Fraction(1, 2),
    images_per_patient: int = 1,
    n: int = 60,
    shift: float = 0.0,
    draw: int = 0,
    **statement: object,
) -> Fingerprint:
    """The sum of several sites' sketches of so many images each, with a real share of noise from each."""
    release = PooledRelease.from_budget(space, task, rho, 1e-6, images_per_patient, honest)
    total = np.zeros(release.length(space), np.int64)
    for site in range(sites):
        features = np.repeat(make_features(100 + site, n, shift), release.weight, axis=0)
        total += release.to_vector({kind: sketch.update(features) for kind, sketch in zeros(space).items()})
        if not release.is_exact:
            randomness = stream(draw * 1000 + site)
            for start, name, size in _parts(release, space):
                total[start : start + size] += discrete_gaussian(size, release.noise[name], randomness)
    sketches = release.from_vector(total, space, release.total_noise(sites))
    return Fingerprint(
        site=identity.name,
        card=TaskCard(task, max(1, round(sketches[min(sketches)].n / release.weight)), {}),
        space_id=space.space_id,
        sketches=sketches,
        privacy=replace(release.statement(space, sites), **statement),  # type: ignore[arg-type]
        provenance=Provenance("0.1.0", SamplingPlan(None), "float32", None),
    ).signed_by(identity)


def _parts(release: PooledRelease, space: Space) -> Iterator[tuple[int, str, int]]:
    """Start, name and size of every array in a vector."""
    start = 0
    for name, shape in release.layout(space).items():
        yield start, name, math.prod(shape)
        start += math.prod(shape)


def make_job(
    job_id: str = "job-1",
    nonce: str = "0f" * 16,
    *,
    deadline: float = FAR_FUTURE,
    aggregator: str = "ab" * 32,
    reply_key: str = "",
    recipients: tuple[str, ...] = (),
) -> JobHeader:
    return JobHeader(job_id, nonce, deadline, aggregator, reply_key, recipients)
