"""A catalogue as a study: what a consortium has fingerprinted and measured."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from aggregator.matrix import SimilarityMatrix
from aggregator.outcomes import Outcome, baselines
from aggregator.study import SCENARIOS, Floats, Outcomes, Setting, Study, TaskFacts
from federation.task_card import TaskCard


def consortium_study(
    matrices: Mapping[str, SimilarityMatrix],
    outcomes: Sequence[Outcome],
    shared_images: Mapping[str, Sequence[str]],
) -> Study:
    """Return the current tasks with their distances, facts and measured outcomes.

    Args:
        matrices: Distance name → matrix, all over the same tasks.
        outcomes: Measurements; those of tasks that are not in the matrices are left out.
        shared_images: Group → addresses of tasks that share images and never serve each other.
    """
    any_matrix = next(iter(matrices.values()))
    tasks = any_matrix.keys
    groups = {
        name: tuple(task for task in members if task in tasks) for name, members in shared_images.items()
    }
    return Study(
        tasks=tasks,
        targets=tasks,
        groups=groups,
        distances={name: _without_self(matrix.values) for name, matrix in matrices.items()},
        outcomes=by_setting(outcomes, {task: i for i, task in enumerate(tasks)}),
        facts={fingerprint.key: _facts(fingerprint.card) for fingerprint in any_matrix.fingerprints},
    )


def _without_self(values: Floats) -> Floats:
    return np.where(np.isfinite(values) & ~np.eye(len(values), dtype=bool), values, np.nan)


def _facts(card: TaskCard) -> TaskFacts:
    return TaskFacts(
        num_classes=float(len(card.classes)) or np.nan,
        num_samples=float(card.n_labelled or card.n_images),
        domain=card.modality,
        keywords=frozenset(card.keywords),
    )


def by_setting(outcomes: Sequence[Outcome], place: Mapping[str, int]) -> dict[Setting, Outcomes]:
    """Return the measurements per setting over the tasks of a study; those of other tasks are left out.

    Args:
        outcomes: The measurements.
        place: Address → position of every task.
    """
    known = [each for each in outcomes if each.source in place and each.target in place]
    grouped: dict[Setting, list[Outcome]] = defaultdict(list)
    for outcome in known:
        grouped[Setting(outcome.scenario, outcome.metric)].append(outcome)
    order = sorted(grouped, key=lambda setting: (SCENARIOS.index(setting.scenario), setting.metric))
    return {setting: _outcomes(grouped[setting], place) for setting in order}


def _outcomes(measured: Sequence[Outcome], place: Mapping[str, int]) -> Outcomes:
    seeds = sorted({each.seed for each in measured})
    row = {seed: i for i, seed in enumerate(seeds)}
    values = np.full((len(seeds), len(place), len(place)), np.nan)
    baseline = np.full((len(seeds), len(place)), np.nan)
    for each in measured:
        # As in files: sums over a few seeds are then exact, and equal means compare as equal.
        values[row[each.seed], place[each.source], place[each.target]] = np.float32(each.value)
    for (_, _, seed, target), value in baselines(measured).items():
        baseline[row[seed], place[target]] = np.float32(value)
    return Outcomes(tuple(map(str, seeds)), values, baseline)
