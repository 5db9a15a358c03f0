"""The folder that a comparison leaves, laid out as `fedprint validate` reads it."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deploy.research import NOT_FEDERATED
from deploy.research.features import TaskFeatures
from federation.files import write_atomically

_README = """{warning}

distances/NAME.csv   rows are sources, columns are targets, lower is nearer
agreement.csv        Spearman's rank correlation of distances between fingerprints with those between samples
tasks.json           the tasks; list under "groups" those that share images, before judging a distance
task_infos.csv       what their task cards say
features/            raw features and labels of every image: treat them like the images themselves

Distances between raw samples:
{samples}

Distances between fingerprints (what a federation sees): {fingerprints}
"""


def write_matrix(folder: Path, name: str, keys: Sequence[str], values: npt.NDArray[np.float64]) -> None:
    """Write ``distances/NAME.csv``: rows are sources, columns are targets."""
    rows = ([key, *(f"{value:.9g}" for value in row)] for key, row in zip(keys, values, strict=True))
    _write_csv(folder / "distances" / f"{name}.csv", ["", *keys], rows)


def write_tasks(folder: Path, tasks: Sequence[TaskFeatures]) -> None:
    """Write ``tasks.json`` and ``task_infos.csv``."""
    content = {"targets": [task.key for task in tasks], "groups": {}}
    write_atomically(folder / "tasks.json", (json.dumps(content, indent=1) + "\n").encode())
    header = ["name", "num_classes", "num_samples", "domains", "imbalance_ratios", "keywords"]
    _write_csv(folder / "task_infos.csv", header, map(_facts, tasks))


def write_agreement(folder: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write ``agreement.csv``."""
    cells = ([row["fingerprint"], row["sample"], row["pairs"], row["targets"]] for row in rows)
    header = ["fingerprint distance", "sample distance", "spearman over pairs", "mean spearman per target"]
    _write_csv(folder / "agreement.csv", header, cells)


def write_readme(folder: Path, samples: Mapping[str, str], fingerprints: Iterable[str]) -> None:
    """Write ``README.txt``: what lies in the folder, and that no federation computed it."""
    listed = "\n".join(f"  {name}: {formula}" for name, formula in samples.items())
    text = _README.format(warning=NOT_FEDERATED, samples=listed, fingerprints=", ".join(fingerprints))
    write_atomically(folder / "README.txt", text.encode())


def _facts(task: TaskFeatures) -> list[object]:
    card = task.fingerprint.card
    counts = [count for count in card.classes.values() if count]
    imbalance = max(counts) / min(counts)
    return [task.key, len(counts), sum(counts), card.modality, f"{imbalance:.6g}", ";".join(card.keywords)]


def _write_csv(path: Path, header: Sequence[object], rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())
