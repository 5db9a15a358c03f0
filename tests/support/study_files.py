"""Small validation studies, as arrays and as directories."""

import csv
import json
from pathlib import Path

import numpy as np

from aggregator.study import Outcomes, Setting, Study, TaskFacts

SETTING = Setting("pretraining", "ba")


def make_study(performance, distances=None, baseline=None, groups=None, sizes=None):
    """A study of one setting; performance is [n_seeds, n_tasks, n_tasks] or [n_tasks, n_tasks]."""
    values = np.atleast_3d(np.asarray(performance, dtype=np.float64))
    values = values if np.ndim(performance) == 3 else np.asarray(performance, dtype=np.float64)[None]
    n_seeds, n_tasks = values.shape[:2]
    tasks = tuple(f"t{i}" for i in range(n_tasks))
    base = (
        np.full((n_seeds, n_tasks), np.nan)
        if baseline is None
        else np.broadcast_to(baseline, (n_seeds, n_tasks))
    )
    return Study(
        tasks=tasks,
        targets=tasks,
        groups=groups or {},
        distances=distances or {},
        outcomes={SETTING: Outcomes(tuple(map(str, range(n_seeds))), values, base)},
        facts={
            task: TaskFacts() if sizes is None else TaskFacts(num_samples=size)
            for task, size in zip(tasks, sizes if sizes is not None else tasks, strict=True)
        },
    )


def random_performance(n_tasks, n_seeds=1, seed=0):
    return np.random.default_rng(seed).uniform(0.5, 0.95, size=(n_seeds, n_tasks, n_tasks))


class StudyFiles:
    """A study directory of four tasks, of which the last is only a source; tests edit what they break."""

    sources = ("a", "b", "c", "d")
    targets = ("a", "b", "c")

    def __init__(self, folder: Path):
        self.folder = folder
        self.tasks = {"targets": list(self.targets), "groups": {"pair": ["a", "b"]}, "not_shrunk": ["b"]}
        numbers = iter(range(1, 100))
        self.distance = [["", *self.targets, "a@800", "b@800"]] + [
            [source, *(str(next(numbers)) for _ in range(5))] for source in self.sources
        ]
        self.outcomes = [["seed", "source", "target", "value"]] + [
            [seed, source, target, f"0.{5 + int(seed)}{i}{j}"]
            for seed in "01"
            for i, source in enumerate(self.sources)
            for j, target in enumerate(self.targets)
            if source != target
        ]

    def write(self) -> Path:
        (self.folder / "distances").mkdir(exist_ok=True)
        (self.folder / "outcomes").mkdir(exist_ok=True)
        (self.folder / "tasks.json").write_text(json.dumps(self.tasks))
        self.table("distances/near.csv", self.distance)
        self.table("outcomes/pretraining_ba.csv", self.outcomes)
        return self.folder

    def table(self, name: str, lines) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        with path.open("w", newline="") as file:
            csv.writer(file).writerows(lines)
