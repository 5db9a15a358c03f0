import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from federation.rotating_log import RotatingLog
from federation.supervisor import CANNOT_START, EX_CONFIG, Program, Supervisor

SLEEP = "import time\nprint('up', flush=True)\ntime.sleep(600)"
SUPERVISOR = """
import sys
from pathlib import Path
from federation.supervisor import Program, Supervisor

folder = Path({folder!r})
programs = [Program(*each) for each in {programs!r}]
sys.exit(Supervisor(programs, folder / "logs", folder / "status.json").run())
"""
PATIENCE_S = 60


def wait_until(condition, what):
    limit = time.monotonic() + PATIENCE_S
    while time.monotonic() < limit:
        if condition():
            return
        time.sleep(0.05)
    pytest.fail(f"{what} did not happen")


def python(name, code, **more):
    return Program(name, (sys.executable, "-c", code), **more)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def run(tmp_path):
    """Run programs in a supervisor process; returns it and what its status file says."""
    processes = []

    def start(*programs):
        said = [(each.name, each.command, dict(each.environment), each.patience_s) for each in programs]
        script = SUPERVISOR.format(folder=str(tmp_path), programs=said)
        processes.append(subprocess.Popen([sys.executable, "-c", script]))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


def told(tmp_path):
    path = tmp_path / "status.json"
    return json.loads(path.read_text()) if path.exists() else {"programs": {}}


def pid_of(tmp_path, name):
    return told(tmp_path)["programs"].get(name, {}).get("pid")


def log_of(tmp_path, name):
    path = tmp_path / "logs" / f"{name}.log"
    return path.read_text() if path.exists() else ""


def test_output_goes_to_a_log_that_only_the_owner_reads(run, tmp_path):
    run(python("one", SLEEP))
    wait_until(lambda: "up" in log_of(tmp_path, "one"), "output")
    assert (tmp_path / "logs" / "one.log").stat().st_mode & 0o777 == 0o600


def test_a_process_that_is_killed_is_started_again(run, tmp_path):
    run(python("one", SLEEP))
    wait_until(lambda: pid_of(tmp_path, "one"), "the start")
    first = pid_of(tmp_path, "one")
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: pid_of(tmp_path, "one") not in (None, first), "the restart")
    status = told(tmp_path)["programs"]["one"]
    assert (status["restarts"], status["last_exit"]) == (1, -signal.SIGKILL)


def test_a_signal_stops_everything_in_the_opposite_order(run, tmp_path):
    order = tmp_path / "order"
    code = (
        "import signal, sys, time\n"
        "def leave(*_): open({order!r}, 'a').write({name!r}); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, leave)\nprint('up', flush=True)\ntime.sleep(600)"
    )
    supervisor = run(*(python(name, code.format(order=str(order), name=name)) for name in "abc"))
    wait_until(lambda: all("up" in log_of(tmp_path, name) for name in "abc"), "the start")
    supervisor.send_signal(signal.SIGTERM)
    assert supervisor.wait(PATIENCE_S) == 0
    assert order.read_text() == "cba"
    assert {each["pid"] for each in told(tmp_path)["programs"].values()} == {None}


def test_a_process_that_does_not_listen_is_killed_with_all_that_it_started(run, tmp_path):
    code = (
        "import signal, subprocess, sys, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).pid, flush=True)\n"
        "time.sleep(600)"
    )
    supervisor = run(python("deaf", code, patience_s=0.2))
    wait_until(lambda: log_of(tmp_path, "deaf").strip(), "the start")
    grandchild = int(log_of(tmp_path, "deaf"))
    supervisor.send_signal(signal.SIGINT)
    assert supervisor.wait(PATIENCE_S) == 0
    wait_until(lambda: not alive(grandchild), "the end of the grandchild")


def test_processes_die_with_a_supervisor_that_is_killed(run, tmp_path):
    supervisor = run(python("one", SLEEP))
    wait_until(lambda: pid_of(tmp_path, "one"), "the start")
    child = pid_of(tmp_path, "one")
    supervisor.kill()
    wait_until(lambda: not alive(child), "the end of the child")


def test_a_program_that_refuses_to_start_ends_all(run, tmp_path):
    refusal = python("two", f"import sys; print('the key is readable by others'); sys.exit({EX_CONFIG})")
    supervisor = run(python("one", SLEEP), refusal)
    assert supervisor.wait(PATIENCE_S) == EX_CONFIG
    assert "readable by others" in log_of(tmp_path, "two")


def test_a_program_that_is_not_there_stops_no_other(run, tmp_path):
    run(Program("none", ("/no/such/program",)), python("one", SLEEP))
    wait_until(lambda: "up" in log_of(tmp_path, "one"), "the start of the other")
    wait_until(lambda: told(tmp_path)["programs"]["none"]["restarts"] > 1, "the second try")
    assert told(tmp_path)["programs"]["none"]["last_exit"] == CANNOT_START


def test_environment_reaches_the_program_and_its_command_does_not_hold_it(run, tmp_path):
    run(python("one", "import os; print(os.environ['WHERE'])", environment={"WHERE": "somewhere"}))
    wait_until(lambda: "somewhere" in log_of(tmp_path, "one"), "output")


def test_stop_may_be_called_from_another_thread(tmp_path):
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    supervisor = Supervisor([python("one", SLEEP)], tmp_path / "logs", tmp_path / "status.json")
    threading.Timer(0.5, supervisor.stop).start()
    try:
        assert supervisor.run() == 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_log_is_renamed_once_it_has_grown_and_the_oldest_goes(tmp_path):
    log = RotatingLog(tmp_path / "a.log", limit=10, keep=2)
    for word in (b"first...", b"second..", b"third...", b"fourth.."):
        log.write(word)
    log.close()
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert kept == {"a.log": b"fourth..", "a.log.1": b"third...", "a.log.2": b"second.."}
