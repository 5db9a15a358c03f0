"""Requests that are under way, and what came back."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from flwr.app import Message, RecordDict

from aggregator.rounds.round import Asking, Signable
from federation.messages import JobHeader
from federation.transfer.messages import RollCallRequest
from federation.transfer.step import Step


@dataclass(frozen=True)
class Sent:
    """One request that is under way.

    Args:
        job: Its header.
        node: Where it went.
        step: What it is about; None: a roll call.
    """

    job: JobHeader
    node: int
    step: Step | None = None


@dataclass
class Post:
    """Requests under way to many nodes at once.

    Args:
        steps: How steps are asked for.
        roll_calls: How sites are looked for.
    """

    steps: Asking
    roll_calls: Asking
    pending: dict[str, Sent] = field(default_factory=dict)

    def ask(self, request: Signable, sent: Sent) -> None:
        """Push a request for a step."""
        self._push(self.steps, request, sent)

    def call(self, node: int, deadline: float) -> None:
        """Ask a node who it is, instead of whatever roll call it has not answered."""
        self.drop(node, roll_calls=True)
        job = self.roll_calls.header(deadline)
        self._push(self.roll_calls, RollCallRequest(job), Sent(job, node))

    def is_calling(self, node: int, now: float) -> bool:
        """Return whether a node was asked who it is and still has time to say: it may take long to start."""
        return any(
            sent.node == node and sent.step is None and now < sent.job.deadline
            for sent in self.pending.values()
        )

    def drop(self, node: int | None, *, roll_calls: bool = False) -> None:
        """Expect no answer any more to what a node was asked."""
        self.pending = {
            key: sent
            for key, sent in self.pending.items()
            if sent.node != node or (sent.step is None) != roll_calls
        }

    def collect(self) -> list[tuple[Message, Sent]]:
        """Return what came back, each with what it answers."""
        messages: Sequence[Message] = (
            list(self.steps.grid.pull_messages(list(self.pending))) if self.pending else []
        )
        known = [each for each in messages if each.metadata.reply_to_message_id in self.pending]
        return [(each, self.pending.pop(each.metadata.reply_to_message_id)) for each in known]

    def open(self, message: Message, sent: Sent) -> RecordDict:
        """Return the reply to a request; the message must have a content.

        Raises:
            SealError: If it is not sealed, or for another process.
        """
        return (self.roll_calls if sent.step is None else self.steps).open(message)

    def _push(self, asking: Asking, request: Signable, sent: Sent) -> None:
        self.pending.update(dict.fromkeys(asking.send(request, sent.node), sent))
