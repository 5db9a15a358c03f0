"""What would leave a site and what would be refused, as far as that is known without reading an image."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from federation.errors import FedprintError
from federation.privacy.accounting import eps_by_pld, eps_of
from federation.sketches.kinds import KINDS
from federation.task_card import TaskCard
from federation.trust import TrustMode
from site_agent.admissions import patient_ids
from site_agent.approval import approve, is_approved, require_approved
from site_agent.config import SiteConfig
from site_agent.data import ImageSource, open_source
from site_agent.dataset_config import DatasetConfig
from site_agent.ledger.book import Ledger
from site_agent.ledger.forecast import DAY
from site_agent.ledger.kept import has_released
from site_agent.ledger.overview import identity_of, next_release
from site_agent.ledger.storage import LedgerFiles
from site_agent.patients import bound_patients
from site_agent.policy import Policy, PrivateTerms, TaskPolicy
from site_agent.private_release import data_of
from site_agent.state import SiteState


@dataclass(frozen=True)
class Problem:
    """Why something would be refused.

    Args:
        code: What the aggregator would learn.
        text: What is wrong and what to do; it stays at the site.
    """

    code: str
    text: str


@dataclass(frozen=True)
class TaskCheck:
    """What is known of one task.

    Args:
        task: The task.
        mode: Its trust mode.
        leaves: What would leave, by name; empty where nothing does.
        problems: Why it would be refused; empty where it would not.
    """

    task: str
    mode: str
    leaves: Mapping[str, Any]
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class SiteCheck:
    """What is known of a site.

    Args:
        site: Its name.
        problems: Why every request would be refused.
        tasks: Its tasks.
    """

    site: str
    problems: tuple[Problem, ...]
    tasks: tuple[TaskCheck, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing would be refused."""
        return not self.problems and not any(task.problems for task in self.tasks)

    def to_json(self) -> dict[str, Any]:
        """Return the check as JSON can hold it."""
        return {"ok": self.ok, **asdict(self)}


def check_site(config: SiteConfig) -> SiteCheck:
    """Check everything about a site that decides what leaves and needs no image.

    Args:
        config: The site; its paths are absolute.
    """
    try:
        policy = Policy.read(config.policy_path)
    except FedprintError as error:
        return SiteCheck(config.name, (_problem(error),), ())
    return SiteCheck(config.name, (), tuple(_check(config, dataset, policy) for dataset in config.dataset))


def _check(config: SiteConfig, dataset: DatasetConfig, policy: Policy) -> TaskCheck:
    mode, allowed = config.mode(dataset), policy.task(dataset.task)
    try:
        config.working_mode(dataset)
        allowed.require(mode)
        source = _opened(dataset, mode)
    except FedprintError as error:
        return TaskCheck(dataset.task, mode.value, {}, (_problem(error),))
    if mode is TrustMode.PRIVATE:
        problems = _problems(_private_checks(config, dataset, allowed, source))
        return TaskCheck(dataset.task, mode.value, _with_noise(dataset, allowed, source), problems)
    return TaskCheck(dataset.task, mode.value, _openly(dataset, allowed, source, mode), ())


def _opened(dataset: DatasetConfig, mode: TrustMode) -> ImageSource:
    if mode is not TrustMode.PRIVATE:
        return open_source(dataset)
    with data_of(dataset.task):
        return open_source(dataset)


def _openly(
    dataset: DatasetConfig, allowed: TaskPolicy, source: ImageSource, mode: TrustMode
) -> dict[str, Any]:
    if mode is TrustMode.LISTEN:
        return {}
    return {
        "card": _words(dataset.card(len(source), source.class_counts())),
        "sketches": _named(allowed.sketches, "every kind that the space names") + ", exact",
        "spaces": _named(allowed.spaces, "any"),
        "because": allowed.open_because,
    }


def _with_noise(dataset: DatasetConfig, allowed: TaskPolicy, source: ImageSource) -> dict[str, Any]:
    terms = allowed.terms
    patients = bound_patients(source, terms.images_per_patient)
    return {
        "card": _words(dataset.private_card()) | {"n_images": "what the noisy sketches say"},
        "spaces": _named(allowed.spaces, "any"),
        "sketches": _named(allowed.sketches, "every kind that the space names"),
        "eps": eps_of(terms.release_rho, terms.task.delta),
        "eps_by_pld": eps_by_pld(terms.release_rho, terms.task.delta),
        "delta": terms.task.delta,
        "rho": str(terms.release_rho),
        "noise": _noise(allowed),
        "unit": patients.unit,
        "images_per_patient": terms.images_per_patient,
        "refresh": _refresh(terms),
    }


def _refresh(terms: PrivateTerms) -> str:
    """Return what happens to a release that stands, in words."""
    if terms.refresh == "never":
        return "never: the first release stands"
    days = (
        f"when what stands is {terms.refresh_seconds / DAY:g} days old, whether or not the data have changed"
    )
    replaced = {
        "new-patients": "new-patients: they are released, however few, and the sum is published",
        "whole": "whole: everybody is released anew, and paid for again",
    }
    return f"{replaced[terms.refresh]}, {days}"


def _noise(allowed: TaskPolicy) -> dict[str, float]:
    """Return ``kind.array`` → σ in units of what one patient can move it, where all kinds leave together."""
    kinds = sorted(allowed.sketches or KINDS)
    return {
        name: 1 / math.sqrt(2 * allowed.release_rho * share / len(kinds))
        for kind in kinds
        for name, share in _shares(kind).items()
    }


def _shares(kind: str) -> dict[str, Fraction]:
    """Return what each array of a kind spends; the kind as a whole where its space decides that."""
    shares: object = KINDS[kind].shares
    if not isinstance(shares, Mapping):
        return {kind: Fraction(1)}
    return {f"{kind}.{array}": share for array, share in shares.items()}


def _private_checks(
    config: SiteConfig, dataset: DatasetConfig, allowed: TaskPolicy, source: ImageSource
) -> Iterator[Callable[[], object]]:
    terms, state = allowed.terms, SiteState(config.state)
    patients = bound_patients(source, terms.images_per_patient)
    yield lambda: require_approved(state, dataset.private_card())
    yield lambda: _check_data(allowed, source, patients.n_patients)
    yield lambda: _check_ledger(config, allowed)


def _check_data(allowed: TaskPolicy, source: ImageSource, n_patients: int) -> None:
    """Raise unless the data allow a first release.

    Raises:
        NotReleasableError: If there are too few patients, or it is not known who they are and must be.
    """
    with data_of(allowed.name):
        allowed.require_enough(n_patients)
        if allowed.terms.refresh == "new-patients":
            patient_ids(source)


def _check_ledger(config: SiteConfig, allowed: TaskPolicy) -> None:
    """Raise unless one more release could be charged; a release that stands for good costs nothing more.

    Raises:
        BudgetError: If it could not.
        LedgerError: If the ledger is missing or damaged.
        PolicyError: If the clock went backwards.
        StoreError: If the site's key is missing.
    """
    files, terms = LedgerFiles(config.state), allowed.terms
    if not (files.read() or files.read_head() or has_released(files)):
        return
    ledger = Ledger.open(config.state, identity_of(config))
    stands = any(config.state.glob(f"standing/{allowed.name}/*.safetensors"))
    if not (stands and terms.refresh == "never"):
        outlays = [outlay for entry in ledger.entries() for outlay in entry.outlays]
        ledger.check(next_release(allowed, outlays), allowed.budgets())


def _words(card: TaskCard) -> dict[str, Any]:
    """Return what a card says, without what it leaves empty."""
    return {name: value for name, value in card.to_json().items() if value}


def _named(names: frozenset[str] | None, every: str) -> str:
    return every if names is None else ", ".join(sorted(names))


def _problems(checks: Iterator[Callable[[], object]]) -> tuple[Problem, ...]:
    return tuple(problem for check in checks if (problem := _failed(check)) is not None)


def _failed(check: Callable[[], object]) -> Problem | None:
    try:
        check()
    except FedprintError as error:
        return _problem(error)
    return None


def _problem(error: FedprintError) -> Problem:
    return Problem(error.code, str(error))


def approve_cards(config: SiteConfig, ask: Callable[[str], bool]) -> None:
    """Approve the cards of private tasks that somebody agrees to, as they are now.

    Args:
        config: The site; its paths are absolute.
        ask: Shown what a card says; returns whether that may leave.

    Raises:
        StoreError: If an approval cannot be made durable.
    """
    state = SiteState(config.state)
    for dataset in config.dataset:
        card = dataset.private_card()
        private = config.mode(dataset) is TrustMode.PRIVATE
        if private and not is_approved(state, card) and ask("\n".join(_listed(_words(card)))):
            approve(state, card)


def described(found: SiteCheck) -> Iterator[str]:
    """Yield what was found as lines for people."""
    yield from (f"{found.site}: {problem.text}" for problem in found.problems)
    for task in found.tasks:
        yield f"{found.site}/{task.task}: {task.mode}" + ("" if task.leaves else ", nothing leaves")
        yield from _listed(task.leaves)
        yield from (f"  would be refused: {problem.text}" for problem in task.problems)
    yield f"{found.site}: " + ("nothing would be refused" if found.ok else "something would be refused")


def _listed(values: Mapping[str, Any], indent: str = "  ") -> Iterator[str]:
    for name, value in values.items():
        if name == "noise":
            yield from (f"{indent}noise in {array}: {_in_words(ratio)}" for array, ratio in value.items())
        elif isinstance(value, Mapping):
            yield f"{indent}{name}:"
            yield from _listed(value, indent + "  ")
        else:
            yield f"{indent}{name}: {_plain(value)}"


def _in_words(ratio: float) -> str:
    return f"its σ is {ratio:.3g} times what one patient can move it"


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
