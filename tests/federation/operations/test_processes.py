import subprocess
import sys

import pytest
from observed import say_what_runs

from federation.errors import StoreError
from federation.operations.processes import Process, read_processes
from federation.supervisor import Program, Supervisor


def test_what_the_supervisor_writes_is_read(tmp_path):
    status = tmp_path / "processes.json"
    program = Program("sleeper", (sys.executable, "-c", "import time; time.sleep(600)"))
    supervisor = Supervisor([program], tmp_path / "logs", status)
    supervisor._look()
    try:
        assert read_processes(status) == (Process("sleeper", True, 0, None),)
    finally:
        supervisor._stop_all()
    (stopped,) = read_processes(status)
    assert (stopped.runs, stopped.last_exit) == (False, -15)


def test_nothing_runs_whose_supervisor_is_dead(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    say_what_runs(tmp_path / "s.json", pid=child.pid, superlink=0)
    assert [process.runs for process in read_processes(tmp_path / "s.json")] == [False]


def test_a_missing_and_a_damaged_file_are_told_apart(tmp_path):
    with pytest.raises(StoreError, match="nothing serves"):
        read_processes(tmp_path / "s.json")
    for content in ("", "[]", "{}", '{"pid": 1, "programs": {"a": 1}}', '{"pid": 1, "programs": []}'):
        (tmp_path / "s.json").write_text(content)
        with pytest.raises(StoreError, match="damaged"):
            read_processes(tmp_path / "s.json")
