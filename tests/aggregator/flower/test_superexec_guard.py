import inspect
import stat
import subprocess
import sys
import time
from importlib import import_module

import pytest
from hub_folders import write_hub

from aggregator.flower import superexec_guard
from aggregator.flower.superexec_guard import ServerAppExecutor, command, main
from federation.supervisor import EX_CONFIG

TOKEN = "f00d" * 16
types = import_module("flwr.supercore.superexec.executor")
kinds = import_module("flwr.supercore.constant").TaskType


def task(kind=kinds.SERVER_APP):
    return types.ExecutionSpec(kind, "127.0.0.1:9", TOKEN, True, None, False, None, False, task_id=7)


@pytest.fixture
def started(monkeypatch):
    """What was started in the place of ServerApps: processes that wait for their standard input to end."""
    processes = []

    class Waiting(subprocess.Popen):
        def __init__(self, words, **_named):
            self.words = words
            super().__init__((sys.executable, "-c", "input()"), stdin=subprocess.PIPE)
            processes.append(self)

    monkeypatch.setattr(superexec_guard.subprocess, "Popen", Waiting)
    return processes


def test_the_token_of_a_serverapp_is_in_a_file_for_its_owner_and_in_no_argument(tmp_path, started):
    executor = ServerAppExecutor(tmp_path / "tokens")
    assert executor.launch(task()) == types.LaunchResult.accepted()
    assert TOKEN not in " ".join(started[0].words)
    (token,) = (tmp_path / "tokens").iterdir()
    assert str(token) in started[0].words
    assert token.read_text() == TOKEN
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert stat.S_IMODE(token.parent.stat().st_mode) == 0o700
    executor.close()
    assert list(token.parent.iterdir()) == []


def test_the_token_of_a_serverapp_that_ended_is_removed(tmp_path, started):
    executor = ServerAppExecutor(tmp_path / "tokens")
    executor.launch(task())
    started[0].communicate(b"\n")
    while any((tmp_path / "tokens").iterdir()):
        executor.reconcile()
        time.sleep(0.01)


def test_tokens_that_a_killed_superexec_left_are_removed(tmp_path):
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens" / "3").write_text(TOKEN)
    ServerAppExecutor(tmp_path / "tokens")
    assert list((tmp_path / "tokens").iterdir()) == []


@pytest.mark.parametrize("kind", sorted(set(kinds) - {kinds.SERVER_APP}))
def test_nothing_but_serverapps_is_started(tmp_path, started, kind):
    executor = ServerAppExecutor(tmp_path / "tokens")
    assert executor.get_eligible_capacity(set(kinds)) == ({kinds.SERVER_APP}, set())
    assert executor.launch(task(kind)).status == "failed"
    assert started == []


def test_a_secret_that_others_can_read_keeps_it_from_starting(tmp_path):
    folder = write_hub(tmp_path)
    folder.superexec_secret.chmod(0o644)
    assert main([str(folder.path)]) == EX_CONFIG


def test_flowers_superexec_is_what_the_guard_expects():
    module = import_module("flwr.supercore.superexec.run_superexec")
    taken = set(inspect.signature(module.run_superexec).parameters)
    assert {"runtime_api_address", "insecure", "superexec_auth_secret", "parent_pid"} <= taken
    assert "executor = get_executor(" in inspect.getsource(module.run_superexec)
    executor = import_module("flwr.supercore.superexec.executor.subprocess_executor").SubprocessExecutor
    ours = {name for name in vars(ServerAppExecutor) if not name.startswith("_")}
    assert {name for name in vars(executor) if not name.startswith("_")} <= ours


def test_flowers_serverapp_takes_its_token_from_a_file(tmp_path):
    (tmp_path / "token").write_text(TOKEN)
    cli = import_module("flwr.superlink.cli.flwr_serverapp")
    words = command("127.0.0.1:9", tmp_path / "token")[1:]
    arguments = cli._parse_args_run_flwr_serverapp().parse_args(words)
    assert cli.try_obtain_flwr_app_token(arguments) == TOKEN
    assert arguments.insecure
    assert not arguments.runtime_dependency_install
