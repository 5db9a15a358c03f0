"""One small tree of errors; every message names the thing, the value and the remedy.

The class attribute ``code`` is what may leave a site: exception text can hold file names, so it stays
where it was raised and only the code travels.
"""

from typing import ClassVar


class FedprintError(Exception):
    """Base of every error that fedprint raises on purpose.

    Args:
        problem: What is wrong, naming the thing, the value found and the value expected.
        remedy: What the reader can do about it.
    """

    code: ClassVar[str] = "internal"

    def __init__(self, problem: str, *, remedy: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem} → {self.remedy}" if self.remedy else self.problem


class ConfigError(FedprintError):
    """A configuration file or option is missing, unknown or contradictory."""

    code = "config"


class DataError(FedprintError):
    """A dataset or one of its images cannot be used."""

    code = "data"


class ExtractorError(FedprintError):
    """A feature extractor cannot be built, or its weights are not the expected ones."""

    code = "extractor"


class SpaceError(FedprintError):
    """A space is malformed."""

    code = "space"


class SpaceMismatchError(SpaceError):
    """Two things that would be compared or added live in different spaces."""

    code = "space-mismatch"


class FingerprintError(FedprintError):
    """A fingerprint or sketch is malformed, truncated or altered."""

    code = "fingerprint"


class SignatureError(FedprintError):
    """A signature does not belong to the stated content and signer."""

    code = "signature"


class EnrolmentError(FedprintError):
    """An invitation, an enrolment or a membership is malformed, altered, stale or meant for another."""

    code = "enrolment"


class PolicyError(FedprintError):
    """The site's own rules forbid what was asked."""

    code = "policy"


class BudgetError(PolicyError):
    """A privacy budget, or what would be spent of it, is impossible, spent or too small."""

    code = "budget"


class NotReleasableError(PolicyError):
    """Something about a private task's data stands against its release; what, is nobody else's business."""

    code = "not-releasable"


class IntakeError(FedprintError):
    """The aggregator refuses a fingerprint."""

    code = "intake"


class OutcomeError(FedprintError):
    """A measured transfer result is malformed or contradicts another."""

    code = "outcome"


class MessageError(FedprintError):
    """A message between aggregator and site is malformed, stale or not meant for its reader."""

    code = "message"


class SealError(MessageError):
    """A sealed message is malformed, altered, or sealed for somebody else."""

    code = "seal"


class RoundError(FedprintError):
    """A round of secure aggregation cannot go on."""

    code = "round"


class RosterError(RoundError):
    """Who takes part, or under which keys, is not who should."""

    code = "roster"


class ReplayError(RoundError):
    """A step of a round is asked for a second time with other content, or a round id is used again."""

    code = "replay"


class TermsError(RoundError):
    """The terms of a round are impossible, unsafe or not the same for every site."""

    code = "terms"


class SurvivorsError(RoundError):
    """The list of who contributed contradicts itself, what a site saw, or what others signed."""

    code = "survivors"


class CohortTooSmallError(RoundError):
    """Too few sites are left for a sum that hides each of them."""

    code = "too-few"


class ShareError(RoundError):
    """A share of a secret is missing, doubled, altered or does not recover what was committed to."""

    code = "share"


class VectorError(RoundError):
    """A contribution has the wrong length, modulus or size."""

    code = "vector"


class TransferError(FedprintError):
    """A step of a transfer experiment cannot be done."""

    code = "transfer"


class ModelError(TransferError):
    """A model that travels is malformed, altered, too large or does not fit its network."""

    code = "model"


class TrainingError(TransferError):
    """Training diverged, or what should be trained or measured cannot be."""

    code = "training"


class MemoryShortError(TransferError):
    """A network and its batches do not fit in memory."""

    code = "memory"


class BusyError(TransferError):
    """A site works on another step; it can be asked again later."""

    code = "busy"


class StoreError(FedprintError):
    """Something could not be read from or written to durable storage."""

    code = "store"


class EmptyCatalogueError(StoreError):
    """A catalogue can be read, but nothing was fingerprinted yet."""


class LedgerError(StoreError):
    """The privacy ledger is missing, damaged or contradicts what else the site keeps."""

    code = "ledger"


class LogError(FedprintError):
    """The consortium's log, or something that is told of it, is malformed or does not verify."""

    code = "log"


class LogContradictionError(LogError):
    """An aggregator's log was rewritten or cut, or different sites are shown different ones."""

    code = "log-contradiction"


class StudyError(FedprintError):
    """The tables of a validation study are missing, malformed or do not fit together."""

    code = "study"


class DeadlineError(FedprintError):
    """Work was not finished by the deadline of its request."""

    code = "deadline"


class BundleError(FedprintError):
    """An app bundle is damaged, or not what it should be."""

    code = "bundle"


class DeploymentError(FedprintError):
    """A process of a deployment cannot start, stopped, or cannot be reached."""

    code = "deployment"


class UnknownNameError(FedprintError):
    """A task, distance or site is asked for by a name that does not exist."""

    code = "unknown-name"
