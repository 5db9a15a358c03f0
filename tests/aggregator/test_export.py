"""The catalogue as a folder of tables."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from factories import make_fingerprint, make_identity, make_space

from aggregator import matrix
from aggregator.export import Exported, export_catalogue
from aggregator.outcomes import Outcome
from aggregator.store import Catalogue
from aggregator.study import Setting
from aggregator.validation.directory import read_study
from federation import distances
from federation.errors import StoreError, UnknownNameError

TASKS = ["anna/cxr", "bern/cxr", "cork/cxr"]


@pytest.fixture
def space():
    return make_space()


@pytest.fixture
def catalogue(tmp_path, space):
    store = Catalogue(tmp_path / "catalogue.sqlite", create=True)
    with store.writing() as writer:
        writer.add_space(space)
        for i, key in enumerate(TASKS):
            identity = make_identity(key.split("/")[0], tmp_path)
            writer.add_fingerprint(make_fingerprint(identity, "cxr", space, seed=i, shift=0.3 * i))
    yield store
    store.close()


def measure(catalogue, *outcomes):
    with catalogue.writing() as writer:
        writer.add_outcomes(outcomes)


def outcome(scenario="pretraining", source=0, target=1, *, seed=0, value=0.9, baseline=0.8, metric="auroc"):
    return Outcome(scenario, metric, seed, TASKS[source], TASKS[target], value, baseline)


def table(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_every_distance_is_written_with_rows_as_sources(catalogue, space, tmp_path):
    export_catalogue(catalogue, tmp_path / "out")
    found = {path.stem for path in (tmp_path / "out/distances").iterdir()}
    assert found == {name.replace("-", "_") for name in distances.available(space)}
    header, *rows = table(tmp_path / "out/distances/bkld_small.csv")
    assert (header, [row[0] for row in rows]) == (["", *TASKS], TASKS)
    values = np.array([[float(cell) for cell in row[1:]] for row in rows])
    np.testing.assert_array_equal(values, matrix.read(catalogue, space, "bkld-small").values)


def test_distances_on_demand_are_written_when_asked_for(catalogue, tmp_path):
    assert export_catalogue(catalogue, tmp_path / "out").not_computed == ("sinkhorn",)
    assert export_catalogue(catalogue, tmp_path / "more", ["sinkhorn", "js"]).not_computed == ()
    found = [{path.stem for path in (tmp_path / name / "distances").iterdir()} for name in ("out", "more")]
    assert found[1] - found[0] == {"sinkhorn"}


@pytest.mark.parametrize("name", ["fid", "nearness"])
def test_a_distance_that_the_sketches_do_not_give_is_refused(catalogue, tmp_path, name):
    with pytest.raises(UnknownNameError, match=rf"no distance '{name}' → choose from: .*sinkhorn"):
        export_catalogue(catalogue, tmp_path / "out", [name])
    assert not (tmp_path / "out").exists()


def test_tasks_and_what_is_known_about_them(catalogue, tmp_path):
    export_catalogue(catalogue, tmp_path / "out")
    stated = json.loads((tmp_path / "out/tasks.json").read_text())
    assert stated == {"targets": TASKS, "groups": {}, "not_shrunk": TASKS}
    header, first, *_ = table(tmp_path / "out/task_infos.csv")
    info = dict(zip(header, first, strict=True))
    assert (info["name"], info["num_classes"], info["num_samples"]) == ("anna/cxr", "2", "200")
    assert (info["domains"], info["imbalance_ratios"], info["keywords"]) == ("X-ray", "1.0", "[]")


def test_outcomes_go_into_one_file_per_scenario_and_metric(catalogue, tmp_path):
    measure(
        catalogue,
        outcome(value=0.91),
        outcome(source=2, value=0.1 + 0.2),
        outcome("architecture", metric="ba"),
    )
    assert export_catalogue(catalogue, tmp_path / "out").n_outcomes == 3
    assert table(tmp_path / "out/outcomes/pretraining_auroc.csv") == [
        ["seed", "source", "target", "value"],
        ["0", "anna/cxr", "bern/cxr", "0.91"],
        ["0", "cork/cxr", "bern/cxr", "0.30000000000000004"],
    ]
    assert len(table(tmp_path / "out/outcomes/architecture_ba.csv")) == 2


def test_baselines_have_a_row_per_seed_and_a_column_per_target(catalogue, tmp_path):
    measure(catalogue, outcome(seed=0), outcome(seed=2, baseline=0.7), outcome(target=2, baseline=None))
    export_catalogue(catalogue, tmp_path / "out")
    assert table(tmp_path / "out/outcomes/baseline_full_auroc.csv") == [
        ["", *TASKS],
        ["0", "", "0.8", ""],
        ["2", "", "0.7", ""],
    ]


def test_a_scenario_gets_its_own_baselines_only_where_they_differ(catalogue, tmp_path):
    measure(
        catalogue,
        outcome("architecture"),
        outcome("pretraining"),
        outcome("co_training", baseline=0.5),
        outcome("co_training", target=2, source=1, baseline=0.6),
    )
    export_catalogue(catalogue, tmp_path / "out")
    names = {path.name for path in (tmp_path / "out/outcomes").glob("baseline*")}
    assert names == {"baseline_full_auroc.csv", "baseline_co_training_auroc.csv"}
    assert table(tmp_path / "out/outcomes/baseline_full_auroc.csv")[1] == ["0", "", "0.8", "0.6"]
    assert table(tmp_path / "out/outcomes/baseline_co_training_auroc.csv")[1] == ["0", "", "0.5", "0.6"]


def test_outcomes_of_tasks_that_left_are_counted_and_not_written(catalogue, tmp_path):
    measure(catalogue, outcome(), replace(outcome(), source="gone/cxr"))
    done = export_catalogue(catalogue, tmp_path / "out")
    assert done == Exported(3, done.n_distances, n_outcomes=1, left_out=1, not_computed=("sinkhorn",))
    assert "gone" not in (tmp_path / "out/outcomes/pretraining_auroc.csv").read_text()


def test_the_validation_reads_what_was_exported(catalogue, space, tmp_path):
    measure(
        catalogue, outcome(value=0.75), outcome(source=2, value=0.5), outcome("co_training", baseline=0.25)
    )
    export_catalogue(catalogue, tmp_path / "out")
    study = read_study(tmp_path / "out")
    assert (study.tasks, study.targets, study.groups) == (tuple(TASKS), tuple(TASKS), {})
    pretraining = study.outcomes[Setting("pretraining", "auroc")]
    assert pretraining.performance[:, 1].tolist() == [0.75, pytest.approx(np.nan, nan_ok=True), 0.5]
    assert pretraining.mean_baseline[1] == pytest.approx(0.8)
    assert study.outcomes[Setting("co_training", "auroc")].mean_baseline[1] == 0.25
    off_diagonal = ~np.eye(3, dtype=bool)
    ours = matrix.read(catalogue, space, "cramer").values
    np.testing.assert_array_equal(study.distances["cramer"][off_diagonal], ours[off_diagonal])
    assert (study.facts["anna/cxr"].num_samples, study.facts["anna/cxr"].domain) == (200, "X-ray")


def test_a_folder_that_holds_something_is_left_alone(catalogue, tmp_path):
    (tmp_path / "out").mkdir()
    export_catalogue(catalogue, tmp_path / "out")
    with pytest.raises(StoreError, match=r"out is not empty → choose a new folder"):
        export_catalogue(catalogue, tmp_path / "out")


def test_a_catalogue_without_tasks_cannot_be_exported(tmp_path, space):
    store = Catalogue(tmp_path / "empty.sqlite", create=True)
    with store.writing() as writer:
        writer.add_space(space)
    with pytest.raises(StoreError, match="holds no task"):
        export_catalogue(store, tmp_path / "out")
    assert not (tmp_path / "out").exists()
