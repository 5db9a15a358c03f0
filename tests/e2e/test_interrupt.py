"""Stopping a run by hand, and going on."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from small_federation import write_digits, write_small_federation

FEDPRINT = Path(sys.executable).parent / "fedprint"
PATIENCE_S = 120


def write_work_for_minutes(path):
    content = np.load(path)
    images, labels = (np.repeat(content[name], 1000, axis=0) for name in ("images", "labels"))
    np.savez(path, images=images, labels=labels)


def test_an_interrupted_run_says_so_without_a_traceback_and_goes_on(tmp_path):
    federation = write_small_federation(tmp_path)
    write_work_for_minutes(tmp_path / "anna.npz")
    # A shell's background job ignores the signal, and its children would, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [FEDPRINT, "simulate", federation], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    limit = time.monotonic() + PATIENCE_S
    space = tmp_path / "run" / "space.safetensors"
    while not space.exists() and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert err == "interrupted; the same command goes on where it stopped\n"
    write_digits(tmp_path)
    again = subprocess.run([FEDPRINT, "simulate", federation], capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
