"""The command line in one process: what it prints, writes and returns."""

import io
import json
import re
import sys

import pytest
from factories import make_space
from small_federation import let_bern_answer_another_aggregator, write_small_federation

from aggregator.store import Catalogue
from deploy import cli


@pytest.fixture
def fedprint(monkeypatch, capsys):
    """Run ``fedprint`` with arguments; returns exit status, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["fedprint", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        captured = capsys.readouterr()
        return stopped.value.code, captured.out, captured.err

    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder in which ``fedprint simulate`` has run."""
    from rich.console import Console

    from deploy.federation_file import FederationConfig
    from deploy.progress_display import ProgressDisplay
    from deploy.simulation import simulate

    folder = tmp_path_factory.mktemp("cli")
    config = FederationConfig.read(write_small_federation(folder))
    simulate(config, ProgressDisplay(Console(quiet=True)))
    return folder


@pytest.fixture
def there(finished, monkeypatch):
    monkeypatch.chdir(finished)
    return finished


def test_simulate_prints_matrix_sources_warning_and_report(fedprint, tmp_path):
    status, out, err = fedprint("simulate", write_small_federation(tmp_path))
    assert (status, err) == (0, "")
    for expected in (
        "anna/digits",
        "nearest of 1 by js",
        "listened and released nothing",
        "anyone who holds",
    ):
        assert expected in " ".join(out.split())
    assert "<html" in (tmp_path / "run" / "report.html").read_text()


def test_a_pooled_task_in_no_cohort_is_refused_before_any_work(fedprint, tmp_path):
    status, _, err = fedprint("simulate", write_small_federation(tmp_path, trusts=("open", "open", "pooled")))
    assert status == 1
    words = " ".join(err.split())
    assert 'cork/digits has trust "pooled", but no [[cohort]] names its site and task' in words
    assert not (tmp_path / "run").exists()


def test_a_refused_aggregator_is_exit_status_3_and_the_reason_is_visible(fedprint, tmp_path):
    path = write_small_federation(tmp_path)
    let_bern_answer_another_aggregator(path)
    status, out, _ = fedprint("simulate", path)
    assert status == 3
    assert "bern the policy does not name the aggregator with the key " in " ".join(out.split())
    assert "missing bern: the site's rules do not allow it" in " ".join(out.split())


def test_a_missing_federation_file_is_one_error(fedprint, tmp_path):
    status, _, err = fedprint("simulate", tmp_path / "nowhere.toml")
    assert status == 1
    assert err.startswith("error: configuration ")
    assert "→ check the path" in err


def test_init_writes_an_example_that_is_valid_once_its_data_exist(fedprint, tmp_path):
    path = tmp_path / "federation.toml"
    assert fedprint("init", "simulation", path)[0] == 0
    status, _, err = fedprint("simulate", path)
    # Every key is accepted; only the example's datasets are not there.
    assert status == 1
    for task in ("st-anna/pneumonia-cxr", "st-anna/skin-lesions", "county-hospital/head-ct", "breast-us"):
        assert task in err


def test_the_examples_of_private_release_are_valid_once_they_are_no_comments(fedprint, tmp_path):
    from deploy.federation_file import FederationConfig

    path = tmp_path / "federation.toml"
    fedprint("init", "simulation", path)
    text = path.read_text()
    begin, end = text.index("# Sites with trust"), text.index("# One [[site]]")
    examples = [
        line.removeprefix("# ") for line in text[begin:end].splitlines() if re.match(r"# (\[|\w+ = )", line)
    ]
    space = text[text.index("[space]") : begin]
    path.write_text(text.replace(text[begin:end], "\n".join(examples) + "\n").replace(space, ""))
    config = FederationConfig.read(path)
    assert (config.space.bins, config.space.binning, config.space.sketches) == (4, "skewed", ("cdf",))
    assert (config.privacy.release_eps, config.privacy.images_per_patient) == (1.0, 4)


def test_init_never_overwrites(fedprint, tmp_path):
    path = tmp_path / "federation.toml"
    path.write_text("mine")
    status, _, err = fedprint("init", "simulation", path)
    assert (status, path.read_text()) == (1, "mine")
    assert "exists already" in err


def test_tasks_as_json(fedprint, there):
    status, out, _ = fedprint("hub", "tasks", "--json")
    tasks = json.loads(out)["tasks"]
    assert status == 0
    assert [(t["key"], t["n_images"], t["trust_mode"]) for t in tasks] == [
        ("anna/digits", 60, "open"),
        ("bern/digits", 60, "open"),
    ]


def test_tasks_as_a_table_tells_images_used_from_images_of_the_dataset(fedprint, there):
    _, out, _ = fedprint("hub", "tasks")
    assert "60 images" in out
    assert "classes, images of the whole dataset" in out


def test_matrix_as_json_names_rows_and_columns(fedprint, there):
    _, out, _ = fedprint("hub", "matrix", "--distance", "cramer", "--json")
    found = json.loads(out)
    assert (found["rows"], found["columns"], found["distance"]) == ("source", "target", "cramer")
    assert found["tasks"] == ["anna/digits", "bern/digits"]
    assert found["values"][0][0] == pytest.approx(0, abs=1e-10)
    assert found["values"][0][1] > 0


def test_matrix_as_a_table(fedprint, there):
    _, out, _ = fedprint("hub", "matrix")
    assert "js: rows are sources, columns are targets" in out
    assert "2 bern/digits" in out


def test_recommend_uses_the_runs_distance_unless_told_otherwise(fedprint, there):
    answers = [
        json.loads(fedprint("hub", "recommend", "anna/digits", "--top", "1", "--json", *extra)[1])
        for extra in ([], ["--distance", "bkld-small"])
    ]
    assert [a["distance"] for a in answers] == ["js", "bkld-small"]
    assert [a["recommendations"][0]["source"] for a in answers] == ["bern/digits", "bern/digits"]
    assert answers[0]["recommendations"][0]["reasons"][0] == "nearest of 1 by js"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("recommend", "rome/digits"), "is no task of the catalogue"),
        (("recommend", "cork/digits"), "cork/digits listens: it released nothing"),
        (("recommend", "cork/digits"), "site cork: its folder holds its own ranking, rankings/digits.json"),
        (("recommend", "digits"), "names several tasks"),
        (("recommend", "anna/digits", "--distance", "nearest"), "no distance 'nearest'"),
        (("matrix", "--catalogue", "federation.toml"), "federation.toml"),
        (("tasks", "--catalogue", "nowhere.sqlite"), "no catalogue at nowhere.sqlite"),
    ],
)
def test_wrong_questions_get_one_error_with_a_remedy(fedprint, there, arguments, message):
    status, out, err = fedprint("hub", *arguments)
    assert (status, out) == (1, "")
    assert message in err
    assert "→" in err


def test_no_catalogue_at_all_says_how_to_make_one(fedprint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, err = fedprint("hub", "tasks")
    assert status == 1
    assert "fedprint demo" in err


def test_report_writes_a_page(fedprint, there, tmp_path):
    status, _, _ = fedprint("hub", "report", "--output", tmp_path / "page.html")
    assert status == 0
    assert "anna/digits" in (tmp_path / "page.html").read_text()


def test_wrong_usage_returns_2(fedprint):
    status, _, err = fedprint("hub", "matrix", "--nonsense")
    assert status == 2
    assert "--nonsense" in err


def test_a_run_in_which_nobody_releases_says_so_everywhere(fedprint, tmp_path, monkeypatch):
    path = write_small_federation(tmp_path, trusts=("listen", "listen", "listen"))
    status, out, _ = fedprint("simulate", path)
    assert status == 0
    assert "no task released a fingerprint" in " ".join(out.split())
    assert "anyone who holds" not in out
    monkeypatch.chdir(tmp_path)
    assert "nothing to compare" in fedprint("hub", "matrix")[1]
    assert "anna/digits listens: it released nothing" in fedprint("hub", "recommend", "anna/digits")[2]
    assert "no task has released" in fedprint("hub", "recommend", "rome/digits")[2]


def test_init_into_a_place_that_cannot_be_is_one_error(fedprint, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, err = fedprint("init", "simulation", tmp_path / "file" / "x.toml")
    assert status == 1
    assert "cannot be written" in err


def test_version(fedprint):
    assert fedprint("--version")[:2] == (0, "fedprint 0.1.0\n")


def test_outcomes_go_in_once_and_come_out_again(fedprint, there, tmp_path):
    path = tmp_path / "outcomes.csv"
    assert fedprint("hub", "outcomes", "template", "-o", path, "--pairs", "--seeds", "2")[0] == 0
    header, *lines = path.read_text().splitlines()
    assert lines[0] == "pretraining,auroc,0,anna/digits,bern/digits,,"
    assert len(lines) == 4
    path.write_text("\n".join([header, lines[0].removesuffix(",,") + ",0.75,0.5", *lines[1:]]))
    status, out, _ = fedprint("hub", "outcomes", "import", path)
    assert status == 0
    assert "1 added, 0 replaced, 0 there already" in out
    assert "3 lines have no value yet" in out
    assert "0 added, 0 replaced, 1 there already" in fedprint("hub", "outcomes", "import", path)[1]
    (stored,) = json.loads(fedprint("hub", "outcomes", "list", "--json")[1])["outcomes"]
    assert (stored["source"], stored["value"], stored["baseline"]) == ("anna/digits", 0.75, 0.5)
    assert "+0.2500" in fedprint("hub", "outcomes", "list")[1]
    path.write_text(path.read_text().replace("0.75", "0.7"))
    status, _, err = fedprint("hub", "outcomes", "import", path)
    assert status == 1
    assert "--replace" in err
    assert "1 replaced" in fedprint("hub", "outcomes", "import", path, "--replace")[1]
    status, out, _ = fedprint("hub", "export", tmp_path / "study")
    assert status == 0
    assert "2 tasks" in out
    assert (tmp_path / "study/outcomes/pretraining_auroc.csv").exists()


def test_a_template_names_the_tasks_and_never_overwrites(fedprint, there, tmp_path):
    path = tmp_path / "outcomes.csv"
    fedprint("hub", "outcomes", "template", "-o", path)
    assert path.read_text().splitlines()[1:] == ["# anna/digits", "# bern/digits"]
    status, _, err = fedprint("hub", "outcomes", "template", "-o", path)
    assert status == 1
    assert "exists already" in err


@pytest.fixture
def strangers(tmp_path):
    path = tmp_path / "outcomes.csv"
    header = "scenario,metric,seed,source,target,value,baseline"
    lines = ["co_training,ba,0,anna/digit,bern/digits,0.5,", "co_training,ba,1,rome/x,anna/digits,0.5,0.4"]
    path.write_text("\n".join([header, *lines, "co_training,ba,2,rome/x,anna/digits,,0.4", ""]))
    return path


def test_outcomes_of_strangers_are_refused_unless_they_are_meant(fedprint, there, strangers):
    status, _, err = fedprint("hub", "outcomes", "import", strangers)
    said = " ".join(err.split())
    assert status == 1
    assert "the catalogue does not hold: anna/digit (like anna/digits), rome/x; nothing was imported" in said
    status, out, _ = fedprint("hub", "outcomes", "import", strangers, "--keep-unknown")
    assert status == 0
    assert "not in the catalogue now: anna/digit, rome/x" in out
    assert "1 lines state a baseline without a value" in out


def test_outcomes_can_be_removed(fedprint, there, strangers, monkeypatch):
    fedprint("hub", "outcomes", "import", strangers, "--keep-unknown", "--replace")
    assert "give --scenario, --metric, --seed" in fedprint("hub", "outcomes", "remove")[2]
    assert "no outcome of source zoo/ape" in fedprint("hub", "outcomes", "remove", "--source", "zoo/ape")[2]
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert fedprint("hub", "outcomes", "remove", "--scenario", "co_training")[0] != 0
    asked = ("hub", "outcomes", "remove", "--scenario", "co_training", "--metric", "ba")
    status, out, _ = fedprint(*asked, "--seed", "1", "--target", "anna/digits", "--yes")
    assert (status, out.split(",")[0]) == (0, "1 removed")
    assert fedprint(*asked, "--yes")[0] == 0
    left = json.loads(fedprint("hub", "outcomes", "list", "--json")[1])["outcomes"]
    assert not [each for each in left if each["scenario"] == "co_training"]


def test_a_catalogue_without_tasks_has_no_template(fedprint, tmp_path):
    path = tmp_path / "catalogue.sqlite"
    store = Catalogue(path, create=True)
    with store.writing() as writer:
        writer.add_space(make_space())
    store.close()
    status, _, err = fedprint("hub", "outcomes", "template", "-c", path, "-o", tmp_path / "o.csv")
    assert (status, "holds no task" in err, (tmp_path / "o.csv").exists()) == (1, True, False)
