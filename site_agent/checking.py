"""What would leave a site and what would be refused, as far as that is known without reading an image."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

from federation.errors import FedprintError
from federation.trust import TrustMode
from site_agent import leaving
from site_agent.admissions import patient_ids
from site_agent.approval import approve, is_approved, require_approved
from site_agent.config import SiteConfig
from site_agent.data import ImageSource, open_source
from site_agent.dataset_config import DatasetConfig
from site_agent.ledger.book import Ledger
from site_agent.ledger.kept import has_released
from site_agent.ledger.overview import identity_of, next_release
from site_agent.ledger.storage import LedgerFiles
from site_agent.patients import bound_patients
from site_agent.policy import Policy, TaskPolicy
from site_agent.private_release import data_of
from site_agent.state import SiteState

Checks: TypeAlias = Callable[
    [SiteConfig, DatasetConfig, TaskPolicy, ImageSource], Iterator[Callable[[], object]]
]


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
        transfer: What may leave in transfer experiments; empty where it takes no part in them.
    """

    task: str
    mode: str
    leaves: Mapping[str, Any]
    problems: tuple[Problem, ...]
    transfer: Mapping[str, Any] = field(default_factory=dict)


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
        allowed.require(mode)
        source = _opened(dataset, allowed, mode)
        leaves = _leaves(dataset, allowed, source, mode)
    except FedprintError as error:
        return TaskCheck(dataset.task, mode.value, {}, (_problem(error),), leaving.of_transfer(allowed))
    problems = _problems(_CHECKS[mode](config, dataset, allowed, source))
    return TaskCheck(dataset.task, mode.value, leaves, problems, leaving.of_transfer(allowed))


def _opened(dataset: DatasetConfig, allowed: TaskPolicy, mode: TrustMode) -> ImageSource:
    if not _with_noise(allowed, mode):
        return open_source(dataset)
    with data_of(dataset.task):
        return open_source(dataset)


def _with_noise(allowed: TaskPolicy, mode: TrustMode) -> bool:
    return mode is TrustMode.PRIVATE or (mode is TrustMode.POOLED and not allowed.exact_sum_because)


def _leaves(
    dataset: DatasetConfig, allowed: TaskPolicy, source: ImageSource, mode: TrustMode
) -> dict[str, Any]:
    if mode is TrustMode.OPEN:
        return leaving.of_open(dataset, allowed, source)
    if mode is TrustMode.PRIVATE:
        return leaving.of_private(dataset, allowed, source)
    return leaving.of_pooled(allowed, source) if mode is TrustMode.POOLED else {}


def _no_checks(*_: object) -> Iterator[Callable[[], object]]:
    yield from ()


def _private_checks(
    config: SiteConfig, dataset: DatasetConfig, allowed: TaskPolicy, source: ImageSource
) -> Iterator[Callable[[], object]]:
    yield lambda: require_approved(SiteState(config.state), dataset.private_card())
    stands = any(config.state.glob(f"standing/{allowed.name}/*.safetensors"))
    yield from _noise_checks(config, allowed, source, paid=stands and allowed.terms.refresh == "never")


def _pooled_checks(
    config: SiteConfig, dataset: DatasetConfig, allowed: TaskPolicy, source: ImageSource
) -> Iterator[Callable[[], object]]:
    del dataset
    cohort = allowed.cohort
    if cohort is not None:
        yield lambda: cohort.require_member(config.name, identity_of(config).public_key)
    if not allowed.exact_sum_because:
        yield from _noise_checks(config, allowed, source, paid=False)


_CHECKS: Mapping[TrustMode, Checks] = {
    TrustMode.LISTEN: _no_checks,
    TrustMode.OPEN: _no_checks,
    TrustMode.PRIVATE: _private_checks,
    TrustMode.POOLED: _pooled_checks,
}


def _noise_checks(
    config: SiteConfig, allowed: TaskPolicy, source: ImageSource, *, paid: bool
) -> Iterator[Callable[[], object]]:
    patients = bound_patients(source, allowed.terms.images_per_patient)
    yield lambda: _check_data(allowed, source, patients.n_patients)
    yield lambda: _check_ledger(config, allowed, paid=paid)


def _check_data(allowed: TaskPolicy, source: ImageSource, n_patients: int) -> None:
    """Raise unless the data allow a first release.

    Raises:
        NotReleasableError: If there are too few patients, or it is not known who they are and must be.
    """
    with data_of(allowed.name):
        allowed.require_enough(n_patients)
        if allowed.terms.refresh == "new-patients":
            patient_ids(source)


def _check_ledger(config: SiteConfig, allowed: TaskPolicy, *, paid: bool) -> None:
    """Raise unless one more release could be charged.

    Args:
        config: The site.
        allowed: Its policy for the task.
        paid: Whether what stands is sent for good, which costs nothing more.

    Raises:
        BudgetError: If it could not.
        LedgerError: If the ledger is missing or damaged.
        PolicyError: If the clock went backwards.
        StoreError: If the site's key is missing.
    """
    files = LedgerFiles(config.state)
    if not (files.read() or files.read_head() or has_released(files)):
        return
    ledger = Ledger.open(config.state, identity_of(config))
    if not paid:
        outlays = [outlay for entry in ledger.entries() for outlay in entry.outlays]
        ledger.check(next_release(allowed, outlays), allowed.budgets())


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
        if private and not is_approved(state, card) and ask("\n".join(_listed(leaving.card_words(card)))):
            approve(state, card)


def described(found: SiteCheck) -> Iterator[str]:
    """Yield what was found as lines for people."""
    yield from (f"{found.site}: {problem.text}" for problem in found.problems)
    for task in found.tasks:
        yield f"{found.site}/{task.task}: {task.mode}" + (
            "" if task.leaves else ", nothing leaves" + _but(task)
        )
        yield from _listed(task.leaves)
        if task.transfer:
            yield "  leaves in transfer experiments:"
            yield from _listed(task.transfer, "    ")
        yield from (f"  would be refused: {problem.text}" for problem in task.problems)
    yield f"{found.site}: " + ("nothing would be refused" if found.ok else "something would be refused")


def _but(task: TaskCheck) -> str:
    return " but in transfer experiments" if task.transfer else ""


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
