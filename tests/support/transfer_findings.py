"""Made-up findings of transfer experiments that follow known rules."""

import numpy as np

from aggregator.study import Study, TaskFacts
from aggregator.transfer.experiment import Experiment, Finding
from aggregator.transfer.report.contents import Consortium
from federation.task_card import TaskCard
from federation.transfer.result import Score

MODALITIES = ("CT", "MRI", "X-ray")
BODY_PARTS = ("chest", "head")


def score(value):
    return Score(value=float(value), low=float(value) - 0.01, high=float(value) + 0.01)


def addresses(n_tasks):
    """``site0/t00``, three tasks to a site."""
    return tuple(f"site{i // 3}/t{i:02d}" for i in range(n_tasks))


def consortium(n_tasks=12, *, rankings=None, seed=0, distances=None, groups=None):
    """Tasks in three modalities and two body parts; only ``near`` is small within a modality."""
    random = np.random.default_rng(seed)
    kind = np.arange(n_tasks) % len(MODALITIES)
    near = (kind[:, None] != kind[None, :]) + 0.3 * random.random((n_tasks, n_tasks))
    made = distances or {"near": near, "chance": random.random((n_tasks, n_tasks))}
    for values in made.values():
        np.fill_diagonal(values, np.nan)
    tasks = addresses(n_tasks)
    cards = {
        task: TaskCard(
            task=task.partition("/")[2],
            n_images=100 + 10 * i,
            modality=MODALITIES[kind[i]],
            body_part=BODY_PARTS[i // 2 % 2],
        )
        for i, task in enumerate(tasks)
    }
    facts = {
        task: TaskFacts(num_classes=2, num_samples=float(card.n_images), domain=card.modality)
        for task, card in cards.items()
    }
    study = Study(tasks, tasks, groups or {}, made, {}, facts)
    return Consortium(study, cards, rankings or {})


def finding(source, target, value, baseline=0.7, *, scenario="pretraining", seed=0, n_train=100, **more):
    """One that was measured by AUROC; cross-entropy is one minus it."""
    steps = (f"source {scenario} {source} {seed}", f"{scenario} {source} {target} {seed}")
    return Finding(
        Experiment(scenario, "transfer", source, target, seed, n_train),
        "done",
        scores={"auroc": score(value), "ce": score(1 - value)},
        baseline={"auroc": baseline, "ce": 1 - baseline},
        **{"seconds": 10.0, "steps": steps, **more},
    )


def without(target, value, arm="imagenet", *, seed=0, n_train=100):
    """Training without a source."""
    return Finding(
        Experiment("pretraining", arm, "", target, seed, n_train),
        "done",
        scores={"auroc": score(value)},
        seconds=5.0,
    )


def failed(source, target, reason, *, scenario="pretraining", seed=0):
    return Finding(Experiment(scenario, "transfer", source, target, seed, 100), "failed", reason=reason)


def findings(gain, tasks, *, scenario="pretraining", seeds=(0, 1), baseline=0.7):
    """Every pair of tasks.

    Args:
        gain: float64 [n_tasks, n_tasks] or [n_seeds, n_tasks, n_tasks]; NaN where not measured.
        tasks: Addresses.
    """
    gain = np.broadcast_to(gain, (len(seeds), len(tasks), len(tasks)))
    return [
        finding(tasks[s], tasks[t], baseline + gain[k, s, t], baseline, scenario=scenario, seed=seed)
        for k, seed in enumerate(seeds)
        for s in range(len(tasks))
        for t in range(len(tasks))
        if s != t and np.isfinite(gain[k, s, t])
    ]
