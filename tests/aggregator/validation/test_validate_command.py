"""``fedprint validate`` in one process."""

import json
import math
import subprocess
import sys

import pytest
from html_tree import parse
from study_files import StudyFiles
from typer.testing import CliRunner

from deploy import cli
from federation.errors import StoreError, StudyError

KEYS = {
    "selector": str,
    "scenario": str,
    "metric": str,
    "n_targets": int,
    "weighted_tau": float,
    "weighted_tau_ci": list,
    "spearman": float,
    "percentile_at_3": float,
    "regret_at_3": float,
    "improvement_rate": list,
    "negative_transfer_rate": float,
    "delta_at_3": float,
    "win_rate": float,
}


@pytest.fixture
def directory(tmp_path):
    files = StudyFiles(tmp_path)
    files.tasks["groups"] = {}
    files.table("outcomes/baseline_full_ba.csv", [["", "a", "b", "c"], ["0", "0.55", "0.55", "0.55"]])
    return files.write()


def run(*arguments):
    return CliRunner().invoke(cli.app, ["validate", *map(str, arguments)], catch_exceptions=False)


def refuse(value):
    raise AssertionError(f"{value} is not strict JSON")


def test_json_has_the_documented_keys_for_every_selector_and_setting(directory):
    results = json.loads(run(directory, "--json").stdout, parse_constant=refuse)["results"]
    assert [entry["selector"] for entry in results] == ["near", "random", "no_transfer"]
    near = results[0]
    assert {key: type(near[key]) for key in KEYS} == KEYS
    assert near["n_targets"] == 3
    assert len(near["improvement_rate"]) == 5
    assert near["weighted_tau_ci"][0] <= near["weighted_tau"] <= near["weighted_tau_ci"][1]
    assert results[2]["weighted_tau"] is None


def test_the_table_says_how_many_targets_there_are_and_what_chance_gives(directory):
    text = " ".join(run(directory).stdout.split())
    assert "pretraining, BA: 3 targets, chance: weighted τ 0" in text
    assert "near" in text
    assert "no_transfer" in text


def test_the_page_is_one_file_that_draws_every_setting(directory, tmp_path):
    page = tmp_path / "page.html"
    assert "page: " in run(directory, "--html", page).stdout
    text = page.read_text()
    assert parse(text) is not None
    assert "http" not in text.replace("http-equiv", "")
    assert text.count("<svg") == 2
    assert 'id="pretraining-ba"' in text


def test_a_study_without_baselines_has_a_table_and_a_page_too(directory, tmp_path):
    (directory / "outcomes" / "baseline_full_ba.csv").unlink()
    page = tmp_path / "page.html"
    assert run(directory, "--html", page).exit_code == 0
    assert page.read_text().count("<svg") == 1


def test_a_broken_study_ends_in_one_message_and_status_1(tmp_path):
    status = subprocess.run(
        [sys.executable, "-c", "from deploy.cli import main; main()", "validate", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (status.returncode, status.stdout) == (1, "")
    assert "holds no CSV file" in " ".join(status.stderr.split())
    assert "Traceback" not in status.stderr


def test_a_page_that_cannot_be_written_is_refused_before_the_work(directory, tmp_path):
    for place, complaint in [
        (tmp_path, "it is a folder"),
        (directory / "tasks.json" / "page.html", "is no folder that you may"),
    ]:
        with pytest.raises(StoreError, match=complaint):
            run(directory / "nowhere", "--html", place)


def test_notes_go_beside_the_results(directory):
    (directory / "outcomes" / "baseline_full_auroc.csv").write_text(",a\n0,0.5\n")
    ran = run(directory, "--json")
    assert json.loads(ran.stdout)["results"]
    assert "note: " in ran.stderr
    assert "baseline_full_auroc.csv is not used" in ran.stderr


@pytest.mark.parametrize("name", ["p2l.csv", "p2l_with_size.csv"])
def test_two_selectors_of_one_name_are_refused(directory, name):
    table = (directory / "distances" / "near.csv").read_text()
    for each in (name, "p2l_without_size.csv"):
        (directory / "distances" / each).write_text(table)
    (directory / "task_infos.csv").write_text("name,num_samples\na,5\nb,6\nc,7\nd,8\n")
    with pytest.raises(StudyError, match="two selectors are called 'p2l_with_size'"):
        run(directory)


@pytest.mark.reference
def test_the_whole_reference_study_is_strict_json_without_torch(shared):
    command = (
        "import sys; from deploy.cli import main\ntry: main()\nfinally: assert 'torch' not in sys.modules"
    )
    study = shared / "reference" / "knowledge_silos"
    ran = subprocess.run(
        [sys.executable, "-c", command, "validate", str(study), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    results = json.loads(ran.stdout, parse_constant=refuse)["results"]
    assert len(results) == 8 * (15 + 4)
    assert all(entry["weighted_tau"] is None or math.isfinite(entry["weighted_tau"]) for entry in results)
