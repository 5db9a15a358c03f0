"""What the guard expects of Flower's private names; fails loudly when Flower is upgraded."""

import inspect
import sqlite3
import tomllib
from dataclasses import fields
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest
from fastapi.routing import iter_route_contexts
from hub_folders import write_hub

from aggregator.config import HubConfig
from aggregator.flower.startup import FLOWER_VERSION
from aggregator.flower.superlink_guard import build_app, compact, environment, listeners
from federation.config_file import read_config

SETTINGS = {
    "artifact_provider",
    "authn_plugin",
    "certificates",
    "control_address",
    "database",
    "enable_event_log",
    "enable_supernode_auth",
    "event_log_plugin",
    "fleet_api_address",
    "fleet_api_type",
    "fleet_event_log_plugin",
    "health_server_address",
    "host",
    "insecure",
    "isolation",
    "port",
    "runtime_dependency_install",
    "simulation",
    "ssl_ca_certfile",
    "ssl_certfile",
    "ssl_keyfile",
    "superexec_auth_secret",
}
GROUPS = {"/v1/fleet", "/v1/control", "/v1/runtime", "/health", "/docs", "/openapi.json"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_hub(tmp_path_factory.mktemp("hub"))


@pytest.fixture(scope="module")
def app(folder):
    return build_app(folder, read_config(folder.config, HubConfig).serve)


def test_the_installed_flower_is_the_one_that_the_guard_is_made_for():
    stated = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    assert version("flwr") == FLOWER_VERSION
    assert f"flwr=={FLOWER_VERSION}" in stated["project"]["dependencies"]


def test_the_superlink_has_no_setting_that_the_guard_does_not_set():
    config = import_module("flwr.superlink.config_loader").SuperLinkLifespanConfig
    assert {field.name for field in fields(config)} == SETTINGS


def test_the_superlink_has_no_endpoint_that_the_doors_do_not_know(app):
    paths = {context.path for context in iter_route_contexts(app.routes)}
    known = {path for path in paths if any(path == group or path.startswith(f"{group}/") for group in GROUPS)}
    assert paths - known == {"/docs/oauth2-redirect"} - known
    assert {"/v1/fleet/pull-messages", "/v1/control/start-run", "/v1/runtime/acquire-task"} <= paths


def test_nodes_are_authenticated_before_fleet_endpoints_are_reached(app):
    names = [entry.cls.__name__ for entry in app.user_middleware]
    assert names.index("ProtobufTranslationMiddleware") < names.index("NodeAuthMiddleware")


def test_the_superlink_is_told_to_authenticate_and_to_keep_its_state_in_a_file(app, folder):
    assert app.state.enable_supernode_auth is True
    assert app.state.superexec_auth_secret == folder.superexec_secret.read_bytes()
    assert folder.flower_state.stat().st_size > 0
    assert app.state.superlink_lifespan.config.isolation == "process"


def test_the_public_listener_speaks_tls_and_the_operators_is_on_loopback(app, folder):
    public, operator = listeners(app, folder, read_config(folder.config, HubConfig).serve)
    assert public.config.is_ssl
    assert operator.config.host == "127.0.0.1"
    assert not public.config.proxy_headers
    assert not operator.config.proxy_headers


def test_runs_are_created_where_the_guard_looks_at_their_app():
    state = import_module("flwr.server.superlink.linkstate.sql_linkstate").SqlLinkState
    assert state.create_run.runs_only_our_app
    abstract = import_module("flwr.server.superlink.linkstate").LinkState
    named = list(inspect.signature(abstract.create_run).parameters)
    assert named[:4] == ["self", "fab_id", "fab_version", "fab_hash"]
    assert "state.create_run(" in source_of("flwr.superlink.servicer.control.control_handlers")


def test_flower_reads_what_it_is_told_by_environment(folder):
    told = environment(folder)
    superexec = import_module("flwr.supercore.superexec.run_superexec")
    constants = import_module("flwr.common.constant")
    assert superexec._TASK_POLL_INTERVAL_ENV in told
    assert constants.FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION in told
    assert "FLWR_DISABLE_UPDATE_CHECK" in source_of("flwr.supercore.update_check")
    assert "FLWR_TELEMETRY_ENABLED" in source_of("flwr.supercore.telemetry")


def test_the_state_gives_back_the_room_of_what_was_deleted(tmp_path):
    path = tmp_path / "state.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table message (content blob)")
        connection.execute("insert into message values (?)", (b"readable" * 100_000,))
        connection.commit()
        connection.execute("delete from message")
    connection.close()
    compact(path)
    assert path.stat().st_size < 20_000
    assert b"readable" not in path.read_bytes()


def test_a_state_that_is_no_database_is_left_alone(tmp_path):
    path = tmp_path / "state.db"
    path.write_bytes(b"something else" * 100)
    compact(path)
    compact(tmp_path / "none.db")
    assert path.read_bytes() == b"something else" * 100


def source_of(module):
    return Path(import_module(module).__file__).read_text()
