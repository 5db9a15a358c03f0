"""Made-up consortia whose transfer outcomes follow known rules."""

import numpy as np

from aggregator.study import Outcomes, Setting, Study, TaskFacts

SETTING = Setting("pretraining", "auroc")


def positions(n_tasks, seed=0):
    """Where tasks lie: two clusters in the plane."""
    random = np.random.default_rng(seed)
    return random.normal(size=(n_tasks, 2)) + np.where(np.arange(n_tasks) % 2, 3.0, 0.0)[:, None]


def distance_between(places):
    distance = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distance, np.nan)
    return distance


def make_study(
    n_tasks=20,
    *,
    source_effect=1.0,
    nearness_effect=0.0,
    noise=0.3,
    seed=0,
    groups=None,
    setting=SETTING,
    n_seeds=2,
):
    """A consortium whose gains are source effects, nearness and noise; baseline .7, spread of gains .02."""
    random = np.random.default_rng(seed)
    distance = distance_between(positions(n_tasks, seed))
    effects = source_effect * random.normal(size=n_tasks)
    standing = effects[:, None] - nearness_effect * (distance - 2.5)
    standing = standing + noise * random.normal(size=(n_seeds, n_tasks, n_tasks))
    values = 0.7 + 0.02 * standing
    values[:, np.eye(n_tasks, dtype=bool)] = np.nan
    tasks = tuple(f"t{i:02d}" for i in range(n_tasks))
    facts = {task: TaskFacts(2 + i % 3, 100.0 * (1 + i)) for i, task in enumerate(tasks)}
    outcomes = Outcomes(tuple(map(str, range(n_seeds))), values, np.full((n_seeds, n_tasks), 0.7))
    return Study(tasks, tasks, groups or {}, {"cramer": distance}, {setting: outcomes}, facts)
