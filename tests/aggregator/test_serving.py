import os
import socket
import stat

import pytest
from hub_folders import write_hub

from aggregator.config import HubConfig
from aggregator.serving import JOBS, METRICS, SUPEREXEC, SUPERLINK, prepare, serve_hub
from federation.config_file import read_config
from federation.errors import ConfigError, DeploymentError
from federation.files import locked


@pytest.fixture
def folder(tmp_path):
    before = os.umask(0o077)
    yield write_hub(tmp_path)
    os.umask(before)


def test_the_superlink_is_started_first_and_jobs_after_it(folder):
    assert [program.name for program in prepare(folder)] == [SUPERLINK, SUPEREXEC, JOBS, METRICS]


def test_no_secret_stands_in_a_command_or_variable(folder):
    programs = prepare(folder)
    secrets = [path.read_text() for path in (folder.operator_token, folder.superexec_secret)]
    told = [word for each in programs for word in (*each.command, *each.environment.values())]
    assert not [word for word in told for secret in secrets if secret in word]


def test_secrets_are_made_once_and_for_the_owner_alone(folder):
    folder.operator_token.unlink()
    prepare(folder)
    first = folder.operator_token.read_text()
    prepare(folder)
    assert folder.operator_token.read_text() == first
    assert stat.S_IMODE(folder.operator_token.stat().st_mode) == 0o600


def test_flower_stays_inside_the_folder_and_speaks_to_nobody(folder):
    for program in prepare(folder):
        assert program.environment["FLWR_HOME"].startswith(str(folder.flower))
        assert program.environment["FLWR_TELEMETRY_ENABLED"] == "0"
        assert program.environment["FLWR_DISABLE_UPDATE_CHECK"] == "1"
        assert program.environment["FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION"] == "1"


@pytest.mark.parametrize("name", ["port", "operator_port", "metrics_port"])
def test_a_port_that_is_taken_is_named(folder, name):
    port = getattr(read_config(folder.config, HubConfig).serve, name)
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(DeploymentError, match=f"port {port}") as raised,
    ):
        prepare(folder)
    assert f"[serve] {name}" in raised.value.remedy


def test_a_hub_of_a_simulation_is_not_served(folder):
    text = folder.config.read_text().replace('members = "members"\n', "")
    folder.config.write_text(f'{text}[[site]]\nname = "anna"\npublic_key = "{"ab" * 32}"\n')
    with pytest.raises(ConfigError, match="for simulations"):
        prepare(folder)


def test_a_folder_is_served_once(folder):
    with locked(folder.serve_lock), pytest.raises(DeploymentError, match="is being served already"):
        serve_hub(folder)


def test_an_unguarded_folder_is_not_served(folder):
    folder.server_key.chmod(0o640)
    with pytest.raises(DeploymentError, match="can be read or changed by others"):
        serve_hub(folder)


def test_nothing_is_imported_from_the_working_directory(folder):
    """Where somebody types ``serve``, others may be able to put files."""
    assert all("-P" in program.command for program in prepare(folder))
