"""The privacy ledger: python -m benchmarks.ledger [--entries N] [--json].

Milliseconds of one durable charge on a ledger of N entries, of all that a release asks of the ledger, of
opening such a ledger, and of verifying it.
The disk's own share is what two appended and fsync'd lines and one fsync'd folder take in the same folder.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from fractions import Fraction
from pathlib import Path

from benchmarks.timing import seconds_of
from federation.identity import Identity
from site_agent.ledger import Budget, Charge, Ledger, Scope
from site_agent.ledger.storage import LedgerFiles
from site_agent.ledger.verify import verify_ledger

BUDGETS = (
    Budget(Scope.POPULATION, "patients", Fraction(10**6), 1e-6, 365 * 86_400.0),
    Budget(Scope.TASK, "pneumonia", Fraction(10**6), 1e-6, 365 * 86_400.0),
)
REPEATS = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000)
    parser.add_argument("--folder", type=Path, help="on which disk; by default the system's temporary one")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        figures = measure(Path(folder), options.entries)
    if options.json:
        print(json.dumps(figures, indent=1))
    else:
        print("\n".join(f"{name}: {value:,.2f}" for name, value in figures.items()))


def measure(folder, n_entries):
    identity = Identity.load_or_create("site", folder / "identity.key")
    ledger = Ledger.open(folder, identity)
    for i in range(n_entries):
        ledger.charge(release(i), BUDGETS)
    running = milliseconds(lambda i: ledger.charge(release(n_entries + i), BUDGETS))
    releasing = milliseconds(lambda i: all_of_a_release(ledger, release(f"whole-{i}")))
    fresh = milliseconds(lambda i: Ledger.open(folder, identity).charge(release(f"fresh-{i}"), BUDGETS))
    opening = milliseconds(lambda _: Ledger.open(folder, identity))
    verifying = seconds_of(lambda: verify_ledger(LedgerFiles(folder), identity.public_key))
    return {
        "entries": n_entries,
        "charge_ms": statistics.median(running),
        "charge_slowest_ms": max(running),
        "release_ms": statistics.median(releasing),
        "release_slowest_ms": max(releasing),
        "open_and_charge_ms": statistics.median(fresh),
        "open_ms": statistics.median(opening),
        "disk_ms": statistics.median(milliseconds(lambda _: disk_alone(folder))),
        "verify_ms": 1e3 * verifying,
    }


def release(number):
    mechanism = {"name": "discrete Gaussian", "variance": 10_252, "arrays": ["histogram.counts"]}
    rho = Fraction(2_435_597, 10**8)
    return Charge(f"release-{number}", f"job-{number}", "pneumonia", "patients", None, rho, mechanism)


def all_of_a_release(ledger, charge):
    """Everything that a release asks of the ledger, a look for what a crash left included."""
    ledger.charged(charge.release_id)
    ledger.entries()
    ledger.check(charge, BUDGETS)
    ledger.charge(charge, BUDGETS)


def disk_alone(folder):
    """Write as often and as durably as a charge does, and nothing else."""
    for name in ("line", "head"):
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(descriptor, b"x" * 600)
        os.fsync(descriptor)
        os.close(descriptor)
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def milliseconds(work):
    taken = []
    for i in range(REPEATS):
        start = time.perf_counter()
        work(i)
        taken.append(1e3 * (time.perf_counter() - start))
    return taken


if __name__ == "__main__":
    main()
