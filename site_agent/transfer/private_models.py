"""A model that was trained with noise leaves: put aside, charged, named and signed, in that order.

As with every release (``site_agent/private_release.py``), whatever follows the charge can be repeated, to the
same bytes: a site that dies at any point charges a step once and sends no model that is not charged.
"""

from dataclasses import replace
from fractions import Fraction

from federation.canonical import sha256_hex
from federation.errors import BudgetError, PolicyError, StoreError
from federation.privacy.statement import DISCRETE_GAUSSIAN
from federation.privacy.training import model_privacy, training_rho
from federation.transfer.model import TravellingModel
from federation.transfer.recipe import PrivateTraining
from federation.transfer.result import ModelPrivacy, StepResult
from federation.transfer.step import CotrainStep, Step
from federation.trust import TrustMode
from site_agent import jobs
from site_agent.events import RELEASED
from site_agent.ledger.budget import Charge
from site_agent.ledger.entry import Entry
from site_agent.patients import Unit, images_by_patient
from site_agent.policy import TaskPolicy
from site_agent.private_release import data_of
from site_agent.rounds.payment import Payment
from site_agent.training.private_patients import public_batches
from site_agent.training.splits import split_source
from site_agent.transfer.group_files import GroupFiles
from site_agent.transfer.payment import keep_payment
from site_agent.transfer.pending_model import PendingModel
from site_agent.transfer.work import Asked

STEP = "step"
"""What a charge's mechanism calls the step whose model it paid for."""


def require_payable(asked: Asked) -> None:
    """Raise unless a step's model could be paid for, before any work; a model that was paid for is payable.

    Args:
        asked: The step, which trains with noise, and the site's policy.

    Raises:
        BudgetError: If it would cost more than one release may, or more than a budget has left.
        NotReleasableError: If something about the data stands against it, such as too few patients.
        PolicyError: If the policy lets no such model leave, or it would begin at weights without noise.
        TrainingError: If the recipe leaves to the data what must be public.
    """
    step, policy = asked.step, asked.policy
    public_batches(step.recipe)
    _require_terms(policy, step)
    _require_clean_start(asked)
    if is_charged(asked):
        return
    jobs.ledger_of(asked.site).check(_charge(asked, {}), policy.budgets())
    _unit(asked)


def charge_model(asked: Asked, result: StepResult, model: bytes) -> tuple[StepResult, bytes]:
    """Pay for a step's model, once however often it is asked, and return what leaves.

    Whoever calls keeps others from working on the step meanwhile.

    Args:
        asked: The step, which trains with noise, and the site's policy.
        result: What the step found.
        model: The model, as the training made it.

    Returns:
        What leaves: of the training that was paid for, if one was before a crash, else of this one. The model
        names what it promises and the ledger's entry.

    Raises:
        BudgetError: If no budget pays for it; nothing leaves then.
        NotReleasableError: If something about the data stands against it.
        PolicyError: If the policy lets it not leave.
        StoreError: If a step cannot be made durable, and asking again goes on there; or if the step was paid
            for and its model is lost.
    """
    _require_terms(asked.policy, asked.step)
    _require_clean_start(asked)
    pending = _pending(asked, result, model)
    entry = jobs.ledger_of(asked.site).charge(pending.charge, asked.policy.budgets())
    keep_payment(asked.folder, Payment(entry.at, entry.seq, entry.hash, str(pending.charge.rho)))
    return _finish(asked, pending, entry)


def release_id(step: Step) -> str:
    """Return what the ledger calls the model of a step."""
    return f"model-{step.step_id}"


def is_charged(asked: Asked) -> bool:
    """Return whether the ledger paid for a step's model already.

    Raises:
        LedgerError: If the ledger is missing or damaged.
    """
    return jobs.ledger_of(asked.site).charged(release_id(asked.step)) is not None


def step_rho(step: Step) -> Fraction:
    """Return what the model of a step costs; every round of co-training is a step and costs its own.

    Raises:
        BudgetError: If its noise cannot be.
    """
    return training_rho(_private(step).noise_multiplier, step.recipe.epochs)


def _pending(asked: Asked, result: StepResult, model: bytes) -> PendingModel:
    """Return what was put aside for the charge that was made, or put this model aside."""
    charged = jobs.ledger_of(asked.site).charged(release_id(asked.step))
    known = PendingModel.read(asked.folder)
    if charged is not None:
        if known is None:
            raise StoreError(
                f"entry {charged.seq} of the ledger paid for the model of step {asked.step.step_id}, "
                "which is no longer kept; it does not leave",
                remedy="restore the site's state folder from backup, or train anew under another seed",
            )
        return known
    promised = _promised(asked, result, model)
    charge = _charge(asked, {"weights": sha256_hex(promised), "unit": _unit(asked)})
    pending = PendingModel(charge, result, promised)
    pending.keep(asked.folder)
    return pending


def _promised(asked: Asked, result: StepResult, model: bytes) -> bytes:
    """Return the model with what it promises, once it is sure that it is the one that was asked for."""
    made, step = TravellingModel.from_bytes(model, sha256_hex(model)), asked.step
    if made.step_id != step.step_id or result.epochs > step.recipe.epochs:
        raise PolicyError(
            f"task {asked.policy.name}: a model of {result.epochs} epochs of step {made.step_id} was to be "
            f"paid for as one of {step.recipe.epochs} epochs of step {step.step_id}",
            remedy="use one version of fedprint for all of the site",
        )
    return replace(made, privacy=_privacy(asked, _unit(asked))).signed(asked.site.identity).to_bytes()


def _finish(asked: Asked, pending: PendingModel, entry: Entry) -> tuple[StepResult, bytes]:
    """Name the entry in the model and the result, and sign; the same every time."""
    waiting = pending.model
    if waiting.privacy is None:
        raise StoreError("a model that was put aside promises nothing", remedy="restore it from backup")
    privacy = waiting.privacy.model_copy(update={"ledger_seq": entry.seq, "ledger_hash": entry.hash})
    model = replace(waiting, privacy=privacy).signed(asked.site.identity).to_bytes()
    asked.site.state.record(
        RELEASED, job=pending.charge.job_id, task=pending.charge.task, mode=TrustMode.PRIVATE.value,
        step=asked.step.step_id, model=sha256_hex(model), rho=str(pending.charge.rho), ledger=entry.seq,
    )  # fmt: skip
    return pending.result.model_copy(update={"privacy": privacy}), model


def _charge(asked: Asked, told: dict[str, str]) -> Charge:
    step, private = asked.step, _private(asked.step)
    mechanism = {
        "name": DISCRETE_GAUSSIAN,
        STEP: step.step_id,
        "network": f"{step.network.library}:{step.network.name}",
        "epochs": step.recipe.epochs,
        "noise_multiplier": private.noise_multiplier,
        "clip_norm": private.clip_norm,
        "images_per_patient": private.images_per_patient,
        **(_round(step.group, step.round) if isinstance(step, CotrainStep) else {}),
        **told,
    }
    population = asked.policy.terms.population.name
    job_id, task = asked.job.job_id, asked.policy.name
    return Charge(release_id(step), job_id, task, population, None, step_rho(step), mechanism)


def _privacy(asked: Asked, unit: Unit) -> ModelPrivacy:
    return model_privacy(step_rho(asked.step), asked.policy.terms.task.delta, unit)


def _private(step: Step) -> PrivateTraining:
    if step.recipe.private is None:
        raise PolicyError(
            f"task {step.task}: a model that was trained without noise cannot be paid for",
            remedy="ask for private training",
        )
    return step.recipe.private


def _require_terms(policy: TaskPolicy, step: Step) -> None:
    """Raise unless the recipe keeps to the policy's terms of releases with noise."""
    terms, private = policy.terms, _private(step)
    if private.images_per_patient > terms.images_per_patient:
        raise PolicyError(
            f"task {policy.name}: a model shall be trained on {private.images_per_patient} images of a "
            f"patient, the policy allows {terms.images_per_patient}",
            remedy="ask for fewer images per patient",
        )
    rho = step_rho(step)
    if rho > terms.release_rho:
        raise BudgetError(
            f"task {policy.name}: a model would cost {terms.task.describe(rho)}, one release may cost "
            f"{terms.task.describe(terms.release_rho)}",
            remedy="ask for more noise or fewer epochs; the roll call says how much a model may cost",
        )


def _require_clean_start(asked: Asked) -> None:
    """Raise where training would begin at weights that know patients of this site without any noise."""
    start, step = asked.start, asked.step
    if isinstance(step, CotrainStep) and step.round > 0 and not _is_round_paid(asked, step):
        raise PolicyError(
            f"task {asked.policy.name}: round {step.round} of a common training follows one that was not "
            "paid for, and begins at its head",
            remedy="begin with round 0 of another group",
        )
    if start is None or start.privacy is not None or start.site != asked.site.config.name:
        return
    raise PolicyError(
        f"task {asked.policy.name}: a model with noise would begin at one that was trained on "
        f"{start.address} without any",
        remedy="begin at published or random weights, or at a model of another site",
    )


def _is_round_paid(asked: Asked, step: CotrainStep) -> bool:
    """Return whether the ledger paid for the round before, and for the very head that was kept after it.

    Several steps can be the same round of a group; the one that was paid for is not always the one that was
    trained last, and only the last one's head is there.
    """
    before = _round(step.group, step.round - 1)
    made_by = GroupFiles.of(asked.site.state.folder, step.group, step.task).maker(step.round - 1)
    charges = [entry.charge for entry in jobs.ledger_of(asked.site).entries() if entry.charge is not None]
    told = [charge.mechanism for charge in charges if charge.task == asked.policy.name]
    wanted = before if made_by is None else before | {STEP: made_by}
    return any(wanted == {key: known.get(key) for key in wanted} for known in told)


def _round(group: str, number: int) -> dict[str, str | int]:
    """Return what a charge's mechanism says of a round of common training."""
    return {"group": group, "group_round": number}


def _unit(asked: Asked) -> Unit:
    """Return whom noise hides, once it is sure that there are enough of them to train on."""
    with data_of(asked.policy.name):
        source = asked.source()
        training = source.subset(split_source(source, alone=True).train)
        asked.policy.require_enough(len(images_by_patient(training)))
    return "image" if source.patients is None else "patient"
