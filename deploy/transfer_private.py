"""What a plan asks of private tasks of a simulated consortium, said before anything is trained."""

from collections.abc import Iterator

from aggregator.transfer.offers import rho_of
from aggregator.transfer.plan import TransferPlan
from deploy.federation_file import FederationConfig
from federation.privacy.accounting import eps_of, rho_for
from federation.trust import TrustMode


def private_warnings(plan: TransferPlan, federation: FederationConfig) -> Iterator[str]:
    """Yield why weights of private tasks cannot travel in a plan, one sentence each."""
    modes = {site.mode(dataset) for site in federation.site for dataset in site.dataset}
    if TrustMode.PRIVATE not in modes or not {"pretraining", "combined"} & set(plan.scenarios):
        return
    if plan.private is None:
        yield "the plan has no [private] table, so tasks with trust private pass no weights on"
        return
    privacy = federation.privacy
    rho = rho_of(plan.source_training.model_copy(update={"private": plan.private.training}))
    if rho > rho_for(privacy.release_eps, privacy.delta):
        yield (
            f"a private model would cost ε = {eps_of(rho, privacy.delta):.2g}, more than release_eps = "
            f"{privacy.release_eps:g} of {plan.federation} allows: raise noise_multiplier or lower "
            "the epochs of source_training"
        )
