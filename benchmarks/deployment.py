"""A deployment on this machine: how long a job takes, and whether anything grows.

A hub and three sites run as their services do, with TLS and node authentication over loopback, on 60 small
images per task. Timed is a fingerprint job of two tasks per site whose sketches are kept, from asking for it
to the end of the matrix and to the end of the job, which waits for every site to co-sign the log.

``python -m benchmarks.deployment [--jobs 5] [--soak MINUTES] [--json]``; ``--soak`` runs jobs one after the
other and watches the memory of every process.
"""

import argparse
import json
import sys
import tempfile
import threading
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

# The consortium is the one that the tests kill parts of.
sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from hub_folders import status_of
from loopback import SITES, Consortium, Task

from aggregator.jobs.job import DONE

_WARM_UP, _WINDOW = 0.25, 0.1
_LOOK_S = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=5)
    parser.add_argument("--soak", type=float, default=0.0, metavar="MINUTES")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        consortium = Consortium(Path(folder) / "consortium", running)
        offer(consortium, "warm")
        consortium.serve()
        run_job(consortium)
        found: dict[str, Any] = {"jobs": [timed(consortium, number) for number in range(arguments.jobs)]}
        if arguments.soak:
            found["soak"] = soak(consortium, 60 * arguments.soak)
        consortium.stop()
    print(json.dumps(found, indent=1)) if arguments.json else show(found)


def offer(consortium: Consortium, name: str) -> None:
    """Give every site two tasks, with images that all names share."""
    consortium.offer(*(Task(f"{name}-{k}", "open", SITES, seed=k) for k in (1, 2)))


def run_job(consortium: Consortium) -> dict[str, float]:
    """Run a fingerprint job and return the seconds until the matrix was complete and until its end."""
    asked = time.time()
    job = consortium.ended(consortium.ask())
    summary = consortium.summary(job.job_id)
    if job.state != DONE or summary["missing"] or job.finished_at is None:
        raise SystemExit(f"the job is incomplete: {job.reason} {summary['missing']}")
    return {"matrix_s": summary["finished_at"] - asked, "job_s": job.finished_at - asked}


def timed(consortium: Consortium, number: int) -> dict[str, float]:
    """Return the times of a job about tasks that the catalogue does not know yet."""
    offer(consortium, f"timed-{number}")
    return run_job(consortium)


def soak(consortium: Consortium, seconds: float) -> dict[str, Any]:
    """Run jobs one after the other; return their number and the memory of every process early and late."""
    sampled, ended = defaultdict(list), threading.Event()
    watching = threading.Thread(target=watch, args=(consortium, sampled, ended))
    watching.start()
    end, jobs = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        run_job(consortium)
        jobs += 1
    ended.set()
    watching.join()
    return {"seconds": seconds, "jobs": jobs, "processes": {who: growth(rss) for who, rss in sampled.items()}}


def watch(consortium: Consortium, sampled: dict[str, list[float]], ended: threading.Event) -> None:
    """Take down the resident memory of every process in MB, again and again."""
    while not ended.wait(_LOOK_S):
        for who, pid in pids(consortium).items():
            sampled[who].append(resident_mb(pid))


def pids(consortium: Consortium) -> dict[str, int]:
    """Return the processes that stay."""
    folders = {"hub": consortium.hub, **{name: place.folder for name, place in consortium.sites.items()}}
    return {
        f"{member} {program}": said["pid"]
        for member, folder in folders.items()
        for program, said in status_of(folder)["programs"].items()
    }


def resident_mb(pid: int) -> float:
    (line,) = (each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmRSS" in each)
    return int(line.split()[1]) / 1024


def growth(rss: list[float]) -> dict[str, float]:
    """Return the memory after the warm-up and at the end, medians of a tenth of all samples each."""
    window = max(1, int(len(rss) * _WINDOW))
    start = int(len(rss) * _WARM_UP)
    early, late = median(rss[start : start + window]), median(rss[-window:])
    return {"early_mb": early, "late_mb": late, "growth": late / early - 1, "peak_mb": max(rss)}


def show(found: dict[str, Any]) -> None:
    for row in found["jobs"]:
        print(f"matrix {row['matrix_s']:6.1f} s   job {row['job_s']:6.1f} s")
    if "soak" in found:
        print(f"{found['soak']['jobs']} jobs in {found['soak']['seconds'] / 60:.0f} minutes")
        for who, row in sorted(found["soak"]["processes"].items()):
            print(f"{who:20}{row['early_mb']:8.1f} MB → {row['late_mb']:8.1f} MB  {row['growth']:+.1%}")


if __name__ == "__main__":
    main()
