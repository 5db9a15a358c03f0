"""Stopping a run by hand, and going on."""

import signal
import subprocess
import sys
import time
from pathlib import Path

from small_federation import write_small_federation

FEDPRINT = Path(sys.executable).parent / "fedprint"
PATIENCE_S = 120


def test_an_interrupted_run_says_so_without_a_traceback_and_goes_on(tmp_path):
    federation = write_small_federation(tmp_path)
    process = subprocess.Popen(
        [FEDPRINT, "simulate", federation], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    limit = time.monotonic() + PATIENCE_S
    while not (tmp_path / "run" / "space.safetensors").exists() and time.monotonic() < limit:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert err == "interrupted; the same command goes on where it stopped\n"
    again = subprocess.run([FEDPRINT, "simulate", federation], capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
