"""What people at a site see of transfer experiments: before in `check`, while and after in `transfers`."""

import json
import tomllib

import pytest
from transfer_site import CountingWork, train, write_transfer_site
from typer.testing import CliRunner

from federation.errors import ConfigError, TrainingError
from site_agent.beginning import begin_site
from site_agent.cli import app
from site_agent.config import SiteConfig


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def config(anna, tmp_path):
    return tmp_path / "anna" / "site.toml"


def uncommented(path, *tables):
    """Return a template with the commented lines of some tables made part of it."""
    lines, inside = [], False
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("# ["):
            inside = line[2:].startswith(tables)
        elif not line.startswith("# "):
            inside = False
        lines.append(line[2:] if inside else line)
    return tomllib.loads("\n".join(lines))


def test_the_first_policy_explains_transfer_experiments(tmp_path):
    begin_site(tmp_path, "anna")
    written = uncommented(tmp_path / "policy.toml", "[task.pneumonia-cxr.transfer]", "[transfer]")
    assert set(written["task"]["pneumonia-cxr"]["transfer"]) == {
        "metrics_because",
        "measured_images",
        "steps",
        "models",
        "models_because",
        "models_to",
        "summed_in",
        "summed_because",
    }
    assert set(written["transfer"]) == {"networks", "model_sources"}


def test_the_first_site_file_explains_weights_of_further_networks(tmp_path):
    begin_site(tmp_path, "anna")
    written = uncommented(tmp_path / "site.toml", "[[pretrained]]", "[transfer]")
    config = SiteConfig.model_validate(written)
    assert (config.pretrained[0].name, config.transfer.models_mb) == ("resnet18", 4096)


def test_two_places_for_the_weights_of_one_network_are_refused(config):
    text = config.read_text() + '\n[[pretrained]]\nname = "resnet18"\n' * 2
    config.write_text(text)
    with pytest.raises(ConfigError, match=r"\[pretrained\]\] of timm:resnet18"):
        SiteConfig.read(config)


def test_check_says_what_may_leave(config, tmp_path):
    text = run("check", config).stdout
    assert "nothing leaves but in transfer experiments" in text
    assert "models: exact" in text
    assert "models to: bern" in text
    assert json.loads(run("check", config, "--json").stdout)["tasks"][0]["transfer"]["models"] == "exact"
    write_transfer_site(tmp_path / "anna", None)
    assert "transfer" not in run("check", config).stdout


def test_transfers_shows_what_runs_what_is_done_what_failed_and_what_left(anna, config, monkeypatch):
    done, failed = train(travels_to=("bern",)), train(seed=2)
    anna.finish(done)
    anna.ask(train(seed=1))

    def diverge(self, slice_s):
        raise TrainingError("the loss is NaN")

    monkeypatch.setattr(CountingWork, "advance", diverge)
    anna.ask(failed)
    listed = {one["state"]: one for one in json.loads(run("transfers", config, "--json").stdout)}
    assert (listed["done"]["left_to"], listed["done"]["scores"]) == (["bern"], {"auroc": 0.75})
    assert (listed["running"]["epoch"], listed["running"]["epochs"]) == (1, 2)
    assert listed["training"]["text"] == "the loss is NaN"
    shown = run("transfers", config).stdout
    assert "1/2" in shown
    assert "auroc 0.750" in shown


def test_transfers_of_a_site_that_nobody_asked(config):
    assert "nobody has asked" in run("transfers", config).stdout
