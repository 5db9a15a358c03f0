"""What a site demands of a model before it is loaded: whole, signed, allowed, and of the right network."""

from federation.errors import ModelError, PolicyError
from federation.transfer.messages import TransferRequest
from federation.transfer.model import TravellingModel
from federation.transfer.step import CotrainStep, Step
from site_agent.jobs import Site
from site_agent.policy import TaskPolicy
from site_agent.transfer.departure import recipients
from site_agent.transfer.model_store import ModelStore
from site_agent.transfer.networks import architecture
from site_agent.transfer.step_files import SiteSteps


def store_of(site: Site) -> ModelStore:
    """Return the models that a site keeps."""
    return ModelStore(site.state.folder / "models", site.config.transfer.models_mb * 2**20)


def start_of(site: Site, policy: TaskPolicy, request: TransferRequest) -> TravellingModel | None:
    """Return the model that a step begins at; None where it is neither here nor in the request.

    A model that comes in is checked in full before it is kept, and one that is kept whenever it is used.

    Raises:
        ModelError: If it is not what its id names, malformed, or of another architecture.
        PolicyError: If the policy does not allow models of its site.
        SignatureError: If its signature is wrong.
        StoreError: If it cannot be kept.
    """
    model_id, store = request.step.model_id, store_of(site)
    if model_id is None:
        return None
    kept = store.get(model_id)
    data = request.model if kept is None else kept
    if not data:
        return None
    model = TravellingModel.from_bytes(data, model_id)
    _require_source(site, policy, model, request)
    _require_network(model, request.step)
    if kept is None:
        store.keep_received(data)
    return model


def _require_source(site: Site, policy: TaskPolicy, model: TravellingModel, request: TransferRequest) -> None:
    """Raise unless the model was made here, by a site that the policy names, or of models of such sites."""
    step, allowed = request.step, policy.in_transfer
    if model.public_key == site.identity.public_key and model.site == site.config.name:
        _require_cleared(site, model, step)
        return
    if model.site == site.config.name:
        raise PolicyError(
            f"a model says that it was made by {model.site}, but another key signed it",
            remedy="give every site a name of its own",
        )
    if isinstance(step, CotrainStep) and model.public_key == request.job.aggregator:
        for partner in sorted(set(step.partners) - {step.site}):
            allowed.require_partner(partner)
        return
    allowed.require_source(model.site, model.public_key)
    _require_let_leave(model, step)


def _require_let_leave(model: TravellingModel, step: Step) -> None:
    """Raise where a model of another site was not let leave for here, or not for where the step's would go.

    Else an aggregator would hand on what the policy of its site lets leave for one site alone, as it is or by
    way of a step here that hardly changes it.
    """
    if not model.travels_to:
        return
    others = sorted({step.site, *recipients(step)} - {model.site, *model.travels_to})
    if others:
        raise PolicyError(
            f"a model of {model.address} was not let leave for {', '.join(others)}",
            remedy="let its own step name all sites that it or what begins at it shall travel to",
        )


def _require_cleared(site: Site, model: TravellingModel, step: Step) -> None:
    """Raise where a model of the site that stays would leave by way of another that begins at it.

    Else what one task's policy keeps here would leave under the policy of another.
    """
    made = SiteSteps(site.state.folder).of(model.step_id).ended()
    cleared = () if made is None or made.result is None else recipients(made.step)
    others = sorted(set(recipients(step)) - set(cleared))
    if others:
        raise PolicyError(
            f"a model of {model.address} that does not travel to {', '.join(others)} would do so by way of "
            f"one of {step.address}",
            remedy="begin at published or random weights, or let the first model travel to the same sites",
        )


def _require_network(model: TravellingModel, step: Step) -> None:
    if architecture(model.network) != architecture(step.network):
        raise ModelError(
            f"a model of {model.address} is a {architecture(model.network)}, expected "
            f"{architecture(step.network)} as the step says",
            remedy="begin at a model of the step's own network",
        )
