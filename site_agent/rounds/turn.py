"""One step of a round that a site takes part in, with all that must be on its disk before it answers.

A masked vector and the state after it are put aside first, then charged to the ledger, then sent: a site that
dies anywhere charges once, and sends nothing that is not charged.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import cast

from federation.errors import ReplayError
from federation.round_messages import CONFIRM, MASK, SHARE, UNMASK, Answer, StepRequest
from federation.secagg.client import Advertised, Confirmed, Masked, Shared
from federation.secagg.messages import Confirmations, Directory, Sealed, Survivors
from federation.trust import TrustMode
from site_agent import jobs
from site_agent.events import RELEASED
from site_agent.jobs import Site
from site_agent.rounds.contribution import Contribution, Prepared
from site_agent.rounds.memory import EndedRound, Kept, OpenRound, question_digest
from site_agent.rounds.payment import Payment
from site_agent.rounds.round_files import RoundFiles


@dataclass(frozen=True)
class Turn:
    """A site that holds the lock of a round, and a question to it.

    Args:
        site: The site.
        files: What is kept of the round.
        known: The round as it is there.
        contribution: What the site adds.
        job_id: The job that asks.
    """

    site: Site
    files: RoundFiles
    known: OpenRound
    contribution: Contribution
    job_id: str

    def answer(self, request: StepRequest) -> Answer:
        """Return the answer to a step: the same as before if it is asked for again.

        Raises:
            ReplayError: If it was answered to another question, or is out of order.
            RoundError: If what the site is told contradicts the protocol; asking with something else is open.
            BudgetError: If no budget pays for it.
            StoreError: If something cannot be made durable; asking again goes on there.
        """
        step, question = request.step, question_digest(request.step, request.message)
        if step in self.known.answers:
            return self.again(step, question)
        if step != self.known.next_step or self.known.is_owing:
            raise ReplayError(
                f"step {step} of round {request.round_id} is out of order, expected {self.known.next_step}",
                remedy="ask for one step after the other",
            )
        return _STEPS[step](self, question, request)

    def again(self, step: str, question: str) -> Answer:
        """Return what was answered before, once it is paid for."""
        answer = self.known.answers[step].again(question, self.known.terms.round_id, step)
        return self._paid(self.known, answer) if step == MASK else answer

    def share(self, question: str, request: StepRequest) -> Answer:
        """Share the site's secrets among its neighbours."""
        state, answer = cast(Advertised, self.known.state).share(cast(Directory, request.message))
        return self._kept(self.known.answered(SHARE, Kept(question, answer), state), answer)

    def mask(self, question: str, request: StepRequest) -> Answer:
        """Mask the site's vector, and pay for it."""
        state, delivery = cast(Shared, self.known.state), cast(Sealed, request.message)
        state.receive(delivery)  # what others sent is judged before anything is made of the site's data
        values = self.contribution.vector(cast(Prepared, self.known.prepared))
        masked, answer = state.mask(delivery, values)
        after = replace(self.known.answered(MASK, Kept(question, answer), masked), prepared=None)
        self.files.keep(after)
        return self._paid(after, answer)

    def confirm(self, question: str, request: StepRequest) -> Answer:
        """Sign who is in the sum."""
        state, survivors = cast(Masked, self.known.state), cast(Survivors, request.message)
        state.check(survivors)
        self.contribution.confirm(survivors)
        confirmed, answer = state.confirm(survivors, self.site.identity)
        return self._kept(self.known.answered(CONFIRM, Kept(question, answer), confirmed), answer)

    def unmask(self, question: str, request: StepRequest) -> Answer:
        """Reveal the shares that open the sum, and forget every secret of the round."""
        answer = cast(Confirmed, self.known.state).unmask(cast(Confirmations, request.message))
        self.files.end(EndedRound.of(self.known, round(time.time(), 3), Kept(question, answer)))
        return answer

    def _kept(self, after: OpenRound, answer: Answer) -> Answer:
        self.files.keep(after)
        return answer

    def _paid(self, owing: OpenRound, answer: Answer) -> Answer:
        """Return a masked vector that is paid for; who died in between goes on here."""
        if owing.charge is None or not owing.is_owing:
            return answer
        entry = jobs.ledger_of(self.site).charge(owing.charge, self.contribution.budgets())
        payment = Payment(entry.at, entry.seq, entry.hash, str(owing.charge.rho))
        self.site.state.record(
            RELEASED, job=self.job_id, task=owing.task, mode=TrustMode.POOLED.value,
            cohort=owing.terms.cohort, round=owing.terms.round_id, rho=payment.rho, ledger=payment.seq,
        )  # fmt: skip
        self.files.keep(replace(owing, payment=payment))
        return answer


_STEPS: Mapping[str, Callable[[Turn, str, StepRequest], Answer]] = {
    SHARE: Turn.share, MASK: Turn.mask, CONFIRM: Turn.confirm, UNMASK: Turn.unmask,
}  # fmt: skip
