"""What is spent and left of a site's privacy budgets."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from federation.errors import BusyError
from site_agent.ledger.budget import Budget
from site_agent.ledger.chain import Chain, read_chain
from site_agent.ledger.overview import open_site
from site_agent.ledger.spending import spent
from site_agent.ledger.storage import LedgerFiles
from site_agent.policy import Policy


@dataclass(frozen=True)
class BudgetLeft:
    """A budget of the policy at a moment.

    Args:
        scope: ``"population"`` or ``"task"``.
        name: Name of the population or task.
        delta: The δ at which ρ is shown as ε.
        limit_rho: Most ρ that may be spent.
        spent_rho: The ρ that is spent.
        limit_eps: The limit as ε.
        spent_eps: What is spent as ε.
        left_eps: What is left as ε; ε does not add up, so it is not the difference of the others.
    """

    scope: str
    name: str
    delta: float
    limit_rho: float
    spent_rho: float
    limit_eps: float
    spent_eps: float
    left_eps: float

    @classmethod
    def of(cls, budget: Budget, chain: Chain, now: float) -> "BudgetLeft":
        """Return what a ledger says of a budget."""
        used = spent(chain.outlays, budget, now)
        amounts = (budget.limit, used, max(budget.limit - used, 0 * used))
        return cls(
            budget.scope.value,
            budget.name,
            budget.delta,
            float(budget.limit),
            float(used),
            *map(budget.eps, amounts),
        )


class BudgetReader:
    """Reads ledger and policy again and again; of the ledger, what was read before is not checked again.

    Args:
        site_file: The site file.
        clock: Unix time in seconds.
    """

    def __init__(self, site_file: Path, clock: Callable[[], float]) -> None:
        self._site_file, self._clock = site_file, clock
        self._chain: Chain | None = None

    def read(self) -> tuple[BudgetLeft, ...]:
        """Return every budget of the policy.

        Raises:
            ConfigError: If site file or policy is wrong.
            LedgerError: If the ledger is missing or damaged.
            PolicyError: If there is no policy.
            StoreError: If the site has no signing key.
        """
        config, identity = open_site(self._site_file)
        budgets = Policy.read(config.policy_path).budgets()
        files = LedgerFiles(config.state)
        try:
            with files.locked(wait=False):
                self._chain = read_chain(files, identity.public_key, self._chain)
        except BusyError:
            # A release is being charged: what was known a moment ago is as good.
            if self._chain is None:
                raise
        chain = self._chain
        return tuple(BudgetLeft.of(budget, chain, self._clock()) for budget in budgets)
