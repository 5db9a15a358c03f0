"""Private and listening sites of one simulated consortium whose space has no histogram."""

import io
import json

import pytest
from rich.console import Console
from small_federation import write_small_federation

from aggregator import matrix
from aggregator.store import Catalogue
from deploy.federation_file import FederationConfig
from deploy.progress_display import ProgressDisplay
from deploy.results import show_results
from deploy.simulation import simulate


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("noisy")
    path = write_small_federation(folder, trusts=("private", "private", "listen"), n=150)
    text = path.read_text().replace('distance = "js"\n', "")
    path.write_text(text.replace("bins = 20", 'bins = 4\nsketches = ["cdf"]'))
    config = FederationConfig.read(path)
    return config, simulate(config, ProgressDisplay(Console(quiet=True)))


def test_real_releases_pass_intake_and_are_compared_by_the_default_distance(finished):
    _, run = finished
    assert run.problems == ()
    catalogue = Catalogue(run.catalogue)
    assert catalogue.run_summary()["distance"] == "cdf-l2"
    found = matrix.read(catalogue, catalogue.latest_space(), "cdf-l2")
    assert found.keys == ("anna/digits", "bern/digits")
    assert found.standard_errors[0, 1] > 0
    assert all(fingerprint.privacy.ledger_seq is not None for fingerprint in found.fingerprints)
    catalogue.close()


def test_a_listening_site_knows_how_uncertain_the_sources_are(finished):
    _, run = finished
    (path,) = run.catalogue.parent.glob("sites/cork/**/rankings/digits.json")
    ranking = json.loads(path.read_text())
    assert {choice["distance"] for choice in ranking} == {"cdf-l2"}
    assert all(choice["standard_error"] > 0 for choice in ranking)


def test_results_show_standard_errors_and_warn_of_no_exact_histogram(finished):
    config, run = finished
    console = Console(width=200, file=io.StringIO())
    assert show_results(config, run, console)
    text = console.file.getvalue()
    assert "standard errors 0." in text
    assert "anna/digits left with noise like 4.5 images more or less: ε = 1 at δ = 1e-06 per image" in text
    assert "exact histograms" not in text
