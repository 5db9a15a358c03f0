"""What a site's policy lets a task take part in: which figures and models leave, and what may come in.

Whatever the policy does not say is forbidden.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from federation.errors import PolicyError
from federation.transfer.recipe import Network
from site_agent.cohort_policy import CohortPolicy
from site_agent.policy_tables import ANY, TaskTransferTable, TransferTable
from site_agent.transfer.networks import STANDARD, architecture

Models = Literal["exact", "private"]


@dataclass(frozen=True)
class TransferPolicy:
    """What the policy says about one task's transfer experiments.

    Args:
        task: The task.
        metrics_because: Why figures, rankings and augmentation policies may leave; empty: they may not.
        measured_images: Fewest images that figures may be about.
        steps: Most steps of which anything may leave, ever.
        models: How models may leave; None: they may not.
        models_to: Sites that may get them; None: any.
        models_because: Why they may leave without noise, empty where they may not.
        networks: Architectures that may be trained, ``library:name``.
        model_sources: Site → key of those whose models may be loaded here; None: any site's.
        summed_in: The sites whose updates of common training may be summed with its own under masks; None:
            nobody's.
    """

    task: str
    metrics_because: str = ""
    measured_images: int = 20
    steps: int = 1000
    models: Models | None = None
    models_to: frozenset[str] | None = frozenset()
    models_because: str = ""
    networks: frozenset[str] = frozenset()
    model_sources: Mapping[str, str] | None = None
    summed_in: CohortPolicy | None = None

    @classmethod
    def of(
        cls,
        task: str,
        table: TaskTransferTable | None,
        everywhere: TransferTable,
        summed_in: CohortPolicy | None = None,
    ) -> "TransferPolicy | None":
        """Return what the tables say; None where the task takes no part."""
        if table is None or table.metrics_because is None:
            return None
        sources = everywhere.model_sources
        return cls(
            task,
            table.metrics_because,
            table.measured_images,
            table.steps,
            table.models,
            None if table.models_to == (ANY,) else frozenset(table.models_to or ()),
            table.models_because or "",
            STANDARD if everywhere.networks is None else frozenset(everywhere.networks),
            None if isinstance(sources, str) else dict(sources),
            summed_in,
        )

    def require_measured(self) -> None:
        """Raise unless figures, rankings and augmentation policies may leave.

        Raises:
            PolicyError: If they may not.
        """
        if not self.metrics_because.strip():
            raise self._refused("no figure may leave", "give metrics_because if figures may")

    def require_model(self, travels_to: Iterable[str], *, private: bool) -> None:
        """Raise unless a model may leave, to all of some sites.

        Args:
            travels_to: The sites.
            private: Whether it is trained with noise, for every patient's sake.

        Raises:
            PolicyError: If it may not.
        """
        if self.models is None or (self.models == "exact" and not self.models_because.strip()):
            raise self._refused("no model may leave", 'give models = "exact" or "private" if one may')
        if self.models == "private" and not private:
            raise self._refused(
                "only models that are trained with noise may leave", "ask for private training"
            )
        others = set() if self.models_to is None else set(travels_to) - self.models_to
        if others:
            raise self._refused(
                f"its models may not go to {', '.join(sorted(others))}", "add them to models_to if they may"
            )

    def require_sum(self, partners: Iterable[str]) -> CohortPolicy:
        """Return the cohort in which updates of common training may be summed under masks, without noise.

        Args:
            partners: The sites that train together, this one among them.

        Raises:
            PolicyError: If they may not, or not with these sites.
        """
        if self.summed_in is None:
            raise self._refused(
                "no update of common training may be summed", "name a cohort in summed_in if it may"
            )
        differing = sorted(set(partners) ^ set(self.summed_in.members))
        if differing:
            raise self._refused(
                f"updates may be summed in cohort {self.summed_in.name}, which differs from those who train "
                f"together in {', '.join(differing[:5])}",
                "let exactly the members of the cohort train together",
            )
        return self.summed_in

    def require_network(self, network: Network) -> None:
        """Raise unless an architecture may be trained here.

        Raises:
            PolicyError: If it may not.
        """
        if not self.networks & {architecture(network), f"{network.library}:{network.name}"}:
            raise PolicyError(
                f"the policy does not allow the network {network.library}:{network.name}",
                remedy="add it to networks of [transfer] in policy.toml if it shall be trained here",
            )

    def require_source(self, site: str, public_key: str) -> None:
        """Raise unless a site's models may be loaded here.

        Args:
            site: Who made the model.
            public_key: The key that signed it, 64 hexadecimal digits.

        Raises:
            PolicyError: If they may not.
        """
        if self.model_sources is None:
            return
        if self.model_sources.get(site) != public_key:
            raise PolicyError(
                f"the policy allows no models of site {site} that are signed by {public_key}",
                remedy="compare the key by phone, then add it to model_sources of [transfer] in policy.toml",
            )

    def require_partner(self, site: str) -> None:
        """Raise unless an average over models may be loaded here that holds one of a site's.

        Raises:
            PolicyError: If it may not.
        """
        if self.model_sources is not None and site not in self.model_sources:
            raise PolicyError(
                f"the policy allows no models of site {site}, of which an average holds one",
                remedy="add its key to model_sources of [transfer] in policy.toml if they may be loaded",
            )

    def _refused(self, problem: str, remedy: str) -> PolicyError:
        place = f"[task.{self.task}.transfer] in policy.toml"
        return PolicyError(
            f"task {self.task}: the policy says that {problem}", remedy=f"{remedy}, at {place}"
        )
