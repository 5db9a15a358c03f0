"""A consortium of nine sites whose tasks form clusters by modality."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from aggregator.report.data import MissingTask, ReportData, TaskEntry
from federation.fingerprint import Provenance
from federation.privacy.statement import PrivacyStatement
from federation.ranking import Candidates, rank_sources
from federation.sampling import SamplingPlan
from federation.space import ExtractorIdentity, Space, Transform
from federation.task_card import TaskCard
from federation.trust import TrustMode

MODALITIES = ("chest X-ray", "dermatoscopy", "fundus photography", "histology", "ultrasound")
SITES = ("heidelberg", "oslo", "strasbourg", "utrecht", "leuven", "zurich", "porto", "graz", "tartu")
TRANSFORM = Transform(224, "deterministic", "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def histograms(n_tasks: int, seed: int = 0) -> np.ndarray:
    """Float64 [n_tasks, 12, 16] row-normalised histograms in as many clusters as there are modalities."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 1.5, (len(MODALITIES), 12))
    peaks = centres[np.arange(n_tasks) % len(MODALITIES)] + rng.normal(0, 0.25, (n_tasks, 12))
    curves = np.exp(-0.5 * (np.linspace(-3, 3, 16) - peaks[:, :, None]) ** 2) + 1e-3
    return curves / curves.sum(axis=2, keepdims=True)


def bkld(h: np.ndarray) -> np.ndarray:
    """KL(h_t ‖ softmax h_s), mean over features: rows sources, columns targets."""
    softmax = np.exp(h) / np.exp(h).sum(axis=2, keepdims=True)
    entropy = (h * np.log(h)).sum(axis=(1, 2))
    return (entropy[None] - np.einsum("sfb,tfb->st", np.log(softmax), h)) / h.shape[1]


def squared_l2(h: np.ndarray) -> np.ndarray:
    return ((h[:, None] - h[None]) ** 2).sum(axis=(2, 3)) / h.shape[1]


def entry(index: int, **card: object) -> TaskEntry:
    site, modality = SITES[index % len(SITES)], MODALITIES[index % len(MODALITIES)]
    name = f"{modality.split()[-1].lower()}-findings-{index}"
    stated = {
        "classes": {"normal": 60 + index, "abnormal": 40},
        "title": f"Findings {index} in {modality}",
        "modality": modality,
        "body_part": "chest",
        "keywords": ("screening", modality),
        "licence": "CC BY 4.0",
        "contact": f"imaging@{site}.example",
    }
    return TaskEntry(
        key=f"{site}/{name}",
        site=site,
        card=TaskCard(name, 100 + index, **{**stated, **card}),  # type: ignore[arg-type]
        privacy=PrivacyStatement(TrustMode.OPEN),
        provenance=Provenance("0.1.0", SamplingPlan(1000), "float32 folded", index % 3),
        fingerprint_id=hashlib.sha256(name.encode()).hexdigest(),
        n=100 + index,
    )


def recommend(tasks: tuple[TaskEntry, ...], matrices: dict[str, np.ndarray], distance: str) -> dict:
    keys, cards = [task.key for task in tasks], {task.key: task.card for task in tasks}
    found = {}
    for target, key in enumerate(keys):
        others = [i for i in range(len(keys)) if i != target]
        values = {name: matrix[others, target] for name, matrix in matrices.items()}
        candidates = Candidates(key, [keys[i] for i in others], values, cards)
        found[key] = tuple(rank_sources(candidates, distance))
    return found


def catalogue(n_tasks: int, **changes: object) -> ReportData:
    """A consortium of nine sites whose tasks form clusters by modality."""
    h = histograms(n_tasks)
    matrices = {"bkld-small": bkld(h), "l2": squared_l2(h)}
    tasks = tuple(entry(i) for i in range(n_tasks))
    extractor = ExtractorIdentity("timm", "tf_efficientnet_lite0", "a3" * 32, TRANSFORM, 2)
    space = Space("paper/4", extractor, np.tile(np.arange(5.0), (2, 1)), "equal-width", "procedural-v1")
    report = ReportData(
        title="North Sea imaging consortium",
        created=datetime(2026, 3, 14, 9, 26, tzinfo=UTC),
        distance="bkld-small",
        matrices=matrices,
        tasks=tasks,
        recommendations=recommend(tasks, matrices, "bkld-small"),
        missing=(MissingTask("bergen", "cxr-devices", "did not answer before the deadline"),),
        listening=("ghent",),
        space=space.header(),
        notes=("Two images could not be read.",),
    )
    return replace(report, **changes)  # type: ignore[arg-type]
