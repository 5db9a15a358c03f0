import pytest
from hub_folders import write_hub, write_tls

from aggregator.config import HubConfig
from aggregator.flower import startup
from aggregator.flower.startup import check_startup
from aggregator.hub_folder import HubFolder
from federation.config_file import read_config
from federation.errors import ConfigError, DeploymentError, FedprintError


@pytest.fixture
def folder(tmp_path):
    return write_hub(tmp_path)


def check(folder, **changes):
    serve = read_config(folder.config, HubConfig).serve
    check_startup(folder, serve.model_copy(update=changes))


def test_a_folder_as_it_should_be_is_accepted(folder):
    check(folder)


@pytest.mark.parametrize("name", ["server_key", "operator_token", "superexec_secret"])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_secrets_that_others_can_read_or_change_are_refused(folder, name, mode):
    getattr(folder, name).chmod(mode)
    with pytest.raises(DeploymentError, match=f"mode {mode:o}"):
        check(folder)


@pytest.mark.parametrize(
    "name", ["server_key", "server_certificate", "ca_certificate", "operator_token", "superexec_secret"]
)
def test_a_missing_file_is_refused(folder, name):
    getattr(folder, name).unlink()
    with pytest.raises(FedprintError, match="cannot be read"):
        check(folder)


@pytest.mark.parametrize("content", ["", "short", "x" * 31, "with a line end of 32 characters!\n"])
def test_a_secret_that_is_none_is_refused(folder, content):
    folder.operator_token.write_text(content)
    with pytest.raises(DeploymentError, match="holds no secret"):
        check(folder)


def test_a_state_database_that_others_can_read_is_refused(folder):
    folder.flower_state.touch()
    folder.flower_state.chmod(0o644)
    with pytest.raises(DeploymentError, match="state database"):
        check(folder)


def test_a_certificate_of_another_authority_is_refused(folder, tmp_path):
    other = HubFolder(tmp_path / "other")
    write_tls(other)
    folder.ca_certificate.write_bytes(other.ca_certificate.read_bytes())
    with pytest.raises(ConfigError, match="sites would not trust"):
        check(folder)


def test_a_certificate_for_another_host_is_refused(folder):
    with pytest.raises(ConfigError, match=r"sites would not trust .* for hub\.example\.org"):
        check(folder, address="hub.example.org:8000")


def test_one_port_for_sites_and_operators_is_refused(folder):
    with pytest.raises(ConfigError, match="both 8000"):
        check(folder, port=8000, operator_port=8000)


@pytest.mark.parametrize("name", startup._OPENINGS)
def test_a_variable_that_opens_an_endpoint_is_refused(folder, monkeypatch, name):
    monkeypatch.setenv(name, "1")
    with pytest.raises(DeploymentError, match=f"unset|{name}"):
        check(folder)


def test_another_flower_is_refused(folder, monkeypatch):
    monkeypatch.setattr(startup, "version", lambda _: "1.42.0")
    with pytest.raises(DeploymentError, match=r"Flower 1\.42\.0 is installed"):
        check(folder)
