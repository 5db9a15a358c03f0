"""The command: from a federation file to a folder of distances."""

import csv
import json
import sys

import numpy as np
import pytest
from small_federation import write_small_federation
from typer.testing import CliRunner

from aggregator.validation.labelled_matrix import read_labelled_matrix
from deploy.cli import app
from deploy.research import features as features_module
from federation import distances
from federation.errors import ConfigError

pytest.importorskip("ot")

KEYS = ("anna/digits", "bern/digits", "cork/digits")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    base = tmp_path_factory.mktemp("research")
    path = write_small_federation(base)
    result = CliRunner().invoke(app, ["research", "distances", str(path), "-o", str(base / "out")])
    assert result.exit_code == 0, result.output
    assert result.output.count("NOT FEDERATED") == 2
    return base / "out"


def test_every_distance_is_written_as_validation_reads_it(folder):
    names = {path.stem for path in (folder / "distances").glob("*.csv")}
    exact = {"exact-w1", "exact-mmd-gaussian", "exact-mmd-cauchy", "sample-sinkhorn", "otdd"}
    assert exact | {"emd", "sinkhorn", "bkld-small"} <= names
    for name in names:
        matrix = read_labelled_matrix(folder / "distances" / f"{name}.csv")
        assert (matrix.rows, matrix.columns) == (KEYS, KEYS)
        assert np.isfinite(matrix.values).all()


def test_the_inverted_pictures_are_farthest_by_every_exact_distance(folder):
    for name in ("exact-w1", "exact-mmd-gaussian", "exact-mmd-cauchy", "sample-sinkhorn", "otdd"):
        values = read_labelled_matrix(folder / "distances" / f"{name}.csv").values
        np.testing.assert_allclose(values, values.T)
        np.testing.assert_array_equal(np.diag(values), 0)
        assert values[0, 2] < values[0, 1] > 0


def test_rows_are_sources_and_columns_are_targets(folder):
    values = read_labelled_matrix(folder / "distances" / "bkld-small.csv").values
    assert not distances.get("bkld-small").symmetric
    assert abs(values - values.T).max() > 1e-6


def test_the_folder_says_that_no_federation_computed_it(folder):
    text = (folder / "README.txt").read_text()
    assert text.startswith("NOT FEDERATED: the raw features of all tasks were read together")
    assert "exact-mmd-cauchy: MMD², unbiased" in text


def test_tasks_and_agreement_are_listed(folder):
    assert json.loads((folder / "tasks.json").read_text()) == {"targets": list(KEYS), "groups": {}}
    with (folder / "task_infos.csv").open() as file:
        assert [(row["num_classes"], row["domains"]) for row in csv.DictReader(file)] == [("10", "scan")] * 3
    with (folder / "agreement.csv").open() as file:
        rows = {(r["fingerprint distance"], r["sample distance"]): r for r in csv.DictReader(file)}
    assert float(rows["emd", "exact-w1"]["spearman over pairs"]) > 0.8


def test_features_are_extracted_once(folder, monkeypatch):
    monkeypatch.setattr(features_module, "_extract", lambda *args: pytest.fail("extracted again"))
    path = folder.parent / "federation.toml"
    result = CliRunner().invoke(app, ["research", "distances", str(path), "-o", str(folder)])
    assert result.exit_code == 0, result.output


def test_a_missing_library_is_named_before_any_work(folder, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ot", None)
    path = folder.parent / "federation.toml"
    result = CliRunner().invoke(app, ["research", "distances", str(path), "-o", str(tmp_path / "none")])
    assert isinstance(result.exception, ConfigError)
    assert "fedprint[research]" in str(result.exception)
    assert not (tmp_path / "none").exists()
