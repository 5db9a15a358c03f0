"""Fisher sketches on the whole way: network, head, gradients, release, catalogue, distances."""

import json
from fractions import Fraction

import numpy as np
import pytest
from rich.console import Console
from small_federation import write_small_federation

from aggregator.matrix import read_all
from aggregator.store import Catalogue
from deploy.federation_file import FederationConfig
from deploy.progress_display import ProgressDisplay
from deploy.simulation import simulate
from federation.errors import ConfigError
from federation.identity import Identity
from federation.privacy.accounting import rho_for, rho_of
from site_agent.ledger.chain import read_chain
from site_agent.ledger.storage import LedgerFiles
from site_agent.state import SiteState


def run(folder, fisher="", trusts=("open", "open", "open")):
    path = write_small_federation(folder, trusts=trusts)
    text = path.read_text().replace("bins = 20", 'bins = 20\nsketches = ["histogram", "fisher"]')
    path.write_text(text.replace("[[site]]", f"{fisher}\n[[site]]", 1))
    return simulate(FederationConfig.read(path), ProgressDisplay(Console(quiet=True)))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run(tmp_path_factory.mktemp("fisher"))


def matrices(done):
    catalogue = Catalogue(done.catalogue)
    return read_all(catalogue, catalogue.latest_space())


@pytest.mark.parametrize("distance", ["fed", "task2vec"])
def test_two_parts_of_one_task_are_nearest(finished, distance):
    assert finished.problems == ()
    found = matrices(finished)[distance]
    assert found.keys == tuple(sorted(found.keys))
    values = found.values.copy()
    np.fill_diagonal(values, np.inf)
    anna, cork = found.index("anna/digits"), found.index("cork/digits")
    assert values[:, anna].argmin() == cork
    assert values[:, cork].argmin() == anna


def test_every_distance_of_fisher_sketches_is_in_the_catalogue(finished):
    assert {"cramer", "fed", "task2vec", "task2vec-published", "task2vec-asymmetric"} <= set(
        matrices(finished)
    )


def test_running_again_gives_the_same_sketches(finished, tmp_path):
    again = run(tmp_path)

    def sketches(done):
        catalogue = Catalogue(done.catalogue)
        entries = catalogue.entries(catalogue.latest_space())
        return {e.fingerprint.key: e.fingerprint.sketches["fisher"] for e in entries}

    assert sketches(again) == sketches(finished)


def test_kernel_granularity_is_chosen_in_the_file_and_a_listener_ranks_by_it(tmp_path):
    done = run(tmp_path, '[space.fisher]\ngranularity = "kernel"', ("open", "open", "listen"))
    assert done.problems == ()
    parameters = Catalogue(done.catalogue).latest_space().sketches["fisher"]
    assert parameters["granularity"] == "kernel"
    ranking = json.loads((tmp_path / "run/sites/cork/rankings/digits.json").read_bytes())
    assert [choice["source"] for choice in ranking] == ["anna/digits", "bern/digits"]


def test_adaptive_samples_of_layers_inside_the_network_give_fisher_sketches_of_the_same_images(tmp_path):
    path = write_small_federation(tmp_path, trusts=("open", "open", "open"), n=150)
    text = path.read_text().replace('samples = "all"', "tolerance = 0.3")
    text = text.replace("bins = 20", 'bins = 20\nsketches = ["histogram", "fisher"]\nlayers = ["blocks.3"]')
    path.write_text(text)
    done = simulate(FederationConfig.read(path), ProgressDisplay(Console(quiet=True)))
    assert done.problems == ()
    catalogue = Catalogue(done.catalogue)
    space = catalogue.latest_space()
    found = [entry.fingerprint.sketches for entry in catalogue.entries(space)]
    assert {(one["histogram"].n, one["fisher"].n) for one in found} == {(128, 128)}
    assert "blocks.3" in space.sketches["fisher"]["layout"]
    assert "blocks.4" not in space.sketches["fisher"]["layout"]


def test_contradicting_choices_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="per filter"):
        run(tmp_path, '[space.fisher]\ngranularity = "kernel"\nestimator = "variational"')


@pytest.mark.parametrize("fisher", ['head = "fitted"', 'estimator = "variational"'])
def test_a_private_space_refuses_a_head_that_is_fitted_to_labels(tmp_path, fisher):
    with pytest.raises(ConfigError, match="cannot fit a Fisher head"):
        run(tmp_path, f"private = true\n[space.fisher]\n{fisher}")


def test_a_public_head_is_chosen_in_the_file(tmp_path):
    done = run(tmp_path, '[space.fisher]\nhead = "public"')
    assert done.problems == ()
    parameters = Catalogue(done.catalogue).latest_space().sketches["fisher"]
    assert parameters["head"] == "public"
    assert parameters["clip"] > 0


def test_private_sites_release_every_kind_with_noise(tmp_path):
    path = write_small_federation(tmp_path, trusts=("private", "private", "private"))
    kinds = 'private = true\nsketches = ["fisher", "mean-embedding", "moments"]'
    text = path.read_text().replace("bins = 20", f"bins = 20\n{kinds}")
    text = text.replace('distance = "js"', 'distance = "mmd-unbiased"')
    budget = "[privacy]\nrelease_eps = 8.0\neps = 20.0\ndelta = 1e-3\n"
    path.write_text(text.replace("[[site]]", f"{budget}[[site]]", 1))
    done = simulate(FederationConfig.read(path), ProgressDisplay(Console(quiet=True)))
    assert done.problems == ()
    catalogue = Catalogue(done.catalogue)
    for entry in catalogue.entries(catalogue.latest_space()):
        assert set(entry.fingerprint.sketches) == {"fisher", "mean-embedding", "moments"}
        assert all(sketch.noise for sketch in entry.fingerprint.sketches.values())
    assert {"mmd-unbiased", "fed", "kld-mean-target"} <= set(matrices(done))


def test_heads_fitted_with_noise_are_charged_with_the_noise_of_the_sketches(tmp_path):
    path = write_small_federation(tmp_path, trusts=("private", "private", "listen"))
    kinds = 'private = true\nsketches = ["fisher", "moments"]\n[space.fisher]\nhead = "dp"\nhead_share = 0.25'
    text = path.read_text().replace("bins = 20", "bins = 20\n")
    text = text.replace('distance = "js"', 'distance = "fed"')
    budget = f"{kinds}\n[privacy]\nrelease_eps = 8.0\neps = 20.0\ndelta = 1e-3\n"
    path.write_text(text.replace("[[site]]", f"{budget}[[site]]", 1))
    done = simulate(FederationConfig.read(path), ProgressDisplay(Console(quiet=True)))
    assert done.problems == ()
    catalogue = Catalogue(done.catalogue)
    entries = catalogue.entries(catalogue.latest_space())
    assert len(entries) == 2
    most = rho_for(8.0, 1e-3)
    for entry in entries:
        stated, site = entry.fingerprint.privacy, entry.fingerprint.site
        (charge,) = charges(tmp_path / f"run/sites/{site}")
        head, noise = Fraction(charge.mechanism["spent"]["fisher"]), cost_of_noise(entry.fingerprint)
        assert charge.rho == Fraction(stated.rho) == head + noise <= most
        assert most / 2 / 4 * Fraction(99, 100) < head <= most / 2 / 4
    ranking = json.loads((tmp_path / "run/sites/cork/rankings/digits.json").read_bytes())
    assert {choice["source"] for choice in ranking} == {"anna/digits", "bern/digits"}


def charges(state):
    files = LedgerFiles(state)
    key = Identity.load_or_create(state.name, SiteState(state).key_path).public_key
    return [entry.charge for entry in read_chain(files, key).entries if entry.charge]


def cost_of_noise(fingerprint):
    return sum(
        rho_of(bound.l2_squared, sketch.noise[name])
        for sketch in fingerprint.sketches.values()
        for name, bound in sketch.sensitivity(fingerprint.privacy.weight).items()
    )
