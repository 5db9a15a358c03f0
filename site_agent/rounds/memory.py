"""What a site remembers of a round: everything while it runs, and for ever that it has been."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self, TypeAlias

import numpy as np

from federation.canonical import canonical_json, sha256_hex
from federation.container import pack, unpack
from federation.errors import FedprintError, ReplayError, StoreError
from federation.round_messages import ADVERTISE, ANSWERS, MASK, STEPS, UNMASK, Answer, Question
from federation.secagg.client import Confirmed
from federation.secagg.memory import State, recall, remember
from federation.secagg.messages import Survivors
from federation.secagg.terms import Terms
from site_agent.ledger.budget import Charge
from site_agent.rounds.contribution import Prepared
from site_agent.rounds.payment import Payment

OPEN, FINISHED, EXPIRED = "open", "finished", "expired"

_Arrays: TypeAlias = dict[str, np.ndarray[Any, Any]]
_VALUES = "values"
_PLAIN = ("round_id", "digest", "cohort", "task", "aggregator", "began", "ended")


@dataclass(frozen=True)
class Kept:
    """An answer that was given, and to what.

    Args:
        question: SHA-256 of the question, 64 hexadecimal digits.
        answer: The answer.
    """

    question: str
    answer: Answer = field(repr=False)

    def again(self, question: str, round_id: str, step: str) -> Answer:
        """Return the answer to the same question.

        Raises:
            ReplayError: If the question is another one: two answers to one step could reveal a vector.
        """
        if question != self.question:
            raise ReplayError(
                f"step {step} of round {round_id} was answered before, to another question",
                remedy="ask as before to be answered as before, or start another round",
            )
        return self.answer


@dataclass(frozen=True)
class OpenRound:
    """A round that the site takes part in.

    Args:
        terms: What it is about.
        task: The site's own task that is summed.
        aggregator: Public key of who asked first, and may go on asking.
        began: Unix time in seconds.
        state: The site's state in the protocol, with its secrets.
        answers: Step → what was answered, in the order of the steps.
        prepared: What will be masked; None once it is.
        charge: What the masked vector costs, which may not leave before that is paid; None where it is free.
        payment: What paid for it.
    """

    terms: Terms
    task: str
    aggregator: str
    began: float
    state: State = field(repr=False)
    answers: Mapping[str, Kept] = field(repr=False)
    prepared: Prepared | None = field(repr=False, default=None)
    charge: Charge | None = None
    payment: Payment | None = None

    @property
    def round_id(self) -> str:
        """The round."""
        return self.terms.round_id

    @property
    def digest(self) -> str:
        """Digest of its terms, 64 hexadecimal digits."""
        return self.terms.digest.hex()

    @property
    def cohort(self) -> str:
        """Name of the cohort."""
        return self.terms.cohort

    @property
    def is_owing(self) -> bool:
        """Whether its last answer has to be paid for before it leaves."""
        return MASK in self.answers and self.charge is not None and self.payment is None

    @property
    def next_step(self) -> str:
        """What the site can be asked for that it has not answered."""
        return STEPS[len(self.answers)]

    @property
    def survivors(self) -> Survivors | None:
        """What the site confirmed, if it did."""
        return self.state.survivors if isinstance(self.state, Confirmed) else None

    def answered(self, step: str, kept: Kept, state: State) -> Self:
        """Return the round after another step."""
        return replace(self, state=state, answers={**self.answers, step: kept})

    def to_bytes(self) -> bytes:
        """Return the content of the round's file."""
        header = {
            "is": OPEN,
            "cohort": self.cohort,
            "terms": self.terms.to_json(),
            "task": self.task,
            "aggregator": self.aggregator,
            "began": self.began,
            "state": remember(self.state),
            "answers": [
                [step, kept.question, dict(kept.answer.body())] for step, kept in self.answers.items()
            ],
            "prepared": None if self.prepared is None else dict(self.prepared.about),
            "charge": None if self.charge is None else self.charge.to_json(),
            "payment": None if self.payment is None else vars(self.payment),
        }
        values = {} if self.prepared is None else {_VALUES: self.prepared.values}
        return pack(header, {**values, **_blobs(self.answers)})

    @classmethod
    def read(cls, header: Mapping[str, Any], arrays: _Arrays, site: str) -> Self:
        """Return the round that a file holds, as ``read_round`` does."""
        terms = Terms.from_json(header["terms"])
        charge = None if header["charge"] is None else Charge.from_json(header["charge"])
        about, payment = header["prepared"], header["payment"]
        return cls(
            terms,
            header["task"],
            header["aggregator"],
            header["began"],
            recall(terms, site, header["state"]),
            _answers(header, arrays),
            None if about is None else Prepared(arrays[_VALUES], charge, about),
            charge,
            None if payment is None else Payment(**payment),
        )


@dataclass(frozen=True)
class EndedRound:
    """All that stays of a round, without a secret.

    Args:
        round_id: The round.
        digest: Digest of its terms, 64 hexadecimal digits.
        cohort: Name of the cohort.
        task: The site's own task that was summed.
        aggregator: Public key of who asked.
        began: Unix time in seconds.
        ended: Unix time in seconds.
        how: ``"finished"`` or ``"expired"``.
        survivors: Who the site confirmed is in the sum; None: it confirmed nobody.
        payment: What paid for the site's contribution, if it left and anything had to.
        last: The last answer, where the round is finished; all that it holds is the aggregator's by now.
    """

    round_id: str
    digest: str
    cohort: str
    task: str
    aggregator: str
    began: float
    ended: float
    how: str
    survivors: Survivors | None
    payment: Payment | None
    last: Kept | None = field(repr=False, default=None)

    @classmethod
    def of(cls, known: OpenRound, ended: float, last: Kept | None = None) -> Self:
        """Return what stays of an open round.

        Args:
            known: The round.
            ended: Unix time in seconds.
            last: The answer that finishes it; None: it expired.
        """
        how = EXPIRED if last is None else FINISHED
        told = (known.task, known.aggregator, known.began, ended, how, known.survivors, known.payment)
        return cls(known.round_id, known.digest, known.cohort, *told, last)

    def to_bytes(self) -> bytes:
        """Return the content of the round's file."""
        answers = {} if self.last is None else {UNMASK: self.last}
        header = {
            "is": self.how,
            **{name: getattr(self, name) for name in _PLAIN},
            "survivors": None if self.survivors is None else dict(self.survivors.body()),
            "answers": [[step, kept.question, dict(kept.answer.body())] for step, kept in answers.items()],
            "payment": None if self.payment is None else vars(self.payment),
        }
        return pack(header, _blobs(answers))

    @classmethod
    def read(cls, header: Mapping[str, Any], arrays: _Arrays) -> Self:
        """Return what a file says stays of a round, as ``read_round`` does."""
        survivors, payment = header["survivors"], header["payment"]
        return cls(
            **{name: header[name] for name in _PLAIN},
            how=header["is"],
            survivors=None if survivors is None else Survivors.from_parts(survivors, {}),
            payment=None if payment is None else Payment(**payment),
            last=_answers(header, arrays).get(UNMASK),
        )


KnownRound: TypeAlias = OpenRound | EndedRound


def read_round(data: bytes, site: str) -> KnownRound:
    """Read what a round's ``to_bytes`` returned.

    Args:
        data: The content of the file.
        site: The site.

    Raises:
        StoreError: If it is damaged.
    """
    try:
        header, arrays = unpack(data, "what is kept of a round")
        if header["is"] == OPEN:
            return OpenRound.read(header, arrays, site)
        return EndedRound.read(header, arrays)
    except (KeyError, TypeError, ValueError, AttributeError, FedprintError) as error:
        raise StoreError(
            "what the site keeps of a round is damaged, so that nobody knows what it has said",
            remedy="the round cannot go on at this site; the aggregator starts another one",
        ) from error


def question_digest(step: str, question: Question | Terms) -> str:
    """Return the SHA-256 of what a site is asked, job and nonce apart; 64 hexadecimal digits."""
    if isinstance(question, Terms):
        return sha256_hex(canonical_json([ADVERTISE, question.digest.hex()]))
    blobs = {name: hashlib.sha256(blob).hexdigest() for name, blob in question.blobs().items()}
    return sha256_hex(canonical_json([step, dict(question.body()), blobs]))


def _blobs(answers: Mapping[str, Kept]) -> _Arrays:
    return {
        f"{step}.{name}": np.frombuffer(blob, np.uint8)
        for step, kept in answers.items()
        for name, blob in kept.answer.blobs().items()
    }


def _answers(header: Mapping[str, Any], arrays: _Arrays) -> dict[str, Kept]:
    found = {}
    for step, question, body in header["answers"]:
        own = {
            key.removeprefix(f"{step}."): a.tobytes()
            for key, a in arrays.items()
            if key.startswith(f"{step}.")
        }
        found[step] = Kept(question, ANSWERS[step].from_parts(body, own))
    return found
