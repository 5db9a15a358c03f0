"""What the policies of simulated sites let transfer experiments do."""

import tomllib

import pytest
from factories import make_space

from deploy.site_policy import PrivacyConfig, TransferGrant, policy_text
from federation.trust import TrustMode
from site_agent.config import SiteConfig
from site_agent.dataset_config import NpzConfig
from site_agent.policy import Policy

AGGREGATOR, OTHER = "ab" * 32, "cd" * 32


def policy(tmp_path, trust, transfer):
    site = SiteConfig(
        name="anna", trust=trust, dataset=(NpzConfig(format="npz", task="digits", file=tmp_path / "x.npz"),)
    )
    path = tmp_path / "policy.toml"
    path.write_text(policy_text(site, PrivacyConfig(), make_space(), AGGREGATOR, transfer=transfer))
    return Policy.read(path).task("digits").transfer


@pytest.fixture
def grant():
    return TransferGrant(("timm:test_resnet",), {"bern": OTHER})


def test_an_open_task_lets_figures_and_exact_models_leave(tmp_path, grant):
    found = policy(tmp_path, TrustMode.OPEN, grant)
    assert (found.models, found.models_to) == ("exact", None)
    assert "holds the data of all sites" in found.models_because
    assert found.metrics_because == found.models_because


def test_models_of_a_private_task_leave_with_noise_only(tmp_path, grant):
    found = policy(tmp_path, TrustMode.PRIVATE, grant)
    assert (found.models, found.models_because) == ("private", "")


def test_a_task_that_listens_takes_no_part(tmp_path, grant):
    assert policy(tmp_path, TrustMode.LISTEN, grant) is None


def test_only_the_plan_s_networks_and_members_models_are_let_in(tmp_path, grant):
    found = policy(tmp_path, TrustMode.OPEN, grant)
    assert found.networks == {"timm:test_resnet"}
    assert found.model_sources == {"bern": OTHER}


def test_a_simulation_without_experiments_permits_none(tmp_path):
    assert policy(tmp_path, TrustMode.OPEN, None) is None
    assert "transfer" not in tomllib.loads((tmp_path / "policy.toml").read_text())
