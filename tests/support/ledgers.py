"""Small ledgers for tests."""

from dataclasses import replace
from fractions import Fraction

from factories import make_fingerprint, make_space

from federation.identity import Identity
from federation.privacy.statement import PrivacyStatement
from federation.trust import TrustMode
from site_agent.ledger import Budget, Charge, Ledger, Scope
from site_agent.state import SiteState

YEAR = 365 * 86_400.0
START = 1_800_000_000.0


class Clock:
    """A clock that a test sets."""

    def __init__(self, now=START):
        self.now = now

    def __call__(self):
        return self.now


def budgets(population=1, task=1, *, period=YEAR, name="lungs"):
    return (
        Budget(Scope.POPULATION, "patients", Fraction(population), 1e-6, period),
        Budget(Scope.TASK, name, Fraction(task), 1e-6, period),
    )


def charge(release_id, rho="1/10", *, cohort=None, task="lungs"):
    return Charge(release_id, "job-1", task, "patients", cohort, Fraction(rho), {"variance": 12})


def identity_in(folder) -> Identity:
    folder.mkdir(parents=True, exist_ok=True)
    return Identity.load_or_create("st-anna", folder / "identity.key")


def ledger_in(folder, n_charges=0, clock=None):
    ledger = Ledger.open(folder, identity_in(folder), clock or Clock())
    for i in range(n_charges):
        ledger.charge(charge(f"release-{i}"), budgets(10, 10))
    return ledger


def private_fingerprint(folder, entry=None, task="lungs", rho="1/10", cohorts=0):
    """A fingerprint with noise that names the entry which paid for it."""
    seq, line_hash = (None, "") if entry is None else (entry.seq, entry.hash)
    statement = PrivacyStatement(
        TrustMode.PRIVATE,
        "discrete Gaussian",
        "patient",
        rho=rho,
        cohorts=cohorts,
        noise={"histogram.counts": 1},
        ledger_seq=seq,
        ledger_hash=line_hash,
    )
    identity = identity_in(folder)
    exact = make_fingerprint(identity, task, make_space())
    return replace(exact, privacy=statement).signed_by(identity)


def keep_private_release(folder, job="job-0", entry=None):
    fingerprint = private_fingerprint(folder, entry)
    SiteState(folder).keep_release(job, "lungs", fingerprint.to_bytes())
    return folder / "releases" / job / "lungs.safetensors"
