"""The published tables, recomputed."""

import csv

import numpy as np
import pytest
from study_files import SETTING, make_study

from aggregator.validation.directory import read_study
from aggregator.validation.evaluate import evaluate, target_scores
from aggregator.validation.metrics import METRICS
from aggregator.validation.selectors import selectors

pytestmark = pytest.mark.reference

COLUMNS = (
    "weighted_tau",
    "regret_at_3",
    "percentile_at_3",
    "improvement_rate_at_3",
    "best_of_3_improvement_rate",
)
SCORES = {"LogME": "logme", "SFDA": "sfda", "LEEP": "leep", "PARC": "parc", "NCTI": "ncti", "NLEEP": "nleep"}


def test_every_cell_of_the_development_table_is_reproduced(shared):
    directory = shared / "reference" / "knowledge_silos"
    study = read_study(directory)
    found = {
        (result.selector, result.setting.scenario, result.setting.metric): result
        for result in evaluate(study, selectors(study))
    }
    with (directory / "development_table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 120
    for row in rows:
        result = found[row["distance"], row["scenario"], row["metric"].lower()]
        assert result.n_targets == int(row["targets"])
        for column in COLUMNS:
            # The table is rounded to five digits.
            assert result.means[column] == pytest.approx(float(row[column]), abs=5.1e-6), (row, column)


def read_scores(path, tasks):
    """float64 [n_tasks, n_tasks] of a score table, NaN where a cell is empty or a task is only a source."""
    values = np.full((len(tasks), len(tasks)), np.nan)
    with path.open() as file:
        for row in csv.DictReader(file):
            for target in tasks:
                if row.get(target):
                    values[tasks.index(row["source"]), tasks.index(target)] = float(row[target])
    return values


def _min_max(values):
    low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
    return (values - low) / (high - low)


@pytest.fixture(scope="module")
def medmnist(shared):
    """Sources' scores by name and the study of the MedMNIST outcomes."""
    results = shared / "reference" / "transferability_medmnist" / "results"
    with (results / "AUCs_dataset.csv").open() as file:
        tasks = [row["source"] for row in csv.DictReader(file)]
    feature, ratio = (read_scores(results / f"{name}_dataset.csv", tasks) for name in ("lp", "fu"))
    judged = [task not in ("imagenet", "radimagenet", "medmnist", "chestmnist") for task in tasks]
    with np.errstate(invalid="ignore"):
        feature[:, judged], pooled = _min_max(feature[:, judged]), np.full_like(ratio, np.nan)
        pooled[:, judged] = _min_max(ratio[:, judged])
    scores = {name: read_scores(results / f"{file}_dataset.csv", tasks) for name, file in SCORES.items()}
    scores |= {"ours": feature * pooled, "NCA only": feature, "grad ratio only": ratio}
    performance = np.where(judged, read_scores(results / "AUCs_dataset.csv", tasks), np.nan)
    return tasks, scores, make_study(performance)


def test_the_weighted_tau_of_every_score_and_target_is_reproduced_on_medmnist(shared, medmnist):
    tasks, scores, study = medmnist
    path = (
        shared / "reference" / "transferability_medmnist" / "derived" / "weighted_tau_dataset_recomputed.csv"
    )
    with path.open() as file:
        *published, mean = csv.DictReader(file)
    taus = target_scores(study, SETTING, np.stack(list(scores.values())))[..., METRICS.index("weighted_tau")]
    targets = [tasks[i] for i in study.target_indices(SETTING)]
    assert sorted(targets) == sorted(row[""] for row in published)
    for name, of_score in zip(scores, taus, strict=True):
        for row in published:
            expected = float(row[name] or "nan")
            assert of_score[targets.index(row[""])] == pytest.approx(expected, abs=1e-6, nan_ok=True), (
                name,
                row,
            )
        assert np.nanmean(of_score) == pytest.approx(float(mean[name]), abs=1e-6)
